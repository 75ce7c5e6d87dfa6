//! The gateway daemon as a build with the next map ABI would be: what an upgrade is rehearsed with.
#![forbid(unsafe_code)]

#[path = "../gatewayd.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
