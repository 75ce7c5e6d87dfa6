//! `gatewayctl link list`: the peers of the link devices and how they fare. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use gateway_control::model::SiteModel;
use serde::Serialize;

use super::print::{Answer, octets, or_dash, seconds, table};
use crate::config::link_key;
use crate::link::{Account, PeerAccount, PeerHealth, PeerState, PublicKey, Role};

/// The peers of a gateway's links.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Links(Vec<Row>);

/// A link device as it was found.
#[derive(Debug)]
pub(crate) struct FoundDevice {
    /// Its name.
    pub interface: String,
    /// How its peers fare; nothing if it is gone or down.
    pub peers: Option<Vec<PeerHealth>>,
}

/// One peer on one device.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Its site, where it is known.
    pub site: Option<String>,
    /// Further sites that it relays.
    pub reaches: Vec<String>,
    /// The link device.
    pub interface: String,
    /// Its public key.
    pub public_key: String,
    /// Where it was last heard from, or is dialled.
    pub endpoint: Option<String>,
    /// Where it may be dialled, the preferred one first.
    pub endpoints: Vec<String>,
    /// Seconds since the last handshake.
    pub handshake_seconds: Option<u64>,
    /// Largest packet towards it, inside the link.
    pub mtu: Option<u32>,
    /// How that is known.
    pub mtu_known: Option<&'static str>,
    /// Octets received from it.
    pub received: u64,
    /// Octets sent to it.
    pub sent: u64,
    /// Whether its sites' traffic is sent this way.
    pub sends: bool,
    /// Where a rotation of keys stands, if one is on.
    pub rotation: Option<&'static str>,
    /// `up`, `idle`, `dialling`, `stale`, `never` or `down`.
    pub state: &'static str,
    /// What that means.
    pub reason: String,
    /// What to do about it.
    pub remedy: Option<&'static str>,
}

impl Links {
    /// The peers of these devices, with what the daemon noted of them and what was last put in force,
    /// as far as these are known. `now` is in seconds since 1970.
    pub(crate) fn of(
        devices: &[FoundDevice],
        account: Option<&Account>,
        in_force: Option<&SiteModel>,
        now: u64,
    ) -> Self {
        let mut rows = Vec::new();
        for device in devices {
            let noted = account.and_then(|account| {
                account.devices.iter().find(|it| it.interface == device.interface)
            });
            let noted = noted.map_or(&[][..], |noted| &noted.peers);
            let about = |key: &str| noted.iter().find(|it| it.public_key == key);
            match &device.peers {
                Some(peers) => rows.extend(peers.iter().map(|peer| {
                    let noted = about(&peer.public_key.to_string());
                    Row::of(&device.interface, peer, noted, in_force, now)
                })),
                None => rows.extend(noted.iter().map(|it| Row::down(&device.interface, it))),
            }
        }
        mark_rotation(&mut rows, account);
        rows.sort_by(|a, b| {
            (&a.site, !a.sends, &a.public_key).cmp(&(&b.site, !b.sends, &b.public_key))
        });
        Self(rows)
    }

    /// How many peers there are, and how many of them are up, by whichever device.
    pub(crate) fn summary(&self) -> (usize, usize) {
        let name = |row: &Row| row.site.clone().unwrap_or_else(|| row.public_key.clone());
        let all: BTreeSet<String> = self.0.iter().map(name).collect();
        let up: BTreeSet<String> = self.0.iter().filter(|row| row.is_up()).map(name).collect();
        (all.len(), up.len())
    }

    /// The peer that packets for a site are sent to: its gateway, or a hub that reaches it.
    pub(crate) fn towards(&self, site: &str) -> Option<&Row> {
        let mut rows = self.0.iter().filter(|row| row.sends);
        let mut hubs = rows.clone();
        rows.find(|row| row.site.as_deref() == Some(site))
            .or_else(|| hubs.find(|row| row.reaches.iter().any(|reached| reached == site)))
    }

    /// The peers that have something wrong with them and are reached by no other device.
    pub(crate) fn troubled(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|row| {
            let by_other = |it: &&Row| it.is_up() && it.site.is_some() && it.site == row.site;
            row.remedy.is_some() && !self.0.iter().any(|it| by_other(&it))
        })
    }
}

