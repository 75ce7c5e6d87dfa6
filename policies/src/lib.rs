//! The shipped policy files, each held to its table of expectations.
//!
//! A directory under `examples/` holds one deployment, as site files or as resources, and one `.expect` file: lines
//! of who asks for what, and the verdict. `resources/` beside site files declares the same as resources. `cargo
//! test -p policies` puts each line to the rules and to the compiled tables of both gateways that enforce it.
#![forbid(unsafe_code)]

mod deployment;
mod expectation;

pub use deployment::{Deployment, DeploymentError};
pub use expectation::{Expectation, ExpectationError, Target, Verdict, expectations};
