//! Whether a site's addresses are this host's, or somebody else's on the LAN.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use gateway_control::model::SiteModel;
use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;

use super::report::{Check, Finding};
use crate::config::interface_name;
use crate::health::Neighbours;
use crate::netlink::Netlink;

/// What of a site is compared.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Addresses of presences.
    pub(super) presences: Ipv4Net,
    /// Where all transit addresses come from.
    pub(super) transit: Ipv4Net,
    /// Interfaces that are the gateway's own work.
    pub(super) own: BTreeSet<String>,
}

/// What there is on the host and behind its interfaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Addresses of interfaces.
    addresses: Vec<(String, Ipv4Net)>,
    /// Who has answered for an address, by the interface.
    answered: BTreeSet<(String, Ipv4Addr)>,
}

impl Site {
    /// Of a site that is known.
    pub(super) fn of(model: &SiteModel) -> Self {
        let (link, host) = (model.link(), model.host());
        let host = host.into_iter().flat_map(|it| [it.interface.clone(), it.far_interface()]);
        let own = [link.interface.clone(), link.second_interface()].into_iter().chain(host);
        Self {
            presences: model.site().presence_pool.prefix(),
            transit: model.transit_pool().prefix(),
            own: own.map(|it| it.to_string()).collect(),
        }
    }

    /// The findings.
    pub(super) fn judge(&self, found: &Found) -> Vec<Finding> {
        let fail = |text, remedy| Finding::fail(Check::Address, text, remedy);
        let mut findings = Vec::new();
        for (interface, net) in found.addresses.iter().filter(|(name, _)| !self.own.contains(name))
        {
            let address = net.addr();
            if self.presences.contains(&address) {
                let text = format!(
                    "{address} is this host's own and lies in the presence pool {}",
                    self.presences
                );
                let remedy = "give the host another address, or the site another presencePool";
                findings.push(fail(text, remedy).of(interface));
            }
            if self.transit.contains(&address) {
                let text = format!("{address} lies in the transit pool {}", self.transit);
                let remedy =
                    "give the host another address, or the deployment another transit pool";
                findings.push(fail(text, remedy).of(interface));
            }
        }
        for (interface, address) in
            found.answered.iter().filter(|(name, _)| !self.own.contains(name))
        {
            let text = format!(
                "somebody on the LAN has answered for {address}, which is in the presence pool {}",
                self.presences
            );
            let remedy = "give that host another address (`ip neigh` shows its hardware address), or the site \
                          another presencePool";
            findings.push(fail(text, remedy).of(interface));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(
                Check::Address,
                format!(
                    "this host has no address in the presence pool {} or the transit pool {}, and has heard of nobody \
                     who has",
                    self.presences, self.transit
                ),
            ));
        }
        findings
    }
}

impl Found {
    /// Looks, at the interfaces and at the kernel's neighbour table.
    pub(super) async fn look(presences: Ipv4Net) -> Result<Self, String> {
        let addresses = getifaddrs().map_err(|error| error.to_string())?;
        let addresses = addresses.filter_map(|it| {
            let address = it.address?.as_sockaddr_in()?.ip();
            let mask = it.netmask.and_then(|mask| Some(mask.as_sockaddr_in()?.ip()));
            let mask = IpAddr::V4(mask.unwrap_or(Ipv4Addr::BROADCAST));
            let length = ipnet::ip_mask_to_prefix(mask).ok()?;
            Some((it.interface_name, Ipv4Net::new(address, length).ok()?))
        });
        let mut found = Self { addresses: addresses.collect(), answered: BTreeSet::new() };
        let neighbours = Neighbours::connect().map_err(|error| error.to_string())?;
        let netlink = Netlink::connect().map_err(|error| error.to_string())?;
        let answered = neighbours.answered(presences).await.map_err(|error| error.to_string())?;
        for (index, address) in answered {
            if let Ok(Some(interface)) = netlink.interface_by_index(index.into()).await {
                found.answered.insert((interface.name, address));
            }
        }
        Ok(found)
    }
}

/// Whether the interfaces of a site are there.
pub(super) async fn interfaces<'a>(
    names: impl IntoIterator<Item = &'a gateway_control::model::InterfaceName>,
) -> Vec<Finding> {
    let netlink = match Netlink::connect() {
        Ok(netlink) => netlink,
        Err(error) => return vec![Finding::error(Check::Address, &error)],
    };
    let mut findings = Vec::new();
    for name in names {
        let found = match interface_name(name) {
            Ok(name) => netlink.interface(&name).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let finding = match found {
            Ok(Some(found)) if found.up => Finding::ok(Check::Address, "is there, and up"),
            Ok(Some(_)) => Finding::warn(
                Check::Address,
                "is there, and down",
                &format!("set it up (`ip link set {name} up`)"),
            ),
            Ok(None) => Finding::fail(
                Check::Address,
                "there is no such interface",
                "correct the name in the file, or make the interface; gatewayd serves it once it is there",
            ),
            Err(error) => Finding::error(Check::Address, &error),
        };
        findings.push(finding.of(name));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    fn judge(addresses: &[(&str, &str)], answered: &[(&str, &str)]) -> Vec<Finding> {
        let site = Site {
            presences: "10.0.0.192/26".parse().unwrap(),
            transit: "240.0.0.0/4".parse().unwrap(),
            own: ["presence".to_owned()].into(),
        };
        let found = Found {
            addresses: addresses
                .iter()
                .map(|(name, net)| ((*name).to_owned(), net.parse().unwrap()))
                .collect(),
            answered: answered
                .iter()
                .map(|(name, it)| ((*name).to_owned(), it.parse().unwrap()))
                .collect(),
        };
        site.judge(&found)
    }

    #[test]
    fn a_host_on_the_lan_is_no_conflict() {
        let findings = judge(&[("lan0", "10.0.0.1/24"), ("presence", "240.0.0.1/32")], &[]);
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Ok), "{findings:?}");
    }

    #[test]
    fn each_conflict_is_named() {
        for (addresses, answered, part) in [
            (&[("lan0", "10.0.0.193/24")][..], &[][..], "10.0.0.193 is this host's own"),
            (&[("lan1", "10.0.0.250/28")], &[], "is this host's own"),
            (&[("lan1", "241.0.0.1/24")], &[], "transit pool"),
            (&[], &[("lan0", "10.0.0.200")], "has answered for 10.0.0.200"),
        ] {
            let findings = judge(addresses, answered);
            assert_eq!(findings[0].verdict, Verdict::Fail, "{findings:?}");
            assert!(findings[0].found.contains(part), "{findings:?}");
        }
    }
}
