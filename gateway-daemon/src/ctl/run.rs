//! What each command of this host's data path reads and calls; those of the deployment go to
//! [`super::deployment`]. Everything is read through pins, netlink and the instance's run directory; only
//! `detach` changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gateway_common::desired::Tables;
use gateway_common::map::{Allows, Flow, FlowKey, Map as _, Names, Ports, PresenceKind, Services};
use gateway_control::model::{InstanceName, SiteModel};
use gateway_dataplane::{BPFFS, FoundAttachment, Inspector, Observed, Program, now};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::arguments::{
    Arguments, BackendCommand, Command, FlowCommand, FlowListArguments, Form, LinkCommand,
    MapCommand, PresenceCommand, TraceArguments,
};
use super::backends::{self, Backends};
use super::counters::Counts;
use super::deployment;
use super::doctor;
use super::explain::Explanations;
use super::filter::Filter;
use super::flows::Flows;
use super::links::{FoundDevice, Links};
use super::manual;
use super::maps::{self, Entries, MapList};
use super::presences::Presences;
use super::print::{print, put};
use super::seal;
use super::status::{self, Attached, Daemon, Status};
use super::trace::{Replays, Scene, Traced, resolve};
use super::watch;
use crate::clock;
use crate::health::{self, Neighbours};
use crate::host_link;
use crate::instance::{Instance, RUN_DIRECTORY};
use crate::link::{self, Account, LinkHost};
use crate::netlink::{InterfaceName, Netlink};
use crate::{host, reference};

/// Does what the command line asks for. The exit code says more than that it was done only of `diff`.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { instance, controller, output, command } = arguments;
    match command {
        Command::Deployment(verb) => deployment::run(verb, controller, output),
        Command::Status if instance.is_none() && deployment::is_there(controller.as_deref()) => {
            deployment::status(controller, output.form()?)
        }
        Command::Doctor(arguments) => doctor::run(&arguments, output.form()?),
        command => of_this_host(instance, output.form()?, command).map(|()| ExitCode::SUCCESS),
    }
}

fn of_this_host(instance: Option<InstanceName>, form: Form, command: Command) -> Result<()> {
    match command {
        Command::Explain { reason } => {
            return Ok(print(&Explanations::of(reason.as_deref())?, form)?);
        }
        Command::Completions { shell, program } => {
            return Ok(put(&manual::completions(shell, program)).map(|_| ())?);
        }
        Command::Seal(command) => return seal::run(command, form),
        Command::Man { directory } => {
            return write_manual(&directory)
                .with_context(|| format!("cannot write into {}", directory.display()));
        }
        Command::Reference { directory } => {
            return reference::write(&directory)
                .with_context(|| format!("cannot write into {}", directory.display()));
        }
        _ => {}
    }
    host::permitted()?;
    let pins = Path::new(BPFFS).join("presence");
    let places = match command {
        // What is left of a gateway whose pins are gone can be removed as well.
        Command::Detach { .. } => vec![pins.as_path(), Path::new(RUN_DIRECTORY)],
        _ => vec![pins.as_path()],
    };
    let instance = Instance::new(the_instance(instance, &places)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Detach { yes } => detach(&instance, yes).await,
            command => Place::open(instance)?.answer(command, form).await,
        }
    })
}

/// The instance asked for, or the only one there is, among those that have an entry in one of
/// `places`.
fn the_instance(asked: Option<InstanceName>, places: &[&Path]) -> Result<InstanceName> {
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten();
    let names: BTreeSet<InstanceName> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let listed = || names.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ");
    match asked {
        Some(name) if names.contains(&name) => Ok(name),
        Some(name) if names.is_empty() => {
            bail!("no gateway data path here, neither of instance {name}; {}", remedy())
        }
        Some(name) => bail!(
            "no gateway data path of instance {name} here; there is {}, name one with --instance",
            listed()
        ),
        None if names.len() > 1 => {
            bail!("several gateways share this host: name one with --instance ({})", listed())
        }
        None => {
            let only = names.into_iter().next();
            only.with_context(|| {
                let places: Vec<_> = places.iter().map(|it| it.display().to_string()).collect();
                let places = places.join(" or ");
                format!("no gateway data path here: nothing is in {places}; {}", remedy())
            })
        }
    }
}

