//! `gatewayctl counters`: what became of packets. Pure.

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

#[cfg(test)]
mod tests {
    use gateway_common::Reason;

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
}
