//! `gatewayctl`: declares what there is in a deployment, and looks at a gateway's data path through its pins, so
//! that the latter works whether the daemon runs or not.
//!
//! | file | holds |
//! |---|---|
//! | arguments | the command line |
//! | run | what each command reads and calls |
//! | deployment | the commands that ask the controller |
//! | presences, backends, flows, links, counters, status, maps, trace, explain | the answers, pure: from what was read to rows |
//! | doctor | what a gateway or a controller needs, looked at and judged |
//! | seal | what is sealed on this host, and sealing it anew |
//! | filter, follow | which flows are wanted, and what became of them since the last look; pure |
//! | watch | the loop of `flow list --follow` |
//! | packet, entry, names | frames, map entries and what is named, as text |
//! | manual | completions and manual pages |
//! | print | tables, JSON and YAML |

mod arguments;
mod backends;
mod counters;
mod deployment;
pub mod doctor;
pub(crate) mod entry;
mod explain;
mod filter;
mod flows;
mod follow;
mod links;
mod manual;
pub(crate) mod maps;
mod names;
mod packet;
mod presences;
mod print;
mod run;
#[cfg(test)]
mod sample;
mod seal;
mod status;
mod trace;
mod watch;

pub use arguments::{Arguments, Command, Output};
pub use run::run;

/// Whether an error is of the command line rather than of the gateway.
pub(crate) fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<explain::UnknownReason>()
        || error.is::<arguments::UnfitOutput>()
        || error.is::<doctor::DoctorError>()
        || deployment::is_usage(error)
        || error.is::<filter::FilterError>()
        || error.downcast_ref().is_some_and(trace::TraceError::is_usage)
}
