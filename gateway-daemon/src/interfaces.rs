//! The interfaces a site file names, as the host has them now.
//!
//! Called by [`crate::gateway`] before it compiles, and whenever the kernel says that some
//! interface changed.

use std::collections::BTreeMap;

use gateway_control::model::{self, SiteModel};
use gateway_control::{Interface, Interfaces, SiteLink, SiteLinks};

use crate::config::{ConfigError, interface_name};
use crate::host_link::{self, HostLinkError};
use crate::link::{Device, SiteRoute};
use crate::netlink::{InterfaceName, Netlink, NetlinkError};

/// Why the interfaces could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A name that requests cannot carry.
    #[error(transparent)]
    Name(#[from] ConfigError),
    /// The host's own end cannot be looked at.
    #[error(transparent)]
    Host(#[from] HostLinkError),
    /// The kernel did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// The LAN interfaces of `model` that exist, and the far end of the host's own. One without a hardware
/// address has zeros.
pub async fn lans(netlink: &Netlink, model: &SiteModel) -> Result<Interfaces, ObserveError> {
    let mut found = Interfaces::new();
    for lan in model.lans() {
        if let Some(interface) = netlink.interface(&interface_name(&lan.interface)?).await? {
            let (index, mac) = (interface.index.value(), interface.mac.unwrap_or_default());
            found.insert(lan.interface.clone(), Interface { index, mac, mtu: interface.mtu });
        }
    }
    found.extend(host_link::find(netlink, model).await?);
    Ok(found)
}

/// The link device, as tables need it.
pub fn link(device: &Device) -> Interface {
    Interface { index: device.index.value(), mac: [0; 6], mtu: device.mtu }
}

/// How each site is reached, as tables need it; what names a device that is not there is left out.
pub fn site_links(
    model: &SiteModel,
    routes: &[SiteRoute],
    devices: &BTreeMap<InterfaceName, Device>,
) -> SiteLinks {
    let mut links = SiteLinks::new();
    for site in model.remote_sites() {
        let Some(route) = routes.iter().find(|it| it.site == site.name.as_str()) else { continue };
        let Some(send) = devices.get(&route.send) else { continue };
        let also = route.also.as_ref().and_then(|name| devices.get(name));
        let link = SiteLink {
            send: send.index.value(),
            also: also.map_or(0, |device| device.index.value()),
            mtu: route.mtu.min(send.mtu),
        };
        links.insert(site.name.clone(), link);
    }
    links
}

/// The names among `model`'s LAN interfaces that `found` lacks.
pub fn missing<'a>(model: &'a SiteModel, found: &Interfaces) -> Vec<&'a model::InterfaceName> {
    let names = model.lans().iter().map(|lan| &lan.interface);
    names.filter(|name| !found.contains_key(*name)).collect()
}
