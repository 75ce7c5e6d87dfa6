//! Frames that came with a VLAN tag: another network's, whatever they say.

use crate::two_sites::*;
use gateway_common::{host, path::Arrival, verdict::Verdict};

const SYN: Load = Load::Tcp(40_000, 5672, Bits::Syn);

fn arp_for_the_presence() -> Vec<u8> {
    let mut bytes = [[0xff; 6], HOST_MAC].concat();
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(HOST_MAC);
    bytes.extend(CLIENT);
    bytes.extend([0; 6]);
    bytes.extend(PRESENCE);
    bytes
}

#[test]
fn they_pass_with_arp_and_all() {
    let syn = frame(CLIENT, PRESENCE, &SYN, b"");
    for (name, frame) in [("SYN", syn), ("ARP", arp_for_the_presence())] {
        let tables = edge();
        let tagged = Arrival { tagged: true, ..from_lan() };
        assert_eq!(host::lan(&frame, &tables, tagged), Verdict::Pass, "{name}");
        assert_ne!(host::lan(&frame, &tables, from_lan()), Verdict::Pass, "{name}");
    }
}
