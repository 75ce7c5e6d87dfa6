//! A gateway in force: the one place that brings a site file to link device, programs and tables, in
//! an order that lets nothing untranslated leave.
//!
//! Owned by the task of [`crate::driver`]. Whatever fails, what was in force before stays in force.

use std::collections::{BTreeMap, BTreeSet};

use gateway_common::TransitAddress;
use gateway_common::map::Service;
use gateway_control::model::{self, LanMode};
use gateway_control::{CompileError, HostView, Interfaces, Serving, compile_serving};
use gateway_dataplane::{
    Applied, ApplyError, AttachError, Attachment, DataPlane, Mode, Options, Place, Program,
    RepairError, TableError, WantedAttachment,
};
#[cfg(feature = "debug")]
use gateway_dataplane::{KernelLog, KernelLogError};

use crate::config::{ConfigError, SiteFile};
use crate::health::{Health, Verdict};
use crate::host_link::{self, HostLinkError};
use crate::instance::{ChosenMode, Instance, InstanceError};
use crate::interfaces::{self, ObserveError};
use crate::link::{self, Decision, Device, LinkError, LinkHost, LinkSettings, Links, LinksWanted};
use crate::netlink::{InterfaceName, Netlink, NetlinkError};

/// A gateway whose data path is in place.
pub struct Gateway {
    surroundings: Surroundings,
    in_force: InForce,
    /// The last attempt to follow a change of the interfaces failed.
    unsettled: bool,
}

/// Why a site file could not be brought in force.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The site file or a file it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A reload that would need another data path.
    #[error(
        "{key} was changed from {from} to {to}, which a running data path cannot follow; put it \
         back, or run `gatewayctl --instance {instance} detach` (which ends its traffic) and start \
         gatewayd again"
    )]
    NeedsRestart {
        /// The instance that runs.
        instance: model::InstanceName,
        /// The key of the site file.
        key: &'static str,
        /// What is in force.
        from: String,
        /// What the file says.
        to: String,
    },
    /// An interface is missing.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The interfaces cannot be looked at.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The gateway host's own part.
    #[error(transparent)]
    HostLink(#[from] HostLinkError),
    /// The run directory.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The link device.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The data path cannot be loaded.
    #[error(transparent)]
    Load(#[from] gateway_dataplane::Error),
    /// The programs cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Pins that are gone cannot be made again.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// The tables cannot be changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The flow table cannot be swept.
    #[error(transparent)]
    Sweep(#[from] TableError),
    /// The kernel's routing netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl GatewayError {
    /// Whether the operator's files, not the host, have to change.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Config(_) | Self::Observe(ObserveError::Name(_)) => true,
            Self::HostLink(HostLinkError::Taken { .. }) => true,
            Self::Link(error) => error.is_configuration(),
            _ => false,
        }
    }
}

/// What a gateway works with; the same as long as it runs.
struct Surroundings {
    instance: Instance,
    host: LinkHost,
    netlink: Netlink,
    data_plane: DataPlane,
    links: Links,
    health: Health,
    /// The services in force, as far as they are known without looking.
    services: Option<BTreeMap<TransitAddress, Service>>,
}

/// What is in force.
#[derive(Debug)]
struct InForce {
    file: SiteFile,
    wanted: LinksWanted,
    /// What was decided of the links.
    decision: Decision,
    /// The link devices of that decision.
    devices: BTreeMap<InterfaceName, Device>,
    generation: u32,
    /// Every LAN interface as last seen, also those that are gone now.
    known: Interfaces,
    seen: Seen,
}

/// What was there when the tables were made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    lans: Interfaces,
    view: HostView,
    /// Index and MTU of each link device; `None` for one that is gone or down.
    links: Vec<Option<(u32, u32)>>,
}