/// What to do where no data path is seen.
fn remedy() -> &'static str {
    let mounted = statfs(BPFFS).is_ok_and(|it| it.filesystem_type() == BPF_FS_MAGIC);
    if mounted {
        return "start gatewayd";
    }
    "no BPF file system is mounted at /sys/fs/bpf: start gatewayd, or, inside `ip netns exec`, which \
     hides what the host has there, use `nsenter --net=/run/netns/NAME` instead"
}

/// An instance with its data path.
struct Place {
    instance: Instance,
    in_force: Option<SiteModel>,
    inspector: Inspector,
    netlink: Netlink,
}

impl Place {
    fn open(instance: Instance) -> Result<Self> {
        Ok(Self {
            inspector: Inspector::open(instance.name().as_str())?,
            in_force: instance.recorded(),
            netlink: Netlink::connect()?,
            instance,
        })
    }

    async fn answer(&self, command: Command, form: Form) -> Result<()> {
        match command {
            Command::Status => print(&self.status().await?, form)?,
            Command::Link(LinkCommand::List) => print(&self.links().await?, form)?,
            Command::Presence(PresenceCommand::List) => {
                let tables = self.inspector.observe()?.tables;
                let names = self.interface_names(tables.routes.values().map(|it| it.link)).await;
                print(&Presences::of(&tables, |index| named(&names, index)), form)?;
            }
            Command::Backend(BackendCommand::List) => {
                let tables = self.inspector.observe()?.tables;
                print(&self.backends(&tables, &self.inspector.flows()?).await?, form)?;
            }
            Command::Flow(FlowCommand::List(arguments)) if arguments.follow => {
                watch::follow(&self.inspector, &arguments, form).await?;
            }
            Command::Flow(FlowCommand::List(arguments)) => {
                print(&self.flows(&arguments)?, form)?;
            }
            Command::Map(MapCommand::List) => {
                print(&MapList::of(self.inspector.maps()?), form)?;
            }
            Command::Map(MapCommand::Dump { name }) => {
                print(&Entries::of(&name, &self.inspector.dump(&name)?)?, form)?;
            }
            Command::Map(MapCommand::Lookup { name, key }) => {
                let found = self.inspector.lookup(&name, &maps::key(&name, &key)?)?;
                let found = found.ok_or_else(|| anyhow!("map {name} has no entry for {key}"))?;
                print(&Entries::of(&name, &[found])?, form)?;
            }
            Command::Trace(arguments) => print(&self.trace(&arguments).await?, form)?,
            Command::Counters { all } => {
                print(&Counts::of(self.inspector.counters()?, all), form)?;
            }
            Command::Explain { .. }
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Reference { .. }
            | Command::Deployment(_)
            | Command::Seal(_)
            | Command::Doctor(_)
            | Command::Detach { .. } => {}
        }
        Ok(())
    }

    async fn status(&self) -> Result<Status> {
        let Observed { tables, generation, .. } = self.inspector.observe()?;
        let links = self.links().await.map_err(|error| format!("{error:#}"));
        let (peers, peers_up) = links.as_ref().map_or((0, 0), Links::summary);
        let account = Account::load(self.instance.directory());
        let name = self.link_names(account.as_ref()).await.into_iter().next();
        let device = match &name {
            Some(name) => self.netlink.interface(name).await?,
            None => None,
        };
        let model = self.in_force.as_ref();
        let pid = self.instance.daemon();
        let presences = tables.presences.values();
        let attachments = self.attachments()?;
        let rules: BTreeSet<u32> = tables.allows.values().map(|allow| allow.rule).collect();
        let flows = self.inspector.flows()?;
        let backends = self.backends(&tables, &flows).await?;
        let (backend_count, backends_active) = backends.summary();
        let status = Status {
            instance: self.instance.name().to_string(),
            gateway: model.map(|model| model.gateway().name.to_string()),
            site: model.map(|model| model.site().name.to_string()),
            abi: gateway_common::map::ABI,
            generation,
            grace: status::Grace {
                on: tables.settings.adopt != 0,
                seconds: model.map(|model| model.flows().grace.seconds()),
            },
            daemon: Daemon {
                running: pid.is_some(),
                pid,
                confinement: self.instance.recorded_confinement().filter(|_| pid.is_some()),
            },
            unserved: unserved(model, &attachments),
            attachments,
            link: status::Link {
                interface: name.map(|name| name.to_string()),
                up: device.as_ref().is_some_and(|device| device.up),
                mtu: device.as_ref().map(|device| device.mtu),
                peers,
                peers_up,
            },
            counts: status::Counts {
                presences: presences.filter(|it| it.kind() != PresenceKind::Nothing).count(),
                services: tables.services.len(),
                rules: rules.len(),
                backends: backend_count,
                backends_active,
                flows: flows.len(),
                flow_capacity: self.inspector.flow_capacity(),
            },
            tables: vec![
                fill("permissions", tables.allows.len(), Allows::CAPACITY),
                fill("ports", tables.ports.len(), Ports::CAPACITY),
                fill("services", tables.services.len(), Services::CAPACITY),
                fill("names", tables.names.len(), Names::CAPACITY),
            ],
            repairs: self.instance.recorded_repairs(),
            problems: Vec::new(),
        };
        Ok(status.judged(links.as_ref().map_err(String::clone), &backends))
    }

