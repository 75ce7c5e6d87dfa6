//! The controller's API: HTTP and JSON on a Unix socket, for `gatewayctl` and other programs of operators.
//!
//! | file | holds |
//! |---|---|
//! | wire | what goes over it, both ways |

pub mod wire;
