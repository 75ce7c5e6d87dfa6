//! `describe` and `event list`: all about a resource, and what happened. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::kinds;
use super::related::Related;
use super::rows::{lag, progress};
use crate::api::wire::{Event, Events, View};
use crate::ctl::print::{Answer, or_dash, pairs, rows, table, yaml};

/// All about a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Description {
    /// What is declared, and what has become of it.
    pub resource: View,
    /// What it has to do with others.
    pub related: Vec<Related>,
    /// What happened to it.
    pub events: Vec<Event>,
}

impl Answer for Description {
    fn text(&self) -> String {
        let View { kind, metadata, spec, status } = &self.resource;
        let labels = metadata.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let mut text = pairs([
            ("kind", kind.clone()),
            ("name", kinds::of_view(&self.resource).name),
            ("labels", if labels.is_empty() { "-".to_owned() } else { labels }),
            ("revision", metadata.revision.to_string()),
        ]);
        part(&mut text, "declared", &yaml(spec).unwrap_or_else(|error| format!("{error}\n")));
        let allocated = status.allocated.iter().map(|(key, value)| [key.clone(), value.clone()]);
        part(&mut text, "allocated", &rows(allocated));
        let gateways = status.gateways.iter().map(|it| {
            let gateway = or_dash(it.gateway.as_ref());
            [gateway, it.site.clone(), progress(it.state), lag(it), or_dash(it.why.as_ref())]
        });
        let heading = ["gateway", "site", "state", "applied/wanted", "why"];
        part(&mut text, "gateways that are told of it", &table(heading, gateways, "none"));
        let conditions = status.conditions.iter().map(|it| {
            let holds = format!("{:?}", it.status);
            [it.name.clone(), holds, it.reason.clone(), it.message.clone()]
        });
        part(&mut text, "conditions", &rows(conditions));
        let managers = metadata.managers.iter().map(|(field, by)| [field.clone(), by.clone()]);
        part(&mut text, "set by", &rows(managers));
        let related = self.related.iter();
        let related = related.map(|it| [it.how.to_owned(), kinds::shown(&it.resource)]);
        part(&mut text, "related", &rows(related));
        let events = self.events.iter().map(|event| {
            let [at, _, reason, by, message] = cells(event);
            [at, reason, by, message]
        });
        part(&mut text, "events", &rows(events));
        text
    }
}

/// What happened, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct EventList(pub Events);

impl Answer for EventList {
    fn text(&self) -> String {
        let events = self.0.items.iter().map(cells);
        table(["at", "resource", "reason", "by", "message"], events, "nothing is remembered")
    }
}

fn cells(event: &Event) -> [String; 5] {
    let at = i64::try_from(event.at).ok().and_then(|at| Timestamp::from_second(at).ok());
    let at = at.map_or_else(|| event.at.to_string(), |at| at.to_string());
    let Event { about, reason, message, by, .. } = event;
    [at, kinds::shown(about), reason.clone(), or_dash(by.as_ref()), message.clone()]
}

/// A part under its heading, indented; left out if there is nothing in it.
fn part(text: &mut String, heading: &str, lines: &str) {
    if lines.trim().is_empty() {
        return;
    }
    text.push_str(&format!("{heading}:\n"));
    text.extend(lines.lines().map(|line| format!("  {line}\n")));
}

#[cfg(test)]
mod tests {
    use super::super::related::related;
    use super::super::sample;
    use super::*;
    use crate::api::wire::Reference;

    fn event() -> Event {
        Event {
            at: 1_763_741_523,
            about: Reference { kind: "Site".into(), name: "edge-a".into() },
            reason: "Created".into(),
            message: "it was declared".into(),
            by: Some("ann".into()),
        }
    }

    #[test]
    fn a_description_has_all_parts() {
        let views = sample::views();
        let description = Description {
            resource: views[1].clone(),
            related: related(&views[1], &views),
            events: vec![event()],
        };
        let text = description.text();
        for line in [
            "name      edge-a",
            "labels    tier=edge",
            "  role: edge",
            "gateways that are told of it:",
            "  edge-a-gw  edge-a  pending  3/7             -",
            "conditions:",
            "  Applied  False  Waiting  edge-a-gw has not answered yet",
            "set by:",
            "  metadata.labels.tier  bob",
            "related:",
            "  its hub             site/cloud",
            "events:",
            "  2025-11-21T16:12:03Z  Created  ann  it was declared",
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} in {text}");
        }
        assert!(!text.contains("allocated:"), "{text}");
        let json = serde_json::to_value(&description).unwrap();
        assert_eq!(json["resource"]["spec"]["role"], "edge");
        assert_eq!(json["related"][0]["resource"]["kind"], "Policy");
    }

    #[test]
    fn events_are_rows() {
        let list = EventList(Events { items: vec![event()] });
        let text = list.text();
        assert!(text.contains("2025-11-21T16:12:03Z  site/edge-a  Created  ann"), "{text}");
        assert_eq!(EventList(Events { items: vec![] }).text(), "nothing is remembered\n");
        let never = Event { at: u64::MAX, ..event() };
        assert!(cells(&never)[0].starts_with("18446744073709551615"));
    }
}