    fn attachments(&self) -> Result<Vec<Attached>> {
        let modes = self.instance.recorded_modes();
        let found = self.inspector.attachments()?;
        let has_guard = |name: &str| {
            found.iter().any(|it| it.interface == name && it.program == Program::Guard)
        };
        let attached = found.iter().map(|it| {
            let FoundAttachment { interface, program, hook, active, before, after, .. } = it;
            let chosen = modes.iter().find(|mode| mode.interface == *interface);
            let fallback = if has_guard(interface) { "xdp" } else { "tc" };
            Attached {
                interface: interface.clone(),
                program: program.to_string(),
                hook: hook.label().to_owned(),
                mode: chosen.map_or_else(|| fallback.into(), |chosen| chosen.mode.clone()),
                why: chosen.map_or_else(|| "not recorded".into(), |chosen| chosen.why.clone()),
                active: *active,
                before: before.iter().map(ToString::to_string).collect(),
                after: after.iter().map(ToString::to_string).collect(),
            }
        });
        Ok(attached.collect())
    }

    async fn links(&self) -> Result<Links> {
        let account = Account::load(self.instance.directory());
        let names = self.link_names(account.as_ref()).await;
        ensure!(
            !names.is_empty(),
            "no link device is known here: the run directory has no record of what is in force, and \
             the tables name no device that exists; start gatewayd"
        );
        let mut devices = Vec::new();
        for name in names {
            let found = self.netlink.interface(&name).await?;
            let peers = match found.filter(|found| found.up) {
                Some(_) => Some(link::health(&name).await?),
                None => None,
            };
            devices.push(FoundDevice { interface: name.to_string(), peers });
        }
        let now = clock::now();
        Ok(Links::of(&devices, account.as_ref(), self.in_force.as_ref(), now))
    }

    fn flows(&self, arguments: &FlowListArguments) -> Result<Flows> {
        let Observed { tables, generation, .. } = self.inspector.observe()?;
        let filter = Filter::resolve(arguments, &tables)?;
        let mut flows = self.inspector.flows()?;
        flows.retain(|(key, flow)| {
            filter.wants(&tables, key, flow) && filter.wants_state(flow.state())
        });
        let limit = arguments.limit.and_then(|limit| usize::try_from(limit).ok());
        Ok(Flows::of(&tables, generation, &flows, now(), limit))
    }

    async fn backends(&self, tables: &Tables, flows: &[(FlowKey, Flow)]) -> Result<Backends> {
        let addresses = tables.backends.keys().map(|key| key.address.into()).collect();
        let account = health::Account::load(self.instance.directory());
        let neighbours = Neighbours::connect()?;
        let known = backends::Known {
            model: self.in_force.as_ref(),
            unresolved: &neighbours.unresolved(&addresses, &account.unreachable()).await?,
            account: &account,
            now: clock::now(),
        };
        Ok(Backends::of(tables, flows, &known))
    }

    async fn trace(&self, arguments: &TraceArguments) -> Result<Traced> {
        let attached = self.inspector.attachments()?;
        let links = self.links().await.ok();
        let mut tries = 3;
        loop {
            tries -= 1;
            let Observed { mut tables, generation, .. } = self.inspector.observe()?;
            ensure!(
                generation != 0,
                "nothing is in force yet, so there is nothing to trace; start gatewayd"
            );
            tables.settings.generation = generation;
            let (point, packet) = resolve(arguments, &tables, self.in_force.as_ref())?;
            let networks = tables.settings.networks.iter().map(|network| network.interface);
            let indices = networks.chain(tables.routes.values().map(|route| route.link));
            let names = self.interface_names(indices.chain([point.interface])).await;
            let trace = self.inspector.trace(point, &packet)?;
            let scene = Scene {
                tables: &tables,
                interface: &|index| named(&names, index),
                attached: &attached,
                links: links.as_ref(),
                now: now(),
            };
            let replays = Replays::run(point, &trace.before, &scene, &self.inspector)?;
            if replays.agrees(&trace) || tries == 0 {
                return Ok(Traced::of(arguments, point, &trace, &replays, &scene));
            }
        }
    }

