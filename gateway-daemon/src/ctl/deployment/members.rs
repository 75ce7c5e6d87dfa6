//! The commands about who takes part in a deployment: making tokens, accepting and revoking gateways.
//!
//! A token's secret is made here and nowhere else: the controller is told its hash, standard output the string, and
//! nobody anything else. It is cleared from memory when it has been printed.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::rand;
use gateway_control::identity::{ControllerAddress, JoinToken, KeyPin, Secret};
use gateway_control::model::GatewayName;
use gateway_control::resource::{Kind, Labels, Resource, SecretHash, Token, TokenName, TokenRole};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Session;
use super::arguments::{ChangeArguments, CreateToken, DecideGateway};
use super::usage::UsageError;
use super::wait::{Awaited, wait};
use crate::api::wire::{DeploymentIdentity, Fate, Outcome};
use crate::clock::now;
use crate::ctl::Output;
use crate::ctl::print::{Answer, print, say};
use crate::sandbox::refuse_dumps;

/// Octets of chance in the name of a token that was given none.
const CHANCE: usize = 4;
/// Longest part of such a name that is the site's.
const STEM: usize = 54;
/// Room for a token and all that is said of it, so that no copy stays behind where memory was too small.
const ROOM: usize = 4 * JoinToken::MAX_LEN;

/// What operators decide about a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It takes part from now on.
    Accept,
    /// It never does again.
    Revoke,
}

/// A token as it is told, once.
#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    site: String,
    uses: u32,
    expires: String,
    approve: bool,
    trust_domain: String,
    controllers: Vec<String>,
    token: &'a str,
}

/// What came of a decision.
#[derive(Serialize)]
struct Decided<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<&'a Waited>,
}

/// How long it took until gateways had applied it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Waited {
    /// From before the controller was asked.
    seconds: f64,
    /// Gateways that have applied it.
    applied: usize,
    /// Those that are not connected.
    absent: Vec<String>,
}

impl Session {
    /// Makes a token, declares it, and prints it.
    pub(super) async fn create_token(&self, arguments: &CreateToken) -> Result<()> {
        let CreateToken { site, name, uses, expires, approve, addresses, manager } = arguments;
        let expires = expires.expiry(now()).ok_or_else(|| {
            let message = "--expires: that time has passed; write one that is ahead, or 1h";
            UsageError::Content(message.to_owned())
        })?;
        refuse_dumps()?;
        let identity = self.client.identity().await?;
        let name = match name {
            Some(name) => name.clone(),
            None => made_name(site.as_str())?,
        };
        let token = join_token(&identity, addresses)?;
        let resource = Resource::Token(Token {
            name: name.clone(),
            labels: Labels::default(),
            role: TokenRole::Gateway(site.clone()),
            uses: *uses,
            expires,
            approve: *approve,
            secret_hash: token.secret.hash(),
        });
        self.is_free(&resource).await?;
        let change = ChangeArguments { manager: manager.clone(), ..ChangeArguments::default() };
        self.declared(&resource, &change).await?;
        let text = token.text();
        let made = Made {
            name: name.as_str(),
            site: site.to_string(),
            uses: uses.number(),
            expires: expires.to_string(),
            approve: *approve,
            trust_domain: identity.trust_domain,
            controllers: token.controllers.iter().map(ToString::to_string).collect(),
            token: &text,
        };
        made.tell(self.output).with_context(|| {
            format!("token {name} is there, but could not be shown; delete it, and make another")
        })
    }

    /// Accepts or revokes a gateway, and waits for it to be in force if that is asked for.
    pub(super) async fn decide(&self, decision: Decision, arguments: &DecideGateway) -> Result<()> {
        let DecideGateway { name, wait: patience } = arguments;
        let begun = Instant::now();
        let outcome = match decision {
            Decision::Accept => self.client.accept(name.as_str()).await?,
            Decision::Revoke => self.client.revoke(name.as_str()).await?,
        };
        let line = decision.told(name, &outcome);
        let Some(patience) = patience else { return self.tell_decision(&line, &outcome, None) };
        if self.output == Output::Table {
            say(&line)?;
        }
        let mut awaited = self.concerned(decision, name, &outcome).await?;
        let waiting = wait(&self.client, &mut awaited, patience.0).await;
        let waited = Waited {
            seconds: begun.elapsed().as_secs_f64(),
            applied: awaited.applied(),
            absent: awaited.absent(),
        };
        match (self.output, &waiting) {
            (Output::Table, Ok(())) => say(&waited.text())?,
            (Output::Table, Err(_)) => {}
            _ => self.tell_decision(&line, &outcome, waiting.is_ok().then_some(&waited))?,
        }
        waiting
    }

    fn tell_decision(&self, line: &str, outcome: &Outcome, waited: Option<&Waited>) -> Result<()> {
        match self.output {
            Output::Table => say(line)?,
            Output::Name => super::change::names(outcome)?,
            Output::Json | Output::Yaml | Output::Wide => {
                print(&Decided { outcome, waited }, self.output.form()?)?;
            }
        }
        Ok(())
    }

