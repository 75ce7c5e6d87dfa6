//! `gatewayctl`: looks at a gateway's data path through its pins, so that it works whether the
//! daemon runs or not.
//!
//! | file | holds |
//! |---|---|
//! | arguments | the command line |
//! | run | what each command reads and calls |
//! | presences, backends, flows, links, counters, status, maps, trace | the answers, pure: from what was read to rows |
//! | packet, entry | frames and map entries as text |
//! | print | tables and JSON |

mod arguments;
mod backends;
mod counters;
pub(crate) mod entry;
mod flows;
mod links;
pub(crate) mod maps;
mod packet;
mod presences;
mod print;
mod run;
#[cfg(test)]
mod sample;
mod status;
mod trace;

pub use arguments::{Arguments, Command, Output};
pub use run::run;