impl Gateway {
    /// Brings `file` in force, taking over what an earlier daemon of this instance left.
    pub async fn start(
        file: SiteFile,
        instance: Instance,
        host: LinkHost,
    ) -> Result<Self, GatewayError> {
        let wanted = file.links()?;
        let netlink = Netlink::connect()?;
        let known = all_lans(&netlink, &file).await?;
        let absent = absent(&netlink, &wanted.interfaces).await?;
        let had_host_link = !host_link::find(&netlink, &file.model).await?.is_empty();
        let options =
            Options { flow_capacity: file.model.flows().capacity.entries(), ..Options::default() };
        let data_plane = DataPlane::open(instance.name().as_str(), &options)?;
        if !data_plane.is_adopted() && instance.recorded().is_some() {
            tracing::warn!(
                "the pins of an earlier run are gone (the BPF file system was unmounted, or somebody \
                 removed them): its flows and counters are lost, connections have to be made again"
            );
        }
        let links = Links::new(host.clone());
        let health = Health::new(instance.directory().to_path_buf());
        let mut surroundings =
            Surroundings { instance, host, netlink, data_plane, links, health, services: None };
        match surroundings.establish(&file, &wanted, known).await {
            Ok(in_force) => Ok(Self { surroundings, in_force, unsettled: false }),
            Err(error) => {
                surroundings.remove_links(&absent).await;
                if !had_host_link {
                    surroundings.remove_host_link(&file.model).await;
                }
                surroundings.remove_unless_in_force();
                Err(error)
            }
        }
    }

    /// Brings another site file in force.
    pub async fn reload(&mut self, file: SiteFile) -> Result<(), GatewayError> {
        self.must_fit(&file)?;
        let wanted = file.links()?;
        let netlink = &self.surroundings.netlink;
        let known = all_lans(netlink, &file).await?;
        let mut absent = absent(netlink, &wanted.interfaces).await?;
        match self.surroundings.establish(&file, &wanted, known).await {
            Ok(in_force) => {
                let before = std::mem::replace(&mut self.in_force, in_force);
                self.unsettled = false;
                let mut left: Vec<_> = before.decision.interfaces().cloned().collect();
                left.retain(|name| !wanted.interfaces.contains(name));
                self.surroundings.remove_links(&left).await;
                let name = |model: &model::SiteModel| model.host().map(|it| it.interface.clone());
                if name(&before.file.model) != name(&self.in_force.file.model) {
                    self.surroundings.remove_host_link(&before.file.model).await;
                }
                Ok(())
            }
            Err(error) => {
                self.go_back().await;
                absent.retain(|name| self.in_force.decision.interfaces().all(|it| it != name));
                self.surroundings.remove_links(&absent).await;
                Err(error)
            }
        }
    }

    /// Takes note that addresses or routes of the underlay changed.
    pub fn underlay_changed(&mut self) {
        self.surroundings.links.underlay_changed();
    }

    /// Looks after the links: by which device each site's traffic goes, where peers are dialled, how
    /// large packets may be. Cheap if nothing is to be done.
    pub async fn tend(&mut self) -> Result<(), GatewayError> {
        if self.unsettled {
            return Ok(());
        }
        let decision = self.surroundings.links.decide(&self.in_force.wanted).await?;
        if decision == self.in_force.decision {
            return Ok(());
        }
        self.unsettled = true;
        let InForce { file, wanted, known, .. } = &self.in_force;
        let (file, wanted, known) = (file.clone(), wanted.clone(), known.clone());
        self.in_force = self.surroundings.bring_about(&file, &wanted, known, decision).await?;
        self.unsettled = false;
        Ok(())
    }

    /// Follows what became of the interfaces since: made anew, changed, gone. Cheap if nothing did.
    pub async fn follow(&mut self) -> Result<(), GatewayError> {
        let InForce { file, wanted, decision, known, seen, .. } = &self.in_force;
        let netlink = &self.surroundings.netlink;
        let mut links = Vec::new();
        for interface in decision.interfaces() {
            let found = netlink.interface(interface).await?;
            links.push(found.and_then(|it| it.up.then_some((it.index.value(), it.mtu))));
        }
        let view = host_link::view(netlink, &file.model).await?;
        let now = Seen { lans: interfaces::lans(netlink, &file.model).await?, view, links };
        if now == *seen && !self.unsettled {
            return Ok(());
        }
        self.unsettled = true;
        let mut known = known.clone();
        known.extend(now.lans.clone());
        for gone in interfaces::missing(&file.model, &now.lans) {
            tracing::warn!(interface = %gone, "LAN interface is gone; its hosts are cut off until it is back");
        }
        let (file, wanted) = (file.clone(), wanted.clone());
        self.in_force = self.surroundings.establish(&file, &wanted, known).await?;
        self.unsettled = false;
        Ok(())
    }

