//! One mapping being read, field by field: what is asked for is known, what is left at the end is not.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::lowering::{Located, Span};
use crate::model::{ValueError, quoted};
use crate::resource::fault::ContentError;
use crate::resource::node::{Node, Value};
use crate::resource::{FaultKind, Labels};

/// A mapping with what was asked of it so far.
pub(super) struct Table<'a> {
    path: String,
    pub(super) span: Span,
    entries: &'a [(Located<String>, Node)],
    known: Vec<&'static str>,
    read_over: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(path: &str, span: Span, entries: &'a [(Located<String>, Node)]) -> Self {
        Self { path: path.to_owned(), span, entries, known: Vec::new(), read_over: Vec::new() }
    }

    /// The field with its path.
    pub(super) fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The value of a field, if there is one.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let found = self.entries.iter().find(|(key, _)| key.value == name);
        found.map(|(_, node)| node).filter(|node| !matches!(node.value, Value::Null))
    }

    /// Accepts a field with whatever value, and does not look at it.
    pub(super) fn read_over(&mut self, name: &'static str) {
        self.read_over.push(name);
    }

    /// The fields that have a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let entries = self.entries.iter();
        let stated = entries.filter(|(_, node)| !matches!(node.value, Value::Null));
        stated.map(|(key, _)| key.value.as_str())
    }

    /// The keys of a field that is a mapping.
    pub(super) fn keys_of(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let found = self.entries.iter().find(|(key, _)| key.value == name);
        let entries: &[_] = match found {
            Some((_, Node { value: Value::Map(entries), .. })) => entries,
            _ => &[],
        };
        entries.iter().map(|(key, _)| key.value.as_str())
    }

    /// A field's text, to name the object by before it is read.
    pub(super) fn shown(&self, name: &str) -> Option<String> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.value == name)?;
        match &node.value {
            Value::Scalar { text, .. } => Some(quoted(text)),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

/// An address, so that it is read like every other value.
pub(super) struct Address(pub(super) Ipv4Addr);

impl FromStr for Address {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).map_err(|_| ValueError::address(text))
    }
}

/// Reads fields and notes faults. Everything gives `None` where it noted one.
pub(super) struct Reader<'f> {
    pub(super) object: String,
    pub(super) faults: &'f mut Vec<(Span, FaultKind)>,
}

