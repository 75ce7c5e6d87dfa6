//! XDP on a LAN interface.

use aya_ebpf::{macros::xdp, programs::XdpContext};
use gateway_common::path;

use crate::frame::XdpFrame;

/// Refuses early; passes the rest untouched.
#[xdp]
pub(crate) fn guard(context: XdpContext) -> u32 {
    let frame = XdpFrame::new(context);
    let tables = frame.tables();
    path::guard(&frame, &tables, frame.arrival(), &frame)
}
