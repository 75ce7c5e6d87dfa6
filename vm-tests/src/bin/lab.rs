//! The lab to play with: the demo's sites left running.

#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use vm_tests::lab::Lab;
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::namespace::{self, Namespace};
use vm_tests::lab::plan::SERVER;
use vm_tests::lab::rabbitmq::Broker;
use vm_tests::lab::sweep;
use vm_tests::lab::{binaries, dns, plan};

/// Three sites with the same addresses on this host, to play with.
#[derive(Parser)]
enum Action {
    /// Make the sites, start their gateways and servers, and leave them running.
    Up {
        /// Leave out RabbitMQ and the name server.
        #[arg(long)]
        bare: bool,
    },
    /// End and remove everything `up` made.
    Down,
    /// Open a shell on a host of a site.
    Shell {
        /// SITE-HOST, for example edge-a-client or cloud-gateway; or underlay.
        host: String,
        /// A command to run instead of a shell.
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
}

const NAME: &str = "lab";

fn main() -> ExitCode {
    match run(Action::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<()> {
    let name = LabName::parse(NAME)?;
    match action {
        Action::Up { bare } => up(name, bare),
        Action::Down => down(&name),
        Action::Shell { host, command } => shell(&name, &host, &command),
    }
}

fn up(name: LabName, bare: bool) -> Result<()> {
    println!("Starting three sites, all of them 10.0.0.0/24 ...");
    let mut lab = Lab::up(name, Choices::default())?;
    if !bare {
        let server = lab.site(&plan::CLOUD).server.clone();
        let mut broker = Broker::launch(&server, SERVER, lab.directory("rabbitmq"))?;
        let dns = dns::start(&server, SERVER, &lab.directory("dns"))?;
        lab.adopt(dns);
        broker.wait_ready(SERVER)?;
        broker.let_go();
    }
    lab.stay()?;
    print!("{}", how_to_play());
    Ok(())
}

fn down(name: &LabName) -> Result<()> {
    sweep::sweep(name)?;
    let leftovers = sweep::leftovers(name)?;
    ensure!(leftovers.is_empty(), "left behind: {}", leftovers.join("; "));
    println!("The lab is gone.");
    Ok(())
}

fn shell(name: &LabName, host: &str, command: &[String]) -> Result<()> {
    let Ok(namespace) = Namespace::existing(&name.namespace(host)) else {
        let hosts = hosts(name);
        if hosts.is_empty() {
            bail!("the lab is not up; start it with `cargo xtask lab up`");
        }
        bail!("there is no host {host}; there are {}", hosts.join(", "));
    };
    let programs = binaries::locate("traffic")?;
    let programs = programs.parent().context("the programs have no directory")?;
    namespace.enter()?;
    let mut shell = match command {
        [] => Command::new("/bin/bash"),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{}:{path}", programs.display()));
    shell.env("PS1", format!("{host}# "));
    if command.is_empty() {
        shell.args(["--norc", "--noprofile"]);
    }
    Err(shell.exec()).with_context(|| format!("run {:?}", shell.get_program()))
}

fn hosts(name: &LabName) -> Vec<String> {
    let prefix = name.namespace_prefix();
    let Ok(entries) = Path::new(namespace::DIRECTORY).read_dir() else { return Vec::new() };
    let mut hosts: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(&prefix)?.to_owned()))
        .collect();
    hosts.sort();
    hosts
}

fn how_to_play() -> String {
    let (files, rabbitmq, dns) =
        (plan::FILES.address(), plan::RABBITMQ.address(), plan::DNS.address());
    let (agent_a, agent_b) = (plan::AGENT_A.address(), plan::AGENT_B.address());
    let instance = |site| LabName::parse(NAME).map(|it| it.instance(site)).unwrap_or_default();
    format!(
        "\nThe lab is up. Each site has a client 10.0.0.5, a visitor 10.0.0.66 (allowed nothing), a\n\
         server 10.0.0.10 and a gateway 10.0.0.1.\n\n\
         cargo xtask lab shell edge-a-client        a shell on a host, in which:\n\
         \x20   traffic get {files}:80              the cloud's HTTP server: who it is, whom it saw\n\
         \x20   traffic download {files}:80         100 MB from it, with checksum\n\
         \x20   ping {files}\n\
         \x20   kdig @{dns} TXT {name}\n\
         \x20   amqp-declare-queue -u amqp://guest:guest@{rabbitmq} -q tour\n\
         \x20   amqp-publish -u amqp://guest:guest@{rabbitmq} -r tour -b hello\n\
         \x20   amqp-get -u amqp://guest:guest@{rabbitmq} -q tour\n\
         \x20   traffic get {agent_b}:8080            edge B's agent, through the cloud\n\
         cargo xtask lab shell cloud-client\n\
         \x20   traffic get {agent_a}:8080            edge A's agent, really 10.0.0.10\n\
         \x20   traffic get {agent_b}:8080            edge B's agent, really 10.0.0.10 too\n\
         cargo xtask lab shell edge-a-visitor       no rule names this host: all of it is refused\n\
         cargo xtask lab shell edge-a-gateway       the gateway itself:\n\
         \x20   gatewayctl --instance {edge_a} status\n\
         \x20   gatewayctl --instance {edge_a} flow list\n\
         cargo xtask lab shell underlay             tcpdump -ni br0: all there is to see\n\
         cargo xtask lab down                       ends and removes everything\n",
        name = dns::NAME,
        edge_a = instance("edge-a"),
    )
}
