//! What `kdig` says of an exchange with the cloud's name server: over which transport the answer came,
//! and how long it was.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::namespace::Namespace;
use crate::lab::plan::DNS;

const BOUND: Duration = Duration::from_secs(20);

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The transport of the answer: `UDP` or `TCP`.
    pub transport: String,
    /// The length of the answer's message.
    pub octets: u64,
    /// Whether an answer over UDP was cut short first, so that the question was put again over TCP.
    pub retried: bool,
    /// Everything that kdig says.
    pub text: String,
}

/// Asks for the text of a name through the presence.
pub fn ask(from: &Namespace, name: &str, options: &[&str]) -> Result<Exchange> {
    let mut kdig = Command::new("kdig");
    kdig.arg(format!("@{}", DNS.address())).args(["+timeout=5", "+retry=2", "TXT", name]);
    let output = from.output(kdig.args(options), BOUND)?;
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    parse(text.concat())
}

fn parse(text: String) -> Result<Exchange> {
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let octets = after(";; Received ")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .with_context(|| format!("kdig received nothing: {text}"))?;
    let transport = after(";; From ")
        .and_then(|rest| rest.split_once('(')?.1.split_once(')'))
        .map(|(transport, _)| transport.to_owned())
        .with_context(|| format!("kdig names no transport: {text}"))?;
    let retried = text.contains("retrying over TCP");
    Ok(Exchange { transport, octets, retried, text })
}
