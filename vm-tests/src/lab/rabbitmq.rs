//! RabbitMQ as Debian ships it, run in a namespace with every file of its own, and the AMQP
//! clients of Debian's amqp-tools.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::namespace::Namespace;
use super::process::Process;
use super::wait::wait_for;

/// The broker's port.
pub const PORT: u16 = 5672;

const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const START_BOUND: Duration = Duration::from_secs(90);
const CLIENT_BOUND: Duration = Duration::from_secs(20);

/// A broker in a namespace.
#[derive(Debug)]
pub struct Broker {
    namespace: Namespace,
    directory: PathBuf,
    process: Process,
}

impl Broker {
    /// Starts a broker that listens on `address`; [`Broker::wait_ready`] waits for it.
    pub fn launch(namespace: &Namespace, address: Ipv4Addr, directory: PathBuf) -> Result<Self> {
        super::sweep::make_private(&directory)?;
        // By default the guest user is refused to any but loopback clients.
        let settings = format!("listeners.tcp.1 = {address}:{PORT}\nloopback_users = none\n");
        fs::write(directory.join("rabbitmq.conf"), settings).context("write rabbitmq.conf")?;
        fs::write(directory.join("enabled_plugins"), "[].\n").context("write enabled_plugins")?;
        let mut server = program("rabbitmq-server", &directory);
        let process = namespace.spawn("RabbitMQ", &mut server, &directory.join("output"))?;
        Ok(Self { namespace: namespace.clone(), directory, process })
    }

    /// Waits until it takes commands and clients.
    pub fn wait_ready(&mut self, address: Ipv4Addr) -> Result<()> {
        let Self { namespace, process, .. } = self;
        let server = SocketAddrV4::new(address, PORT);
        wait_for("RabbitMQ to listen", START_BOUND, || {
            // Its listeners open last, once the node has booted.
            let connected = namespace.run(|| super::traffic::connect(server))?;
            Ok(process.ended()?.is_some() || connected.is_ok())
        })?;
        ensure!(process.ended()?.is_none(), "RabbitMQ ended:\n{}", process.log_tail(25));
        Ok(())
    }

    /// The addresses of the connections there are now, as the broker sees them.
    pub fn peers(&self) -> Result<Vec<Ipv4Addr>> {
        let text = self.connections("peer_host")?;
        text.split_whitespace()
            .map(|word| word.parse().with_context(|| format!("rabbitmqctl wrote {word:?}")))
            .collect()
    }

    /// How many channels each connection has now.
    pub fn channels(&self) -> Result<Vec<usize>> {
        let text = self.connections("channels")?;
        text.split_whitespace()
            .map(|word| word.parse().with_context(|| format!("rabbitmqctl wrote {word:?}")))
            .collect()
    }

    fn connections(&self, column: &str) -> Result<String> {
        let mut list = program("rabbitmqctl", &self.directory);
        list.args(["--quiet", "--no-table-headers", "list_connections", column]);
        let output = self.namespace.output(&mut list, START_BOUND)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "rabbitmqctl: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text.into_owned())
    }

    /// Lets it live on after this process.
    pub fn let_go(self) {
        self.process.let_go();
    }
}

/// Publishes one message.
pub fn publish(client: &Namespace, server: SocketAddrV4, queue: &str, text: &str) -> Result<()> {
    run(client, "amqp-publish", server, &["--routing-key", queue, "--body", text]).map(drop)
}

/// Declares a queue.
pub fn declare(client: &Namespace, server: SocketAddrV4, queue: &str) -> Result<()> {
    run(client, "amqp-declare-queue", server, &["--queue", queue]).map(drop)
}

/// A consumer that stays connected until one message has come.
#[derive(Debug)]
pub struct Consumer {
    process: Process,
}

impl Consumer {
    /// Starts to consume a declared queue.
    pub fn start(
        client: &Namespace,
        server: SocketAddrV4,
        queue: &str,
        log: &Path,
    ) -> Result<Self> {
        let mut command = Command::new("amqp-consume");
        command.args(["--url", &url(server), "--queue", queue, "--count", "1", "cat"]);
        Ok(Self { process: client.spawn("amqp-consume", &mut command, log)? })
    }

    /// Waits for the message.
    pub fn message(mut self) -> Result<String> {
        let status = self.process.wait(CLIENT_BOUND)?;
        let text = self.process.log();
        ensure!(status.success(), "amqp-consume: {status}: {text}");
        Ok(text)
    }
}

fn run(client: &Namespace, tool: &str, server: SocketAddrV4, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(tool);
    command.args(["--url", &url(server)]).args(arguments);
    let output = client.output(&mut command, CLIENT_BOUND)?;
    ensure!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn url(server: SocketAddrV4) -> String {
    format!("amqp://guest:guest@{server}/%2f")
}

fn program(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(Path::new(PROGRAMS).join(name));
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env("HOME", directory)
        .env("RABBITMQ_NODENAME", "rabbit@localhost")
        .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", directory.join("log"))
        .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", directory.join("pid"))
        .env("RABBITMQ_CONF_ENV_FILE", directory.join("no-such-file"));
    command
}
