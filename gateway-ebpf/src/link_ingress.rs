//! Traffic control, ingress of a link device.

use aya_ebpf::{macros::classifier, programs::TcContext};
use gateway_common::path;

use crate::{
    frame::{ETHERNET, Skb, SkbHook},
    tables::Hook,
};

/// Octets of link-layer header on link devices: none on WireGuard and TUN. A test that runs the program
/// on frames of its own sets it to 14, since `BPF_PROG_TEST_RUN` knows only Ethernet.
#[unsafe(no_mangle)]
static LINK_HEADER: aya_ebpf::Global<u32> = aya_ebpf::Global::new(0);

/// Translates what other gateways send and hands it to the LAN, or to the next link.
#[classifier]
pub(crate) fn link_ingress(context: TcContext) -> i32 {
    let header = if SkbHook(context.skb.skb).is_dry_run() { ETHERNET } else { LINK_HEADER.load() };

    let packet = Skb::new(context, header);
    let tables = packet.tables();
    path::link(&packet, &tables, packet.arrival(), &packet)
}
