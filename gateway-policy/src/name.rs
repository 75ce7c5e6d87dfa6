//! Names of sites, services and rules: DNS labels, so that each can stand in a site's DNS.

use std::fmt;
use std::str::FromStr;

/// A DNS label in lower case (RFC 1123 section 2.1): 1 to 63 letters, digits and inner hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

impl Label {
    /// Longest label, in bytes (RFC 1035 section 2.3.4).
    pub const MAX_LEN: usize = 63;

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(LabelError::TooLong { length: text.len() });
        }
        if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(LabelError::Character { found });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(LabelError::OuterHyphen);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is not a [`Label`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No characters at all.
    #[error("the name is empty; write 1 to 63 lower-case letters, digits or hyphens")]
    Empty,
    /// More than [`Label::MAX_LEN`] bytes.
    #[error("the name is {length} characters long; shorten it to 63 or fewer")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A character that no label holds.
    #[error("a name cannot hold {found:?}; use lower-case letters, digits and hyphens only")]
    Character {
        /// The first such character.
        found: char,
    },
    /// A hyphen at the start or the end.
    #[error("a name cannot start or end with a hyphen; put a letter or a digit there")]
    OuterHyphen,
}

/// Declares a newtype over [`Label`] with `FromStr`, `Display` and `as_str`.
#[macro_export]
macro_rules! label_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($crate::Label);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::LabelError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

label_newtype!(
    /// Name of a site.
    SiteName
);
label_newtype!(
    /// Name of a service within its site.
    ServiceName
);
label_newtype!(
    /// Id of a rule: what a verdict, an audit record and `trace` name.
    RuleId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let long = "a".repeat(64);
        let cases: &[(&str, Result<(), LabelError>)] = &[
            ("a", Ok(())),
            ("edge-a", Ok(())),
            ("7", Ok(())),
            (&long[..63], Ok(())),
            (&long, Err(LabelError::TooLong { length: 64 })),
            ("", Err(LabelError::Empty)),
            ("Edge", Err(LabelError::Character { found: 'E' })),
            ("a.b", Err(LabelError::Character { found: '.' })),
            ("a_b", Err(LabelError::Character { found: '_' })),
            ("é", Err(LabelError::Character { found: 'é' })),
            ("-a", Err(LabelError::OuterHyphen)),
            ("a-", Err(LabelError::OuterHyphen)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Label>().map(drop), *expected, "{text:?}");
        }
    }
}