    /// The names of the link devices, the one in use first: as the daemon noted them, else the one
    /// that is known otherwise.
    async fn link_names(&self, account: Option<&Account>) -> Vec<InterfaceName> {
        let noted = account.map_or(&[][..], |account| &account.devices).iter();
        let names: Vec<_> = noted.filter_map(|device| device.interface.parse().ok()).collect();
        if names.is_empty() { self.link_name().await.into_iter().collect() } else { names }
    }

    /// The link device's name: as recorded, or of the device that routes name.
    async fn link_name(&self) -> Option<InterfaceName> {
        if let Some(model) = &self.in_force {
            return model.link().interface.as_str().parse().ok();
        }
        let tables = self.inspector.observe().ok()?.tables;
        let index = tables.routes.values().find(|route| !route.is_own())?.link;
        let found = self.netlink.interface_by_index(index.into()).await.ok()??;
        found.name.parse().ok()
    }

    /// The names of interfaces.
    async fn interface_names(&self, indices: impl IntoIterator<Item = u32>) -> Named {
        let indices: BTreeSet<u32> = indices.into_iter().collect();
        let mut names = Named::new();
        for index in indices {
            if let Ok(Some(found)) = self.netlink.interface_by_index(index.into()).await {
                names.insert(index, found.name);
            }
        }
        names
    }
}

fn write_manual(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in manual::pages()? {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

type Named = BTreeMap<u32, String>;

/// LAN interfaces of the site that no program is on.
fn unserved(model: Option<&SiteModel>, attachments: &[Attached]) -> Vec<String> {
    let lans = model.into_iter().flat_map(SiteModel::lans).map(|lan| lan.interface.to_string());
    lans.filter(|lan| attachments.iter().all(|it| it.interface != *lan)).collect()
}

fn fill(table: &'static str, used: usize, capacity: u32) -> status::Fill {
    status::Fill { table, used, capacity }
}

fn named(names: &Named, index: u32) -> String {
    names.get(&index).cloned().unwrap_or_else(|| format!("#{index} (gone)"))
}

async fn detach(instance: &Instance, yes: bool) -> Result<()> {
    if !yes && io::stdin().is_terminal() {
        confirm(instance)?;
    }
    if let Some(pid) = instance.daemon() {
        bail!(
            "instance {}: its gatewayd is running (process {pid}) and would make again what is \
             removed; stop it first (`systemctl stop gatewayd`)",
            instance.name()
        );
    }
    // Held to the end, so that no daemon starts meanwhile.
    let _lock = instance.lock()?;
    let account = Account::load(instance.directory());
    let noted = account.iter().flat_map(|account| &account.devices);
    let mut links: BTreeSet<InterfaceName> =
        noted.filter_map(|device| device.interface.parse().ok()).collect();
    links.extend(match Place::open(instance.clone()) {
        Ok(place) => place.link_name().await,
        // Of another version, or broken: to be removed all the same.
        Err(_) => {
            instance.recorded().and_then(|model| model.link().interface.as_str().parse().ok())
        }
    });
    gateway_dataplane::detach(instance.name().as_str())?;
    if !links.is_empty() {
        let host = LinkHost::of_this_process(instance.directory().to_path_buf())
            .context("cannot find this program's own executable")?;
        for link in links {
            link::remove(&link, &host).await?;
        }
    }
    if let Some(model) = instance.recorded() {
        host_link::remove(&Netlink::connect()?, &model).await?;
    }
    instance.remove()?;
    Ok(())
}

fn confirm(instance: &Instance) -> Result<()> {
    let mut stderr = io::stderr();
    write!(
        stderr,
        "This ends all traffic of instance {} and forgets its flows. Write yes to go on: ",
        instance.name()
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    ensure!(answer.trim() == "yes", "nothing was removed; --yes does it without asking");
    Ok(())
}
