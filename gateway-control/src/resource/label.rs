//! Labels of resources, and selectors that ask for them. Lengths and characters are those of Kubernetes
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Key of a label: a name, or a DNS name, a slash and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(Box<str>);

/// Value of a label; may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(Box<str>);

const LONGEST: usize = 63;
const LONGEST_PREFIX: usize = 253;
/// Most labels of one resource.
const MOST: usize = 64;

/// Why a text is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelFault {
    /// Not a key.
    #[error(
        "{found} is no label key; write at most 63 letters, digits, '-', '_' or '.', with a letter or \
         digit at both ends, and before it, if anything, a DNS name and '/'"
    )]
    Key {
        /// The text, quoted.
        found: String,
    },
    /// Not a value.
    #[error(
        "{found} is no label value; write at most 63 letters, digits, '-', '_' or '.', with a letter or \
         digit at both ends, or nothing"
    )]
    Value {
        /// The text, quoted.
        found: String,
    },
    /// Not `KEY=VALUE`, or a key that was there already.
    #[error(
        "{found} asks for no label, or for one again; write KEY=VALUE, with ',' between several"
    )]
    Pair {
        /// The text, quoted.
        found: String,
    },
    /// Too many labels.
    #[error("{found} labels are too many; keep {MOST} at most")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A selector that asks for nothing.
    #[error("it asks for no label, so it would select every site; name a label")]
    SelectsAll,
}

fn is_name(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= LONGEST
        && ends.into_iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= LONGEST_PREFIX
        && text.split('.').all(|label| label.parse::<gateway_policy::Label>().is_ok())
}

impl FromStr for LabelKey {
    type Err = LabelFault;

    fn from_str(text: &str) -> Result<Self, LabelFault> {
        let (prefix, name) = match text.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, text),
        };
        if is_name(name) && prefix.is_none_or(is_dns_name) {
            return Ok(Self(text.into()));
        }
        Err(LabelFault::Key { found: crate::model::quoted(text) })
    }
}

impl FromStr for LabelValue {
    type Err = LabelFault;

    fn from_str(text: &str) -> Result<Self, LabelFault> {
        if text.is_empty() || is_name(text) {
            return Ok(Self(text.into()));
        }
        Err(LabelFault::Value { found: crate::model::quoted(text) })
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The labels of a resource: 64 at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

impl Labels {
    /// Fails if there are too many.
    pub fn new(labels: BTreeMap<LabelKey, LabelValue>) -> Result<Self, LabelFault> {
        match labels.len() {
            0..=MOST => Ok(Self(labels)),
            found => Err(LabelFault::TooMany { found }),
        }
    }

    /// Each key with its value, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelKey, &LabelValue)> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Asks for labels: what has all of them is selected. One at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Labels);

impl Selector {
    /// Fails if it would select everything.
    pub fn new(labels: Labels) -> Result<Self, LabelFault> {
        if labels.is_empty() { Err(LabelFault::SelectsAll) } else { Ok(Self(labels)) }
    }

    /// Whether something with these labels is selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(key, value)| labels.0.get(key) == Some(value))
    }

    /// The labels it asks for.
    pub fn labels(&self) -> &Labels {
        &self.0
    }
}

impl FromStr for Selector {
    type Err = LabelFault;

    /// Reads `KEY=VALUE,KEY=VALUE`.
    fn from_str(text: &str) -> Result<Self, LabelFault> {
        let mut labels = BTreeMap::new();
        for pair in text.split(',').filter(|_| !text.is_empty()) {
            let wrong = || LabelFault::Pair { found: crate::model::quoted(pair) };
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            let (key, value): (LabelKey, LabelValue) = (key.parse()?, value.parse()?);
            if labels.insert(key, value).is_some() {
                return Err(wrong());
            }
        }
        Self::new(Labels::new(labels)?)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<_> = self.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        f.pad(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let long = "a".repeat(63);
        for right in ["a", "A.b_c-9", "example.com/tier", &long, &format!("a.b/{long}")] {
            assert!(right.parse::<LabelKey>().is_ok(), "{right}");
        }
        let longer = "a".repeat(64);
        let prefix = format!("{}/x", ["a"; 128].join("."));
        for wrong in ["", "-a", "a-", "a/", "/a", "a/b/c", "A.com/x", "a b", "é", &longer, &prefix]
        {
            assert!(wrong.parse::<LabelKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values() {
        for right in ["", "a", "v1.2_3-4"] {
            assert!(right.parse::<LabelValue>().is_ok(), "{right}");
        }
        for wrong in ["-", "a/b", "a b", "\n", &"a".repeat(64)] {
            assert!(wrong.parse::<LabelValue>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn selection_is_by_all_labels() {
        let labels = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
            Labels::new(pairs.collect()).unwrap()
        };
        let selector = Selector::new(labels(&[("a", "1"), ("b", "")])).unwrap();
        assert!(selector.selects(&labels(&[("a", "1"), ("b", ""), ("c", "2")])));
        assert!(!selector.selects(&labels(&[("a", "1")])));
        assert!(!selector.selects(&labels(&[("a", "1"), ("b", "x")])));
        assert_eq!(selector.to_string().parse(), Ok(selector));
        for wrong in ["", "a", "a=1,", "a=1,a=2", "a=1,a=1", "=1", "a=b=c", "a==b"] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong:?}");
        }
        assert_eq!(Selector::new(labels(&[])), Err(LabelFault::SelectsAll));
        let many = (0..65).map(|n| (format!("k{n}").parse().unwrap(), "v".parse().unwrap()));
        assert_eq!(Labels::new(many.collect()), Err(LabelFault::TooMany { found: 65 }));
    }
}
