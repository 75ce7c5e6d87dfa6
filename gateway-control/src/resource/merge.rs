//! What becomes of a resource when somebody applies a document of it: the fields that he states are set, those
//! that he stated before and no longer does are removed, and those of others stay.
//!
//! The controller calls it with what its store has; nothing here looks further than the one resource.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::field::{document, values};
use super::{Field, Key, ManagerName, Managers, Resource, ResourceError, read_one};

/// A field of another manager that stands in the way of what is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldConflict {
    /// The resource.
    pub key: Key,
    /// The field.
    pub field: Field,
    /// Who holds it.
    pub manager: ManagerName,
    /// Its value, as JSON.
    pub stored: String,
    /// What stands against it.
    pub clash: Clash,
}

/// Why a field stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// It is applied with another value, here as JSON.
    Value(String),
    /// It is not applied, and what is applied makes no sense together with it: why not.
    Beside(String),
}

/// The resource that comes of applying `applied`, of which `fields` are stated, in the name of `by`; and who
/// holds its fields then. `stored` is what there is of the same key.
///
/// A field that is stated with the value that it has keeps its holder; with another one it is set, and `by`
/// holds it, unless another manager held it. A field that is not stated is removed, unless another manager
/// holds it. With `force` nobody stands in the way: fields with other values are taken over, and those that
/// do not go with what is applied are removed. Fails with every field of others that is in the way.
pub fn merge(
    stored: Option<(&Resource, &Managers)>,
    applied: &Resource,
    fields: &BTreeSet<Field>,
    by: &ManagerName,
    force: bool,
) -> Result<(Resource, Managers), Vec<FieldConflict>> {
    let nobody = Managers::default();
    let (before, managers) = match stored {
        Some((resource, managers)) => (values(resource), managers),
        None => (BTreeMap::new(), &nobody),
    };
    let key = applied.key();
    let mut given = values(applied);
    // A list that is stated and empty is not written.
    let given: BTreeMap<&Field, Value> =
        fields.iter().map(|field| (field, given.remove(field).unwrap_or(Value::Null))).collect();
    let others = |field: &Field| managers.holder(field).filter(|it| *it != by);

    let mut merged = Merged::default();
    let mut conflicts = Vec::new();
    for (field, value) in &given {
        let holder = match before.get(*field) {
            Some(held) if held == value => managers.holder(field).unwrap_or(by),
            Some(held) => match others(field).filter(|_| !force) {
                Some(manager) => {
                    let clash = Clash::Value(shown(value));
                    conflicts.push(conflict(&key, field, manager, held, clash));
                    continue;
                }
                None => by,
            },
            None => by,
        };
        if !value.is_null() {
            merged.set(field, value, holder);
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let own = merged.clone();
    let mut kept = BTreeMap::new();
    for (field, value) in before.iter().filter(|(field, _)| !fields.contains(field)) {
        if let Some(manager) = others(field) {
            merged.set(field, value, manager);
            kept.insert(field, manager);
        }
    }
    if kept.is_empty() {
        return Ok((applied.clone(), own.managers()));
    }
    let error = match merged.read(&key) {
        Ok(resource) => return Ok((resource, merged.managers())),
        Err(error) => error,
    };
    let in_the_way = merged.in_the_way(&key, &kept);
    if !force {
        let why = error.faults().first().map(|fault| fault.kind.to_string()).unwrap_or_default();
        let conflicts = in_the_way.into_iter().filter_map(|field| {
            let (manager, held) = (kept.get(field)?, before.get(field)?);
            Some(conflict(&key, field, manager, held, Clash::Beside(why.clone())))
        });
        return Err(conflicts.collect());
    }
    let rest = merged.without(&in_the_way);
    match rest.read(&key) {
        Ok(resource) => Ok((resource, rest.managers())),
        Err(_) => Ok((applied.clone(), own.managers())),
    }
}

/// Fields, each with its value and its holder.
#[derive(Clone, Default)]
struct Merged {
    values: BTreeMap<Field, Value>,
    holders: BTreeMap<Field, ManagerName>,
}

impl Merged {
    fn set(&mut self, field: &Field, value: &Value, holder: &ManagerName) {
        self.values.insert(field.clone(), value.clone());
        self.holders.insert(field.clone(), holder.clone());
    }

    fn read(&self, key: &Key) -> Result<Resource, ResourceError> {
        let name = match key {
            Key::Service(id) => id.name.to_string(),
            Key::Site(_) | Key::Gateway(_) | Key::Exposure(_) | Key::Policy(_) | Key::Token(_) => {
                key.name()
            }
        };
        read_one(&document(key.kind().word(), &name, &self.values))
    }

    fn without(&self, fields: &[&Field]) -> Self {
        let mut rest = self.clone();
        for field in fields {
            rest.values.remove(*field);
            rest.holders.remove(*field);
        }
        rest
    }

    fn managers(self) -> Managers {
        self.holders.into_iter().collect()
    }

    /// Those of the kept fields that keep this from making sense: labels if there are too many, else each field
    /// that alone would do, else all below `spec`.
    fn in_the_way<'a>(
        &self,
        key: &Key,
        kept: &BTreeMap<&'a Field, &ManagerName>,
    ) -> Vec<&'a Field> {
        let (labels, spec): (Vec<&Field>, Vec<&Field>) =
            kept.keys().partition(|field| matches!(field, Field::Label(_)));
        if spec.is_empty() || (!labels.is_empty() && self.without(&spec).read(key).is_err()) {
            return labels;
        }
        let alone = |field: &&&Field| self.without(&[**field]).read(key).is_ok();
        let found: Vec<_> = spec.iter().filter(alone).copied().collect();
        if found.is_empty() { spec } else { found }
    }
}

/// Longest value that is shown, in characters.
const SHOWN: usize = 200;

fn shown(value: &Value) -> String {
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn conflict(
    key: &Key,
    field: &Field,
    manager: &ManagerName,
    stored: &Value,
    clash: Clash,
) -> FieldConflict {
    let (key, field, manager) = (key.clone(), field.clone(), manager.clone());
    FieldConflict { key, field, manager, stored: shown(stored), clash }
}

impl fmt::Display for FieldConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, field, manager, stored, clash } = self;
        write!(f, "{key}: {field}: {manager} has set it to {stored}, ")?;
        match clash {
            Clash::Value(applied) => write!(
                f,
                "and you apply {applied}; take it over with --force, or leave it to {manager}"
            ),
            Clash::Beside(why) => write!(
                f,
                "which does not go with what you apply ({why}); remove it with --force, or leave it to \
                 {manager} and change what you apply"
            ),
        }
    }
}
