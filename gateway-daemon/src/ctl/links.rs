//! `gatewayctl link list`: the peers of the link device and how they fare. Pure.

use gateway_control::model::SiteModel;
use serde::Serialize;

use super::print::{Answer, octets, or_dash, seconds, table};
use crate::config::link_key;
use crate::link::{PeerHealth, PeerState};

/// The peers of a gateway's link.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Links(Vec<Row>);

/// One peer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Its site, where the record of what is in force names it.
    pub site: Option<String>,
    /// Further sites that it relays.
    pub reaches: Vec<String>,
    /// Its public key.
    pub public_key: String,
    /// Where it was last heard from, or is dialled.
    pub endpoint: Option<String>,
    /// Seconds since the last handshake.
    pub handshake_seconds: Option<u64>,
    /// Octets received from it.
    pub received: u64,
    /// Octets sent to it.
    pub sent: u64,
    /// `up`, `idle`, `stale` or `never`.
    pub state: &'static str,
    /// What that means.
    pub reason: String,
}

impl Links {
    /// These peers, named by what was last put in force, as far as that is known.
    pub(crate) fn of(peers: &[PeerHealth], in_force: Option<&SiteModel>) -> Self {
        let mut rows: Vec<Row> = peers.iter().map(|peer| Row::of(peer, in_force)).collect();
        rows.sort_by(|a, b| (&a.site, &a.public_key).cmp(&(&b.site, &b.public_key)));
        Self(rows)
    }

    /// How many peers there are, and how many of them are up.
    pub(crate) fn summary(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|row| row.state == PeerState::Up.label()).count())
    }

    /// The peers.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.0
    }
}

impl Row {
    fn of(health: &PeerHealth, in_force: Option<&SiteModel>) -> Self {
        let peer = in_force.and_then(|model| {
            model.peers().iter().find(|peer| link_key(&peer.public_key) == health.public_key)
        });
        Self {
            site: peer.map(|peer| peer.site.to_string()),
            reaches: peer.map_or_else(Vec::new, |peer| {
                peer.reaches.iter().map(ToString::to_string).collect()
            }),
            public_key: health.public_key.to_string(),
            endpoint: health.endpoint.map(|endpoint| endpoint.to_string()),
            handshake_seconds: health.last_handshake.map(|age| age.as_secs()),
            received: health.received,
            sent: health.sent,
            state: health.state.label(),
            reason: health.state.to_string(),
        }
    }
}

impl Answer for Links {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            [
                or_dash(row.site.as_ref()),
                if row.reaches.is_empty() { "-".into() } else { row.reaches.join(" ") },
                or_dash(row.endpoint.as_ref()),
                row.handshake_seconds
                    .map_or_else(|| "never".into(), |age| format!("{} ago", seconds(age))),
                octets(row.received),
                octets(row.sent),
                row.state.to_owned(),
                row.reason.clone(),
            ]
        });
        let heading =
            ["site", "relays", "endpoint", "handshake", "received", "sent", "state", "why"];
        table(heading, rows, "no peers")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sample;
    use super::*;

    fn peer(state: PeerState, last_handshake: Option<Duration>) -> PeerHealth {
        PeerHealth {
            public_key: link_key(&sample::model().peers()[0].public_key),
            endpoint: "192.0.2.1:51820".parse().ok(),
            last_handshake,
            received: 2048,
            sent: 10,
            state,
        }
    }

    #[test]
    fn peers_are_named_by_what_is_in_force() {
        let model = sample::model();
        let peers = [peer(PeerState::Up, Some(Duration::from_secs(30)))];
        let links = Links::of(&peers, Some(&model));
        assert_eq!(links.summary(), (1, 1));
        let text = links.text();
        let row: Vec<&str> = text.lines().nth(1).unwrap().split("  ").map(str::trim).collect();
        let row: Vec<&str> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            row[..7],
            ["cloud", "edge-b", "192.0.2.1:51820", "30s ago", "2.0 KiB", "10 B", "up"]
        );
        let json = serde_json::to_value(&links).unwrap();
        assert_eq!(json[0]["site"], "cloud");
        assert_eq!(json[0]["handshake_seconds"], 30);
    }

    #[test]
    fn without_a_record_a_peer_is_known_by_its_key() {
        let links = Links::of(&[peer(PeerState::NeverAnswered, None)], None);
        assert_eq!(links.summary(), (1, 0));
        let json = serde_json::to_value(&links).unwrap();
        assert_eq!(json[0]["site"], serde_json::Value::Null);
        assert_eq!(json[0]["public_key"], "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=");
        assert_eq!(json[0]["state"], "never");
    }
}
