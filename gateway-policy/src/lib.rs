//! Who may use what: allow rules, checked once, and the decision they give.
//!
//! `gateway-control` builds a [`RuleSet`] from what an operator wrote and compiles it to tables;
//! [`RuleSet::decide`] is the meaning those tables are tested against. Pure: no text format, no
//! clock, no sockets. What no rule allows is denied.
#![forbid(unsafe_code)]

mod name;
mod rule;
mod set;

pub use name::{Label, LabelError, RuleId, ServiceName, SiteName};
pub use rule::{AllowRule, Clients, ServiceId, ServiceIdError, Subject};
pub use set::{Client, Decision, DenyReason, RuleSet, RuleSetError};
