//! Traffic control, ingress of a LAN interface.

use aya_ebpf::{macros::classifier, programs::TcContext};
use gateway_common::path;

use crate::frame::{ETHERNET, Skb};

/// Translates what this site's hosts send to presences and hands it to a link.
#[classifier]
pub(crate) fn lan_ingress(context: TcContext) -> i32 {
    let packet = Skb::new(context, ETHERNET);
    let tables = packet.tables();
    path::lan(&packet, &tables, packet.arrival(), &packet)
}
