//! What the gateway asks of the kernel's routing netlink, and the little it changes there.
//!
//! Called by [`crate::link`] for the link device and by the daemon to look up its interfaces.
//! A [`Netlink`] speaks to the network namespace of the thread that made it. It assigns no
//! address, and adds a route only where the gateway host takes part itself: packets reach the link by
//! redirection alone.

mod host_link;
mod underlay;

use std::fmt;
use std::io;
use std::str::FromStr;

use futures_util::{Stream, StreamExt};
use nix::errno::Errno;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use rtnetlink::{LinkUnspec, LinkWireguard, MulticastGroup};
use tokio::task::JoinHandle;

pub use self::underlay::{Path, UnderlayEvents};

/// The name of a network interface: 1 to 15 of `a-z A-Z 0-9 - _ . @`, and neither `.` nor `..`.
///
/// Narrower than what the kernel accepts, so that the name can stand in a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

/// The number the kernel gave an interface; a device made anew gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(u32);

/// What kind of device an interface is, as far as links care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceKind {
    /// A kernel WireGuard device.
    WireGuard,
    /// A TUN (or TAP) device.
    Tun,
    /// Any other virtual device, by the kernel's name for its kind.
    Other(String),
    /// A device that names no kind: hardware, loopback.
    Plain,
}

/// One interface as the kernel describes it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Its kind.
    pub kind: InterfaceKind,
}

/// A change of some interface, from [`InterfaceEvents`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// The interface appeared or something about it changed.
    Changed(Interface),
    /// The interface is gone.
    Gone(InterfaceIndex),
    /// The kernel dropped events because they were not read in time: look again.
    Missed,
}

/// Why a netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No netlink socket could be opened.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refused the request.
    #[error("cannot {doing}: {}", .errno.desc())]
    Refused {
        /// What was asked for.
        doing: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The conversation itself failed.
    #[error("cannot {doing}: {reason}")]
    Protocol {
        /// What was asked for.
        doing: String,
        /// What went wrong.
        reason: String,
    },
}

/// A connection to the kernel's routing netlink, in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    connection: JoinHandle<()>,
}

/// A stream of interface changes in one network namespace.
pub struct InterfaceEvents {
    messages: futures_util::stream::BoxStream<'static, InterfaceEvent>,
    connection: JoinHandle<()>,
}

impl Netlink {
    /// Opens a connection. Must be called inside a tokio runtime.
    pub fn connect() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Socket)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The interface of that name, or `None` if there is none.
    pub async fn interface(&self, name: &InterfaceName) -> Result<Option<Interface>, NetlinkError> {
        let request = self.handle.link().get().match_name(name.as_str()).execute();
        one_interface(request, &format!("look up interface {name}")).await
    }

    /// The interface of that index, or `None` if there is none.
    pub async fn interface_by_index(
        &self,
        index: InterfaceIndex,
    ) -> Result<Option<Interface>, NetlinkError> {
        let request = self.handle.link().get().match_index(index.0).execute();
        one_interface(request, &format!("look up interface {index}")).await
    }

    /// Creates a kernel WireGuard device, down and unconfigured.
    pub async fn create_wireguard(&self, name: &InterfaceName) -> Result<(), NetlinkError> {
        self.handle
            .link()
            .add(LinkWireguard::new(name.as_str()).build())
            .execute()
            .await
            .map_err(|error| refusal(error, format!("create WireGuard device {name}")))
    }

    /// Deletes an interface.
    pub async fn delete(&self, index: InterfaceIndex) -> Result<(), NetlinkError> {
        self.handle
            .link()
            .del(index.0)
            .execute()
            .await
            .map_err(|error| refusal(error, format!("delete interface {index}")))
    }

    /// Sets the MTU of an interface.
    pub async fn set_mtu(&self, index: InterfaceIndex, mtu: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index.0).mtu(mtu).build();
        self.change(message, format!("set the MTU of interface {index} to {mtu}")).await
    }

    /// Sets an interface up.
    pub async fn set_up(&self, index: InterfaceIndex) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index.0).up().build();
        self.change(message, format!("set interface {index} up")).await
    }

    /// Keeps the kernel from giving an interface an IPv6 link-local address when it goes up.
    /// A kernel without IPv6 would not, and is left alone.
    pub async fn refuse_link_local(&self, index: InterfaceIndex) -> Result<(), NetlinkError> {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let message = LinkUnspec::new_with_index(index.0)
            .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
                mode,
            ])]))
            .build();
        let doing = format!("keep IPv6 addresses off interface {index}");
        match self.change(message, doing).await {
            Err(error) if error.errno() == Some(Errno::EAFNOSUPPORT) => Ok(()),
            other => other,
        }
    }

    async fn change(&self, message: LinkMessage, doing: String) -> Result<(), NetlinkError> {
        let request = self.handle.link().change(message);
        request.execute().await.map_err(|error| refusal(error, doing))
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl InterfaceEvents {
    /// Subscribes to the changes that happen from now on. Must be called inside a tokio runtime.
    pub fn subscribe() -> Result<Self, NetlinkError> {
        let (connection, _, messages) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
                .map_err(NetlinkError::Socket)?;
        let messages = messages.filter_map(async |(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                Some(InterfaceEvent::Changed(Interface::from(link)))
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                Some(InterfaceEvent::Gone(InterfaceIndex(link.header.index)))
            }
            NetlinkPayload::Overrun(_) => Some(InterfaceEvent::Missed),
            _ => None,
        });
        Ok(Self { messages: messages.boxed(), connection: tokio::spawn(connection) })
    }

    /// The next change, or `None` if the netlink socket was closed.
    pub async fn next(&mut self) -> Option<InterfaceEvent> {
        self.messages.next().await
    }
}

