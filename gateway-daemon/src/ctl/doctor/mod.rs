//! `gatewayctl doctor`: looks at what a gateway or a controller needs, says what is wrong and what to do, and changes
//! nothing. [`super::run`] calls it; the mode of the file says which side it is.
//!
//! | file | holds |
//! |---|---|
//! | report | findings, and how they are told |
//! | sides | what is looked at on each side, and how long it may take |
//! | clock, certificate, reach, path, token | what is judged; pure |
//! | probe | names and handshakes |
//! | sealed, controller, kernel, address | what this host has: looked at, then judged |
//!
//! What always holds: it ends within the sum of two limits for a network and one for a disk; controllers are asked
//! as by who joins and says nothing, since a certificate that is shown is one that counts as used.

mod address;
mod certificate;
mod clock;
mod controller;
mod kernel;
mod path;
mod probe;
mod reach;
mod report;
mod sealed;
mod sides;
mod token;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

pub use probe::Limits;
pub use report::{Check, Finding, Report, Verdict};

use super::arguments::{DoctorArguments, Form};
use super::print::print;
use crate::clock::now;
use crate::config::Role;
use crate::exit;
use crate::sandbox::refuse_dumps;
use crate::seal::{PassphraseSource, Sealer};

/// What an examination goes by.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What this host's clock says, in seconds since 1970.
    pub now: u64,
    /// How long each look may take.
    pub limits: Limits,
}

/// A wrong command line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    /// The token's file is none.
    #[error("--token-file {}: cannot read it: {reason}; name the file that holds the token, or - for the standard input", .path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// Two things come by one pipe.
    #[error(
        "--token-file -: the passphrase comes by the standard input (seal.descriptor); give the token in a file"
    )]
    Twice,
    /// Only who joins has a token.
    #[error("--token-file: {} is no gateway that joins; leave it out", .0.display())]
    Needless(PathBuf),
}

/// Looks, and tells. The exit code is 1 if anything fails.
pub(super) fn run(arguments: &DoctorArguments, form: Form) -> Result<ExitCode> {
    refuse_dumps()?;
    let role = Role::load(&arguments.config)?;
    let token = match &arguments.token_file {
        Some(path) => Some(token_text(path, &role)?),
        None => None,
    };
    let settings = Settings { now: now(), limits: Limits::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(examine(&role, token.as_ref().map(|it| it.as_str()), &settings));
    // What still waits for a disk is not waited for.
    runtime.shutdown_background();
    let form = if arguments.json { Form::Json } else { form };
    print(&report, form)?;
    Ok(match report.verdict() {
        Verdict::Ok | Verdict::Warn => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::from(exit::FAILURE),
    })
}

fn token_text(path: &Path, role: &Role) -> Result<Zeroizing<String>, DoctorError> {
    let seal = match role {
        Role::Gateway(file) if file.gateway.own.is_none() => &file.seal,
        Role::Gateway(file) => return Err(DoctorError::Needless(file.path.clone())),
        Role::Controller(file) => return Err(DoctorError::Needless(file.path.clone())),
        Role::Standalone(file) => return Err(DoctorError::Needless(file.path.clone())),
    };
    let typed = Sealer::Passphrase(PassphraseSource::Descriptor(0));
    if path.as_os_str() == "-" && seal.sealer == typed {
        return Err(DoctorError::Twice);
    }
    token::read(path).map_err(|reason| DoctorError::Token { path: path.to_owned(), reason })
}

/// Looks at what the daemon with this file needs; `token` is the text of one that is to be used there.
pub async fn examine(role: &Role, token: Option<&str>, settings: &Settings) -> Report {
    let (token, said) = match token.map(token::judge) {
        Some((token, finding)) => (token, Some(finding)),
        None => (None, None),
    };
    let found = match role {
        Role::Standalone(file) => sides::standalone(file, settings).await,
        Role::Gateway(file) => sides::gateway(file, token, settings).await,
        Role::Controller(file) => sides::controller(file, settings).await,
    };
    Report { findings: said.into_iter().chain(found).collect() }
}