    /// The gateways that have something to do with a decision.
    async fn concerned(
        &self,
        decision: Decision,
        name: &GatewayName,
        outcome: &Outcome,
    ) -> Result<Awaited> {
        let others = outcome.gateways.iter().filter(|it| it.gateway.is_some());
        let others = others.map(|it| it.site.clone());
        if let Some(revision) = outcome.revision {
            let awaited = Awaited::new(Some(revision), []).and_connected(others);
            let own = match decision {
                Decision::Accept => Some(self.site_of(name).await?),
                Decision::Revoke => None,
            };
            return Ok(awaited.and_new(own));
        }
        // It was so before, but may not be in force yet: with whom is no longer told.
        let gateways = self.list(Some(Kind::Gateway), None).await?;
        let states = gateways.into_iter().flat_map(|view| view.status.gateways);
        Ok(Awaited::new(None, []).and_connected(states.map(|it| it.site)))
    }
}

impl Session {
    async fn site_of(&self, name: &GatewayName) -> Result<String> {
        let view = self.client.view(Kind::Gateway.word(), name.as_str()).await?;
        let site = view.spec.get("site").and_then(|it| it.as_str()).map(str::to_owned);
        site.with_context(|| format!("gateway {name} has no site; use a gatewayctl of its version"))
    }
}

impl Decision {
    fn told(self, name: &GatewayName, outcome: &Outcome) -> String {
        let is_new = outcome.resources.iter().any(|Fate { fate, .. }| fate != "unchanged");
        match (self, is_new) {
            (Self::Accept, _) => format!("gateway/{name} accepted\n"),
            (Self::Revoke, true) => format!("gateway/{name} revoked\n"),
            (Self::Revoke, false) => format!("gateway/{name} was revoked already\n"),
        }
    }
}

impl Waited {
    fn text(&self) -> String {
        let Self { seconds, applied, absent } = self;
        let gateways = if *applied == 1 { "gateway" } else { "gateways" };
        let mut text = format!("in force at {applied} {gateways} after {seconds:.3} s\n");
        if !absent.is_empty() {
            let absent = absent.join(", ");
            text.push_str(&format!("not connected, told when they are again: {absent}\n"));
        }
        text
    }
}

impl Answer for Decided<'_> {
    fn text(&self) -> String {
        self.waited.map(Waited::text).unwrap_or_default()
    }
}

impl Made<'_> {
    /// Prints it without a copy that stays in a buffer.
    fn tell(&self, output: Output) -> Result<()> {
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        match output {
            Output::Json => serde_json::to_writer_pretty(&mut *text, self)?,
            _ => text.extend_from_slice(self.token.as_bytes()),
        }
        text.push(b'\n');
        let mut stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        stdout.write_all(&text)?;
        if output != Output::Json {
            let Self { name, site, uses, expires, approve, .. } = self;
            let hosts = if *uses == 1 { "one host".to_owned() } else { format!("{uses} hosts") };
            let accept = match approve {
                true => ", to take part once it is accepted",
                false => "",
            };
            let told = format!(
                "token {name}: lets {hosts} join as the gateway of site {site} until {expires}{accept}\n\
                 The line above is shown this once. Hand it over as you would a password, and give it to \
                 `gatewayd join` there, as a file or on standard input.\n"
            );
            // Nobody is left to be told if standard error is closed.
            let _ = std::io::stderr().write_all(told.as_bytes());
        }
        Ok(())
    }
}

/// What a host is to know that joins, with a secret of its own.
fn join_token(identity: &DeploymentIdentity, addresses: &[ControllerAddress]) -> Result<JoinToken> {
    let alien = |what: &str| {
        anyhow!("the controller's {what} makes no sense here; use a gatewayctl of its version")
    };
    let controllers = match addresses {
        [] => {
            let read = identity.controllers.iter().map(|it| it.parse());
            read.collect::<Result<Vec<_>, _>>().map_err(|_| alien("address"))?
        }
        given => given.to_vec(),
    };
    let most = JoinToken::MOST_CONTROLLERS;
    if controllers.is_empty() || controllers.len() > most {
        let message = format!(
            "{} controllers' addresses would be in the token, and there may be 1 to {most}; name them with \
             --address HOST:PORT",
            controllers.len()
        );
        return Err(UsageError::Content(message).into());
    }
    let trust_domain = identity.trust_domain.parse().map_err(|_| alien("trust domain"))?;
    // Both are SHA-256 in the same notation.
    let authority: SecretHash = identity.authority.parse().map_err(|_| alien("CA"))?;
    let mut octets = Zeroizing::new([0; Secret::LEN]);
    rand::fill(&mut *octets).map_err(|_| no_chance())?;
    let secret = Secret::new(*octets);
    Ok(JoinToken { trust_domain, controllers, authority: KeyPin::new(*authority.octets()), secret })
}

/// A name that no other token has, but for chance.
fn made_name(site: &str) -> Result<TokenName> {
    let mut octets = [0; CHANCE];
    rand::fill(&mut octets).map_err(|_| no_chance())?;
    let stem: String = site.chars().take(STEM).collect();
    let name = format!("{}-{:08x}", stem.trim_end_matches('-'), u32::from_be_bytes(octets));
    name.parse().map_err(|_| UsageError::NoName { made: name }.into())
}

fn no_chance() -> anyhow::Error {
    anyhow!("the system gives no random numbers; look at its log")
}
