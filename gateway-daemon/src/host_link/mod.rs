//! How the gateway host's own processes, and the containers that it routes, reach the data path: a veth
//! pair whose far end the programs are on, and a route for the presence pool by the near end.
//!
//! [`crate::gateway`] keeps it as the site file asks; `gatewayctl detach` removes it. Both ends have
//! [`HOST_LINK_ADDRESS`] and do no ARP, so that each takes what the other sends without asking.

mod settings;

use std::net::{IpAddr, Ipv4Addr};

use gateway_common::verdict::HOST_LINK_ADDRESS;
use gateway_control::model::SiteModel;
use gateway_control::{HostView, Interface, Interfaces, host_addresses};

use crate::config::{ConfigError, interface_name};
use crate::netlink::{self, InterfaceKind, InterfaceName, Netlink, NetlinkError};

/// Why the gateway host cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum HostLinkError {
    /// A name that requests cannot carry.
    #[error(transparent)]
    Name(#[from] ConfigError),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The name is taken by something else.
    #[error(
        "host: interface {interface} is there already and is a {kind}, not the veth pair that \
         gatewayd makes; remove it, or choose another name in host.interface"
    )]
    Taken {
        /// The interface.
        interface: InterfaceName,
        /// What it is.
        kind: InterfaceKind,
    },
    /// The kernel made it and it is not there.
    #[error("host: interface {interface} is gone again although it was made just now")]
    Gone {
        /// The interface.
        interface: InterfaceName,
    },
}

/// The names of both ends.
struct Ends {
    near: InterfaceName,
    far: InterfaceName,
}

impl Ends {
    fn of(model: &SiteModel) -> Result<Option<Self>, ConfigError> {
        let Some(host) = model.host() else { return Ok(None) };
        let (near, far) =
            (interface_name(&host.interface)?, interface_name(&host.far_interface())?);
        Ok(Some(Self { near, far }))
    }
}

/// The far end by its name in the model, if the pair is there and works; nothing where the site file
/// does not ask for it.
pub async fn find(netlink: &Netlink, model: &SiteModel) -> Result<Interfaces, HostLinkError> {
    let (Some(ends), Some(host)) = (Ends::of(model)?, model.host()) else {
        return Ok(Interfaces::new());
    };
    let near = netlink.interface(&ends.near).await?.filter(is_ready);
    let far = netlink.interface(&ends.far).await?.filter(is_ready);
    let (Some(_), Some(far)) = (near, far) else { return Ok(Interfaces::new()) };
    let found = Interface { index: far.index.value(), mac: HOST_LINK_ADDRESS, mtu: far.mtu };
    Ok([(host.far_interface(), found)].into())
}

/// What the host says of itself, as far as the tables need it.
pub async fn view(netlink: &Netlink, model: &SiteModel) -> Result<HostView, HostLinkError> {
    let mut view = HostView::default();
    for lan in model.lans() {
        if let Some(found) = netlink.interface(&interface_name(&lan.interface)?).await? {
            view.lans.insert(lan.interface.clone(), netlink.addresses(found.index).await?);
        }
    }
    Ok(view)
}

/// Makes what is missing of the pair, and says what in the host's settings is in its way. Cheap if
/// nothing is missing.
pub async fn ensure(netlink: &Netlink, model: &SiteModel) -> Result<(), HostLinkError> {
    let Some(ends) = Ends::of(model)? else { return Ok(()) };
    let mut made = false;
    if netlink.interface(&ends.near).await?.is_none() {
        netlink.create_pair(&ends.near, &ends.far).await?;
        made = true;
    }
    for name in [&ends.near, &ends.far] {
        let found = netlink.interface(name).await?;
        let found = found.ok_or_else(|| HostLinkError::Gone { interface: name.clone() })?;
        if found.kind != InterfaceKind::Other("veth".to_owned()) {
            return Err(HostLinkError::Taken { interface: name.clone(), kind: found.kind });
        }
        if !is_ready(&found) {
            netlink.refuse_link_local(found.index).await?;
            netlink.address_without_arp(found.index, HOST_LINK_ADDRESS).await?;
            netlink.set_up(found.index).await?;
        }
    }
    if made {
        tracing::info!(near = %ends.near, far = %ends.far, "made the gateway host's own way in");
        settings::warn(model, ends.near.as_str());
    }
    Ok(())
}

/// Sends what the host has for the presence pool by the pair, if the site file asks for it. To be called
/// when programs and tables are in place. Cheap if the route is there.
pub async fn ensure_route(
    netlink: &Netlink,
    model: &SiteModel,
    view: &HostView,
) -> Result<(), HostLinkError> {
    let Some(Ends { near, .. }) = Ends::of(model)? else { return Ok(()) };
    let found = netlink.interface(&near).await?;
    let index = found.ok_or_else(|| HostLinkError::Gone { interface: near.clone() })?.index;
    let pool = model.site().presence_pool.prefix();
    let source: Option<Ipv4Addr> = host_addresses(model, view).first().copied();
    // Refused where there is no route at all, and then there is one to add.
    let path = netlink.path_to(IpAddr::V4(pool.network())).await.ok();
    let is_right = path.is_some_and(|path| {
        path.interface == index && (source.is_none() || path.source == source.map(IpAddr::V4))
    });
    if !is_right {
        netlink.route_to_interface(pool, index, source).await?;
    }
    Ok(())
}

/// Removes the pair, and with it the route.
pub async fn remove(netlink: &Netlink, model: &SiteModel) -> Result<(), HostLinkError> {
    let Some(ends) = Ends::of(model)? else { return Ok(()) };
    let both = (netlink.interface(&ends.near).await?, netlink.interface(&ends.far).await?);
    let (Some(near), Some(_)) = both else { return Ok(()) };
    if near.kind == InterfaceKind::Other("veth".to_owned()) && near.mac == Some(HOST_LINK_ADDRESS) {
        netlink.delete(near.index).await?;
    }
    Ok(())
}

fn is_ready(found: &netlink::Interface) -> bool {
    found.up && found.mac == Some(HOST_LINK_ADDRESS)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small site file's model with these lines added.
    pub(crate) fn model(host: &str) -> SiteModel {
        let text = format!(
            "[gateway]\nname = \"gw\"\n[site]\nname = \"edge\"\ntransit = \"240.0.16.0/20\"\n\
             presence_pool = \"10.0.0.192/26\"\n[[lan]]\ninterface = \"lan0\"\n\
             networks = [\"10.0.0.0/24\"]\n[link]\nprivate_key_file = \"link.key\"\n{host}\n"
        );
        gateway_control::site_file::parse(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn both_ends_are_named_after_the_one() {
        let ends = Ends::of(&model("[host]\ninterface = \"presence-b\"")).unwrap().unwrap();
        assert_eq!((ends.near.as_str(), ends.far.as_str()), ("presence-b", "presence-b-far"));
        assert!(Ends::of(&model("")).unwrap().is_none());
    }
}
