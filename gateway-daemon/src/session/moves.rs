//! What a dialler does when the host's network changes: waits end early, a session over QUIC goes on from a new
//! socket, and one over TCP whose address is no longer the one to use ends, so that the gateway dials anew.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::carrier::{Closer, Either, Ending};
use super::dial::Dialler;
use crate::netlink::{Netlink, NetlinkError, Path, UnderlayEvents};

/// Changes come in bursts, and are looked at together.
const BURST: Duration = Duration::from_millis(50);

/// The ways to controllers' addresses, with none where there is no route.
type Ways = BTreeMap<SocketAddr, Option<Path>>;

/// A connection that goes on from another socket, until something has come by it.
struct Moved {
    closer: Closer,
    received: u64,
    until: Instant,
}

impl Dialler {
    /// Follows the kernel's routing for as long as it tells, and acts when the way to a controller has changed.
    ///
    /// # Errors
    /// The one that ended it. The dialler works without; it then learns of changes by silence.
    pub async fn watch(&self) -> NetlinkError {
        match self.follow_ways().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// The host's network has changed: goes on from where it is now, and dials at once if it has to.
    pub fn network_changed(&self) {
        if let Some((_, closer)) = self.current() {
            go_on(&closer);
        }
        self.cut_waits();
    }

    async fn follow_ways(&self) -> Result<std::convert::Infallible, NetlinkError> {
        let netlink = Netlink::connect()?;
        let mut events = UnderlayEvents::subscribe()?;
        let mut tried = self.tried();
        let mut ways = Ways::new();
        let mut moved: Option<Moved> = None;
        loop {
            let silence = async {
                match &moved {
                    Some(moved) => sleep_until(moved.until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                event = events.next() => {
                    event.ok_or_else(closed)?;
                    sleep(BURST).await;
                    while let Some(event) = events.next().now_or_never() {
                        event.ok_or_else(closed)?;
                    }
                    let now = look(&netlink, ways.keys().copied()).await;
                    let differing = differing(&ways, &now);
                    ways = now;
                    if let Some(now_moved) = self.act(&differing, &ways) {
                        moved = Some(now_moved);
                    }
                }
                // The dialler has the sender.
                _ = tried.changed() => {
                    let addresses = tried.borrow_and_update().clone();
                    ways.retain(|address, _| addresses.contains(address));
                    let new = addresses.into_iter().filter(|address| !ways.contains_key(address));
                    let new = look(&netlink, new.collect::<Vec<_>>()).await;
                    ways.extend(new);
                }
                () = silence => {
                    if let Some(Moved { closer, received, .. }) = moved.take()
                        && received_by(&closer) == Some(received)
                    {
                        closer.close(Ending::Late, "nothing came after the network had changed");
                    }
                }
            }
        }
    }

    /// What is to be done when the ways to these addresses have changed.
    fn act(&self, differing: &BTreeSet<SocketAddr>, ways: &Ways) -> Option<Moved> {
        if differing.is_empty() {
            return None;
        }
        let mut moved = None;
        if let Some((peer, closer)) = self.current().filter(|(peer, _)| differing.contains(peer))
            && let Some(way) = ways.get(&peer).copied().flatten()
        {
            match &closer.0 {
                Either::Quic(quic) => {
                    let received = quic.received();
                    go_on(&closer);
                    let until = Instant::now() + self.patience();
                    moved = Some(Moved { closer, received, until });
                }
                Either::Tcp(tcp) => {
                    if way.source.is_some() && tcp.local().is_some() && way.source != tcp.local() {
                        closer.close(Ending::Done, "its address is no longer the one to use");
                    }
                }
            }
        }
        self.cut_waits();
        moved
    }
}

fn go_on(closer: &Closer) {
    if let Either::Quic(quic) = &closer.0
        && let Err(error) = quic.move_on()
    {
        tracing::warn!(%error, "cannot go on from another socket; the session may break");
    }
}

fn received_by(closer: &Closer) -> Option<u64> {
    match &closer.0 {
        Either::Quic(quic) => Some(quic.received()),
        Either::Tcp(_) => None,
    }
}

async fn look(netlink: &Netlink, addresses: impl IntoIterator<Item = SocketAddr>) -> Ways {
    let mut ways = Ways::new();
    for address in addresses {
        ways.insert(address, netlink.path_to(address.ip()).await.ok());
    }
    ways
}

fn differing(before: &Ways, now: &Ways) -> BTreeSet<SocketAddr> {
    let differs = |address: &SocketAddr| match (before.get(address), now.get(address)) {
        (Some(Some(before)), Some(Some(now))) => now.differs(before),
        (Some(before), Some(now)) => before.is_some() != now.is_some(),
        _ => true,
    };
    now.keys().copied().filter(differs).collect()
}

fn closed() -> NetlinkError {
    let doing = "follow the host's network".to_owned();
    NetlinkError::Protocol { doing, reason: "the kernel's answers ended".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_differs_by_where_it_leads_or_that_there_is_none() {
        let way = Path {
            interface: 2.into(),
            source: "192.0.2.1".parse().ok(),
            gateway: None,
            first_hop: 1500,
            claimed: None,
        };
        let to = |way: Option<Path>| Ways::from([("198.51.100.1:443".parse().unwrap(), way)]);
        let elsewhere = Path { source: "192.0.2.2".parse().ok(), ..way };
        let smaller = Path { claimed: Some(1400), ..way };
        for (before, now, count) in [
            (Some(way), Some(way), 0),
            (Some(way), Some(smaller), 0),
            (None, None, 0),
            (Some(way), Some(elsewhere), 1),
            (Some(way), None, 1),
            (None, Some(way), 1),
        ] {
            assert_eq!(differing(&to(before), &to(now)).len(), count, "{before:?} {now:?}");
        }
    }
}