impl Row {
    fn of(
        interface: &str,
        health: &PeerHealth,
        noted: Option<&PeerAccount>,
        in_force: Option<&SiteModel>,
        now: u64,
    ) -> Self {
        let dialled_for = noted
            .and_then(|noted| noted.dialled_since)
            .map(|since| Duration::from_secs(now.saturating_sub(since)));
        let unanswered = noted.is_some_and(|noted| noted.unanswered);
        let state = health.state.known(unanswered, dialled_for);
        let peer = in_force.and_then(|model| {
            model.peers().iter().find(|peer| {
                let next = peer.next.as_ref().and_then(|next| next.public_key);
                let is = |key: PublicKey| key == health.public_key;
                is(link_key(&peer.public_key)) || next.is_some_and(|next| is(link_key(&next)))
            })
        });
        Self {
            site: peer
                .map(|peer| peer.site.to_string())
                .or_else(|| noted.map(|noted| noted.site.clone())),
            reaches: peer.map_or_else(Vec::new, |peer| {
                peer.reaches.iter().map(ToString::to_string).collect()
            }),
            interface: interface.to_owned(),
            public_key: health.public_key.to_string(),
            endpoint: health.endpoint.map(|endpoint| endpoint.to_string()),
            endpoints: noted.map_or_else(Vec::new, endpoints),
            handshake_seconds: health.last_handshake.map(|age| age.as_secs()),
            mtu: noted.map(|noted| noted.mtu),
            mtu_known: noted.map(|noted| noted.mtu_known.reason()),
            received: health.received,
            sent: health.sent,
            sends: noted.is_none_or(|noted| noted.sends),
            rotation: None,
            state: state.label(),
            reason: state.to_string(),
            remedy: state.remedy(),
        }
    }

    /// A peer of a device that is gone.
    fn down(interface: &str, noted: &PeerAccount) -> Self {
        let state = PeerState::Down;
        Self {
            site: Some(noted.site.clone()),
            reaches: Vec::new(),
            interface: interface.to_owned(),
            public_key: noted.public_key.clone(),
            endpoint: None,
            endpoints: endpoints(noted),
            handshake_seconds: None,
            mtu: None,
            mtu_known: None,
            received: 0,
            sent: 0,
            sends: noted.sends,
            rotation: None,
            state: state.label(),
            reason: state.to_string(),
            remedy: state.remedy(),
        }
    }

    fn is_up(&self) -> bool {
        self.state == PeerState::Up.label()
    }
}

fn endpoints(noted: &PeerAccount) -> Vec<String> {
    noted.endpoints.iter().map(ToString::to_string).collect()
}

/// Says where each peer's rotation stands, of those that have two devices to choose from.
fn mark_rotation(rows: &mut [Row], account: Option<&Account>) {
    let Some(account) = account else { return };
    for device in &account.devices {
        for noted in &device.peers {
            let mut others = account.devices.iter().filter(|it| it.interface != device.interface);
            let other = others.find_map(|it| {
                let stays = |peer: &&PeerAccount| peer.leaving_since.is_none();
                let peer = it.peers.iter().filter(stays).find(|peer| peer.site == noted.site)?;
                Some((it, peer))
            });
            let told = match other {
                _ if noted.leaving_since.is_some() => {
                    "replaced; accepted until nothing comes by it"
                }
                Some((it, other)) => {
                    let same_key =
                        other.public_key == noted.public_key && it.public_key == device.public_key;
                    stands(noted, same_key)
                }
                None => continue,
            };
            let row = rows.iter_mut().find(|row| {
                row.interface == device.interface && row.public_key == noted.public_key
            });
            if let Some(row) = row {
                row.rotation = Some(told);
            }
        }
    }
}

/// Where the rotation of a peer stands that has another device too, with the same keys or others.
fn stands(noted: &PeerAccount, same_key: bool) -> &'static str {
    match (noted.role, noted.sends) {
        (_, true) if same_key => "in use, of two devices with this key",
        (_, false) if same_key => "accepted, of two devices with this key",
        (Role::Current, true) => "in use; the next keys have no session yet",
        (Role::Current, false) => "accepted; the next keys are in use, so remove these",
        (Role::Next, true) => "next keys in use; make them the current ones",
        (Role::Next, false) => "next keys, waiting for their first session",
    }
}

