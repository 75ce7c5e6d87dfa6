//! The commands of `gatewayctl` that ask the controller: what is declared of a deployment, and what has become
//! of it. Called by [`super::run`]; they need no rights of their own, as the controller judges who asks.
//!
//! | file | holds |
//! |---|---|
//! | arguments | the command lines |
//! | kinds | kinds and names as operators write them |
//! | files | what `-f` names, and where in it a line is |
//! | build | the resources of the verbs of daily use |
//! | get, change | the calls: those that look, those that change |
//! | rows, related, describe, fields, outcome, status | the answers, pure: from what was read to text |
//! | wait | until gateways have applied a change |
//! | members | tokens, and what is decided about gateways |
//! | edit, init, backup | the operator's editor, the first files, the store's backup |
//! | usage | what is wrong with a command line or a file |

mod arguments;
mod backup;
mod build;
mod change;
mod describe;
mod edit;
mod fields;
mod files;
mod get;
mod init;
mod kinds;
mod members;
mod outcome;
mod related;
mod rows;
#[cfg(test)]
mod sample;
mod status;
mod usage;
mod wait;

use std::env;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

pub(super) use arguments::Verb;
use arguments::{EventCommand, GatewayCommand, ServiceCommand, SiteCommand, TokenCommand};
use describe::EventList;
use members::Decision;
use usage::UsageError;
pub(crate) use usage::is_usage;

use super::arguments::{Form, Output};
use super::print::{print, say};
use crate::api::client::Client;
use crate::api::wire::EventQuery;
use crate::config::SOCKET;

/// Names the controller's socket where the command line does not.
const VARIABLE: &str = "PRESENCE_CONTROLLER";

/// What every command has at hand.
#[derive(Debug)]
struct Session {
    client: Client,
    output: Output,
}

/// Does what a command line asks for.
pub(super) fn run(verb: Verb, controller: Option<PathBuf>, output: Output) -> Result<ExitCode> {
    check_output(&verb, output)?;
    match verb {
        Verb::Init(arguments) => print(&init::init(&arguments)?, output.form()?)?,
        Verb::Restore { file, store } => {
            print(&backup::restore(&file, &store)?, output.form()?)?;
        }
        Verb::Import(arguments) if !arguments.apply => {
            let resources = change::imported(&arguments)?;
            let text = match output.form()? {
                Form::Table | Form::Yaml => init::documents(&resources)?,
                Form::Json => serde_json::to_string_pretty(&resources)? + "\n",
            };
            say(&text)?;
        }
        verb => {
            let session = Session { client: Client::new(&socket(controller)), output };
            return runtime()?.block_on(session.run(verb));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the deployment on one screen.
pub(super) fn status(controller: Option<PathBuf>, form: Form) -> Result<ExitCode> {
    let client = Client::new(&socket(controller));
    let status = runtime()?.block_on(client.status())?;
    let controller = client.socket().display().to_string();
    print(&status::Deployment { controller, status }, form)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a controller is meant: one is named, or one listens where they do.
pub(super) fn is_there(controller: Option<&Path>) -> bool {
    if controller.is_some() || variable().is_some() {
        return true;
    }
    match UnixStream::connect(SOCKET) {
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            let text = format!(
                "gatewayctl: no controller answers at {SOCKET}, so this is of the gateway of this host\n"
            );
            // Nobody is left to be told if standard error is closed.
            let _ = std::io::stderr().write_all(text.as_bytes());
            false
        }
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

fn socket(named: Option<PathBuf>) -> PathBuf {
    named.or_else(variable).unwrap_or_else(|| PathBuf::from(SOCKET))
}

fn variable() -> Option<PathBuf> {
    env::var_os(VARIABLE).filter(|it| !it.is_empty()).map(PathBuf::from)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("cannot start the runtime")
}

/// Refuses a form that an answer does not have before anything is done.
fn check_output(verb: &Verb, output: Output) -> Result<()> {
    let is_change = matches!(
        verb,
        Verb::Apply(_)
            | Verb::Delete(_)
            | Verb::Label(_)
            | Verb::Expose(_)
            | Verb::Allow(_)
            | Verb::Site(_)
            | Verb::Service(_)
            | Verb::Gateway(_)
    );
    match output {
        Output::Yaml if matches!(verb, Verb::Token(_)) => {
            let remedy = "leave it out, or take json";
            Err(UsageError::Output { found: "yaml", remedy }.into())
        }
        Output::Table | Output::Json | Output::Yaml => Ok(()),
        Output::Wide | Output::Name if matches!(verb, Verb::Get(_)) => Ok(()),
        Output::Name if is_change => Ok(()),
        Output::Wide if is_change => {
            let remedy = "leave it out, or take table, json, yaml or name";
            Err(UsageError::Output { found: "wide", remedy }.into())
        }
        Output::Wide | Output::Name => Ok(output.form().map(|_| ())?),
    }
}

impl Session {
    async fn run(&self, verb: Verb) -> Result<ExitCode> {
        match verb {
            Verb::Apply(arguments) => self.apply(&arguments).await?,
            Verb::Get(arguments) => self.get(&arguments).await?,
            Verb::Describe { kind, name } => self.describe(&kind, name.as_deref()).await?,
            Verb::Delete(arguments) => self.delete(&arguments).await?,
            Verb::Diff(arguments) => return self.diff(&arguments).await,
            Verb::Edit(arguments) => self.edit(&arguments).await?,
            Verb::Site(SiteCommand::Create(it)) => {
                self.create(&build::site(&it)?, &it.change).await?;
            }
            Verb::Service(ServiceCommand::Create(it)) => {
                self.create(&build::service(&it)?, &it.change).await?;
            }
            Verb::Gateway(GatewayCommand::Create(it)) => {
                self.create(&build::gateway(&it)?, &it.change).await?;
            }
            Verb::Gateway(GatewayCommand::Accept(it)) => self.decide(Decision::Accept, &it).await?,
            Verb::Gateway(GatewayCommand::Revoke(it)) => self.decide(Decision::Revoke, &it).await?,
            Verb::Token(TokenCommand::Create(it)) => self.create_token(&it).await?,
            Verb::Expose(it) => self.create(&build::exposure(&it)?, &it.change).await?,
            Verb::Allow(it) => self.create(&build::policy(&it)?, &it.change).await?,
            Verb::Label(arguments) => self.label(&arguments).await?,
            Verb::Event(EventCommand::List { kind, name, limit }) => {
                self.events(kind.as_deref(), name.as_deref(), limit).await?;
            }
            Verb::Import(arguments) => self.import(&arguments).await?,
            Verb::Backup { file } => {
                print(&backup::backup(&self.client, &file).await?, self.output.form()?)?;
            }
            Verb::Init(_) | Verb::Restore { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn events(&self, kind: Option<&str>, name: Option<&str>, limit: u32) -> Result<()> {
        let (kind, name) = match kind {
            Some(kind) if name.is_some() || kind.contains('/') => {
                let about = kinds::one(kind, name)?;
                (Some(about.kind), Some(about.name))
            }
            Some(kind) => (Some(kinds::kind(kind)?.word().to_owned()), None),
            None => (None, None),
        };
        let events = self.client.events(&EventQuery { kind, name, limit: Some(limit) }).await?;
        Ok(print(&EventList(events), self.output.form()?)?)
    }
}