    /// Puts back what somebody took away: pins, and programs on interfaces. Cheap if nothing is missing.
    pub async fn look_after(&mut self) -> Result<(), GatewayError> {
        let Surroundings { data_plane, instance, .. } = &mut self.surroundings;
        let pins = data_plane.repair()?;
        if let Some(first) = pins.first() {
            tracing::warn!(first = %first.display(), count = pins.len(), "pins were gone; made again, no flow is lost");
            instance.record_repair(&format!(
                "{} pins, {} among them",
                pins.len(),
                first.display()
            ))?;
        }
        let disturbed = data_plane.disturbed()?;
        if disturbed.is_empty() {
            // Addresses of the host change without a change of an interface.
            self.follow().await?;
            let InForce { file, seen, .. } = &self.in_force;
            let netlink = &self.surroundings.netlink;
            return Ok(host_link::ensure_route(netlink, &file.model, &seen.view).await?);
        }
        let names: Vec<String> = disturbed
            .iter()
            .map(|(interface, program)| format!("{program} on {interface}"))
            .collect();
        let names = names.join(", ");
        tracing::warn!(%names, "somebody took programs away or replaced them; attaching them again");
        self.unsettled = true;
        self.follow().await?;
        self.surroundings.instance.record_repair(&names)?;
        tracing::info!(%names, "attached again");
        Ok(())
    }

    /// Waits until a back end comes or goes. Cancel safe.
    pub async fn verdict(&mut self) -> Verdict {
        self.surroundings.health.next().await
    }

    /// Lets new flows go by what became of a back end.
    pub async fn judge(&mut self, verdict: Verdict) -> Result<(), GatewayError> {
        if !self.surroundings.health.note(verdict, &self.in_force.file.model) || self.unsettled {
            return Ok(());
        }
        self.unsettled = true;
        let InForce { file, known, decision, devices, seen, .. } = &self.in_force;
        self.surroundings.apply(file, known, &seen.view, decision, devices)?;
        self.unsettled = false;
        Ok(())
    }

    /// Tells which back ends nobody answers for on the LAN.
    pub async fn look_at_neighbours(&mut self) {
        self.surroundings.health.look_at_neighbours().await;
    }

    /// Whether an attempt to follow failed and should be made again.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Removes flows that have timed out.
    pub fn sweep(&mut self) -> Result<(), GatewayError> {
        let swept = self.surroundings.data_plane.sweep()?;
        tracing::debug!(?swept, "swept the flow table");
        Ok(())
    }

    /// What the programs log of the packets they refuse.
    #[cfg(feature = "debug")]
    pub fn kernel_log(&self) -> Result<KernelLog, KernelLogError> {
        self.surroundings.data_plane.kernel_log()
    }

    /// The site file in force.
    pub fn file(&self) -> &SiteFile {
        &self.in_force.file
    }

    /// One line on what is in force.
    pub fn summary(&self) -> String {
        let model = &self.in_force.file.model;
        format!(
            "site {}, generation {}, {} peers, {} services, {} rules",
            model.site().name,
            self.in_force.generation,
            model.peers().len(),
            model.local_services().len() + model.remote_services().len(),
            model.rules().rules().len(),
        )
    }

    fn must_fit(&self, file: &SiteFile) -> Result<(), GatewayError> {
        let needs_restart = |key, from: &dyn ToString, to: &dyn ToString| {
            let instance = self.surroundings.instance.name().clone();
            Err(GatewayError::NeedsRestart {
                instance,
                key,
                from: from.to_string(),
                to: to.to_string(),
            })
        };
        let (old, new) = (&self.in_force.file.model, &file.model);
        if old.gateway().instance != new.gateway().instance {
            let (from, to) = (&old.gateway().instance, &new.gateway().instance);
            return needs_restart("gateway.instance", from, to);
        }
        let (from, to) = (old.flows().capacity.entries(), new.flows().capacity.entries());
        if from != to {
            return needs_restart("flows.capacity", &from, &to);
        }
        Ok(())
    }

    /// Undoes what a failed reload may have changed before the tables, which undo themselves.
    async fn go_back(&mut self) {
        let InForce { file, wanted, known, .. } = &self.in_force;
        let (file, wanted, known) = (file.clone(), wanted.clone(), known.clone());
        match self.surroundings.establish(&file, &wanted, known).await {
            Ok(in_force) => self.in_force = in_force,
            Err(error) => {
                self.unsettled = true;
                tracing::error!(%error, "could not go back to all of what was in force");
            }
        }
    }
}

