//! Gateways that have joined a controller over the network: what they do without it, and what becomes of those who are
//! revoked or copied.

use anyhow::Result;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::{Lab, members};

fn with(steps: impl FnOnce(&mut Lab) -> Result<String>) -> Result<()> {
    let choices = Choices { declared: true, ..Choices::default() };
    Lab::up(LabName::unique(), choices)?.during(steps).map(drop)
}

#[test]
fn a_gateway_starts_into_full_service_without_the_controller() -> Result<()> {
    with(members::edge_starts_without_the_controller)
}

#[test]
fn where_udp_is_blocked_the_session_comes_back_over_tcp() -> Result<()> {
    with(members::session_comes_back_over_tcp)
}

#[test]
fn a_revoked_gateway_is_out_within_a_second() -> Result<()> {
    with(members::revoked_in_a_download)
}

#[test]
fn a_copied_disk_locks_both_out() -> Result<()> {
    with(members::a_copied_disk_locks_both)
}
