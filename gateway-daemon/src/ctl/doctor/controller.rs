//! A controller: its store and CA, and whether gateways and operators reach it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use gateway_control::identity::{KeyPin, TrustDomain};
use tokio::net::UnixStream;
use tokio::time::timeout;
use x509_parser::parse_x509_certificate;

use super::reach::Reached;
use super::report::{Check, Finding, Verdict};
use crate::config::{ControllerFile, NetworkSettings, StoreChoice};
use crate::ctl::print::seconds;
use crate::enrolment::{KeptAuthorityError, open_authority};
use crate::identity::Expected;
use crate::seal::Strongbox;
use crate::store::Store;
use crate::store::etcd::EtcdStore;
use crate::store::sqlite::SqliteStore;

/// With a shorter lease gateways drop what they have while a controller is started anew.
const SHORT_LEASE: Duration = Duration::from_secs(600);

/// The deployment's CA, as far as others may know it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    trust_domain: TrustDomain,
    pin: KeyPin,
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

impl Known {
    /// Whom to take for a controller.
    pub(super) fn expected(&self) -> Expected {
        Expected::Token { trust_domain: self.trust_domain.clone(), authority: self.pin }
    }
}

/// Opens the store and, where gateways are to be served, the CA in it. A store is not made.
pub(super) async fn store(
    file: &ControllerFile,
    strongbox: Option<Strongbox>,
) -> (Option<Known>, Vec<Finding>) {
    match &file.store {
        StoreChoice::Etcd(settings) => match EtcdStore::connect(settings.clone()).await {
            Ok(store) => content(&store, file, strongbox).await,
            Err(error) => (None, vec![Finding::error(Check::Store, &error)]),
        },
        StoreChoice::File(path, _) if !path.exists() => {
            (None, vec![missing(path, file.network.is_some())])
        }
        // That opening it writes leases anew changes nothing: controllers grant none.
        StoreChoice::File(path, settings) => match SqliteStore::open(path, *settings).await {
            Ok(store) => {
                let (known, mut findings) = content(&store, file, strongbox).await;
                if let Err(error) = store.close().await {
                    findings.push(Finding::error(Check::Store, &error));
                }
                (known, findings)
            }
            Err(error) => (None, vec![Finding::error(Check::Store, &error)]),
        },
    }
}

async fn content(
    store: &dyn Store,
    file: &ControllerFile,
    strongbox: Option<Strongbox>,
) -> (Option<Known>, Vec<Finding>) {
    let mut findings = vec![match store.revision().await {
        Ok(revision) => Finding::ok(
            Check::Store,
            format!("{} opens, at revision {revision}", store.description()),
        ),
        Err(error) => Finding::error(Check::Store, &error),
    }];
    let (Some(_), Some(strongbox)) = (&file.network, strongbox) else { return (None, findings) };
    match open_authority(store, &strongbox).await {
        Ok(authority) => match life(authority.certificate()) {
            Some((not_before, not_after)) => {
                let (trust_domain, pin) = (authority.trust_domain().clone(), authority.pin());
                let found = format!("the CA of {trust_domain} opens; its key is {pin}");
                findings.push(Finding::ok(Check::Authority, found));
                (Some(Known { trust_domain, pin, not_before, not_after }), findings)
            }
            None => {
                let found = "the CA's certificate cannot be read";
                let remedy = "restore the store from a backup";
                findings.push(Finding::fail(Check::Authority, found, remedy));
                (None, findings)
            }
        },
        Err(error) => {
            findings.push(lack(&error));
            (None, findings)
        }
    }
}

fn missing(path: &Path, serves: bool) -> Finding {
    let found = format!("{} is not there", path.display());
    let remedy = match serves {
        true => {
            "correct store.path, or begin a deployment with `gatewayd init`, or restore a backup (`gatewayctl restore`)"
        }
        false => "correct store.path, or start gatewayd, which makes an empty one",
    };
    Finding::wrong(if serves { Verdict::Fail } else { Verdict::Warn }, Check::Store, found, remedy)
}

fn lack(error: &KeptAuthorityError) -> Finding {
    let check = match error {
        KeptAuthorityError::Seal(_) => Check::Seal,
        KeptAuthorityError::Store(_) => Check::Store,
        _ => Check::Authority,
    };
    Finding::error(check, error)
}

/// From when until when a certificate holds.
pub(super) fn life(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    let not_before = u64::try_from(validity.not_before.timestamp()).ok()?;
    Some((not_before, u64::try_from(validity.not_after.timestamp()).ok()?))
}

