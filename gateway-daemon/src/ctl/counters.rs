//! `gatewayctl counters`, and `gatewayctl explain`, which needs no data path. Pure.

use gateway_common::Reason;
use gateway_common::map::Counter;
use serde::Serialize;

use super::entry::label;
use super::print::{Answer, table};

/// What became of packets.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Counts(Vec<Count>);

/// One counter.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    /// Its label.
    pub label: &'static str,
    /// Whether it counts packets that were refused.
    pub refused: bool,
    /// The count.
    pub packets: u64,
}

impl Counts {
    /// These counts: all of them, or those that are not zero.
    pub(crate) fn of(counts: Vec<(Counter, u64)>, all: bool) -> Self {
        let counts = counts.into_iter().map(|(counter, packets)| {
            let refused = matches!(counter, Counter::Refused(_));
            Count { label: label(counter), refused, packets }
        });
        Self(counts.filter(|count| all || count.packets > 0).collect())
    }
}

impl Answer for Counts {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|count| {
            let kind = if count.refused { "refused" } else { "" };
            [count.packets.to_string(), count.label.to_owned(), kind.to_owned()]
        });
        table(["packets", "what", ""], rows, "no packet has been counted yet")
    }
}

/// Reasons with what they mean.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Explanations(Vec<Explanation>);

/// One reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// Its label.
    pub reason: &'static str,
    /// Its number.
    pub number: u8,
    /// What it means and what to do.
    pub help: &'static str,
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

impl From<Reason> for Explanation {
    fn from(reason: Reason) -> Self {
        Self { reason: reason.label(), number: reason as u8, help: reason.help() }
    }
}

impl Answer for Explanations {
    fn text(&self) -> String {
        let lines = self.0.iter().map(|it| format!("{} ({}): {}\n", it.reason, it.number, it.help));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::counters;
    use super::*;

    #[test]
    fn only_what_happened_is_shown_unless_all_is_asked_for() {
        let counts = || {
            let happened = Counter::Refused(Reason::NoPolicy);
            counters().map(|counter| (counter, if counter == happened { 3 } else { 0 })).collect()
        };
        let some = Counts::of(counts(), false);
        assert_eq!(some.text(), "PACKETS  WHAT\n3        no-policy  refused\n");
        assert_eq!(
            serde_json::to_string(&some).unwrap(),
            r#"[{"label":"no-policy","refused":true,"packets":3}]"#
        );
        assert_eq!(Counts::of(counts(), true).0.len(), counters().count());
    }

    #[test]
    fn reasons_are_found_by_label_and_number() {
        let by_label = Explanations::of(Some("no-policy")).unwrap();
        assert!(by_label.text().starts_with("no-policy (16): "), "{}", by_label.text());
        assert_eq!(Explanations::of(Some("16")).unwrap().0, by_label.0);
        assert_eq!(Explanations::of(None).unwrap().0.len(), Reason::ALL.len());
        let unknown = Explanations::of(Some("bad")).unwrap_err().to_string();
        assert!(unknown.contains("\"bad\"") && unknown.contains("gatewayctl explain"), "{unknown}");
    }
}
