//! Which interfaces are there, looked at before and while a site file is brought in force.

use gateway_control::{CompileError, Interfaces};

use super::GatewayError;
use crate::config::SiteFile;
use crate::interfaces;
use crate::netlink::{InterfaceName, Netlink, NetlinkError};

/// Those of the names that no interface has.
pub(super) async fn absent(
    netlink: &Netlink,
    names: &[InterfaceName],
) -> Result<Vec<InterfaceName>, NetlinkError> {
    let present = present(netlink, names).await?;
    Ok(names.iter().filter(|name| !present.contains(name)).cloned().collect())
}

/// Those of the names that an interface has.
pub(super) async fn present(
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
pub(super) async fn all_lans(
    netlink: &Netlink,
    file: &SiteFile,
) -> Result<Interfaces, GatewayError> {
    let known = interfaces::lans(netlink, &file.model).await?;
    match interfaces::missing(&file.model, &known).first() {
        Some(interface) => {
            Err(CompileError::NoInterface { interface: (*interface).clone() }.into())
        }
        None => Ok(known),
    }
}
