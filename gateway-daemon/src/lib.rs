//! gatewayd and gatewayctl.

pub mod link;
pub mod netlink;
