//! Transactions: what must hold, what is to be done, and what came of it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Entry, Key, LeaseId, Revision, StoreError, Value};

/// Conditions on keys, and operations that are done together if all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    conditions: Vec<(Key, Condition)>,
    operations: BTreeMap<Key, Operation>,
}

impl Transaction {
    /// One without conditions that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does it only if this holds as well.
    #[must_use]
    pub fn when(mut self, key: Key, condition: Condition) -> Self {
        self.conditions.push((key, condition));
        self
    }

    /// Gives the key this value, and no lease, in place of any other operation on the key.
    #[must_use]
    pub fn put(mut self, key: Key, value: Value) -> Self {
        self.operations.insert(key, Operation::Put { value, lease: None });
        self
    }

    /// As [`Transaction::put`], and the key goes when the lease ends.
    #[must_use]
    pub fn put_with_lease(mut self, key: Key, value: Value, lease: LeaseId) -> Self {
        self.operations.insert(key, Operation::Put { value, lease: Some(lease) });
        self
    }

    /// Removes the key, if it is there, in place of any other operation on the key.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.operations.insert(key, Operation::Delete);
        self
    }

    /// What must hold.
    pub fn conditions(&self) -> &[(Key, Condition)] {
        &self.conditions
    }

    /// What is to be done.
    pub fn operations(&self) -> &BTreeMap<Key, Operation> {
        &self.operations
    }

    pub(super) fn check(&self, limits: Limits) -> Result<(), StoreError> {
        let operations = self.conditions.len().max(self.operations.len());
        if operations > limits.operations {
            return Err(StoreError::TooManyOperations { operations, limit: limits.operations });
        }
        let bytes = self.bytes();
        if bytes > limits.bytes {
            return Err(StoreError::TooManyBytes { bytes, limit: limits.bytes });
        }
        Ok(())
    }

    /// About what it takes on the wire. Conditions count twice: etcd is sent their keys a second time, to say which
    /// failed.
    fn bytes(&self) -> usize {
        const REST: usize = 128;
        let conditions: usize =
            self.conditions.iter().map(|(key, _)| 2 * (key.as_bytes().len() + REST)).sum();
        let operations: usize = self
            .operations
            .iter()
            .map(|(key, operation)| {
                let value = match operation {
                    Operation::Put { value, .. } => value.as_bytes().len(),
                    Operation::Delete => 0,
                };
                key.as_bytes().len() + value + REST
            })
            .sum();
        conditions + operations
    }
}

/// What must hold of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent,
    /// There is such a key.
    Present,
    /// The key has the value that this revision gave it.
    Unchanged(Revision),
}

impl Condition {
    /// Does it hold of a key that was last modified then, or is not there?
    pub(super) fn holds(self, modified: Option<Revision>) -> bool {
        match self {
            Self::Absent => modified.is_none(),
            Self::Present => modified.is_some(),
            Self::Unchanged(revision) => modified == Some(revision),
        }
    }
}

impl From<&Entry> for Condition {
    fn from(entry: &Entry) -> Self {
        Self::Unchanged(entry.modified)
    }
}

/// What is done with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It gets a value.
    Put {
        /// The value.
        value: Value,
        /// The lease with which it goes.
        lease: Option<LeaseId>,
    },
    /// It is removed.
    Delete,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Done, at this revision: a new one, or the last one if there was nothing to change.
    Committed(Revision),
    /// Not done.
    Conflict(Conflict),
}

/// The first condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Key,
    /// What should have held.
    pub condition: Condition,
    /// When the key was last modified; `None` if there is none.
    pub found: Option<Revision>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.key)?;
        match self.condition {
            Condition::Absent => f.write_str("should be absent"),
            Condition::Present => f.write_str("should be present"),
            Condition::Unchanged(revision) => write!(f, "should be of revision {revision}"),
        }?;
        match self.found {
            Some(revision) => write!(f, " and is of revision {revision}"),
            None => f.write_str(" and is absent"),
        }
    }
}

/// What fits into a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most operations, and most conditions.
    pub operations: usize,
    /// Most bytes of keys and values together, with 128 for each operation and twice as much as its
    /// key and 128 for each condition.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let key = |number: u8| Key::new([number]).unwrap();
        let value = Value::new([0; 100]).unwrap();
        let limits = Limits { operations: 2, bytes: 2 * 129 + 229 };
        let fits = Transaction::new().put(key(1), value.clone()).when(key(1), Condition::Absent);
        fits.check(limits).unwrap();
        let many = fits.clone().delete(key(2)).delete(key(3));
        let error = many.check(limits).unwrap_err().to_string();
        assert!(error.contains("3 operations") && error.contains("at most 2"), "{error}");
        let large = fits.delete(key(2));
        let error = large.check(limits).unwrap_err().to_string();
        assert!(error.contains("616 bytes") && error.contains("at most 487"), "{error}");
    }

    #[test]
    fn the_last_operation_on_a_key_counts() {
        let key = Key::new("a").unwrap();
        let value = Value::new("b").unwrap();
        let transaction = Transaction::new().put(key.clone(), value).delete(key.clone());
        assert_eq!(transaction.operations(), &BTreeMap::from([(key, Operation::Delete)]));
    }
}
