//! What a deployment is and what its sites may use, compiled to tables: pure, no clock, no sockets.
//!
//! ```text
//! text --resource--> Resources --Deployment, allocation--> Share --+ local facts
//!                                                                  v
//! text --site_file-------------------------------------------> SiteDraft
//!
//! SiteDraft --SiteModel::check--> SiteModel --compile--> Tables
//!                                           --Plan-----> links and LANs
//! ```
//!
//! `gatewayd` reads a site file, and hands the tables to the data path and the plan to netlink.
//! Nothing here reads a clock, opens a socket or depends on the order of a hash.
#![forbid(unsafe_code)]

pub mod compile;
pub mod deployment;
mod excerpt;
pub mod identity;
mod lowering;
pub mod maglev;
pub mod model;
pub mod plan;
mod prefixes;
mod render;
pub mod resource;
pub mod sealed;
pub mod serving;
pub mod session;
pub mod site_file;

pub use compile::{
    CompileError, HostView, Interface, Interfaces, SiteLink, SiteLinks, compile, compile_linked,
    compile_serving, host_addresses,
};
pub use plan::Plan;
pub use serving::Serving;
