//! `gatewayctl explain`: what each reason means, what usually brings it about, what to do and where to
//! look. Needs no data path. Pure.

use gateway_common::Reason;
use serde::Serialize;

use super::print::{Answer, pairs, table};

/// Reasons with what they mean.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Explanations(Vec<Explanation>);

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// Its label, which is also that of its counter.
    pub reason: &'static str,
    /// Its number.
    pub number: u8,
    /// What is to be said of it.
    #[serde(flatten)]
    pub words: Words,
}

/// What is to be said of a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Words {
    /// What it means.
    pub meaning: &'static str,
    /// What usually brings it about.
    pub causes: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Commands that show more.
    pub look: &'static [&'static str],
}

/// There is no such reason.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no reason; `gatewayctl explain` lists all of them")]
pub(crate) struct UnknownReason(String);

impl Explanations {
    /// All reasons, or the one with this label or number.
    pub(crate) fn of(reason: Option<&str>) -> Result<Self, UnknownReason> {
        let Some(text) = reason else {
            return Ok(Self(Reason::ALL.iter().copied().map(Explanation::from).collect()));
        };
        let by_number = || text.parse().ok().and_then(Reason::from_number);
        let found = Reason::from_label(text).or_else(by_number);
        let reason = found.ok_or_else(|| UnknownReason(text.to_owned()))?;
        Ok(Self(vec![reason.into()]))
    }
}

impl From<Reason> for Words {
    fn from(reason: Reason) -> Self {
        Self {
            meaning: reason.meaning(),
            causes: reason.causes(),
            remedy: reason.remedy(),
            look: reason.look(),
        }
    }
}

impl From<Reason> for Explanation {
    fn from(reason: Reason) -> Self {
        Self { reason: reason.label(), number: reason as u8, words: reason.into() }
    }
}

impl Answer for Explanations {
    fn text(&self) -> String {
        match self.0.as_slice() {
            [one] => one.text(),
            all => {
                let rows = all.iter().map(|it| {
                    [it.number.to_string(), it.reason.to_owned(), it.words.meaning.to_owned()]
                });
                table(["number", "reason", "meaning"], rows, "no reasons")
            }
        }
    }
}

impl Explanation {
    fn text(&self) -> String {
        let Self { reason, number, words } = self;
        let look = words.look.join("\n");
        format!("{reason} ({number}): {}\n", words.meaning)
            + &pairs([
                ("causes", words.causes.to_owned()),
                ("remedy", words.remedy.to_owned()),
                ("counted", format!("gatewayctl map lookup counters {reason}")),
                ("look at", look),
            ])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::super::arguments::Arguments;
    use super::*;

    #[test]
    fn reasons_are_found_by_label_and_number() {
        let by_label = Explanations::of(Some("no-policy")).unwrap();
        let text = by_label.text();
        assert!(text.starts_with("no-policy (16): "), "{text}");
        for part in
            ["\ncauses ", "\nremedy ", "\nlook at ", "gatewayctl map lookup counters no-pol"]
        {
            assert!(text.contains(part), "{part:?}: {text}");
        }
        assert_eq!(Explanations::of(Some("16")).unwrap().0, by_label.0);
        assert_eq!(Explanations::of(None).unwrap().0.len(), Reason::ALL.len());
        let unknown = Explanations::of(Some("bad")).unwrap_err().to_string();
        assert!(unknown.contains("\"bad\"") && unknown.contains("gatewayctl explain"), "{unknown}");
    }

    #[test]
    fn all_reasons_are_a_table_of_one_line_each() {
        let all = Explanations::of(None).unwrap();
        let text = all.text();
        assert_eq!(text.lines().count(), Reason::ALL.len() + 1, "{text}");
        assert!(text.starts_with("NUMBER  REASON"), "{text}");
    }

    #[test]
    fn every_reason_has_remedy_and_explanation_of_its_own() {
        let all = Explanations::of(None).unwrap().0;
        for of in [
            |it: &Explanation| it.reason,
            |it: &Explanation| it.words.meaning,
            |it: &Explanation| it.words.causes,
            |it: &Explanation| it.words.remedy,
        ] {
            let texts: BTreeSet<&str> = all.iter().map(of).collect();
            assert_eq!(texts.len(), Reason::ALL.len(), "no two alike");
            assert!(texts.iter().all(|text| !text.trim().is_empty()));
        }
        let numbers: BTreeSet<u8> = all.iter().map(|it| it.number).collect();
        assert_eq!(numbers.len(), all.len());
    }

    #[test]
    fn the_commands_to_look_with_are_commands() {
        for it in Explanations::of(None).unwrap().0 {
            assert!(!it.words.look.is_empty(), "{}", it.reason);
            for command in it.words.look {
                let line = command
                    .replace("ADDRESS", "10.0.0.5")
                    .replace("SERVICE", "web.cloud")
                    .replace("SITE", "cloud");
                let parsed = Arguments::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{}: {command}: {}", it.reason, parsed.unwrap_err());
            }
        }
    }
}
