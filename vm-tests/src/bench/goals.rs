//! What is to be reached: one goal for each row, and how a figure becomes a row.

use super::Row;

/// Which side of a goal is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The ratio is to be no more than the goal.
    AtMost,
    /// The ratio is to be no less.
    AtLeast,
}

/// A row before it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    id: &'static str,
    metric: &'static str,
    unit: &'static str,
    peer_name: &'static str,
    wanted: Wanted,
    first: Option<f64>,
    then: Option<f64>,
}

impl Goal {
    /// Its row's name.
    pub const fn id(&self) -> &'static str {
        self.id
    }

    /// The row of a measurement.
    pub fn measured(&self, ours: f64, peer: f64) -> Row {
        let ratio = (peer != 0.0).then(|| ours / peer);
        let met = |goal: Option<f64>| match (goal, ratio) {
            (Some(goal), Some(ratio)) => Some(match self.wanted {
                Wanted::AtMost => ratio <= goal,
                Wanted::AtLeast => ratio >= goal,
            }),
            _ => None,
        };
        Row {
            id: self.id.to_owned(),
            metric: self.metric.to_owned(),
            unit: self.unit.to_owned(),
            ours: Some(ours),
            peer_name: self.peer_name.to_owned(),
            peer: Some(peer),
            ratio,
            first: self.first,
            then: self.then,
            met_first: met(self.first),
            met_then: met(self.then),
        }
    }
}

macro_rules! goals {
    ($($name:ident = $id:literal, $metric:literal, $unit:literal, $peer:literal, $wanted:ident, $first:expr, $then:expr;)+) => {
        $(
            #[doc = $metric]
            pub const $name: Goal = Goal {
                id: $id,
                metric: $metric,
                unit: $unit,
                peer_name: $peer,
                wanted: Wanted::$wanted,
                first: $first,
                then: $then,
            };
        )+

        /// All of them, in the order in which they are shown.
        pub const ALL: &[Goal] = &[$($name),+];
    };
}

