//! The lab's name, which every other name it makes carries, so that two labs never collide and
//! what a lab left behind can be told and removed.

use std::fmt;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};

/// A link device is called NAME-SITE, has at most 15 characters, and its control socket is shared
/// by all namespaces; the longest site is `edge-a`.
const LONGEST: usize = 8;

/// A lab's name: short, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabName(String);

impl LabName {
    /// Checks a name given by a person.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(
            (1..=LONGEST).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
            "a lab's name is 1 to {LONGEST} lower-case letters and digits, not {text:?}"
        );
        Ok(Self(text.to_owned()))
    }

    /// A name no other running process has: this process's id and a counter, in base 36.
    pub fn unique() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self(format!("t{}{}", base36(process::id()), base36(counter)))
    }

    /// The name of one of its namespaces.
    pub fn namespace(&self, part: &str) -> String {
        format!("{}{part}", self.namespace_prefix())
    }

    /// What all of its namespaces' names begin with.
    pub fn namespace_prefix(&self) -> String {
        format!("pr-{}-", self.0)
    }

    /// The name of a site's gateway instance, and of its link device.
    pub fn instance(&self, site: &str) -> String {
        format!("{}{site}", self.instance_prefix())
    }

    /// What all of its instances' and link devices' names begin with.
    pub fn instance_prefix(&self) -> String {
        format!("{}-", self.0)
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).expect("a remainder below 36 is a digit"));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_device_names_of_unique_labs_fit_and_differ() {
        let (one, other) = (LabName::unique(), LabName::unique());
        assert_ne!(one, other);
        assert!(one.instance("edge-a").len() <= 15);
    }

    #[test]
    fn counts_in_base_36() {
        assert_eq!(
            [base36(0), base36(35), base36(36), base36(4_194_304)],
            ["0", "z", "10", "2hwcg"]
        );
    }

    #[test]
    fn refuses_names_that_would_not_fit() {
        assert!(LabName::parse("demo").is_ok());
        for text in ["", "much-too-long", "Demo", "a/b", "ninechars"] {
            assert!(LabName::parse(text).is_err(), "{text}");
        }
    }
}
