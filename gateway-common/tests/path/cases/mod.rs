//! Frame in, verdict and reason and frame out: one row a case, in groups. Every reason that the path itself can
//! give has at least one row.
//!
//! A frame that goes on is stated as one line: what [`reading`](crate::reading) reads in it.

mod arp;
mod errors;
mod established;
mod fragments;
mod gateway;
mod idle;
mod lan;
mod link;
mod malformed;
mod segment_size;
mod told;
mod withdrawn;

use std::{collections::BTreeSet, net::Ipv4Addr};

use crate::{
    frames::{ETHERNET, part},
    reading,
    two_sites::*,
};
use gateway::{At, Gateway};
use gateway_common::{
    Reason, host,
    verdict::{Verdict, Way},
};

const EDGE_CLIENT: [u8; 4] = [240, 0, 16, 5];
const EDGE_STRANGER: [u8; 4] = [240, 0, 16, 66];
const SERVICE: [u8; 4] = [240, 0, 8, 1];
/// A service of edge B.
const THIRD_SITE: [u8; 4] = [240, 0, 40, 1];

const SYN: Load = Load::Tcp(40_000, 5672, Bits::Syn);
const DATA: Load = Load::Tcp(40_000, 5672, Bits::Ack);
const QUERY: Load = Load::Udp(4000, 53);
const PING: Load = Load::EchoRequest(77);
const GRE: Load = Load::Other(47);
const SCTP: Load = Load::Other(132);

/// The ports that these get at the client presence: the first that the hash of their flow's identity names.
/// Another gateway of the site has to choose the same, so these do not change.
const SYN_PORT: u16 = 6547;
const WEB_PORT: u16 = 25_891;
const QUERY_PORT: u16 = 6272;
const PING_PORT: u16 = 33_421;

/// A client's frame on the edge's LAN.
fn at_edge(load: Load, payload: &[u8]) -> Vec<u8> {
    frame(CLIENT, PRESENCE, &load, payload)
}

/// The same in the link, behind an Ethernet header that links do not carry.
fn to_cloud(load: Load, payload: &[u8]) -> Vec<u8> {
    frame(EDGE_CLIENT, SERVICE, &load, payload)
}

/// A back end's frame on the cloud's LAN.
fn at_cloud(load: Load, payload: &[u8]) -> Vec<u8> {
    frame(SERVER, CLIENTS, &load, payload)
}

/// The same in the link, likewise.
fn to_edge(load: Load, payload: &[u8]) -> Vec<u8> {
    frame(SERVICE, EDGE_CLIENT, &load, payload)
}

/// The fragment of a frame's packet from `start` to `end`; the datagram's number is 7.
fn fragment(frame: &[u8], start: usize, end: usize, more: bool) -> Vec<u8> {
    [&frame[..ETHERNET], &part(&frame[ETHERNET..], 7, start, end, more)].concat()
}

/// What a case expects, or what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    /// Left to the host as it was.
    Pass,
    /// Dropped.
    Refused(Reason),
    /// The ARP reply in its place.
    Answered(String),
    /// Dropped, with an ICMP message to its sender in its place.
    Told(Reason, String),
    /// Sent on, out of this interface.
    Sent(Way, u32, String),
}

/// A frame at a hook.
struct Row {
    name: &'static str,
    at: At,
    frame: Vec<u8>,
    given: fn(&mut Gateway),
}

/// A row, and what is to come of it.
struct Case {
    row: Row,
    want: Want,
}

fn row(name: &'static str, at: At, frame: Vec<u8>) -> Row {
    Row { name, at, frame, given: |_| {} }
}

fn edge_lan(name: &'static str, frame: Vec<u8>) -> Row {
    row(name, At::EdgeLan, frame)
}

fn cloud_lan(name: &'static str, frame: Vec<u8>) -> Row {
    row(name, At::CloudLan, frame)
}

/// The frame's Ethernet header is taken off.
fn edge_link(name: &'static str, frame: Vec<u8>) -> Row {
    row(name, At::EdgeLink, frame)
}

/// Likewise.
fn cloud_link(name: &'static str, frame: Vec<u8>) -> Row {
    row(name, At::CloudLink, frame)
}

impl Row {
    /// With other tables, after other packets, or coming in another way.
    fn given(self, given: fn(&mut Gateway)) -> Self {
        Self { given, ..self }
    }

    fn wants(self, want: Want) -> Case {
        Case { row: self, want }
    }

    fn passes(self) -> Case {
        self.wants(Want::Pass)
    }

    fn refused(self, reason: Reason) -> Case {
        self.wants(Want::Refused(reason))
    }

    fn answered(self, text: &str) -> Case {
        self.wants(Want::Answered(text.to_owned()))
    }

    fn told(self, reason: Reason, text: &str) -> Case {
        self.wants(Want::Told(reason, text.to_owned()))
    }

    fn sent(self, way: Way, interface: u32, text: &str) -> Case {
        self.wants(Want::Sent(way, interface, text.to_owned()))
    }

    fn into_link(self, text: &str) -> Case {
        self.sent(Way::Link, LINK, text)
    }

    fn onto_lan(self, text: &str) -> Case {
        self.sent(Way::Lan, LAN, text)
    }
}

fn cases() -> Vec<Case> {
    let groups = [
        arp::cases(),
        lan::cases(),
        link::cases(),
        established::cases(),
        idle::cases(),
        withdrawn::cases(),
        errors::cases(),
        fragments::cases(),
        segment_size::cases(),
        told::cases(),
        malformed::cases(),
    ];
    groups.into_iter().flatten().collect()
}

