//! Applications as Debian ships them, each run in a namespace with every file of its own, and their
//! clients. `tests/applications.rs` uses them through presences.
//!
//! Nothing is enabled, configured or left outside the lab's own directory and namespaces.

pub mod amqp;
pub mod dns;
pub mod ftp;
pub mod http2;
pub mod iperf;
pub mod postgresql;
pub mod ssh;
pub mod tftp;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Lab;
use super::namespace::Namespace;
use super::plan::{CLIENT, CLOUD, EDGE_A, SERVER};
use super::process::Process;
use super::traffic::{self, Body};
use super::wait::wait_for;

const START_BOUND: Duration = Duration::from_secs(60);

/// A service of the cloud, besides those of every lab, that edge A's client may use.
#[derive(Debug)]
pub struct Application {
    name: &'static str,
    number: u16,
    ports: &'static [&'static str],
    presence: Ipv4Addr,
}

impl Application {
    /// One of its ports at its presence.
    pub const fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.presence, port)
    }

    /// The address of its presence.
    pub const fn address(&self) -> Ipv4Addr {
        self.presence
    }

    fn service(&self) -> String {
        let ports: Vec<_> = self.ports.iter().map(|port| format!("\"{port}\"")).collect();
        format!(
            "\n[[service]]\nname = \"{}\"\nsite = \"{}\"\nnumber = {}\nports = [{}]\n",
            self.name,
            CLOUD.name,
            self.number,
            ports.join(", ")
        )
    }

    fn rule(&self) -> String {
        format!(
            "\n[[allow]]\nid = \"{0}\"\nfrom = \"{1}\"\nclients = [\"{CLIENT}/32\"]\nto = \"{0}.{2}\"\n",
            self.name, EDGE_A.name, CLOUD.name
        )
    }
}

/// Adds applications to the site files of a lab whose gateways do not run yet.
pub fn offer(lab: &Lab, applications: &[&Application]) -> Result<()> {
    for application in applications {
        let (service, rule) = (application.service(), application.rule());
        let here = format!("{service}backend = \"{SERVER}\"\n{rule}");
        let there = format!("{service}presence = \"{}\"\n{rule}", application.presence);
        append(&lab.site(&CLOUD).gateway.site_file(), &here)?;
        append(&lab.site(&EDGE_A).gateway.site_file(), &there)?;
    }
    Ok(())
}

/// A directory for a server that does not run as root: it may pass through those above, which stay
/// unreadable.
fn directory_for_others(lab: &Lab, server: &str) -> Result<PathBuf> {
    let directory = lab.directory(server);
    let above = directory.parent().context("a lab's directory is not the root")?;
    fs::create_dir_all(&directory)
        .and_then(|()| fs::set_permissions(&directory, Permissions::from_mode(0o755)))
        .and_then(|()| fs::set_permissions(above, Permissions::from_mode(0o711)))
        .with_context(|| format!("make {}", directory.display()))?;
    Ok(directory)
}

/// Waits until a server takes connections at `address`, seen from its own host.
fn wait_until_it_listens(
    namespace: &Namespace,
    process: &mut Process,
    address: SocketAddrV4,
) -> Result<()> {
    let title = process.title().to_owned();
    wait_for(format!("{title} to listen"), START_BOUND, || {
        let connected = namespace.run(|| traffic::connect(address))?;
        Ok(process.ended()?.is_some() || connected.is_ok())
    })?;
    ensure!(process.ended()?.is_none(), "{title} ended:\n{}", process.log_tail(25));
    Ok(())
}

/// Runs a client to its successful end and gives what it wrote on standard output.
fn client(namespace: &Namespace, command: &mut Command, bound: Duration) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = namespace.output(command, bound)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program}: {}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// curl, which neither the user's own settings nor a proxy out of the environment may lead elsewhere.
fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
    curl
}

/// Writes a file whose digest is [`Body::digest`]'s of that length, readable by everybody.
fn write_body(path: &Path, length: u64) -> Result<()> {
    let (mut body, mut chunk) = (Body::new(length), vec![0; 64 << 10]);
    let mut file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    loop {
        match body.fill(&mut chunk) {
            0 => return Ok(()),
            filled => file.write_all(&chunk[..filled]).context("write a file to serve")?,
        }
    }
}

/// Fails unless the file holds the body of this length.
fn must_hold_body(path: &Path, length: u64) -> Result<()> {
    let got = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    ensure!(got.len() as u64 == length, "{} of {length} octets came", got.len());
    ensure!(traffic::digest_of(&got) == Body::new(length).digest(), "wrong octets came");
    Ok(())
}

fn append(path: &Path, text: &str) -> Result<()> {
    File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("append to {}", path.display()))
}
