//! Knot DNS as Debian ships it, run in a namespace with every file of its own, and `kdig`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::namespace::Namespace;
use super::process::Process;
use super::wait::wait_for;

/// The name the server has a text for.
pub const NAME: &str = "where.presence.test";
/// That text.
pub const TEXT: &str = "\"in the cloud\"";
/// A name whose text does not fit a message of 512 octets.
pub const LONG_NAME: &str = "long.presence.test";
/// How many octets that text has.
pub const LONG_TEXT: usize = 900;

const BOUND: Duration = Duration::from_secs(20);

/// Starts a name server that listens on `address`, and waits until it answers there.
pub fn start(namespace: &Namespace, address: Ipv4Addr, directory: &Path) -> Result<Process> {
    super::sweep::make_private(directory)?;
    let place = directory.display();
    // A string of a text has at most 255 octets: RFC 1035 section 3.3.
    let long = format!(" \"{}\"", "x".repeat(LONG_TEXT / 4)).repeat(4);
    let zone = format!(
        "$ORIGIN presence.test.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n\
         ns A {address}\nwhere TXT {TEXT}\nlong TXT{long}\n"
    );
    let settings = format!(
        "server:\n  rundir: \"{place}\"\n  listen: {address}@53\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n  storage: \"{place}\"\n\
         zone:\n  - domain: presence.test\n    file: \"{place}/zone\"\n"
    );
    fs::write(directory.join("zone"), zone).context("write the zone")?;
    fs::write(directory.join("knot.conf"), settings).context("write knot.conf")?;
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("--config").arg(directory.join("knot.conf"));
    let mut process = namespace.spawn("Knot DNS", &mut command, &directory.join("output"))?;
    wait_for("Knot DNS to answer", BOUND, || {
        Ok(process.ended()?.is_some() || ask(namespace, address)? == TEXT)
    })?;
    ensure!(process.ended()?.is_none(), "Knot DNS ended:\n{}", process.log_tail(25));
    Ok(process)
}

/// Asks a name server over UDP for the text of [`NAME`].
pub fn ask(client: &Namespace, server: Ipv4Addr) -> Result<String> {
    let mut query = Command::new("kdig");
    query.arg(format!("@{server}")).args(["+short", "+notcp", "+timeout=2", "+retry=2", "TXT"]);
    let output = client.output(query.arg(NAME), BOUND)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(output.status.success(), "kdig: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}
