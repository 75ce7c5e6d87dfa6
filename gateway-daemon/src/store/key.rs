//! Keys, values, revisions and leases: what every store is made of.
//!
//! A key or a value that is too long for one of the stores cannot be written.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that name a value. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// Longest key, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// A key of any bytes, but at least one.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(KeyError::Empty);
        }
        if bytes.len() > Self::MAX_LEN {
            return Err(KeyError::TooLong { length: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Why bytes are no [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No bytes at all.
    #[error("the key is empty; give it at least one byte")]
    Empty,
    /// More than [`Key::MAX_LEN`].
    #[error("the key is {length} bytes long; shorten it to {} or fewer", Key::MAX_LEN)]
    TooLong {
        /// Its length.
        length: usize,
    },
}

/// How the keys begin that are meant; all keys, if it has no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Box<[u8]>);

impl Prefix {
    /// The prefix of every key.
    pub fn all() -> Self {
        Self(Box::default())
    }

    /// A prefix of any bytes, up to [`Key::MAX_LEN`].
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let bytes = bytes.as_ref();
        if bytes.len() > Key::MAX_LEN {
            return Err(KeyError::TooLong { length: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The least bytes that are greater than all bytes with this prefix; `None` if nothing is.
pub(super) fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// What a key has. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// Longest value, in bytes.
    pub const MAX_LEN: usize = 1 << 20;

    /// A value of any bytes, also of none.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, ValueError> {
        let bytes = bytes.as_ref();
        if bytes.len() > Self::MAX_LEN {
            return Err(ValueError { length: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(64)];
        write!(f, "Value({} bytes: {}", self.0.len(), shown.escape_ascii())?;
        f.write_str(if shown.len() < self.0.len() { "…)" } else { ")" })
    }
}

/// More bytes than a [`Value`] holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is {length} bytes long; shorten it to {} or fewer", Value::MAX_LEN)]
pub struct ValueError {
    length: usize,
}

/// The number of a transaction. Later ones have greater numbers, not always by one; none is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision with this number, as [`Revision::number`] gave it.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// For engines whose numbers have a sign. Neither engine reaches the numbers that do not fit.
    pub(super) fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    pub(super) fn from_signed(number: i64) -> Self {
        Self(u64::try_from(number).unwrap_or(0))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroU64);

impl LeaseId {
    /// The lease with this number, as [`LeaseId::number`] gave it.
    pub fn new(number: NonZeroU64) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> NonZeroU64 {
        self.0
    }

    /// For engines that write a key without a lease with lease 0.
    pub(super) fn signed(lease: Option<Self>) -> i64 {
        lease.map_or(0, |lease| lease.0.get().cast_signed())
    }

    pub(super) fn from_signed(number: i64) -> Option<Self> {
        NonZeroU64::new(number.cast_unsigned()).map(Self)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A lease as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts without being kept alive.
    pub ttl: Duration,
}

/// A key with what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// The revision that made the key where there was none.
    pub created: Revision,
    /// The revision that gave it this value.
    pub modified: Revision,
    /// The lease with which it goes.
    pub lease: Option<LeaseId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_bounds() {
        assert_eq!(Key::new([]), Err(KeyError::Empty));
        assert!(Key::new([0xff; Key::MAX_LEN]).is_ok());
        assert_eq!(Key::new([0; 1025]), Err(KeyError::TooLong { length: 1025 }));
        assert!(Value::new(vec![0; Value::MAX_LEN]).is_ok());
        assert!(Value::new(vec![0; Value::MAX_LEN + 1]).is_err());
        assert_eq!(Key::new(b"a/\xff\0").unwrap().to_string(), r"a/\xff\x00");
    }

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        let cases: [(&[u8], Option<&[u8]>); 5] = [
            (b"a/", Some(b"a0")),
            (b"a\xff", Some(b"b")),
            (b"a\xff\xff", Some(b"b")),
            (b"\xff\xff", None),
            (b"", None),
        ];
        for (prefix, end) in cases {
            assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
