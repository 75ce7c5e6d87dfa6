//! Names of what is sealed. A name is sealed with its value, so that a value is good for its own purpose only.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What a sealed value is for: 1 to 64 lower-case letters, digits and hyphens, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose(Cow<'static, str>);

/// A text that is no purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a sealed value; use 1 to 64 lower-case letters, digits and hyphens, and begin with a \
     letter or digit"
)]
pub struct InvalidPurpose(String);

impl Purpose {
    /// A purpose that is known when the program is compiled.
    ///
    /// # Panics
    ///
    /// If the name is none. In a constant, that is when it is compiled.
    pub const fn of(name: &'static str) -> Self {
        assert!(is_name(name.as_bytes()), "not the name of a purpose");
        Self(Cow::Borrowed(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Purpose {
    type Err = InvalidPurpose;

    fn from_str(text: &str) -> Result<Self, InvalidPurpose> {
        match is_name(text.as_bytes()) {
            true => Ok(Self(Cow::Owned(text.to_owned()))),
            false => Err(InvalidPurpose(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

const fn is_name(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 64 || name[0] == b'-' {
        return false;
    }
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_files_in_the_directory() {
        const SHARE: Purpose = Purpose::of("share-2");
        assert_eq!("share-2".parse(), Ok(SHARE));
        for wrong in ["", "-a", "A", "a/b", "..", ".a", "a\0", "ä", &"a".repeat(65)] {
            assert!(wrong.parse::<Purpose>().is_err(), "{wrong:?}");
        }
    }
}
