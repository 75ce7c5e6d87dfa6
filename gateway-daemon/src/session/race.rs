//! One attempt to reach a controller: all its addresses, one after the other and none waiting for the one before
//! to fail (RFC 8305), each by QUIC and, where that does not come up, by TLS over TCP. Whichever is through first is
//! it; the others are dropped. The dialler runs them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gateway_control::identity::ControllerAddress;
use rustls::pki_types::ServerName;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep_until, timeout};

use super::carrier::{Carried, CarrierError, CarrierKind};
use super::{quic, tcp};

/// What all controllers are called in a handshake. Who they are is in their certificates.
pub(super) const NAME: &str = "presence";
/// Addresses that are tried at most.
const MOST: usize = 32;

/// What one attempt needs.
#[derive(Clone, Debug)]
pub(super) struct Race<'a> {
    pub(super) controllers: &'a [ControllerAddress],
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) quic: quinn::ClientConfig,
    /// How long a name's addresses are waited for.
    pub(super) lookup: Duration,
    /// The time between the beginnings of two addresses.
    pub(super) between: Duration,
    /// How long one address may take by one carrier.
    pub(super) attempt: Duration,
    /// How long QUIC is alone; TCP is not tried at all without it.
    pub(super) head_start: Option<Duration>,
}

/// Why no address was reached, by what was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures(BTreeMap<String, String>);

impl Race<'_> {
    /// Runs until one is through or all have failed. `begun` is told each address as it is tried.
    pub(super) async fn run(&self, begun: impl Fn(SocketAddr)) -> Result<Carried, Failures> {
        let mut failures = Failures::default();
        let mut waiting = Waiting::default();
        let mut lookups = FuturesUnordered::new();
        for controller in self.controllers {
            match controller.host().parse::<IpAddr>() {
                Ok(address) => waiting.add(SocketAddr::new(address, controller.port())),
                Err(_) => lookups.push(async move { (controller, self.look_up(controller).await) }),
            }
        }
        let mut attempts = FuturesUnordered::new();
        let mut next = Instant::now();
        loop {
            if lookups.is_empty() && attempts.is_empty() && waiting.is_empty() {
                return Err(failures);
            }
            tokio::select! {
                Some((controller, found)) = lookups.next() => match found {
                    Ok(addresses) => addresses.into_iter().for_each(|address| waiting.add(address)),
                    Err(error) => failures.add(controller.to_string(), &error),
                },
                Some(attempted) = attempts.next() => match attempted {
                    Ok(carried) => return Ok(carried),
                    Err(Failures(more)) => {
                        failures.0.extend(more);
                        next = Instant::now();
                    }
                },
                () = sleep_until(next), if !waiting.is_empty() => {
                    let Some(address) = waiting.take() else { continue };
                    begun(address);
                    attempts.push(self.attempt(address));
                    next = Instant::now() + self.between;
                }
            }
        }
    }

    async fn look_up(&self, controller: &ControllerAddress) -> io::Result<Vec<SocketAddr>> {
        let found = lookup_host((controller.host(), controller.port()));
        let found = timeout(self.lookup, found).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "its name is not found in time");
        Ok(found.map_err(late)??.take(MOST).collect())
    }

    /// Tries one address by both carriers.
    async fn attempt(&self, to: SocketAddr) -> Result<Carried, Failures> {
        let mut failures = Failures::default();
        let quic = self.limited(quic::connect(to, self.quic.clone(), NAME));
        tokio::pin!(quic);
        let head_start = async {
            match self.head_start {
                Some(head_start) => sleep_until(Instant::now() + head_start).await,
                None => pending().await,
            }
        };
        let tried = tokio::select! {
            tried = &mut quic => Some(tried),
            () = head_start => None,
        };
        let is_out = tried.is_some();
        match tried {
            Some(Ok(carried)) => return Ok(carried),
            Some(Err(error)) => failures.add_of(to, CarrierKind::Quic, &error),
            None => {}
        }
        if self.head_start.is_none() {
            return Err(failures);
        }
        let tcp = self.limited(tcp::connect(to, Arc::clone(&self.tls), server_name()));
        tokio::pin!(tcp);
        let (mut quic_goes_on, mut tcp_goes_on) = (!is_out, true);
        while quic_goes_on || tcp_goes_on {
            let (kind, tried) = tokio::select! {
                tried = &mut quic, if quic_goes_on => (CarrierKind::Quic, tried),
                tried = &mut tcp, if tcp_goes_on => (CarrierKind::Tcp, tried),
            };
            match (tried, kind) {
                (Ok(carried), _) => return Ok(carried),
                (Err(error), kind) => failures.add_of(to, kind, &error),
            }
            match kind {
                CarrierKind::Quic => quic_goes_on = false,
                CarrierKind::Tcp => tcp_goes_on = false,
            }
        }
        Err(failures)
    }

    async fn limited(
        &self,
        connecting: impl Future<Output = Result<Carried, CarrierError>>,
    ) -> Result<Carried, CarrierError> {
        timeout(self.attempt, connecting).await.map_err(|_| CarrierError::Late(self.attempt))?
    }
}

pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("the name is a DNS label")
}

impl Failures {
    fn add(&mut self, what: String, error: &dyn std::error::Error) {
        self.0.insert(what, error.to_string());
    }

    fn add_of(&mut self, to: SocketAddr, kind: CarrierKind, error: &CarrierError) {
        let carrier = match kind {
            CarrierKind::Quic => "QUIC",
            CarrierKind::Tcp => "TCP",
        };
        self.add(format!("{to} by {carrier}"), error);
    }

    /// In one line.
    pub(super) fn describe(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        if all.is_empty() { "no controller is named".to_owned() } else { all.join("; ") }
    }
}

/// Addresses that have not been tried, the families taking turns (RFC 8305 section 4). The resolver has sorted them, and
/// its first says which family begins.
#[derive(Debug, Default)]
struct Waiting {
    seen: BTreeSet<SocketAddr>,
    v4: VecDeque<SocketAddr>,
    v6: VecDeque<SocketAddr>,
    v6_is_next: Option<bool>,
}

impl Waiting {
    fn add(&mut self, address: SocketAddr) {
        if self.seen.len() >= MOST || !self.seen.insert(address) {
            return;
        }
        self.v6_is_next.get_or_insert(address.is_ipv6());
        match address {
            SocketAddr::V4(_) => self.v4.push_back(address),
            SocketAddr::V6(_) => self.v6.push_back(address),
        }
    }

    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn take(&mut self) -> Option<SocketAddr> {
        let (first, second) = match self.v6_is_next? {
            true => (&mut self.v6, &mut self.v4),
            false => (&mut self.v4, &mut self.v6),
        };
        let taken = first.pop_front().or_else(|| second.pop_front())?;
        self.v6_is_next = Some(taken.is_ipv4());
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_begins() {
        let order = |addresses: &[&str]| {
            let mut waiting = Waiting::default();
            addresses.iter().for_each(|address| waiting.add(address.parse().unwrap()));
            let taken: Vec<_> = std::iter::from_fn(|| waiting.take()).collect();
            assert!(waiting.is_empty());
            taken.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]),
            "[::1]:1 1.0.0.1:1 [::2]:1 1.0.0.2:1 [::3]:1"
        );
        assert_eq!(order(&["1.0.0.1:1", "[::1]:1", "1.0.0.1:1"]), "1.0.0.1:1 [::1]:1");
        let many: Vec<_> = (0..100).map(|port| format!("1.0.0.1:{port}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(order(&many).split(' ').count(), MOST);
    }
}
