//! The page of resources. Its tests hold it to the reader: every field that the reader knows is on the page
//! and no other, every default is the reader's own, and the examples are read.

mod kinds;

use Given::{Absent, Default, OneOf, Required};
use kinds::{KINDS, METADATA};

use super::{GENERATED, cell};

pub(super) fn page() -> String {
    let mut page = format!("# Resources\n{GENERATED}\n{PREFACE}");
    page.push_str(&table(METADATA));
    for KindPage { name, about, mappings, example } in KINDS {
        page.push_str(&format!("\n## {name}\n\n{about}\n"));
        for Mapping { path, about, fields } in *mappings {
            page.push_str(&format!("\n### `{path}` of {}\n\n", article(name)));
            if !about.is_empty() {
                page.push_str(&format!("{about}\n\n"));
            }
            page.push_str(&table(fields));
        }
        page.push_str(&format!("\n```yaml\n{example}```\n"));
    }
    page
}

const PREFACE: &str = "\
What is declared, in YAML or JSON; several documents in a text are divided by `---`. A text is taken as a \
whole, or refused with every fault, each with its document, line and column. It has at most 64 MiB. Unknown \
fields are errors; anchors, aliases, tags and directives have no place. A field without a value, as `hub: ~`, \
is one that is left out.

Every document has `kind`, `metadata` and `spec`. What the controller adds when it shows a resource, `status` \
and `metadata.managers`, is read over, so that what was shown can be changed and applied.

A prefix is ADDRESS/LENGTH without bits beyond its length, of IPv4. Durations are a number and `s`, `m` or \
`h`. Numbers, `true` and `false` stand without quotes.

## Who has set what

Each field, that is `spec.NAME` with all that is in it, or `metadata.labels.KEY`, is held by the manager in \
whose name it was set last. Of a document that is applied,

- a field with the value that it has already stays with its holder,
- a field with another value is set, unless another manager holds it: that is a conflict, and `--force` \
takes the field over,
- a field that is left out is removed if the same manager has set it before, and stays if another has.

If what others hold and stays does not go with what is applied, that is a conflict as well; `--force` removes \
it. A conflict names the field, who holds it, and both values, and nothing is changed.

## `metadata`

";

fn table(fields: &[Field]) -> String {
    let mut table = "| field | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for Field { name, shape, default, meaning } in fields {
        let default = match default {
            Required => "required".to_owned(),
            Default(value) => format!("`{value}`"),
            Absent(meaning) | OneOf(meaning) => (*meaning).to_owned(),
        };
        let (shape, meaning) = (cell(shape), cell(meaning));
        table.push_str(&format!("| `{name}` | {shape} | {default} | {meaning} |\n"));
    }
    table
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['A', 'E', 'I', 'O', 'U']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

/// A kind of resource.
struct KindPage {
    name: &'static str,
    about: &'static str,
    mappings: &'static [Mapping],
    example: &'static str,
}

/// A mapping of a kind, `spec` or one inside it; `[]` stands for each entry of a list.
struct Mapping {
    path: &'static str,
    about: &'static str,
    fields: &'static [Field],
}

/// A field of a mapping.
struct Field {
    name: &'static str,
    shape: &'static str,
    default: Given,
    meaning: &'static str,
}

/// What holds if a field is left out.
enum Given {
    /// It may not be.
    Required,
    /// This value, as a text or a number.
    Default(&'static str),
    /// What these words say.
    Absent(&'static str),
    /// It may be under the condition that these words say.
    OneOf(&'static str),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_control::resource::{FaultKind, Kind, MAX_LEN, read, read_one};
    use serde_json::Value;

    use super::*;

    /// The documents of an example, as they are written there: nothing is filled in.
    fn documents(example: &str) -> Vec<Value> {
        example.split("---\n").map(|text| yaml_serde::from_str(text).unwrap()).collect()
    }

    /// The paths of every mapping with fields inside a value; `[]` stands for each entry of a list.
    fn mappings(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(entries) if !path.ends_with(".labels") => {
                found.push(path.to_owned());
                for (name, value) in entries {
                    mappings(&format!("{path}.{name}"), value, found);
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|item| mappings(&format!("{path}[]"), item, found));
            }
            _ => {}
        }
    }

    /// The mappings at a path.
    fn at<'a>(path: &str, document: &'a mut Value) -> Vec<&'a mut Value> {
        let mut found = vec![document];
        for part in path.split('.') {
            let name = part.trim_end_matches("[]");
            let inner = found.into_iter().filter_map(|value| value.get_mut(name));
            found = if part.ends_with("[]") {
                inner.filter_map(Value::as_array_mut).flatten().collect()
            } else {
                inner.collect()
            };
        }
        found
    }

