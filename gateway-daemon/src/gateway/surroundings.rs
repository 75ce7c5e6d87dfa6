//! What a gateway works with, and the order in which a site file comes in force: links, programs,
//! tables, so that nothing untranslated leaves.
//!
//! Used by [`super::Gateway`] alone. Whatever fails, what was in force before stays in force.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use gateway_common::TransitAddress;
use gateway_common::map::Service;
use gateway_control::model::{self, LanMode};
use gateway_control::{HostView, Interfaces, Serving, compile_serving};
use gateway_dataplane::{Applied, Attachment, DataPlane, Mode, Place, Program, WantedAttachment};

use super::GatewayError;
use super::grace::Grace;
use super::present::present;
use crate::config::SiteFile;
use crate::health::Health;
use crate::host_link;
use crate::instance::{ChosenMode, Instance};
use crate::interfaces;
use crate::link::{self, Decision, Device, LinkHost, LinkSettings, Links, LinksWanted};
use crate::netlink::{InterfaceName, Netlink};

/// What a gateway works with; the same as long as it runs.
pub(super) struct Surroundings {
    pub(super) instance: Instance,
    pub(super) host: LinkHost,
    pub(super) netlink: Netlink,
    pub(super) data_plane: DataPlane,
    pub(super) links: Links,
    pub(super) health: Health,
    pub(super) grace: Grace,
    /// The services in force, as far as they are known without looking.
    pub(super) services: Option<BTreeMap<TransitAddress, Service>>,
}

/// What is in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) file: SiteFile,
    pub(super) wanted: LinksWanted,
    /// What was decided of the links.
    pub(super) decision: Decision,
    /// The link devices of that decision.
    pub(super) devices: BTreeMap<InterfaceName, Device>,
    pub(super) generation: u32,
    /// Every LAN interface as last seen, also those that are gone now.
    pub(super) known: Interfaces,
    pub(super) seen: Seen,
}

/// What was there when the tables were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) lans: Interfaces,
    pub(super) view: HostView,
    /// Index and MTU of each link device; `None` for one that is gone or down.
    pub(super) links: Vec<Option<(u32, u32)>>,
    /// Whether TCP connections without a flow might go on.
    pub(super) adopts: bool,
}

impl Surroundings {
    /// Links, programs, tables, after a look at how the links stand.
    pub(super) async fn establish(
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
    /// goes last, when nothing is sent by it any more; until then it is left as it is.
    pub(super) async fn bring_about(
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
        let mut unwanted = decision.unwanted.clone();
        unwanted.retain(|name| guarded.contains(name.as_str()));
        let unwanted = present(&self.netlink, &unwanted).await?;
        let mut devices = BTreeMap::new();
        for interface in &decision.leaving {
            let found = link::present(interface, &self.netlink).await?;
            devices.extend(found.map(|device| (interface.clone(), device)));
        }
        for link in &decision.devices {
            let alone = LinkSettings { peers: Vec::new(), ..link.clone() };
            let now = if is_guarded(link) { link } else { &alone };
            devices.insert(link.interface.clone(), link::ensure(now, &self.host).await?);
        }
        // Before the tables are made: if it ends meanwhile, they are made again.
        let adopts = self.adopts(file);
        // Programs of this version need tables before they see a packet; those that are there have them,
        // and are on a new link device before the tables name it.
        let attached = self.data_plane.is_attached().map_err(gateway_dataplane::Error::from)?;
        if attached {
            self.attach(file, &lans, decision.interfaces().chain(&unwanted))?;
        }
        let Applied { generation, changes } =
            self.apply(file, &known, &view, &decision, &devices)?;
        if !attached {
            self.attach(file, &lans, decision.interfaces().chain(&unwanted))?;
        }
        for link in &decision.devices {
            devices.insert(link.interface.clone(), link::ensure(link, &self.host).await?);
        }
        if !unwanted.is_empty() {
            self.remove_links(&unwanted).await;
            self.attach(file, &lans, decision.interfaces())?;
        }
        host_link::ensure_route(&self.netlink, &file.model, &view).await?;
        self.instance.record(&file.model)?;
        self.links.in_force();
        let mut links = Vec::new();
        let used = devices.iter().filter(|(name, _)| !decision.leaving.contains(name));
        for (interface, device) in used {
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
        let seen = Seen { lans, view, links, adopts };
        let (file, wanted) = (file.clone(), wanted.clone());
        self.health.watch(&file.model);
        Ok(InForce { file, wanted, decision, devices, generation, known, seen })
    }

    /// Whether TCP connections without a flow may go on now.
    pub(super) fn adopts(&self, file: &SiteFile) -> bool {
        self.grace.left(file.model.flows().grace, Instant::now()).is_some()
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

    pub(super) fn apply(
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
        let mut tables = compile_serving(&file.model, &interfaces, &links, view, &serving)?;
        tables.settings.adopt = self.adopts(file).into();
        let applied = self.data_plane.apply(&tables)?;
        self.services = Some(tables.services);
        Ok(applied)
    }

    /// Takes away what a start made that came to nothing; what an earlier daemon brought in force
    /// stays.
    pub(super) fn remove_unless_in_force(self) {
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

    pub(super) async fn remove_host_link(&self, model: &model::SiteModel) {
        if let Err(error) = host_link::remove(&self.netlink, model).await {
            tracing::warn!(%error, "could not remove the gateway host's own way in");
        }
    }

    pub(super) async fn remove_links(&self, interfaces: &[InterfaceName]) {
        for interface in interfaces {
            if let Err(error) = link::remove(interface, &self.host).await {
                tracing::warn!(%interface, %error, "could not remove the link device");
            }
        }
    }
}

fn mode(mode: LanMode) -> Mode {
    match mode {
        LanMode::Auto => Mode::Auto,
        LanMode::Xdp => Mode::Xdp,
        LanMode::Tc => Mode::Tc,
    }
}
