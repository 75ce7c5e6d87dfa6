//! The shipped policy files, each held to its table of expectations.
//!
//! A directory under `examples/` holds the site files of one deployment and one `.expect` file: lines
//! of who asks for what, and the verdict. Its `resources/` declares the same deployment as resources. `cargo test -p policies` puts each line to the rules and to
//! the compiled tables of both gateways that enforce it.
#![forbid(unsafe_code)]

mod deployment;
mod expectation;

pub use deployment::{Deployment, DeploymentError};
pub use expectation::{Expectation, ExpectationError, Target, Verdict, expectations};