impl fmt::Debug for InterfaceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceEvents").finish_non_exhaustive()
    }
}

impl Drop for InterfaceEvents {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidInterfaceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        let valid = (1..=15).contains(&text.len())
            && text.bytes().all(allowed)
            && text != "."
            && text != "..";
        if valid { Ok(Self(text.into())) } else { Err(InvalidInterfaceName(text.into())) }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`InterfaceName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an interface name: use 1 to 15 letters, digits, '-', '_', '.' or '@'")]
pub struct InvalidInterfaceName(String);

impl InterfaceIndex {
    /// The index as the kernel writes it.
    pub fn value(self) -> u32 {
        self.0
    }
}

impl From<u32> for InterfaceIndex {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for InterfaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WireGuard => f.write_str("WireGuard device"),
            Self::Tun => f.write_str("TUN device"),
            Self::Other(kind) => write!(f, "{kind} device"),
            Self::Plain => f.write_str("network device"),
        }
    }
}

impl NetlinkError {
    /// The kernel's error number, where the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Socket(_) | Self::Protocol { .. } => None,
        }
    }
}

impl From<LinkMessage> for Interface {
    fn from(message: LinkMessage) -> Self {
        let mut interface = Self {
            index: InterfaceIndex(message.header.index),
            name: String::new(),
            mac: None,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            kind: InterfaceKind::Plain,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Address(bytes) => interface.mac = bytes.try_into().ok(),
                LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            interface.kind = InterfaceKind::from(kind);
                        }
                    }
                }
                _ => {}
            }
        }
        interface
    }
}

impl From<InfoKind> for InterfaceKind {
    fn from(kind: InfoKind) -> Self {
        match kind {
            InfoKind::Wireguard => Self::WireGuard,
            InfoKind::Tun => Self::Tun,
            other => Self::Other(other.to_string()),
        }
    }
}

async fn one_interface(
    answers: impl Stream<Item = Result<LinkMessage, rtnetlink::Error>>,
    doing: &str,
) -> Result<Option<Interface>, NetlinkError> {
    futures_util::pin_mut!(answers);
    match answers.next().await {
        Some(Ok(message)) => Ok(Some(Interface::from(message))),
        Some(Err(error)) => match refusal(error, doing.into()) {
            error if error.errno() == Some(Errno::ENODEV) => Ok(None),
            error => Err(error),
        },
        None => Ok(None),
    }
}

fn refusal(error: rtnetlink::Error, doing: String) -> NetlinkError {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            NetlinkError::Refused { doing, errno: Errno::from_raw(message.raw_code().abs()) }
        }
        other => NetlinkError::Protocol { doing, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_checked() {
        for good in ["presence", "eth0", "br-lan", "eth0.100", "a", "fifteen-letters"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "sixteen-letters-", "a/b", "a b", "wg%d", "wörld", "a\0b"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn loopback_is_found_and_a_missing_interface_is_none() {
        let netlink = Netlink::connect().unwrap();
        let loopback = netlink.interface(&"lo".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(loopback.name, "lo");
        assert!(loopback.mtu > 0);
        assert_eq!(loopback.kind, InterfaceKind::Plain);
        assert_eq!(netlink.interface_by_index(loopback.index).await.unwrap(), Some(loopback));
        assert_eq!(netlink.interface(&"no-such-link".parse().unwrap()).await.unwrap(), None);
    }
}
