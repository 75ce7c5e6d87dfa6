//! Which addresses of the LAN the kernel cannot resolve: nobody answers its ARP requests. Used by the
//! daemon, which tells and remembers, and by `gatewayctl`, which shows what is so now.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use ipnet::Ipv4Net;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use tokio::task::JoinHandle;

/// How long a request may be without an answer. The kernel asks again after a second
/// (`retrans_time_ms`). In the unit of `NDA_CACHEINFO`, a hundredth of a second.
const PATIENCE: u32 = 100;

/// Why the neighbour table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourError {
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel's answer, or the conversation.
    #[error("cannot list neighbours: {0}")]
    List(#[source] rtnetlink::Error),
}

/// The kernel's neighbour table, in one network namespace.
#[derive(Debug)]
pub struct Neighbours {
    handle: rtnetlink::Handle,
    connection: JoinHandle<()>,
}

impl Neighbours {
    /// Opens a connection. Must be called inside a tokio runtime.
    pub fn connect() -> Result<Self, NeighbourError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(NeighbourError::Socket)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Those of the addresses that the kernel asked for and nobody answered; none that it never asked
    /// for. `before` are those of which that was known already.
    pub async fn unresolved(
        &self,
        of: &BTreeSet<Ipv4Addr>,
        before: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeSet<Ipv4Addr>, NeighbourError> {
        let mut unresolved = BTreeSet::new();
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet);
        let mut entries = std::pin::pin!(request.execute());
        while let Some(entry) = entries.try_next().await.map_err(NeighbourError::List)? {
            if let Some(address) = address(&entry)
                && of.contains(&address)
                && is_unanswered(entry.header.state, age(&entry), before.contains(&address))
            {
                unresolved.insert(address);
            }
        }
        Ok(unresolved)
    }

    /// Those addresses of a network that somebody has answered for, by the indices of the interfaces.
    pub async fn answered(
        &self,
        within: Ipv4Net,
    ) -> Result<BTreeSet<(u32, Ipv4Addr)>, NeighbourError> {
        let mut answered = BTreeSet::new();
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet);
        let mut entries = std::pin::pin!(request.execute());
        while let Some(entry) = entries.try_next().await.map_err(NeighbourError::List)? {
            use NeighbourState::{Delay, Probe, Reachable, Stale};
            if let Some(address) = address(&entry).filter(|it| within.contains(it))
                && matches!(entry.header.state, Reachable | Stale | Delay | Probe)
            {
                answered.insert((entry.header.ifindex, address));
            }
        }
        Ok(answered)
    }
}

/// Whether nobody answers. Under traffic the kernel gives up and begins to ask anew by turns, so one
/// that it has just begun to ask for is as it was before.
fn is_unanswered(state: NeighbourState, age: Option<u32>, before: bool) -> bool {
    match state {
        NeighbourState::Failed => true,
        NeighbourState::Incomplete => before || age.is_some_and(|age| age > PATIENCE),
        _ => false,
    }
}

/// How long an entry has been in its state.
fn age(entry: &NeighbourMessage) -> Option<u32> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::CacheInfo(info) => Some(info.updated),
        _ => None,
    })
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn address(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_request_may_take_a_moment_and_later_ones_change_nothing() {
        use NeighbourState::{Failed, Incomplete, Probe, Reachable, Stale};
        for (state, age, before, expected) in [
            (Failed, Some(0), false, true),
            (Failed, None, true, true),
            (Incomplete, Some(0), false, false),
            (Incomplete, Some(PATIENCE), false, false),
            (Incomplete, Some(PATIENCE + 1), false, true),
            (Incomplete, Some(0), true, true),
            (Incomplete, None, false, false),
            (Reachable, Some(1000), true, false),
            (Stale, Some(1000), true, false),
            (Probe, Some(1000), true, false),
        ] {
            let found = is_unanswered(state, age, before);
            assert_eq!(found, expected, "{state:?} {age:?} {before}");
        }
    }
}
