//! vsftpd, which has data connections of either kind, and curl as its client.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    Application, curl, directory_for_others, must_hold_body, wait_until_it_listens, write_body,
};
use crate::lab::Lab;
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CLIENT_PRESENCE, CLOUD, SERVER};
use crate::lab::process::Process;

/// The cloud's FTP server, with the ports of its passive mode declared.
pub const FTP: Application = Application {
    name: "ftp",
    number: 106,
    ports: &["tcp/21", "tcp/30000-30009"],
    presence: Ipv4Addr::new(10, 0, 0, 245),
};
/// The same server with nothing but its control port declared.
pub const FTP_CONTROL_ONLY: Application = Application {
    name: "ftp-control-only",
    number: 107,
    ports: &["tcp/21"],
    presence: Ipv4Addr::new(10, 0, 0, 246),
};

const PORT: u16 = 21;
const BODY: u64 = 2_000_000;
const BOUND: Duration = Duration::from_secs(60);

/// How the data connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By the client, to a port that the server names (RFC 2428, EPSV).
    ExtendedPassive,
    /// By the client, to an address and port that the server names (RFC 959, PASV).
    Passive,
    /// By the server, to an address and port that the client names (RFC 959, PORT). The client names
    /// what the server sees of it; its own address would stand for another host there.
    Active,
}

/// Starts it on the cloud's server host.
pub fn start(lab: &Lab) -> Result<Process> {
    let host = &lab.site(&CLOUD).server;
    let directory = directory_for_others(lab, "ftp")?;
    write_body(&directory.join("body"), BODY)?;
    let empty = directory.join("empty");
    fs::create_dir(&empty).context("make an empty directory")?;
    let settings = format!(
        "listen=YES\nlisten_address={SERVER}\nbackground=NO\nanonymous_enable=YES\n\
         local_enable=NO\nanon_root={}\nsecure_chroot_dir={}\nconnect_from_port_20=YES\n\
         pasv_min_port=30000\npasv_max_port=30009\npasv_address={}\nconnect_timeout=3\n\
         seccomp_sandbox=NO\nxferlog_enable=NO\n",
        directory.display(),
        empty.display(),
        FTP.address(),
    );
    let file = lab.directory("vsftpd.conf");
    fs::write(&file, settings).context("write vsftpd.conf")?;
    let mut server = Command::new("vsftpd");
    let mut process = host.spawn("vsftpd", server.arg(&file), &lab.directory("vsftpd.log"))?;
    wait_until_it_listens(host, &mut process, SocketAddrV4::new(SERVER, PORT))?;
    Ok(process)
}

/// Fetches the file from a presence; at most ten seconds.
pub fn fetch(lab: &Lab, from: &Namespace, of: &Application, mode: Mode) -> Result<Output> {
    let mut curl = curl();
    curl.args(["--max-time", "10"]);
    match mode {
        Mode::ExtendedPassive => {}
        Mode::Passive => {
            curl.args(["--disable-epsv", "--no-ftp-skip-pasv-ip"]);
        }
        Mode::Active => {
            curl.args(["--disable-eprt", "--ftp-port", &CLIENT_PRESENCE.to_string()]);
        }
    }
    curl.arg("--output").arg(lab.directory(&got(mode)));
    from.output(curl.arg(format!("ftp://{}/body", of.at(PORT))), BOUND)
}

/// Fails unless the file came whole by this mode.
pub fn must_have_come(lab: &Lab, mode: Mode) -> Result<()> {
    must_hold_body(&lab.directory(&got(mode)), BODY)
}

fn got(mode: Mode) -> String {
    format!("ftp.{mode:?}.got")
}