impl Surroundings {
    /// Links, programs, tables, after a look at how the links stand.
    async fn establish(
        &mut self,
        file: &SiteFile,
        wanted: &LinksWanted,
        known: Interfaces,
    ) -> Result<InForce, GatewayError> {
        let decision = self.links.decide(wanted).await?;
        self.bring_about(file, wanted, known, decision).await
    }

    /// Links, programs, tables. A link device that no program guards has no peer until one does and
    /// until the tables know the device, so that no packet of another gateway can pass by or is
    /// refused; the program refuses everything until settings are in force. A device that is to go
    /// goes last, when nothing is sent by it any more.
    async fn bring_about(
        &mut self,
        file: &SiteFile,
        wanted: &LinksWanted,
        mut known: Interfaces,
        decision: Decision,
    ) -> Result<InForce, GatewayError> {
        self.data_plane.repair()?;
        host_link::ensure(&self.netlink, &file.model).await?;
        let view = host_link::view(&self.netlink, &file.model).await?;
        let lans = interfaces::lans(&self.netlink, &file.model).await?;
        known.extend(lans.clone());
        let names = decision.interfaces().map(InterfaceName::as_str);
        self.data_plane.refuse_claimed(lans.keys().map(|name| name.as_str()).chain(names))?;
        let guarded = self.guarded()?;
        let is_guarded = |it: &LinkSettings| guarded.contains(it.interface.as_str());
        let mut leaving = decision.unwanted.clone();
        leaving.retain(|name| guarded.contains(name.as_str()));
        let leaving = present(&self.netlink, &leaving).await?;
        let mut devices = BTreeMap::new();
        for link in &decision.devices {
            let alone = LinkSettings { peers: Vec::new(), ..link.clone() };
            let now = if is_guarded(link) { link } else { &alone };
            devices.insert(link.interface.clone(), link::ensure(now, &self.host).await?);
        }
        // Programs of this version need tables before they see a packet; those that are there have them,
        // and are on a new link device before the tables name it.
        let attached = self.data_plane.is_attached().map_err(gateway_dataplane::Error::from)?;
        if attached {
            self.attach(file, &lans, decision.interfaces().chain(&leaving))?;
        }
        let Applied { generation, changes } =
            self.apply(file, &known, &view, &decision, &devices)?;
        if !attached {
            self.attach(file, &lans, decision.interfaces().chain(&leaving))?;
        }
        for link in &decision.devices {
            devices.insert(link.interface.clone(), link::ensure(link, &self.host).await?);
        }
        if !leaving.is_empty() {
            self.remove_links(&leaving).await;
            self.attach(file, &lans, decision.interfaces())?;
        }
        host_link::ensure_route(&self.netlink, &file.model, &view).await?;
        self.instance.record(&file.model)?;
        let mut links = Vec::new();
        for (interface, device) in &devices {
            tracing::info!(
                site = %file.model.site().name,
                instance = %self.instance.name(),
                generation,
                changes,
                link = %interface,
                backend = %device.backend,
                mtu = device.mtu,
                "in force"
            );
        }
        for interface in decision.interfaces() {
            links.push(devices.get(interface).map(|it| (it.index.value(), it.mtu)));
        }
        let seen = Seen { lans, view, links };
        let (file, wanted) = (file.clone(), wanted.clone());
        self.health.watch(&file.model);
        Ok(InForce { file, wanted, decision, devices, generation, known, seen })
    }

    /// The link devices that the program of links is on.
    fn guarded(&self) -> Result<BTreeSet<String>, GatewayError> {
        let links = self
            .data_plane
            .attachments()?
            .into_iter()
            .filter(|it| it.program == Program::LinkIngress);
        Ok(links.filter(|it| it.active).map(|it| it.interface).collect())
    }

