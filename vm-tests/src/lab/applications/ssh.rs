//! OpenSSH: a server whose every file, user and directory is in a mount namespace of its own, and a
//! client that copies a body into a digest at the far end.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use sha2::{Digest, Sha256};

use super::{Application, wait_until_it_listens};
use crate::lab::Lab;
use crate::lab::namespace::{Namespace, run};
use crate::lab::plan::{CLOUD, SERVER};
use crate::lab::process::Process;
use crate::lab::sweep::make_private;
use crate::lab::traffic::{Body, hex};
use crate::lab::wait::wait_until;

/// The cloud's SSH server.
pub const SSH: Application = Application {
    name: "ssh",
    number: 102,
    ports: &["tcp/22"],
    presence: std::net::Ipv4Addr::new(10, 0, 0, 241),
};
/// Its port.
pub const PORT: u16 = 22;

/// Seen by the server alone: its files at /mnt, users of its own, and an empty /run.
const SCRIPT: &str = "mount --bind \"$1\" /mnt && mount --bind /mnt/passwd /etc/passwd && \
                      mount --bind /mnt/shadow /etc/shadow && mount -t tmpfs tmpfs /run && \
                      mkdir -m 755 /run/sshd && exec /usr/sbin/sshd -D -e -f /mnt/sshd_config";
const USERS: &str = "root:x:0:0:root:/:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n";
const PASSWORDS: &str = "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n";

/// An SSH server and the keys that a client needs for it.
#[derive(Debug)]
pub struct Server {
    process: Process,
    directory: PathBuf,
}

impl Server {
    /// Starts it on the cloud's server host. Keys are exchanged anew every 256 MB.
    pub fn start(lab: &Lab) -> Result<Self> {
        let (host, directory) = (&lab.site(&CLOUD).server, lab.directory("ssh"));
        make_private(&directory)?;
        for key in ["host_key", "client_key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
            run(keygen.arg(directory.join(key)))?;
        }
        let public = |key: &str| {
            fs::read_to_string(directory.join(key)).with_context(|| format!("read {key}"))
        };
        let settings = format!(
            "ListenAddress {SERVER}:{PORT}\nHostKey /mnt/host_key\nPidFile none\nUsePAM no\n\
             AuthorizedKeysFile /mnt/authorized_keys\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\n\
             RekeyLimit 256M\n"
        );
        let known = format!("{} {}", SSH.address(), public("host_key.pub")?);
        for (file, text) in [
            ("sshd_config", settings),
            ("passwd", USERS.to_owned()),
            ("shadow", PASSWORDS.to_owned()),
            ("authorized_keys", public("client_key.pub")?),
            ("known_hosts", known),
        ] {
            fs::write(directory.join(file), text).with_context(|| format!("write {file}"))?;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", SCRIPT, "sh"]).arg(&directory);
        let mut process = host.spawn("sshd", &mut command, &directory.join("output"))?;
        wait_until_it_listens(host, &mut process, SocketAddrV4::new(SERVER, PORT))?;
        Ok(Self { process, directory })
    }

    /// Copies a body of this length to the server's host, on one connection, and fails unless the
    /// SHA-256 that is computed there is that of what was sent.
    pub fn copy(&self, from: &Namespace, length: u64, bound: Duration) -> Result<()> {
        let mut ssh = self.client();
        ssh.arg("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = from.run(|| ssh.spawn())?.context("start ssh")?;
        let mut input = child.stdin.take().context("ssh has no standard input")?;
        let feeder = thread::spawn(move || -> Result<String> {
            let (mut body, mut chunk) = (Body::new(length), vec![0; 256 << 10]);
            let mut digest = Sha256::new();
            loop {
                match body.fill(&mut chunk) {
                    0 => return Ok(hex(digest)),
                    filled => {
                        digest.update(&chunk[..filled]);
                        input.write_all(&chunk[..filled]).context("write to ssh")?;
                    }
                }
            }
        });
        let ended = wait_until("ssh to end", bound, || Ok(child.try_wait()?));
        if ended.is_err() {
            // It may have ended by itself meanwhile; the wait reaps it, the feeder's pipe breaks.
            let _ = child.kill();
            let _ = child.wait();
        }
        let fed = feeder.join().map_err(|_| anyhow!("the feeder of ssh panicked"))?;
        let (mut said, mut complained) = (String::new(), String::new());
        child.stdout.take().context("no output")?.read_to_string(&mut said)?;
        child.stderr.take().context("no output")?.read_to_string(&mut complained)?;
        let status = ended.with_context(|| complained.clone())?;
        ensure!(
            status.success(),
            "ssh: {status}: {complained}; sshd:\n{}",
            self.process.log_tail(10)
        );
        let fed = fed?;
        ensure!(said.starts_with(&fed), "{fed} was sent, and this is what came: {said}");
        Ok(())
    }

    fn client(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-T", "-i"]).arg(self.directory.join("client_key"));
        let known = self.directory.join("known_hosts");
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "ConnectTimeout=15",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=none",
            &format!("UserKnownHostsFile={}", known.display()),
        ] {
            ssh.args(["-o", option]);
        }
        ssh.arg(format!("root@{}", SSH.address()));
        ssh
    }
}
