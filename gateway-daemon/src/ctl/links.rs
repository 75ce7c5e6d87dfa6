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
