//! Fields of a resource and who set them. [`super::merge`] decides by them whose a field is; the controller
//! keeps [`Managers`] beside each resource.
//!
//! A field is one value below `spec`, whatever lies within it, or one label.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{LabelKey, Resource};

/// A field: `spec.NAME` or `metadata.labels.KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Field {
    /// A label.
    Label(LabelKey),
    /// A value below `spec`.
    Spec(SpecName),
}

/// Name of a field below `spec`: a letter, and up to 62 more letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecName(Box<str>);

/// In whose name a field is set: 1 to 63 printable ASCII characters, none of them a space or a quote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ManagerName(Box<str>);

/// Who last set each field of a resource. Fields that nobody set, as they have their default, are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Managers(BTreeMap<Field, ManagerName>);

/// Why a text is no field or no manager.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a field.
    #[error("{found} is no field; write spec.NAME or metadata.labels.KEY")]
    Field {
        /// The text, quoted.
        found: String,
    },
    /// Not a manager's name.
    #[error(
        "{found} is no name of a manager; write 1 to {LONGEST} ASCII characters without spaces and quotes"
    )]
    Name {
        /// The text, quoted.
        found: String,
    },
}

const LONGEST: usize = 63;
const SPEC: &str = "spec.";
const LABEL: &str = "metadata.labels.";

impl Field {
    /// A field below `spec`.
    pub fn spec(name: &str) -> Result<Self, FieldError> {
        let is_name = name.len() <= LONGEST
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_name {
            return Ok(Self::Spec(SpecName(name.into())));
        }
        Err(FieldError::Field { found: crate::model::quoted(&format!("{SPEC}{name}")) })
    }
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let wrong = || FieldError::Field { found: crate::model::quoted(text) };
        if let Some(key) = text.strip_prefix(LABEL) {
            return key.parse().map(Self::Label).map_err(|_| wrong());
        }
        Self::spec(text.strip_prefix(SPEC).ok_or_else(wrong)?)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(SpecName(name)) => write!(f, "{SPEC}{name}"),
            Self::Label(key) => write!(f, "{LABEL}{key}"),
        }
    }
}

impl FromStr for ManagerName {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let is_right = |byte: u8| byte.is_ascii_graphic() && !b"\"'`".contains(&byte);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_right) {
            return Ok(Self(text.into()));
        }
        Err(FieldError::Name { found: crate::model::quoted(text) })
    }
}

impl fmt::Display for ManagerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.to_string()
    }
}

impl TryFrom<String> for Field {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl From<ManagerName> for String {
    fn from(name: ManagerName) -> Self {
        name.0.into()
    }
}

impl ManagerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ManagerName {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl Managers {
    /// Who holds a field, if anybody.
    pub fn holder(&self, field: &Field) -> Option<&ManagerName> {
        self.0.get(field)
    }

    /// Each field that somebody holds, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &ManagerName)> {
        self.0.iter()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Field, ManagerName)> for Managers {
    fn from_iter<T: IntoIterator<Item = (Field, ManagerName)>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// The fields of a resource with their values, as it is written.
pub(super) fn values(resource: &Resource) -> BTreeMap<Field, Value> {
    let mut written = serde_json::to_value(resource).expect("a resource is text all through");
    let mut entries = |path: &str| match written.pointer_mut(path).map(Value::take) {
        Some(Value::Object(entries)) => entries,
        _ => Map::new(),
    };
    let labels = entries("/metadata/labels").into_iter().filter_map(|(key, value)| {
        let key = key.parse().ok()?;
        Some((Field::Label(key), value))
    });
    let spec = entries("/spec").into_iter().filter_map(|(name, value)| {
        let field = Field::spec(&name).ok()?;
        Some((field, value))
    });
    labels.chain(spec).collect()
}

/// A document of a kind, a name and fields; the inverse of [`values`].
pub(super) fn document(kind: &str, name: &str, values: &BTreeMap<Field, Value>) -> String {
    let (mut labels, mut spec) = (Map::new(), Map::new());
    for (field, value) in values {
        match field {
            Field::Label(key) => labels.insert(key.to_string(), value.clone()),
            Field::Spec(SpecName(name)) => spec.insert(name.to_string(), value.clone()),
        };
    }
    json!({"kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_and_write_the_same() {
        for text in
            ["spec.clientNetworks", "metadata.labels.a", "metadata.labels.a.example/b.c-d_e"]
        {
            assert_eq!(text.parse::<Field>().unwrap().to_string(), text);
        }
        let long = format!("spec.{}", "a".repeat(64));
        for text in ["", "spec", "spec.", "spec.a.b", "spec.1", "metadata.name", "a", &long] {
            let said = text.parse::<Field>().unwrap_err().to_string();
            assert!(said.contains("is no field; write spec.NAME or metadata.labels.KEY"), "{said}");
        }
    }

    #[test]
    fn names_of_managers() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for text in ["root", "uid:1000", "gitops", "a/b@c", &long] {
            assert_eq!(text.parse::<ManagerName>().unwrap().to_string(), text);
        }
        for text in ["", " ", "a b", "a\n", "\"a\"", "it's", "`", "\u{7f}", "é", &longer] {
            let said = text.parse::<ManagerName>().unwrap_err().to_string();
            assert!(said.contains("write 1 to 63 ASCII characters"), "{said}");
        }
    }

    #[test]
    fn managers_are_a_map_of_texts() {
        let text = r#"{"metadata.labels.x/a":"root","spec.role":"uid:1000"}"#;
        let managers: Managers = serde_json::from_str(text).unwrap();
        assert_eq!(managers.holder(&"spec.role".parse().unwrap()).unwrap().to_string(), "uid:1000");
        assert_eq!(serde_json::to_string(&managers).unwrap(), text);
        assert!(serde_json::from_str::<Managers>(r#"{"role":"root"}"#).is_err());
        assert!(serde_json::from_str::<Managers>(r#"{"spec.role":""}"#).is_err());
    }
}