    fn attach<'a>(
        &mut self,
        file: &SiteFile,
        there: &Interfaces,
        links: impl Iterator<Item = &'a InterfaceName>,
    ) -> Result<(), GatewayError> {
        let lans = file.model.lans().iter().filter(|lan| there.contains_key(&lan.interface));
        let mut wanted: Vec<WantedAttachment> = lans
            .map(|lan| WantedAttachment {
                interface: lan.interface.to_string(),
                place: Place::Lan(mode(lan.mode)),
            })
            .collect();
        let far = file.model.host().map(|host| host.far_interface());
        wanted.extend(far.filter(|far| there.contains_key(far)).map(|far| WantedAttachment {
            interface: far.to_string(),
            place: Place::Lan(Mode::Tc),
        }));
        wanted.extend(
            links.map(|it| WantedAttachment { interface: it.to_string(), place: Place::Link }),
        );
        let attached = self.data_plane.attach(&wanted)?;
        for Attachment { interface, program, hook, mode, why } in &attached {
            let (hook, mode) = (hook.label(), mode.label());
            tracing::debug!(interface, %program, hook, mode, why, "attached");
        }
        let mut modes: Vec<ChosenMode> = attached
            .into_iter()
            .map(|Attachment { interface, mode, why, .. }| ChosenMode {
                interface,
                mode: mode.label().to_owned(),
                why,
            })
            .collect();
        modes.dedup();
        self.instance.record_modes(&modes)?;
        Ok(())
    }

    fn apply(
        &mut self,
        file: &SiteFile,
        known: &Interfaces,
        view: &HostView,
        decision: &Decision,
        devices: &BTreeMap<InterfaceName, Device>,
    ) -> Result<Applied, GatewayError> {
        let mut interfaces = known.clone();
        if let Some(device) = decision.interfaces().next().and_then(|name| devices.get(name)) {
            interfaces.insert(file.model.link().interface.clone(), interfaces::link(device));
        }
        let links = interfaces::site_links(&file.model, &decision.routes, devices);
        let services = match self.services.take() {
            Some(services) => services,
            None => self.data_plane.observe()?.tables.services,
        };
        let serving = Serving { down: self.health.down(&file.model), services };
        let tables = compile_serving(&file.model, &interfaces, &links, view, &serving)?;
        let applied = self.data_plane.apply(&tables)?;
        self.services = Some(tables.services);
        Ok(applied)
    }

    /// Takes away what a start made that came to nothing; what an earlier daemon brought in force
    /// stays.
    fn remove_unless_in_force(self) {
        let Self { instance, data_plane, .. } = self;
        match data_plane.abandon() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "could not remove the pins again"),
        }
        if let Err(error) = instance.remove() {
            tracing::warn!(%error, "could not remove the run directory again");
        }
    }

    async fn remove_host_link(&self, model: &model::SiteModel) {
        if let Err(error) = host_link::remove(&self.netlink, model).await {
            tracing::warn!(%error, "could not remove the gateway host's own way in");
        }
    }

    async fn remove_links(&self, interfaces: &[InterfaceName]) {
        for interface in interfaces {
            if let Err(error) = link::remove(interface, &self.host).await {
                tracing::warn!(%interface, %error, "could not remove the link device");
            }
        }
    }
}

/// Those of the names that no interface has.
async fn absent(
    netlink: &Netlink,
    names: &[InterfaceName],
) -> Result<Vec<InterfaceName>, NetlinkError> {
    let present = present(netlink, names).await?;
    Ok(names.iter().filter(|name| !present.contains(name)).cloned().collect())
}

/// Those of the names that an interface has.
async fn present(
    netlink: &Netlink,
    names: &[InterfaceName],
) -> Result<Vec<InterfaceName>, NetlinkError> {
    let mut present = Vec::new();
    for name in names {
        if netlink.interface(name).await?.is_some() {
            present.push(name.clone());
        }
    }
    Ok(present)
}

/// All LAN interfaces of a site file, looked at before anything is touched.
async fn all_lans(netlink: &Netlink, file: &SiteFile) -> Result<Interfaces, GatewayError> {
    let known = interfaces::lans(netlink, &file.model).await?;
    match interfaces::missing(&file.model, &known).first() {
        Some(interface) => {
            Err(CompileError::NoInterface { interface: (*interface).clone() }.into())
        }
        None => Ok(known),
    }
}

fn mode(mode: LanMode) -> Mode {
    match mode {
        LanMode::Auto => Mode::Auto,
        LanMode::Xdp => Mode::Xdp,
        LanMode::Tc => Mode::Tc,
    }
}