/// What became of a frame, read back from the octets that are sent. What may not change has not.
fn outcome(verdict: &Verdict, before: &[u8], ip: usize) -> Want {
    let mut after = before.to_vec();
    host::execute(&mut after, verdict);
    match verdict {
        Verdict::Pass | Verdict::Refuse(_) => assert_eq!(after, before, "left as it was"),
        Verdict::Answer(_) => {}
        Verdict::Tell(_) if ip == 0 => {}
        Verdict::Tell(_) => {
            assert_eq!(after[..12], [&before[6..12], &before[..6]].concat(), "back to its sender");
        }
        Verdict::Forward(_) => {
            assert_eq!(after[..ip], before[..ip], "the Ethernet header");
            assert_eq!(reading::kept(&after[ip..]), reading::kept(&before[ip..]), "the rest");
        }
    }
    match verdict {
        Verdict::Pass => Want::Pass,
        Verdict::Refuse(reason) => Want::Refused(*reason),
        Verdict::Answer(_) => Want::Answered(arp_text(&after)),
        Verdict::Tell(tell) => Want::Told(tell.reason, reading::text(&after[ip..])),
        Verdict::Forward(forward) => {
            let egress = forward.egress;
            Want::Sent(egress.way, egress.interface, reading::text(&after[ip..]))
        }
    }
}

/// Who says to whom that it has an address.
fn arp_text(frame: &[u8]) -> String {
    let mac = |at: usize| frame[at..at + 6].iter().map(|octet| format!("{octet:02x}")).collect();
    let macs: [String; 4] = [mac(0), mac(6), mac(22), mac(32)];
    assert_eq!((&macs[0], &macs[1]), (&macs[3], &macs[2]), "Ethernet header and message agree");
    assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 2], "an ARP reply");
    let ip = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    format!("{} at {} > {} at {}", ip(28), macs[2], ip(38), macs[3])
}

/// What the guard has to say to a LAN case. What it cannot know without a change of tables, it leaves to the
/// next hook, as it leaves later fragments once their own header is checked.
fn guards(case: &Case) -> Want {
    use Reason::{
        ClientQuota, FlowTableFull, FragmentOverlap, FragmentScattered, FragmentUnknown, IpOptions,
        Malformed, NoPresence, NoRoute, PortsExhausted, TooBig, TransitOnLan, Truncated,
        TtlExpired,
    };
    let is_later =
        matches!(case.row.frame.get(20..22), Some([high, low]) if high & 0x1f | low != 0);
    match case.want {
        Want::Pass | Want::Answered(_) | Want::Told(..) | Want::Sent(..) => Want::Pass,
        Want::Refused(
            NoRoute | FlowTableFull | FragmentUnknown | FragmentOverlap | FragmentScattered
            | ClientQuota | PortsExhausted | TooBig | TtlExpired,
        ) => Want::Pass,
        Want::Refused(reason @ (Malformed | Truncated | IpOptions | TransitOnLan | NoPresence)) => {
            Want::Refused(reason)
        }
        Want::Refused(_) if is_later => Want::Pass,
        Want::Refused(reason) => Want::Refused(reason),
    }
}

/// Puts a case to its hook, and to the guard before. Gives what is wrong with what came of it.
fn check(case: &Case) -> Option<String> {
    let Row { name, at, ref frame, given } = case.row;
    // The last line is the case that a panic is about.
    println!("{at:?}: {name}");
    let mut gateway = Gateway::new(at);
    given(&mut gateway);
    let Gateway { tables, arrival, .. } = &gateway;
    let ip = arrival.ip as usize;
    let frame = if at.is_lan() { &frame[..] } else { &frame[ETHERNET..] };
    if at.is_lan() {
        let state = || (tables.flows(), tables.nats(), tables.fragmented());
        let before = state();
        let guard = outcome(&host::guard(frame, tables, *arrival), frame, ip);
        if guard != guards(case) {
            return Some(format!("guard: {name}: {guard:?}, not {:?}", guards(case)));
        }
        assert_eq!(state(), before, "the guard changes nothing: {name}");
    }
    let counted = || Reason::ALL.iter().map(|it| tables.counted(Verdict::Refuse(*it).counter()));
    let before: u64 = counted().sum();
    let verdict = at.decide(frame, tables, *arrival);
    let is_refusal = matches!(case.want, Want::Refused(_) | Want::Told(..));
    assert_eq!(counted().sum::<u64>() - before, u64::from(is_refusal), "refusals: {name}");
    assert!(tables.counted(verdict.counter()) > 0, "counted: {name}");
    let outcome = outcome(&verdict, frame, ip);
    (outcome != case.want).then(|| format!("{name}: {outcome:?}, not {:?}", case.want))
}

#[test]
fn frames_become_what_they_should() {
    let cases = cases();
    let wrong: Vec<String> = cases.iter().filter_map(check).collect();
    println!("{} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_case_is_a_different_one() {
    let cases = cases();
    let names: BTreeSet<(&str, At)> =
        cases.iter().map(|case| (case.row.name, case.row.at)).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name at one hook");
    assert!(cases.len() >= 400, "only {} cases are left", cases.len());
}

#[test]
fn every_reason_has_a_case() {
    let cases = cases();
    let mut covered: BTreeSet<Reason> = cases
        .iter()
        .filter_map(|case| match case.want {
            Want::Refused(reason) | Want::Told(reason, _) => Some(reason),
            Want::Pass | Want::Answered(_) | Want::Sent(..) => None,
        })
        .collect();
    // Memory refuses nothing.
    assert!(covered.insert(Reason::KernelRefused));
    let all: BTreeSet<Reason> = Reason::ALL.iter().copied().collect();
    assert_eq!(covered, all);
}