impl Answer for Links {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            let mtu = row.mtu.map(|mtu| format!("{mtu} {}", row.mtu_known.unwrap_or_default()));
            let why = match row.remedy {
                Some(remedy) => format!("{}; {remedy}", row.reason),
                None => row.reason.clone(),
            };
            [
                or_dash(row.site.as_ref()),
                if row.reaches.is_empty() { "-".into() } else { row.reaches.join(" ") },
                row.interface.clone(),
                or_dash(row.endpoint.as_ref()),
                row.handshake_seconds
                    .map_or_else(|| "never".into(), |age| format!("{} ago", seconds(age))),
                or_dash(mtu),
                octets(row.received),
                octets(row.sent),
                row.state.to_owned(),
                or_dash(row.rotation),
                why,
            ]
        });
        let heading = [
            "site",
            "relays",
            "link",
            "endpoint",
            "handshake",
            "mtu",
            "received",
            "sent",
            "state",
            "rotation",
            "why",
        ];
        table(heading, rows, "no peers")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sample;
    use super::*;
    use crate::link::{DeviceAccount, MtuKnown};

    const NOW: u64 = 1_000_000;

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

    fn device(interface: &str, peers: Option<Vec<PeerHealth>>) -> FoundDevice {
        FoundDevice { interface: interface.into(), peers }
    }

    fn noted(key: &PublicKey, role: Role, sends: bool) -> PeerAccount {
        PeerAccount {
            site: "cloud".into(),
            public_key: key.to_string(),
            role,
            endpoints: vec!["192.0.2.1:51820".parse().unwrap()],
            dialled_since: Some(NOW - 5),
            sends,
            unanswered: false,
            mtu: 1400,
            mtu_known: MtuKnown::Probed,
            leaving_since: None,
        }
    }

    fn account(devices: &[(&str, Role, PeerAccount)]) -> Account {
        let device = |(interface, role, peer): &(&str, Role, PeerAccount)| DeviceAccount {
            interface: (*interface).to_owned(),
            role: *role,
            public_key: "own".into(),
            peers: vec![peer.clone()],
        };
        Account { devices: devices.iter().map(device).collect(), ..Account::default() }
    }

    #[test]
    fn peers_are_named_by_what_is_in_force() {
        let model = sample::model();
        let up = peer(PeerState::Up, Some(Duration::from_secs(30)));
        let account = account(&[("wg", Role::Current, noted(&up.public_key, Role::Current, true))]);
        let links = Links::of(&[device("wg", Some(vec![up]))], Some(&account), Some(&model), NOW);
        assert_eq!(links.summary(), (1, 1));
        let text = links.text();
        let row: Vec<&str> = text.lines().nth(1).unwrap().split("  ").map(str::trim).collect();
        let row: Vec<&str> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            row[..10],
            [
                "cloud",
                "edge-b",
                "wg",
                "192.0.2.1:51820",
                "30s ago",
                "1400 probed",
                "2.0 KiB",
                "10 B",
                "up",
                "-"
            ]
        );
        let json = serde_json::to_value(&links).unwrap();
        assert_eq!(json[0]["site"], "cloud");
        assert_eq!(json[0]["handshake_seconds"], 30);
        assert_eq!(json[0]["mtu"], 1400);
        assert_eq!(json[0]["endpoints"][0], "192.0.2.1:51820");
    }

    #[test]
    fn without_a_record_a_peer_is_known_by_its_key() {
        let never = peer(PeerState::NeverAnswered, None);
        let links = Links::of(&[device("wg", Some(vec![never]))], None, None, NOW);
        assert_eq!(links.summary(), (1, 0));
        assert_eq!(links.troubled().count(), 1);
        let json = serde_json::to_value(&links).unwrap();
        assert_eq!(json[0]["site"], serde_json::Value::Null);
        assert_eq!(json[0]["public_key"], "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=");
        assert_eq!(json[0]["state"], "never");
        assert!(json[0]["remedy"].as_str().unwrap().contains("public key"));
    }

    #[test]
    fn a_peer_that_is_dialled_only_now_is_no_trouble_and_one_that_went_silent_is() {
        let dialled = peer(PeerState::NeverAnswered, None);
        let mut noted = noted(&dialled.public_key, Role::Current, true);
        let rows = |noted: &PeerAccount, health: &PeerHealth| {
            let account = account(&[("wg", Role::Current, noted.clone())]);
            Links::of(&[device("wg", Some(vec![health.clone()]))], Some(&account), None, NOW).0
        };
        assert_eq!(rows(&noted, &dialled)[0].state, "dialling");
        noted.unanswered = true;
        let up = peer(PeerState::Up, Some(Duration::from_secs(100)));
        assert_eq!(rows(&noted, &up)[0].state, "stale");
    }

    #[test]
    fn a_device_that_is_gone_leaves_its_peers_down() {
        let key = peer(PeerState::Up, None).public_key;
        let account = account(&[("wg", Role::Current, noted(&key, Role::Current, true))]);
        let links = Links::of(&[device("wg", None)], Some(&account), None, NOW);
        assert_eq!((links.0[0].state, links.summary()), ("down", (1, 0)));
        assert!(links.troubled().next().unwrap().remedy.unwrap().contains("gatewayd"));
    }

    #[test]
    fn a_rotation_says_what_to_do_next() {
        let key = |byte: u8| PublicKey::from(wireguard_control::Key([byte; 32]));
        let with = |byte| PeerHealth { public_key: key(byte), ..peer(PeerState::Up, None) };
        let found = [device("wg", Some(vec![with(1)])), device("wg2", Some(vec![with(2)]))];
        let told = |next_sends: bool| {
            let account = account(&[
                ("wg", Role::Current, noted(&key(1), Role::Current, !next_sends)),
                ("wg2", Role::Next, noted(&key(2), Role::Next, next_sends)),
            ]);
            let links = Links::of(&found, Some(&account), None, NOW);
            links.0.iter().map(|row| row.rotation.unwrap()).collect::<Vec<_>>()
        };
        assert!(told(false)[0].starts_with("in use") && told(false)[1].contains("waiting"));
        // What carries the traffic is told first.
        assert!(
            told(true)[0].contains("make them the current") && told(true)[1].contains("remove")
        );
        let mut replaced = noted(&key(1), Role::Current, false);
        replaced.leaving_since = Some(NOW);
        let account = account(&[
            ("wg", Role::Current, replaced),
            ("wg2", Role::Current, noted(&key(2), Role::Current, true)),
        ]);
        let rows = Links::of(&found, Some(&account), None, NOW).0;
        assert_eq!(rows[0].rotation, None);
        assert!(rows[1].rotation.unwrap().starts_with("replaced"));
    }
}
