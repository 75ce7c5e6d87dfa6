//! From a text to resources. Whatever the text, the answer is all of its resources or a list of faults,
//! each with its place; never some of them, never a panic.
//!
//! What the controller adds when it shows a resource, `metadata.managers` and `status`, is read over whatever
//! it is, so that what was shown can be applied; `metadata.revision` is for [`Declared::revision`]. This holds
//! of every text alike, those of a store among them.

mod kinds;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use table::{Reader, Table};

use super::node::{Document, Node, Value, documents};
use super::{FaultKind, Field, Key, Kind, Resource, ResourceError};
use crate::lowering::Span;

/// Longest text, in bytes.
pub const MAX_LEN: usize = 64 << 20;

/// A resource and where it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The resource.
    pub resource: Resource,
    /// The fields that are stated; the others have their defaults.
    pub fields: BTreeSet<Field>,
    /// The revision of the resource that this was made of; `None` if it is for any.
    pub revision: Option<u64>,
    /// Document of the text, counted from 1.
    pub document: usize,
    /// Line that the document's first key stands on, counted from 1.
    pub line: usize,
}

/// Reads every document of a text, YAML or JSON; those that hold nothing are left out.
pub fn read(text: &str) -> Result<Vec<Declared>, ResourceError> {
    if text.len() > MAX_LEN {
        let kind = FaultKind::TooLong { length: text.len(), most: MAX_LEN };
        return Err(ResourceError::new("", vec![(1, 0..0, kind)]));
    }
    let (documents, mut faults) = documents(text);
    let mut more = 0;
    let mut lines = Lines::new(text);
    let mut declared: Vec<Declared> = Vec::with_capacity(documents.len());
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    for document in &documents {
        let span = document.root.span.clone();
        let line = lines.line(span.start);
        let mut found = Vec::new();
        let read = resource(document, &mut found);
        let faultless = found.is_empty();
        faults.extend(found.into_iter().map(|(span, kind)| (document.number, span, kind)));
        more += ResourceError::keep_first(&mut faults);
        let Some(read) = read.filter(|_| faultless) else { continue };
        let Read { resource, fields, revision } = read;
        let key = resource.key();
        match seen.get(&key) {
            Some(line) => {
                faults.push((document.number, span, FaultKind::Declared { key, line: *line }));
            }
            None => {
                seen.insert(key, line);
                let document = document.number;
                declared.push(Declared { resource, fields, revision, document, line });
            }
        }
    }
    if faults.is_empty() { Ok(declared) } else { Err(ResourceError::new(text, faults).and(more)) }
}

/// Reads a text of one resource.
pub fn read_one(text: &str) -> Result<Resource, ResourceError> {
    let mut declared = read(text)?;
    let found = declared.len();
    match declared.pop() {
        Some(only) if found == 1 => Ok(only.resource),
        Some(last) => {
            let kind = FaultKind::Several { found };
            Err(ResourceError::new(text, vec![(last.document, 0..0, kind)]))
        }
        None => Err(ResourceError::new(text, vec![(1, 0..0, FaultKind::Nothing)])),
    }
}

struct Read {
    resource: Resource,
    fields: BTreeSet<Field>,
    revision: Option<u64>,
}

/// `None` where a fault was noted.
fn resource(document: &Document, faults: &mut Vec<(Span, FaultKind)>) -> Option<Read> {
    let Node { span, value } = &document.root;
    let Value::Map(entries) = value else {
        faults.push((span.clone(), FaultKind::NoResource { found: value.word() }));
        return None;
    };
    let mut reader = Reader { object: format!("document {}", document.number), faults };
    let mut top = Table::new("", span.clone(), entries);
    let kind: Option<Kind> = reader.text(&mut top, "kind");
    let metadata = reader.map(&mut top, "metadata");
    let spec = reader.map(&mut top, "spec");
    top.read_over("status");
    reader.close(top);
    let (kind, mut metadata) = (kind?, metadata?);
    if let Some(name) = metadata.shown("name") {
        reader.object = format!("{} {name}", kind.word().to_lowercase());
    }
    let labels = reader.labels(&mut metadata, "labels");
    let revision = reader.revision(&mut metadata, "revision");
    metadata.read_over("managers");
    let spec = spec?;
    let fields = stated(&metadata, &spec);
    let resource = kinds::read(&mut reader, kind, &mut metadata, spec, labels);
    reader.close(metadata);
    Some(Read { resource: resource?, fields, revision: revision? })
}

/// Fields that have a value; what is no field is a fault elsewhere.
fn stated(metadata: &Table<'_>, spec: &Table<'_>) -> BTreeSet<Field> {
    let labels = metadata.keys_of("labels").filter_map(|key| key.parse().ok().map(Field::Label));
    let spec = spec.names().filter_map(|name| Field::spec(name).ok());
    labels.chain(spec).collect()
}

/// Line numbers of places that come in order.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    fn line(&mut self, place: usize) -> usize {
        let between = self.text.as_bytes().get(self.at..place).unwrap_or_default();
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.at = place.max(self.at);
        self.line
    }
}
