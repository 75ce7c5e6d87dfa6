//! The underlay as the kernel's routing tables have it: how an address is reached, and when that may
//! have changed.

use std::fmt;
use std::net::IpAddr;

use futures_util::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMetric};
use rtnetlink::{MulticastGroup, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::{InterfaceIndex, Netlink, NetlinkError, refusal};

/// The way a packet takes from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The interface it leaves by.
    pub interface: InterfaceIndex,
    /// The address it leaves with, where the kernel says it.
    pub source: Option<IpAddr>,
    /// The next router, where there is one.
    pub gateway: Option<IpAddr>,
    /// The largest packet the first hop takes: the interface's MTU, or that of the configured route
    /// where it is smaller.
    pub first_hop: u32,
    /// The largest packet a router farther on claims to take, as long as the kernel remembers it.
    pub claimed: Option<u32>,
}

impl Path {
    /// Whether packets go another way than by `other`; what is claimed farther on does not count.
    pub fn differs(&self, other: &Self) -> bool {
        Self { claimed: None, ..*self } != Self { claimed: None, ..*other }
    }

    /// The largest packet that is known to be refused by nobody.
    pub fn mtu(&self) -> u32 {
        self.claimed.map_or(self.first_hop, |claimed| claimed.min(self.first_hop))
    }
}

impl Netlink {
    /// The way from here to `address`.
    pub async fn path_to(&self, address: IpAddr) -> Result<Path, NetlinkError> {
        let doing = || format!("look up the route to {address}");
        let length = if address.is_ipv4() { 32 } else { 128 };
        let query = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(address, length)
            .map_err(|error| NetlinkError::Protocol { doing: doing(), reason: error.to_string() })?
            .build();
        let answers = self.handle.route().get(query).execute();
        futures_util::pin_mut!(answers);
        let route = match answers.next().await {
            Some(answer) => answer.map_err(|error| refusal(error, doing()))?,
            None => {
                return Err(NetlinkError::Protocol { doing: doing(), reason: "no answer".into() });
            }
        };
        let (mut leaves_by, mut source, mut gateway, mut metric) = (None, None, None, None);
        let mut expires = false;
        for attribute in route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => leaves_by = Some(InterfaceIndex(index)),
                RouteAttribute::PrefSource(address) => source = ip(&address),
                RouteAttribute::Gateway(address) => gateway = ip(&address),
                // Only what a router claimed expires; what an operator configured does not.
                RouteAttribute::CacheInfo(info) => expires = info.expires != 0,
                RouteAttribute::Metrics(metrics) => {
                    metric = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        let found = match leaves_by {
            Some(index) => self.interface_by_index(index).await?,
            None => None,
        };
        let found = found.ok_or_else(|| NetlinkError::Protocol {
            doing: doing(),
            reason: "the route names no interface".into(),
        })?;
        let configured = metric.filter(|_| !expires);
        Ok(Path {
            interface: found.index,
            source,
            gateway,
            first_hop: configured.map_or(found.mtu, |mtu| mtu.min(found.mtu)),
            claimed: metric.filter(|_| expires),
        })
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// Tells that addresses or routes of one network namespace changed.
pub struct UnderlayEvents {
    messages: futures_util::stream::BoxStream<'static, ()>,
    connection: JoinHandle<()>,
}

impl UnderlayEvents {
    /// Subscribes to the changes that happen from now on. Must be called inside a tokio runtime.
    pub fn subscribe() -> Result<Self, NetlinkError> {
        const GROUPS: [MulticastGroup; 4] = [
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(NetlinkError::Socket)?;
        let messages = messages.filter_map(async |(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => Some(()),
            _ => None,
        });
        Ok(Self { messages: messages.boxed(), connection: tokio::spawn(connection) })
    }

    /// Waits for the next change; `None` if the netlink socket was closed.
    pub async fn next(&mut self) -> Option<()> {
        self.messages.next().await
    }
}

impl fmt::Debug for UnderlayEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderlayEvents").finish_non_exhaustive()
    }
}

impl Drop for UnderlayEvents {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_is_reached_by_loopback() {
        let netlink = Netlink::connect().unwrap();
        let path = netlink.path_to("127.0.0.1".parse().unwrap()).await.unwrap();
        let loopback = netlink.interface(&"lo".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((path.interface, path.first_hop), (loopback.index, loopback.mtu));
        assert_eq!((path.gateway, path.claimed, path.mtu()), (None, None, loopback.mtu));
    }

    #[test]
    fn what_is_claimed_farther_on_does_not_make_it_another_path() {
        let path = Path {
            interface: 2.into(),
            source: None,
            gateway: None,
            first_hop: 1500,
            claimed: None,
        };
        let claimed = Path { claimed: Some(1400), ..path };
        assert!(!path.differs(&claimed));
        assert_eq!((path.mtu(), claimed.mtu()), (1500, 1400));
        assert!(path.differs(&Path { source: "192.0.2.1".parse().ok(), ..path }));
    }
}
