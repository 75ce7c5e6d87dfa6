//! What joins the gateway host to the data path: a pair of devices, a route, and the host's addresses.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::StreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkFlags;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{InterfaceIndex, InterfaceName, Netlink, NetlinkError, refusal};

impl Netlink {
    /// Creates a pair of veth devices, down.
    pub async fn create_pair(
        &self,
        near: &InterfaceName,
        far: &InterfaceName,
    ) -> Result<(), NetlinkError> {
        let message = LinkVeth::new(near.as_str(), far.as_str()).build();
        let created = self.handle.link().add(message).execute().await;
        created.map_err(|error| refusal(error, format!("create the veth pair {near} and {far}")))
    }

    /// Gives an interface this hardware address and switches ARP off on it.
    pub async fn address_without_arp(
        &self,
        index: InterfaceIndex,
        mac: [u8; 6],
    ) -> Result<(), NetlinkError> {
        let mut message = LinkUnspec::new_with_index(index.value()).address(mac.to_vec()).build();
        message.header.flags |= LinkFlags::Noarp;
        message.header.change_mask |= LinkFlags::Noarp;
        self.change(message, format!("give interface {index} its hardware address")).await
    }

    /// Sends what is for `prefix` out of an interface, from `source` where the host is the sender.
    pub async fn route_to_interface(
        &self,
        prefix: Ipv4Net,
        index: InterfaceIndex,
        source: Option<Ipv4Addr>,
    ) -> Result<(), NetlinkError> {
        let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .output_interface(index.value())
            .scope(RouteScope::Link);
        if let Some(source) = source {
            route = route.pref_source(source);
        }
        let added = self.handle.route().add(route.build()).replace().execute().await;
        added.map_err(|error| refusal(error, format!("route {prefix} by interface {index}")))
    }

    /// The IPv4 addresses of an interface with their prefix lengths.
    pub async fn addresses(&self, index: InterfaceIndex) -> Result<Vec<Ipv4Net>, NetlinkError> {
        let doing = || format!("list the addresses of interface {index}");
        let answers = self.handle.address().get().set_link_index_filter(index.value()).execute();
        futures_util::pin_mut!(answers);
        let mut found = Vec::new();
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(|error| refusal(error, doing()))?;
            if answer.header.family != AddressFamily::Inet {
                continue;
            }
            // `Address` is the other end's on a point-to-point interface; `Local` is always ours.
            let address = answer.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            let net = address.map(|it| Ipv4Net::new(it, answer.header.prefix_len));
            found.extend(net.and_then(Result::ok));
        }
        found.sort();
        Ok(found)
    }
}
