//! dnsmasq as a TFTP server. As a rule each transfer is answered from a port of its own
//! (RFC 1350 section 4), which no flow expects; in its single-port mode all of them from port 69.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Application, curl, directory_for_others, must_hold_body, write_body};
use crate::lab::Lab;
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CLOUD, SERVER};
use crate::lab::process::Process;
use crate::lab::wait::wait_for;

/// The cloud's TFTP server.
pub const TFTP: Application = Application {
    name: "tftp",
    number: 105,
    ports: &["udp/69"],
    presence: std::net::Ipv4Addr::new(10, 0, 0, 244),
};

/// How long the file is that it serves.
pub const BODY: u64 = 100_000;

const START_BOUND: Duration = Duration::from_secs(20);
const BOUND: Duration = Duration::from_secs(60);

/// Starts it on the cloud's server host, and waits until it has served a client of its own site.
pub fn start(lab: &Lab, single_port: bool) -> Result<Process> {
    let site = lab.site(&CLOUD);
    let directory = directory_for_others(lab, "tftp")?;
    write_body(&directory.join("body"), BODY)?;
    let mut server = Command::new("dnsmasq");
    server.args(["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--port=0"]);
    // Bound to one address, its single-port mode finds no route for its answers.
    server.args(["--user=root", "--pid-file=", "--enable-tftp"]);
    server.arg(format!("--listen-address={SERVER}"));
    server.arg(format!("--tftp-root={}", directory.display()));
    server.args(single_port.then_some("--tftp-single-port"));
    let mut process = site.server.spawn("dnsmasq", &mut server, &lab.directory("dnsmasq.log"))?;
    wait_for("the TFTP server to serve", START_BOUND, || {
        let served = fetch_from(lab, &site.client, &SERVER.to_string(), 2)?.status.success();
        Ok(process.ended()?.is_some() || served)
    })?;
    ensure!(process.ended()?.is_none(), "dnsmasq ended:\n{}", process.log_tail(10));
    Ok(process)
}

/// Fetches the file through the presence, for so many seconds at most.
pub fn fetch(lab: &Lab, from: &Namespace, seconds: u32) -> Result<Output> {
    fetch_from(lab, from, &TFTP.address().to_string(), seconds)
}

/// Fails unless the file came whole at the last fetch.
pub fn must_have_come(lab: &Lab) -> Result<()> {
    must_hold_body(&got(lab), BODY)
}

fn fetch_from(lab: &Lab, from: &Namespace, server: &str, seconds: u32) -> Result<Output> {
    // What an earlier fetch left must not be taken for this one's.
    match std::fs::remove_file(got(lab)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("remove what was fetched before");
        }
        _ => {}
    }
    let mut curl = curl();
    curl.args(["--max-time", &seconds.to_string(), "--output"]);
    curl.arg(got(lab)).arg(format!("tftp://{server}/body"));
    from.output(&mut curl, BOUND)
}

fn got(lab: &Lab) -> PathBuf {
    lab.directory("tftp.got")
}
