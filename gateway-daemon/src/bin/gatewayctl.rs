//! The gateway tool.
fn main() {}
