//! The packet path: from any frames, in any order, to edited packets.

use std::sync::OnceLock;

use gateway_common::desired::Tables;
use gateway_common::host::{self, MemoryTables};
use gateway_common::path::Arrival;
use gateway_common::verdict::{Forward, Verdict, Way};
use gateway_common::{Ipv4, Prefix, Ticks};
use gateway_control::{Interface, compile, site_file::parse};

const SITE: &str = include_str!("../../policies/examples/three-sites/edge-a.toml");
const LAN: u32 = 1;
const LINK: u32 = 2;
const ETHERNET: u32 = 14;
const MOST_FLOWS: usize = 4;

/// Puts frames to the packet path of one gateway, one after the other, so that they find each other's
/// flows.
///
/// The input is a list of frames. Before each stand three octets: which hook (modulo 3: guard, LAN,
/// link), how many ticks have passed, and the frame's length; bit 7 of the first octet says that the
/// frame was not addressed to the gateway.
///
/// # Panics
///
/// If the path panics, changes a frame's length, lets a transit address onto the LAN or another into
/// the link, spoils a header checksum, leaves a packet of a link alone, holds more flows than there
/// is room for, or lets the guard change one.
pub fn frame(data: &[u8]) {
    run(data);
}

/// The tables afterwards, with what was counted.
fn run(data: &[u8]) -> MemoryTables {
    let mut tables = MemoryTables::new(tables().clone(), MOST_FLOWS);
    tables.opening_capacity = MOST_FLOWS;
    let mut rest = data;
    let mut now = 1;
    while let [selector, ticks, length, tail @ ..] = rest {
        let (frame, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        now += u32::from(*ticks);
        let arrival = Arrival {
            interface: LAN,
            ip: ETHERNET,
            for_us: selector & 0x80 == 0,
            tagged: false,
            packets: 1,
            now: Ticks(now),
        };
        match (selector & 0x7f) % 3 {
            0 => guarded(frame, &tables, arrival),
            1 => check(frame, host::lan(frame, &tables, arrival), arrival, &tables),
            _ => {
                let arrival = Arrival { interface: LINK, ip: 0, ..arrival };
                let verdict = host::link(frame, &tables, arrival);
                let left_alone = matches!(verdict, Verdict::Pass | Verdict::Answer(_));
                assert!(!left_alone, "{verdict:?}");
                check(frame, verdict, arrival, &tables);
            }
        }
        assert!(tables.flows().len() <= 2 * MOST_FLOWS, "more flows than there is room for");
    }
    tables
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let model = parse(SITE).expect("the shipped example is right");
        let interfaces = [(&model.lans()[0].interface, LAN), (&model.link().interface, LINK)];
        let interface = |index| Interface { index, mac: [2, 0, 0, 0, 0, 1], mtu: 1420 };
        let interfaces = interfaces.map(|(name, index)| (name.clone(), interface(index)));
        compile(&model, &interfaces.into()).expect("every interface is there")
    })
}

fn guarded(frame: &[u8], tables: &MemoryTables, arrival: Arrival) {
    let before = (tables.flows(), tables.fragmented());
    let verdict = host::guard(frame, tables, arrival);
    assert!(!matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
    let after = (tables.flows(), tables.fragmented());
    assert!(after == before, "the guard changed a flow or remembers a fragment");
    check(frame, verdict, arrival, tables);
}

fn check(frame: &[u8], verdict: Verdict, arrival: Arrival, tables: &MemoryTables) {
    let mut edited = frame.to_vec();
    host::execute(&mut edited, &verdict);
    assert!(edited.len() == frame.len() || matches!(verdict, Verdict::Tell(_)), "another length");
    let ip = arrival.ip as usize;
    match verdict {
        Verdict::Pass | Verdict::Refuse(_) => assert_eq!(edited, frame),
        Verdict::Tell(_) => {
            assert_eq!(edited.len(), ip + 56, "the length of a message");
            assert_eq!(
                address(&edited, ip + 12),
                address(frame, ip + 16),
                "from the address asked"
            );
            assert_eq!(address(&edited, ip + 16), address(frame, ip + 12), "to who asked");
            assert_eq!(sum(&edited[ip..ip + 20]), 0xffff, "its header's checksum");
            assert_eq!(sum(&edited[ip + 20..]), 0xffff, "its checksum");
        }
        Verdict::Answer(_) => assert_eq!(edited[12..14], [0x08, 0x06], "the answer is no ARP"),
        Verdict::Forward(Forward { egress, .. }) => {
            let settings = &tables.desired.settings;
            let (source, destination) = (address(&edited, ip + 12), address(&edited, ip + 16));
            match egress.way {
                Way::Link | Way::Relay => {
                    assert_eq!(egress.interface, LINK);
                    inside(&settings.block, source, "sender in the link");
                    inside(&settings.transit, destination, "receiver in the link");
                }
                Way::Lan | Way::Neighbour | Way::Host => {
                    assert_eq!(egress.interface, LAN);
                    inside(&settings.pool, source, "sender on the LAN");
                    let network = settings.networks[0].prefix;
                    inside(&network, destination, "receiver on the LAN");
                }
            }
            assert_eq!(edited[ip + 8], frame[ip + 8] - 1, "TTL");
            let right = |frame: &[u8]| sum(&frame[ip..ip + 20]) == 0xffff;
            assert!(right(&edited) || !right(frame), "the header checksum is spoilt");
        }
    }
}

fn inside(prefix: &Prefix, address: Ipv4, what: &str) {
    assert!(prefix.contains(address), "{what}: {address} is not in {prefix}");
}

fn address(frame: &[u8], at: usize) -> Ipv4 {
    let octets = frame[at..at + 4].try_into().expect("four octets were asked for");
    Ipv4::from_number(u32::from_be_bytes(octets))
}

/// The Internet checksum's sum (RFC 1071); all ones where a header's own checksum is right.
fn sum(header: &[u8]) -> u32 {
    let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use gateway_common::Reason;
    use gateway_common::map::{Counter, Outcome};

    use super::*;

    /// A corpus that only gets packets refused at the door would find little.
    #[test]
    fn the_corpus_reaches_every_way_through() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/frame");
        let mut unseen: BTreeSet<&str> = BTreeSet::new();
        let outcomes = [Outcome::Passed, Outcome::Answered, Outcome::ToLink, Outcome::ToLan];
        let reasons = Reason::ALL.iter().filter(|reason| !unreachable(**reason));
        let counters: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| (outcome.label(), Counter::Outcome(outcome)))
            .chain(reasons.map(|reason| (reason.label(), Counter::Refused(*reason))))
            .collect();
        unseen.extend(counters.iter().map(|(label, _)| *label));
        for entry in fs::read_dir(corpus).unwrap() {
            let tables = run(&fs::read(entry.unwrap().path()).unwrap());
            for (label, counter) in &counters {
                if tables.counted(*counter) > 0 {
                    unseen.remove(label);
                }
            }
        }
        assert!(unseen.is_empty(), "no input of the corpus leads to {unseen:?}");
    }

    /// What needs a change of the tables, another site or more input than a seed should have.
    fn unreachable(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::NotConfigured
                | Reason::KernelRefused
                | Reason::BackendMoved
                | Reason::PortsExhausted
                | Reason::WrongInterface
                | Reason::ClientQuota
                | Reason::TooBig
                | Reason::SiteQuota
                | Reason::NoBackend
        )
    }
}