/// Whether somebody serves at a Unix socket. `verdict` is for where nobody does.
pub(super) async fn socket(path: &Path, limit: Duration, verdict: Verdict) -> Finding {
    let connected = timeout(limit, UnixStream::connect(path)).await;
    match connected {
        Ok(Ok(_)) => Finding::ok(Check::Socket, "gatewayd serves there"),
        Ok(Err(error)) => not_served(&error, verdict),
        Err(_) => Finding::fail(
            Check::Socket,
            "is there, and takes nobody",
            "look at gatewayd's log (`journalctl -u gatewayd`); start it anew if it hangs",
        ),
    }
    .of(path.display())
}

fn not_served(error: &io::Error, verdict: Verdict) -> Finding {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Finding::wrong(
            verdict,
            Check::Socket,
            "nobody serves there",
            "start the controller's gatewayd",
        ),
        io::ErrorKind::PermissionDenied => {
            Finding::warn(Check::Socket, "this user may not connect", "run as root")
        }
        _ => Finding::wrong(verdict, Check::Socket, error.to_string(), "correct the path"),
    }
}

/// Where to reach what listens at an address.
pub(super) fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether an address is one of this host's.
pub(super) fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// What came of a handshake with an address of `controller.listen`.
pub(super) fn listening(
    listen: SocketAddr,
    word: &str,
    reached: &Reached,
    daemon_runs: bool,
) -> Finding {
    let fail = |found: String, remedy: &str| Finding::fail(Check::Socket, found, remedy);
    match reached {
        Reached::Fits(_) => Finding::ok(Check::Socket, format!("gateways are served by {word}")),
        Reached::Refused if !daemon_runs => Finding::warn(
            Check::Socket,
            format!("nobody listens by {word}, as gatewayd does not run"),
            "start gatewayd",
        ),
        Reached::Refused => fail(
            format!("nobody listens by {word}, though gatewayd runs"),
            "start gatewayd anew: it reads controller.listen when it starts",
        ),
        Reached::Clock(_) => fail(
            format!("the certificate shown by {word} does not hold by this host's clock"),
            "set the clock; gatewayd renews its own certificate within half a minute",
        ),
        Reached::Stranger(why) | Reached::Odd(why) => fail(
            format!("something else listens by {word}: {why}"),
            "find it with `ss -lntup`, and give it or the controller another port",
        ),
        Reached::Stuck | Reached::Silent => fail(
            format!("nothing comes back by {word}"),
            "see that this host's own firewall lets the port through, and that gatewayd is not overloaded",
        ),
        Reached::Unsent(why) => fail(format!("cannot be reached: {why}"), "correct controller.listen"),
    }
    .of(listen)
}

/// What is to be said of the settings for gateways in other networks.
pub(super) fn settings(network: &NetworkSettings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match network.lease {
        Some(lease) if lease < SHORT_LEASE => Finding::warn(
            Check::Lease,
            format!(
                "gateways drop what they have of others after {} without a controller",
                seconds(lease.as_secs())
            ),
            "raise controller.lease to what a controller may take to come back",
        ),
        Some(lease) => Finding::ok(
            Check::Lease,
            format!("gateways go on for {} without a controller", seconds(lease.as_secs())),
        ),
        None => Finding::ok(Check::Lease, "gateways go on without end where no controller answers"),
    });
    let ports: BTreeSet<u16> = network.listen.iter().map(SocketAddr::port).collect();
    for address in network.advertise.iter().filter(|it| !ports.contains(&it.port())) {
        let found = "no address of controller.listen has its port";
        let remedy =
            "correct controller.advertise, unless another controller or a forwarded port is meant";
        findings.push(Finding::warn(Check::Socket, found, remedy).of(address));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::leaf;
    use super::*;

    #[test]
    fn a_listener_by_what_answers() {
        let listen: SocketAddr = "0.0.0.0:443".parse().unwrap();
        assert_eq!(reached_at(listen), "127.0.0.1:443".parse().unwrap());
        assert_eq!(reached_at("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        for (reached, runs, verdict) in [
            (Reached::Fits(leaf(0, 9)), true, Verdict::Ok),
            (Reached::Refused, false, Verdict::Warn),
            (Reached::Refused, true, Verdict::Fail),
            (Reached::Stranger("x".to_owned()), false, Verdict::Fail),
            (Reached::Silent, true, Verdict::Fail),
        ] {
            let finding = listening(listen, "UDP", &reached, runs);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(finding.remedy.is_none(), verdict == Verdict::Ok);
        }
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        // TEST-NET-1 (RFC 5737) is nobody's.
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 77).into()));
    }

    #[test]
    fn a_missing_store_is_a_failure_where_gateways_are_to_be_served() {
        assert_eq!(missing(Path::new("/x"), true).verdict, Verdict::Fail);
        assert_eq!(missing(Path::new("/x"), false).verdict, Verdict::Warn);
    }
}
