//! A gateway in force: the one place that brings a site file to link device, programs and tables, in
//! an order that lets nothing untranslated leave.
//!
//! Owned by the task of [`crate::driver`]. Whatever fails, what was in force before stays in force.

mod error;
mod grace;
mod present;
mod surroundings;

use std::collections::BTreeSet;
use std::time::Instant;

use gateway_control::model;
use gateway_dataplane::{DataPlane, Options};
#[cfg(feature = "debug")]
use gateway_dataplane::{KernelLog, KernelLogError};

pub use error::GatewayError;
use grace::Grace;
use present::{absent, all_lans};
use surroundings::{InForce, Seen, Surroundings};

use crate::config::SiteFile;
use crate::health::{Health, Verdict};
use crate::host_link;
use crate::instance::Instance;
use crate::interfaces;
use crate::link::{self, LinkHost, Links, PeerState, WantedPeer};
use crate::netlink::Netlink;
use crate::sandbox;

/// A gateway whose data path is in place.
pub struct Gateway {
    surroundings: Surroundings,
    in_force: InForce,
    /// The last attempt to follow a change of the interfaces failed.
    unsettled: bool,
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
                 removed them): its flows and counters are lost"
            );
        }
        let links = Links::new(host.clone());
        let health = Health::new(instance.directory().to_path_buf());
        let grace = Grace::of_start(data_plane.is_adopted(), Instant::now());
        if let Some(left) = grace.left(file.model.flows().grace, Instant::now()) {
            tracing::info!(
                seconds = left.as_secs(),
                "there are no flows of an earlier run; TCP connections may go on without a new SYN for a time"
            );
        }
        let services = None;
        let mut surroundings =
            Surroundings { instance, host, netlink, data_plane, links, health, grace, services };
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
            self.surroundings.links.in_force();
            return Ok(());
        }
        self.unsettled = true;
        let InForce { file, wanted, known, .. } = &self.in_force;
        let (file, wanted, known) = (file.clone(), wanted.clone(), known.clone());
        self.in_force = self.surroundings.bring_about(&file, &wanted, known, decision).await?;
        self.unsettled = false;
        Ok(())
    }

    /// Follows what became of the interfaces since: made anew, changed, gone; and the end of the time of
    /// grace. Cheap if nothing did.
    pub async fn follow(&mut self) -> Result<(), GatewayError> {
        let InForce { file, wanted, decision, known, seen, .. } = &self.in_force;
        let netlink = &self.surroundings.netlink;
        let mut links = Vec::new();
        for interface in decision.interfaces() {
            let found = netlink.interface(interface).await?;
            links.push(found.and_then(|it| it.up.then_some((it.index.value(), it.mtu))));
        }
        let view = host_link::view(netlink, &file.model).await?;
        let lans = interfaces::lans(netlink, &file.model).await?;
        let now = Seen { lans, view, links, adopts: self.surroundings.adopts(file) };
        if now == *seen && !self.unsettled {
            return Ok(());
        }
        if seen.adopts && !now.adopts && !self.unsettled {
            tracing::info!(
                "the time of grace is over; a TCP connection without a flow needs a new SYN"
            );
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
        sandbox::require_bpf_file_system().map_err(GatewayError::FileSystem)?;
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

    /// How many of its peers' gateways are up, by whichever device.
    pub async fn links_up(&self) -> Result<usize, GatewayError> {
        let InForce { wanted, decision, .. } = &self.in_force;
        let mut up = BTreeSet::new();
        for interface in decision.interfaces() {
            let peers = link::health(interface).await?;
            up.extend(peers.iter().filter(|it| it.state == PeerState::Up).map(|it| it.public_key));
        }
        let keys = |peer: &WantedPeer| {
            let next = peer.next.as_ref().map(|next| next.public_key);
            [Some(peer.current.public_key), next]
        };
        let is_up =
            |peer: &&WantedPeer| keys(peer).into_iter().flatten().any(|key| up.contains(&key));
        Ok(wanted.peers.iter().filter(is_up).count())
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