    /// What the reader says are the fields of a mapping.
    fn known(path: &str, document: &Value) -> BTreeSet<String> {
        let mut document = document.clone();
        let at = at(path, &mut document).into_iter().next().unwrap();
        at.as_object_mut().unwrap().insert("noSuchField".to_owned(), Value::from(1));
        let error = read(&document.to_string()).unwrap_err();
        let [fault] = error.faults() else { panic!("{error}") };
        let FaultKind::Unknown { known, .. } = &fault.kind else { panic!("{error}") };
        known.split(", ").map(str::to_owned).collect()
    }

    fn told(fields: &[Field]) -> BTreeSet<String> {
        fields.iter().map(|field| field.name.to_owned()).collect()
    }

    #[test]
    fn the_longest_text_is_told() {
        assert!(PREFACE.contains(&format!("at most {} MiB", MAX_LEN >> 20)));
    }

    #[test]
    fn every_kind_has_an_example_that_is_read() {
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(kinds, Kind::ALL.map(Kind::word));
        for kind in KINDS {
            let declared = read(kind.example).unwrap_or_else(|error| panic!("{error}"));
            assert!(declared.iter().all(|it| it.resource.key().kind().word() == kind.name));
        }
    }

    /// The reader answers an unknown field with the list of those it knows.
    #[test]
    fn the_fields_are_those_that_the_reader_knows() {
        for kind in KINDS {
            let mut seen: BTreeSet<String> = BTreeSet::new();
            for document in documents(kind.example) {
                assert_eq!(told(METADATA), known("metadata", &document), "{}", kind.name);
                let mut paths = Vec::new();
                mappings("spec", &document["spec"], &mut paths);
                for path in paths {
                    let mapping = kind.mappings.iter().find(|it| it.path == path);
                    let mapping =
                        mapping.unwrap_or_else(|| panic!("{}: {path} is not told of", kind.name));
                    assert_eq!(told(mapping.fields), known(&path, &document), "{}", kind.name);
                    seen.insert(path);
                }
            }
            let told: BTreeSet<_> = kind.mappings.iter().map(|it| it.path.to_owned()).collect();
            assert_eq!(told, seen, "{}", kind.name);
        }
    }

    /// With that, no mapping of the reader goes unseen by the test before.
    #[test]
    fn every_field_is_in_an_example() {
        for kind in KINDS {
            for mapping in kind.mappings {
                for field in mapping.fields {
                    let is_there = documents(kind.example).iter_mut().any(|document| {
                        at(mapping.path, document).iter().any(|it| it.get(field.name).is_some())
                    });
                    assert!(is_there, "{}: {}.{}", kind.name, mapping.path, field.name);
                }
            }
        }
    }

    #[test]
    fn every_default_is_the_readers() {
        for kind in KINDS {
            for mapping in kind.mappings {
                for field in mapping.fields {
                    let place = format!("{}: {}.{}", kind.name, mapping.path, field.name);
                    let mut left_out = 0;
                    for mut document in documents(kind.example) {
                        let mut is_there = false;
                        for inner in at(mapping.path, &mut document) {
                            let inner = inner.as_object_mut().unwrap();
                            is_there |= inner.remove(field.name).is_some();
                        }
                        if is_there {
                            left_out += usize::from(is_right(mapping.path, field, &document));
                        }
                    }
                    assert!(left_out > 0, "{place} is left out in another way than told");
                }
            }
        }
    }

    /// Whether a document without a field is read, or refused, as the page says.
    fn is_right(path: &str, field: &Field, document: &Value) -> bool {
        let read = read(&document.to_string());
        let missing = |kind: &FaultKind| {
            let FaultKind::Missing { field: found, .. } = kind else { return false };
            found.ends_with(&format!(".{}", field.name))
        };
        match (&field.default, read) {
            (Required, Err(error)) => error.faults().iter().any(|fault| missing(&fault.kind)),
            (OneOf(_), Err(error)) => {
                error.faults().iter().any(|fault| matches!(fault.kind, FaultKind::Value { .. }))
            }
            (Absent(_), Ok(_)) => true,
            (Default(default), Ok(declared)) => {
                let mut written = serde_json::to_value(&declared[0].resource).unwrap();
                at(path, &mut written).iter().all(|it| match &it[field.name] {
                    Value::String(text) => text == default,
                    // What is so by default is not written.
                    Value::Null => {
                        let mut stated = document.clone();
                        for inner in at(path, &mut stated) {
                            inner[field.name] = (*default).into();
                        }
                        read_one(&stated.to_string()).is_ok_and(|it| it == declared[0].resource)
                    }
                    other => default.parse().is_ok_and(|default: Value| default == *other),
                })
            }
            (Required | OneOf(_), Ok(_)) | (Absent(_) | Default(_), Err(_)) => false,
        }
    }
}
