//! Which addresses of the LAN the kernel cannot resolve: nobody answers its ARP requests.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use tokio::task::JoinHandle;

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
    /// for.
    pub async fn unresolved(
        &self,
        of: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeSet<Ipv4Addr>, NeighbourError> {
        let mut unresolved = BTreeSet::new();
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet);
        let mut entries = std::pin::pin!(request.execute());
        while let Some(entry) = entries.try_next().await.map_err(NeighbourError::List)? {
            if matches!(entry.header.state, NeighbourState::Failed | NeighbourState::Incomplete)
                && let Some(address) = address(&entry)
                && of.contains(&address)
            {
                unresolved.insert(address);
            }
        }
        Ok(unresolved)
    }
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
