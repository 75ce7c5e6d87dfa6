//! Names for the numbers in other maps, so that inspection needs nothing but the pins.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::map;

map! {
    /// Kind and number to a name. The programs never read it.
    Names = "names": SparseHash, NameKey => Name, 1 << 17
}

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// A site, by [`super::SiteNumber`].
    Site,
    /// A service, by its transit address as a number.
    Service,
    /// An allow rule, by its number in [`super::Allow`].
    Rule,
}

/// Kind and number of a named thing.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct NameKey {
    kind: u32,
    number: u32,
}

impl NameKey {
    /// The key of number `number` of this kind.
    pub const fn new(kind: NameKind, number: u32) -> Self {
        let kind = match kind {
            NameKind::Site => 1,
            NameKind::Service => 2,
            NameKind::Rule => 3,
        };
        Self { kind, number }
    }

    /// What kind of thing is named; `None` for a number this build does not know.
    pub const fn kind(&self) -> Option<NameKind> {
        match self.kind {
            1 => Some(NameKind::Site),
            2 => Some(NameKind::Service),
            3 => Some(NameKind::Rule),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.number
    }
}

/// A name of up to 127 octets of UTF-8, filled up with zeros: `SERVICE.SITE`, a site or a rule.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Name([u8; 128]);

impl Name {
    /// Longest name, in octets: two DNS labels of 63 and the dot between them.
    pub const MAX: usize = 127;

    /// The name `text`; `None` if it is longer than [`Self::MAX`] or holds a zero octet.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 128];
        if text.len() > Self::MAX || text.bytes().any(|byte| byte == 0) {
            return None;
        }
        bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        Some(Self(bytes))
    }

    /// The text; what is not UTF-8 (no writer of ours makes it) reads as empty.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        core::str::from_utf8(self.0.get(..length).unwrap_or(&[])).unwrap_or("")
    }
}

impl core::fmt::Debug for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}
