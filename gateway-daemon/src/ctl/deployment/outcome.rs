//! What a change did or would do, as lines. Pure.

use serde::Serialize;

use super::kinds;
use crate::api::wire::{Fate, GatewayChange, ItemChange, Outcome, Reference};
use crate::ctl::print::Answer;

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    /// As the controller says it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether it only would.
    pub dry_run: bool,
}

impl Answer for Told {
    fn text(&self) -> String {
        let mark = if self.dry_run { " (dry run)" } else { "" };
        let fates = self.outcome.resources.iter();
        let mut text: String =
            fates.map(|fate| format!("{} {}{mark}\n", named(fate), fate.fate)).collect();
        if self.dry_run {
            text.push_str(&on_gateways(&self.outcome.gateways));
        }
        text
    }
}

/// The resource that a fate is of.
pub(super) fn named(fate: &Fate) -> String {
    kinds::shown(&Reference { kind: fate.kind.clone(), name: fate.name.clone() })
}

/// What changes on which gateway; what goes is marked by `-`, what comes by `+`.
pub(super) fn on_gateways(changes: &[GatewayChange]) -> String {
    let mut text = String::new();
    for GatewayChange { site, gateway, items } in changes {
        text.push_str(&match gateway {
            Some(gateway) => format!("\ngateway {gateway} of site {site}:\n"),
            None => format!("\nsite {site}, which has no gateway yet:\n"),
        });
        for ItemChange { before, after } in items {
            let lines = [("-", before), ("+", after)].into_iter();
            let lines = lines.filter_map(|(mark, line)| Some((mark, line.as_ref()?)));
            text.extend(lines.map(|(mark, line)| format!("  {mark} {line}\n")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_resources_and_gateways() {
        let item = |before: Option<&str>, after: Option<&str>| ItemChange {
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let outcome = Outcome {
            revision: None,
            resources: vec![Fate {
                kind: "Service".into(),
                name: "a.b".into(),
                fate: "changed".into(),
            }],
            gateways: vec![
                GatewayChange {
                    site: "b".into(),
                    gateway: Some("gw".into()),
                    items: vec![item(Some("old"), Some("new")), item(None, Some("more"))],
                },
                GatewayChange {
                    site: "c".into(),
                    gateway: None,
                    items: vec![item(Some("x"), None)],
                },
            ],
        };
        let told = Told { outcome: outcome.clone(), dry_run: false };
        assert_eq!(told.text(), "service/a.b changed\n");
        let told = Told { outcome, dry_run: true };
        assert_eq!(
            told.text(),
            "service/a.b changed (dry run)\n\ngateway gw of site b:\n  - old\n  + new\n  + more\n\n\
             site c, which has no gateway yet:\n  - x\n"
        );
        assert_eq!(serde_json::to_value(&told).unwrap()["dry_run"], true);
    }
}