goals! {
    ESTABLISHED = "D1", "lan_ingress, established UDP flow, empty program subtracted", "ns",
        "hash lookup, L2 rewrite, redirect", AtMost, Some(2.0), Some(1.25);
    COST = "D2", "largest rise of any program over its budget", "of budget", "budget.toml", AtMost,
        Some(1.1), None;
    PACKETS = "D3", "64-byte UDP through two gateways", "packet/s",
        "nftables DNAT + masquerade", AtLeast, Some(1.05), Some(1.08);
    PACKETS_BARE = "D4", "64-byte UDP through two gateways", "packet/s", "routing, no NAT", AtLeast,
        Some(0.97), Some(1.0);
    BULK = "D5", "bulk TCP through two gateways", "Mbit/s", "nftables DNAT + masquerade", AtLeast,
        Some(1.0), Some(1.04);
    LATENCY = "D6", "request/response p50 through two gateways", "us",
        "nftables DNAT + masquerade", AtMost, Some(0.95), Some(0.92);
    INSTRUCTIONS = "D6b", "instructions a packet in two gateways", "instruction",
        "routing, no NAT", AtMost, Some(1.0), Some(0.9);
    INSTRUCTIONS_NFT = "D6c", "instructions a packet in two gateways", "instruction",
        "nftables DNAT + masquerade", AtMost, None, None;
    REFUSED = "D7", "denied packets refused, guard in driver mode", "packet/s",
        "nftables drop in prerouting", AtLeast, Some(4.0), Some(8.0);
    REFUSED_ALONE = "D7b", "the same, sending and receiving subtracted", "packet/s",
        "nftables drop in prerouting", AtLeast, Some(4.0), Some(8.0);
    OPENED = "D8", "new flows at one gateway, sending included", "flow/s",
        "nftables DNAT + masquerade", AtLeast, Some(3.0), Some(10.0);
    OPENED_ALONE = "D8b", "the same, sending subtracted", "flow/s",
        "nftables DNAT + masquerade", AtLeast, Some(3.0), Some(10.0);
    SCALE = "D9", "established flow with 100,000 presences and allow pairs", "ns", "with 10 of each",
        AtMost, Some(1.15), Some(1.05);
    SCALE_REFUSED = "D9b", "refusal by policy with 100,000 presences and allow pairs", "ns",
        "with 10 of each", AtMost, None, None;
    MEMORY = "D10", "octets a two-way flow, client's side", "octet", "nf_conntrack object", AtMost,
        Some(0.9), Some(0.5);
    MEMORY_SERVICE = "D10b", "octets a two-way flow, service's side", "octet", "nf_conntrack object",
        AtMost, Some(0.9), Some(0.5);
    MEMORY_MILLION = "D10c", "tables of flows with 1,000,000 in them", "MiB",
        "as many nf_conntrack objects", AtMost, None, None;
    ACCEPTED_QUIC = "C1", "gateways that come in by QUIC, of a second of a processor", "session/s",
        "rustls handshakes in memory", AtLeast, Some(0.5), Some(0.7);
    ACCEPTED_TCP = "C1b", "the same by TLS over TCP", "session/s", "rustls handshakes in memory",
        AtLeast, Some(0.65), Some(0.85);
    IDLE_QUIC = "C2", "memory of an idle session at the controller, by QUIC", "octet",
        "a bare rustls connection", AtMost, Some(3.0), Some(1.6);
    IDLE_TCP = "C2b", "the same by TLS over TCP", "octet", "a bare rustls connection", AtMost,
        Some(3.0), Some(1.6);
    CHANGED = "C3", "one policy acknowledged as applied by all of 5,000 sessions", "ms",
        "256 octets to as many TCP connections and an answer of each", AtMost, Some(2.0), Some(1.0);
    REVOKED = "C5", "a gateway is revoked among 1,000, until its session is closed, p99", "ms",
        "a second", AtMost, Some(1.0), Some(0.2);
    POLICIES = "C4", "a change of a policy, compiled, among 100,000 policies", "us", "among 1,000",
        AtMost, Some(1.3), Some(1.05);
    COMPILE = "C6", "65,535 sites, 10,000 services and 100,000 rules, computed as a whole", "s",
        "ten times a tenth", AtMost, None, None;
    COMPILE_MEMORY = "C6b", "the same, memory at most", "MiB", "ten times a tenth", AtMost, None, None;
    CHANGE_RULE = "C6c", "an allow rule changed among as much", "us", "among a tenth", AtMost, None,
        None;
    CHANGE_EXPOSURE = "C6d", "an exposure changed among as much", "us", "among a tenth", AtMost,
        None, None;
    CHANGE_BACKEND = "C6e", "a service's back end changed among as much", "us", "among a tenth",
        AtMost, None, None;
    TABLES = "C6g", "the hub's tables made of its share", "s", "ten times a tenth", AtMost, None,
        None;
    REMOVAL = "C6f", "all of it removed by one change", "s", "ten times a tenth", AtMost, None,
        None;
    SQLITE_WRITES = "C7", "writes to the SQLite store, one after the other", "write/s",
        "the same by rusqlite alone", AtLeast, Some(0.8), Some(0.95);
    SQLITE_TOGETHER = "C7b", "the same, 16 writers", "write/s", "one rusqlite connection", AtLeast,
        Some(1.0), Some(4.0);
    SQLITE_WATCH = "C7c", "a write until a watch shows it, p50", "us", "a write by rusqlite alone",
        AtMost, Some(1.5), Some(1.2);
    SQLITE_WATCH_SLOW = "C7d", "the same, p99", "us", "a write by rusqlite alone", AtMost,
        Some(1.5), Some(1.2);
    ETCD_WRITES = "C8", "writes to the etcd store, one after the other", "write/s",
        "bare gRPC puts", AtLeast, Some(0.8), Some(0.95);
    ETCD_TOGETHER = "C8b", "the same, 16 writers", "write/s", "bare gRPC puts, 16 writers", AtLeast,
        Some(0.8), Some(0.95);
    ETCD_WATCH = "C8c", "a write until a watch shows it, p50", "us", "a bare gRPC put", AtMost,
        Some(1.5), Some(1.2);
    ETCD_WATCH_SLOW = "C8d", "the same, p99", "us", "a bare gRPC put", AtMost, Some(1.5), Some(1.2);
}

/// What is measured of the store in SQLite: writes, writes of several, watches, slow watches.
pub const SQLITE: [Goal; 4] = [SQLITE_WRITES, SQLITE_TOGETHER, SQLITE_WATCH, SQLITE_WATCH_SLOW];

/// The same of the store in etcd.
pub const ETCD: [Goal; 4] = [ETCD_WRITES, ETCD_TOGETHER, ETCD_WATCH, ETCD_WATCH_SLOW];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_has_a_good_side() {
        assert_eq!(ESTABLISHED.measured(3.0, 2.0).met_first, Some(true));
        assert_eq!(ESTABLISHED.measured(3.0, 2.0).met_then, Some(false));
        assert_eq!(PACKETS.measured(1.06, 1.0).met_first, Some(true));
        assert_eq!(PACKETS.measured(1.06, 1.0).met_then, Some(false));
        assert_eq!(PACKETS.measured(1.0, 0.0).ratio, None);
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<&str> = ALL.iter().map(Goal::id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
