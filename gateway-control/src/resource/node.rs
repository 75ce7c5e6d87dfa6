//! YAML as a tree of values with their places. Only what a declaration needs: anchors, aliases, tags,
//! directives and keys that are no text are refused, so the tree is never larger than the text.

use std::collections::BTreeSet;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span as Marked};

use super::FaultKind;
use crate::lowering::{Located, Span};

/// A value and where it stood.
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

pub(super) enum Value {
    Null,
    /// `plain`: without quotes, so it may be a number.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Located<String>, Node)>),
}

impl Value {
    /// What it is called in messages.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar { .. } => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// One document of a text, counted from 1.
pub(super) struct Document {
    pub(super) number: usize,
    pub(super) root: Node,
}

/// Deepest nesting; a resource needs five levels.
const DEPTH: usize = 32;

/// All documents that hold something, and all faults of the notation, each with its document.
pub(super) fn documents(text: &str) -> (Vec<Document>, Vec<(usize, Span, FaultKind)>) {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(text.len());
                let message = error.info();
                builder.fault(at..at, FaultKind::Notation(message));
                break;
            }
        }
    }
    (builder.documents, builder.faults)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    faults: Vec<(usize, Span, FaultKind)>,
    number: usize,
    open: Vec<Open>,
}

/// A collection whose end has not come.
enum Open {
    List(Span, Vec<Node>),
    Map { span: Span, entries: Vec<(Located<String>, Node)>, seen: BTreeSet<String>, key: Key },
}

/// What a mapping has read last.
enum Key {
    /// A value, or nothing.
    Awaited,
    Read(Located<String>),
    /// One that is wrong, or there already: its value is not kept.
    Refused,
}

impl Builder {
    fn fault(&mut self, span: Span, kind: FaultKind) {
        self.faults.push((self.number, span, kind));
    }

    fn event(&mut self, event: Event<'_>, marked: &Marked) {
        let span = marked.byte_range().unwrap_or(0..0);
        match event {
            Event::DocumentStart(..) => {
                self.number += 1;
                self.open.clear();
            }
            Event::Alias(_) => {
                self.fault(span.clone(), FaultKind::Refused { what: "an alias (*name)" });
                self.value(Node { span, value: Value::Null });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.plainly(anchor, tag.is_some(), &span);
                let plain = style == ScalarStyle::Plain;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    text => Value::Scalar { text: text.to_owned(), plain },
                };
                self.value(Node { span, value });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.plainly(anchor, tag.is_some(), &span);
                self.open.push(Open::List(span, Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.plainly(anchor, tag.is_some(), &span);
                let (entries, seen) = (Vec::new(), BTreeSet::new());
                self.open.push(Open::Map { span, entries, seen, key: Key::Awaited });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop() {
                    Some(Open::List(span, items)) => Node { span, value: Value::List(items) },
                    Some(Open::Map { span, entries, .. }) => {
                        Node { span, value: Value::Map(entries) }
                    }
                    None => return,
                };
                self.value(node);
            }
            _ => {}
        }
    }

    fn plainly(&mut self, anchor: usize, tagged: bool, span: &Span) {
        if anchor != 0 {
            self.fault(span.clone(), FaultKind::Refused { what: "an anchor (&name)" });
        }
        if tagged {
            self.fault(span.clone(), FaultKind::Refused { what: "a tag (!name)" });
        }
    }

    fn value(&mut self, node: Node) {
        let number = self.number;
        match self.open.last_mut() {
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(Document { number, root: node }),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => {
                match std::mem::replace(key, Key::Awaited) {
                    Key::Read(name) => entries.push((name, node)),
                    Key::Refused => {}
                    Key::Awaited => match node.value {
                        Value::Scalar { text, .. } if seen.insert(text.clone()) => {
                            *key = Key::Read(Located { value: text, span: node.span });
                        }
                        Value::Scalar { text, .. } => {
                            *key = Key::Refused;
                            let field = crate::model::quoted(&text);
                            self.fault(node.span, FaultKind::Twice { field });
                        }
                        Value::Null | Value::List(_) | Value::Map(_) => {
                            *key = Key::Refused;
                            self.fault(node.span, FaultKind::NoKey);
                        }
                    },
                }
            }
        }
    }
}