impl Reader<'_> {
    /// Every field that nobody asked for is a fault.
    pub(super) fn close(&mut self, table: Table<'_>) {
        for (key, _) in table.entries {
            let is_known = [&table.known, &table.read_over]
                .iter()
                .any(|names| names.contains(&key.value.as_str()));
            if !is_known {
                let (object, known) = (self.object.clone(), table.known.join(", "));
                let field = table.field(&quoted(&key.value));
                self.faults.push((key.span.clone(), FaultKind::Unknown { object, field, known }));
            }
        }
    }

    pub(super) fn wrong<T>(
        &mut self,
        span: &Span,
        field: String,
        error: impl Into<ContentError>,
    ) -> Option<T> {
        let (object, error) = (self.object.clone(), error.into());
        self.faults.push((span.clone(), FaultKind::Value { object, field, error }));
        None
    }

    fn wanted<T>(&mut self, node: &Node, field: String, wanted: &'static str) -> Option<T> {
        let (object, found) = (self.object.clone(), node.value.word());
        self.faults.push((node.span.clone(), FaultKind::Wanted { object, field, wanted, found }));
        None
    }

    /// A field that must be there.
    pub(super) fn node<'a>(
        &mut self,
        table: &mut Table<'a>,
        name: &'static str,
    ) -> Option<&'a Node> {
        let node = table.take(name);
        if node.is_none() {
            let (object, field) = (self.object.clone(), table.field(name));
            self.faults.push((table.span.clone(), FaultKind::Missing { object, field }));
        }
        node
    }

    pub(super) fn map<'a>(
        &mut self,
        table: &mut Table<'a>,
        name: &'static str,
    ) -> Option<Table<'a>> {
        let node = self.node(table, name)?;
        self.map_at(node, table.field(name))
    }

    pub(super) fn map_at<'a>(&mut self, node: &'a Node, field: String) -> Option<Table<'a>> {
        match &node.value {
            Value::Map(entries) => Some(Table::new(&field, node.span.clone(), entries)),
            _ => self.wanted(node, field, "a mapping"),
        }
    }

    pub(super) fn list_at<'a>(&mut self, node: &'a Node, field: String) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.wanted(node, field, "a list"),
        }
    }

    /// The text of a value, still unread.
    pub(super) fn raw(&mut self, node: &Node, field: String) -> Option<Located<String>> {
        match &node.value {
            Value::Scalar { text, .. } => {
                Some(Located { value: text.clone(), span: node.span.clone() })
            }
            _ => self.wanted(node, field, "a text"),
        }
    }

    /// A number, still unchecked.
    pub(super) fn raw_number(&mut self, node: &Node, field: String) -> Option<Located<i64>> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(value) => Some(Located { value, span: node.span.clone() }),
            None => self.wanted(node, field, "a whole number, without quotes"),
        }
    }

    /// A truth value; `false` if it is not there.
    pub(super) fn flag(&mut self, table: &mut Table<'_>, name: &'static str) -> Option<bool> {
        let Some(node) = table.take(name) else { return Some(false) };
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => self.wanted(node, table.field(name), "true or false, without quotes"),
        }
    }

    /// A revision of the store, if there is one.
    pub(super) fn revision(
        &mut self,
        table: &mut Table<'_>,
        name: &'static str,
    ) -> Option<Option<u64>> {
        let Some(node) = table.take(name) else { return Some(None) };
        match &node.value {
            Value::Scalar { text, plain: true } if text.parse::<u64>().is_ok() => {
                Some(text.parse().ok())
            }
            _ => self.wanted(node, table.field(name), "a whole number, without quotes"),
        }
    }

    pub(super) fn text_at<T>(&mut self, node: &Node, field: String) -> Option<T>
    where
        T: FromStr,
        ContentError: From<T::Err>,
    {
        let text = self.raw(node, field.clone())?;
        match text.value.parse() {
            Ok(value) => Some(value),
            Err(error) => self.wrong(&text.span, field, ContentError::from(error)),
        }
    }

    pub(super) fn text<T>(&mut self, table: &mut Table<'_>, name: &'static str) -> Option<T>
    where
        T: FromStr,
        ContentError: From<T::Err>,
    {
        let node = self.node(table, name)?;
        self.text_at(node, table.field(name))
    }

    pub(super) fn optional<T>(
        &mut self,
        table: &mut Table<'_>,
        name: &'static str,
    ) -> Option<Option<T>>
    where
        T: FromStr,
        ContentError: From<T::Err>,
    {
        let Some(node) = table.take(name) else { return Some(None) };
        self.text_at(node, table.field(name)).map(Some)
    }

    pub(super) fn address(
        &mut self,
        table: &mut Table<'_>,
        name: &'static str,
    ) -> Option<Option<Ipv4Addr>> {
        Some(self.optional::<Address>(table, name)?.map(|Address(address)| address))
    }

    pub(super) fn items<T>(&mut self, node: &Node, field: &str) -> Option<Vec<T>>
    where
        T: FromStr,
        ContentError: From<T::Err>,
    {
        let items = self.list_at(node, field.to_owned())?.iter().enumerate();
        let read: Vec<_> =
            items.map(|(n, item)| self.text_at(item, format!("{field}[{n}]"))).collect();
        read.into_iter().collect()
    }

    /// A list; an empty one if it is not there.
    pub(super) fn list<T>(&mut self, table: &mut Table<'_>, name: &'static str) -> Option<Vec<T>>
    where
        T: FromStr,
        ContentError: From<T::Err>,
    {
        let Some(node) = table.take(name) else { return Some(Vec::new()) };
        self.items(node, &table.field(name))
    }

    pub(super) fn labels(&mut self, table: &mut Table<'_>, name: &'static str) -> Option<Labels> {
        let Some(node) = table.take(name) else { return Some(Labels::default()) };
        let field = table.field(name);
        let entries = self.map_at(node, field.clone())?.entries;
        let mut labels = BTreeMap::new();
        let mut whole = true;
        for (key, value) in entries {
            let path = format!("{field}.{}", quoted(&key.value));
            let name = match key.value.parse() {
                Ok(name) => Some(name),
                Err(error) => self.wrong(&key.span, field.clone(), ContentError::Label(error)),
            };
            let value = match &value.value {
                Value::Null => "".parse().ok(),
                _ => self.text_at(value, path),
            };
            match (name, value) {
                (Some(name), Some(value)) => drop(labels.insert(name, value)),
                _ => whole = false,
            }
        }
        if !whole {
            return None;
        }
        match Labels::new(labels) {
            Ok(labels) => Some(labels),
            Err(error) => self.wrong(&node.span, field, error),
        }
    }
}
