//! The gateway tool as a build with the next map ABI would be.
#![forbid(unsafe_code)]

#[path = "../gatewayctl.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
