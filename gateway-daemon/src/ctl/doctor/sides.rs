//! What is looked at on each side: a gateway by its site file, one that a controller tells its share, and a controller.
//! All of it side by side, and each within its limit.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use gateway_control::identity::{ControllerAddress, JoinToken};
use gateway_control::model::SiteModel;
use gateway_control::site_file::ToldGateway;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::address::{self, Found, Site};
use super::clock::Known as Time;
use super::kernel::Features;
use super::probe::{Limits, Probed, addresses, look, route};
use super::report::{Check, Finding, Verdict};
use super::sealed::{self, Opened};
use super::{Settings, certificate, controller};
use crate::config::{self, ControllerFile, GRACE, GatewayFile, Place, SiteFile, StoreChoice};
use crate::identity::{Expected, Membership};
use crate::instance::Instance;
use crate::session::KeptShare;

/// Other ends of links that are looked at, at most.
const MOST_PEERS: usize = 16;

/// A gateway that has all of it from its site file.
pub(super) async fn standalone(file: &SiteFile, settings: &Settings) -> Vec<Finding> {
    let keys = match file.links() {
        Ok(_) => Finding::ok(Check::Key, "the link's private key is there, for its owner alone"),
        Err(error) => Finding::error(Check::Key, &error),
    };
    let model = &file.model;
    let (host, site) = tokio::join!(
        host(Some(model.link().kind), settings.limits),
        site(Some(model), model.lans().iter().map(|it| &it.interface), settings.limits),
    );
    [vec![keys], host, site].concat()
}

/// A gateway that a controller tells its share.
pub(super) async fn gateway(
    file: &GatewayFile,
    token: Option<JoinToken>,
    settings: &Settings,
) -> Vec<Finding> {
    match &file.controller {
        Place::Socket(path) => {
            let (socket, beside) = tokio::join!(
                controller::socket(path, settings.limits.answer, Verdict::Fail),
                beside(&file.path, &file.gateway, settings.limits),
            );
            [vec![socket], beside].concat()
        }
        Place::Joined => joined(file, token, settings).await,
    }
}

/// The gateway that a controller on the same host tells its share.
async fn beside(path: &Path, gateway: &ToldGateway, limits: Limits) -> Vec<Finding> {
    let key = match config::public_key(path, gateway) {
        Ok(_) => Finding::ok(Check::Key, "the link's private key is there, for its owner alone"),
        Err(error) => Finding::error(Check::Key, &error),
    };
    let recorded = Instance::new(gateway.facts.instance.clone()).recorded();
    let lans = gateway.facts.lans.iter().map(|it| &it.interface);
    let (host, site) = tokio::join!(
        host(Some(gateway.facts.link.kind), limits),
        site(recorded.as_ref(), lans, limits)
    );
    [vec![key], host, site].concat()
}

/// What a gateway has sealed.
#[derive(Debug, Default)]
struct Kept {
    findings: Vec<Finding>,
    membership: Option<Membership>,
    share: Option<KeptShare>,
}

async fn joined(file: &GatewayFile, token: Option<JoinToken>, settings: &Settings) -> Vec<Finding> {
    let (limits, now) = (settings.limits, settings.now);
    let (seal, path, is_joining) = (file.seal.clone(), file.path.clone(), token.is_some());
    let kept = blocking(limits.local, move || {
        let (opened, findings) = sealed::open(&seal);
        Kept::read(&opened, findings, &path, is_joining)
    });
    let Kept { mut findings, membership, share } = match kept.await {
        Some(kept) => kept,
        None => Kept { findings: vec![late(Check::Seal, limits.local)], ..Kept::default() },
    };
    let mut time = Time::default();
    let mut controllers = Vec::new();
    if let Some(membership) = &membership {
        match membership.leaf() {
            Ok(leaf) => {
                time.made(leaf.not_before);
                findings.push(certificate::own(&leaf, now, GRACE));
            }
            Err(error) => findings.push(Finding::error(Check::Certificate, &error)),
        }
        let ends = membership.authorities.iter().filter_map(|it| controller::life(it));
        findings.extend(ends.map(|(_, end)| certificate::authority(end, now)));
        match membership.trust() {
            Ok(trust) => {
                let expected = Expected::Deployment(trust);
                controllers.push((membership.controllers.clone(), expected));
            }
            Err(error) => findings.push(Finding::error(Check::Certificate, &error)),
        }
    }
    if let Some(share) = &share {
        findings.push(certificate::lease(share.lease.lease(), share.lease.rest()));
    }
    if let Some(JoinToken { trust_domain, controllers: named, authority, .. }) = token {
        controllers.push((named, Expected::Token { trust_domain, authority }));
    }
    let facts = &file.gateway.facts;
    let told = membership.as_ref().zip(share.as_ref()).and_then(|(membership, share)| {
        let own = membership.own_name().ok()?;
        SiteModel::check(share.holding.share().draft(&own.name, facts).ok()?).ok()
    });
    let model = Instance::new(facts.instance.clone()).recorded().or(told);
    let lans = facts.lans.iter().map(|it| &it.interface);
    let reached =
        join_all(controllers.iter().map(|(named, expected)| reach(named, expected, now, limits)));
    let (reached, host, site) = tokio::join!(
        reached,
        host(Some(facts.link.kind), limits),
        site(model.as_ref(), lans, limits)
    );
    for (said, probed) in reached {
        findings.extend(said);
        findings.extend(probed.iter().flat_map(|it| of_controller(it, now, &mut time)));
    }
    findings.insert(0, time.judge(now));
    findings.push(sealed::disk(&file.seal.directory));
    [findings, host, site].concat()
}

impl Kept {
    fn read(opened: &Opened, mut findings: Vec<Finding>, path: &Path, is_joining: bool) -> Self {
        let nothing = || {
            let found = "this host has not joined a deployment";
            let remedy = format!("run `gatewayd join --config {}` with a token", path.display());
            let verdict = if is_joining { Verdict::Warn } else { Verdict::Fail };
            Finding::wrong(verdict, Check::Certificate, found, &remedy)
        };
        let (membership, share) = match opened {
            Opened::Open(strongbox) => {
                let membership = Membership::load(strongbox).unwrap_or_else(|error| {
                    findings.push(Finding::error(Check::Certificate, &error));
                    None
                });
                if membership.is_none() && findings.iter().all(|it| it.verdict == Verdict::Ok) {
                    findings.push(nothing());
                }
                let share = KeptShare::load(strongbox).unwrap_or_else(|error| {
                    findings.push(Finding::error(Check::Seal, &error));
                    None
                });
                (membership, share)
            }
            Opened::Nothing => {
                findings.push(nothing());
                (None, None)
            }
            Opened::No => (None, None),
        };
        Self { findings, membership, share }
    }
}

/// A controller, and perhaps the gateway of a site as well.
pub(super) async fn controller(file: &ControllerFile, settings: &Settings) -> Vec<Finding> {
    let (limits, now) = (settings.limits, settings.now);
    let seal = file.seal.clone();
    let opened = blocking(limits.local, move || sealed::open(&seal)).await;
    let (opened, mut findings) = match opened {
        Some((Opened::Nothing, mut findings)) if file.network.is_some() => {
            let found = format!("{} has no strongbox", file.seal.directory.display());
            let remedy = "begin a deployment with `gatewayd init`; if there was one, correct seal.directory or put it \
                          back from a backup";
            findings.push(Finding::fail(Check::Seal, found, remedy));
            (None, findings)
        }
        Some((Opened::Open(strongbox), findings)) => (Some(strongbox), findings),
        Some((_, findings)) => (None, findings),
        None => (None, vec![late(Check::Seal, limits.local)]),
    };
    let socket = controller::socket(&file.socket, limits.answer, Verdict::Warn);
    let sessions = controller::socket(&file.sessions, limits.answer, Verdict::Warn);
    let store = timeout(limits.local, controller::store(file, opened));
    let (socket, sessions, store) = tokio::join!(socket, sessions, store);
    let (authority, said) = store.unwrap_or_else(|_| {
        let found = format!("it was not read within {} s", limits.local.as_secs());
        let remedy = "a large one takes longer, as all of it is checked; otherwise look at the disk, or at etcd";
        (None, vec![Finding::warn(Check::Store, found, remedy)])
    });
    findings.extend(said);
    let daemon_runs = socket.verdict == Verdict::Ok;
    findings.extend([socket, sessions]);
    let mut time = Time::default();
    if let Some(network) = &file.network {
        findings.extend(controller::settings(network));
    }
    if let (Some(network), Some(authority)) = (&file.network, &authority) {
        time.made(authority.not_before);
        findings.push(certificate::authority(authority.not_after, now));
        let expected = authority.expected();
        let listened = network.listen.iter().map(|listen| {
            let to = controller::reached_at(*listen);
            let is_own = controller::is_own(to.ip());
            let expected = expected.clone();
            async move {
                match is_own {
                    true => Some(look(to, expected, now, limits).await),
                    false => None,
                }
            }
        });
        let (listened, advertised) =
            tokio::join!(join_all(listened), reach(&network.advertise, &expected, now, limits),);
        for (listen, probed) in network.listen.iter().zip(&listened) {
            findings.extend(of_listener(*listen, probed.as_ref(), daemon_runs, &mut time));
        }
        let (said, probed) = advertised;
        let reached = probed.iter().flat_map(|it| it.both.judge(now).map(|line| line.of(it.to)));
        // A router may keep a host from reaching itself by its public address.
        findings.extend(said.into_iter().chain(reached).map(|it| it.at_most(Verdict::Warn)));
    }
    findings.insert(0, time.judge(now));
    findings.push(sealed::disk(&file.seal.directory));
    if let StoreChoice::File(path, _) = &file.store {
        findings.push(sealed::disk(path));
    }
    findings.extend(match &file.gateway {
        Some(gateway) => beside(&file.path, gateway, limits).await,
        None => host(None, limits).await,
    });
    findings
}

fn of_listener(
    listen: SocketAddr,
    probed: Option<&Probed>,
    daemon_runs: bool,
    time: &mut Time,
) -> Vec<Finding> {
    let Some(probed) = probed else {
        let found = "no interface of this host has this address";
        let remedy = "correct controller.listen, or give the address to an interface";
        return vec![Finding::fail(Check::Socket, found, remedy).of(listen)];
    };
    let both = [("UDP", &probed.both.udp), ("TCP", &probed.both.tcp)];
    both.into_iter()
        .map(|(word, reached)| {
            reached.leaf().into_iter().for_each(|leaf| time.shown(leaf.clone()));
            controller::listening(listen, word, reached, daemon_runs)
        })
        .collect()
}

/// The addresses of controllers, and what was found there.
async fn reach(
    controllers: &[ControllerAddress],
    expected: &Expected,
    now: u64,
    limits: Limits,
) -> (Vec<Finding>, Vec<Probed>) {
    let (addresses, findings) = addresses(controllers, limits).await;
    let probed = addresses.into_iter().map(|to| look(to, expected.clone(), now, limits));
    (findings, join_all(probed).await)
}

fn of_controller(probed: &Probed, now: u64, time: &mut Time) -> Vec<Finding> {
    let Probed { to, both, way } = probed;
    for leaf in [&both.udp, &both.tcp].into_iter().filter_map(|it| it.leaf()) {
        time.shown(leaf.clone());
    }
    let [udp, tcp] = both.judge(now);
    vec![udp.of(to), tcp.of(to), of_way(to.ip(), way.clone().map(|way| way.judge()))]
}

fn of_way(to: IpAddr, judged: Result<Finding, String>) -> Finding {
    judged.unwrap_or_else(|why| {
        Finding::fail(Check::Path, why, "correct this host's routes (`ip route get` shows the way)")
            .of(to)
    })
}

/// What the kernel offers.
async fn host(link: Option<gateway_control::model::LinkKind>, limits: Limits) -> Vec<Finding> {
    let Some(features) = blocking(limits.local, Features::look).await else {
        return vec![late(Check::Kernel, limits.local)];
    };
    let gateway = link.map(|link| features.judge_gateway(link)).unwrap_or_default();
    [gateway, features.judge()].concat()
}

/// The site's interfaces, its addresses, and the ways to the gateways that it has links to.
async fn site<'a>(
    model: Option<&SiteModel>,
    lans: impl Iterator<Item = &'a gateway_control::model::InterfaceName>,
    limits: Limits,
) -> Vec<Finding> {
    let (interfaces, addresses, ways) =
        tokio::join!(address::interfaces(lans), conflicts(model, limits), ways(model, limits));
    [interfaces, addresses, ways].concat()
}

async fn conflicts(model: Option<&SiteModel>, limits: Limits) -> Vec<Finding> {
    let Some(model) = model else {
        return vec![Finding::ok(
            Check::Address,
            "this gateway has no share yet, so there is nothing that could conflict",
        )];
    };
    let site = Site::of(model);
    match timeout(limits.local, Found::look(site.presences)).await {
        Ok(Ok(found)) => site.judge(&found),
        Ok(Err(error)) => vec![Finding::error(Check::Address, &error)],
        Err(_) => vec![late(Check::Address, limits.local)],
    }
}

async fn ways(model: Option<&SiteModel>, limits: Limits) -> Vec<Finding> {
    let endpoints = model.into_iter().flat_map(|it| it.peers()).flat_map(|it| &it.endpoints);
    let peers: BTreeSet<IpAddr> = endpoints.map(|it| it.socket_address().ip()).collect();
    let ways = peers.into_iter().take(MOST_PEERS).map(|to| async move {
        match timeout(limits.local, route(to)).await {
            Ok(way) => of_way(to, way.map(|way| way.judge())),
            Err(_) => late(Check::Path, limits.local).of(to),
        }
    });
    join_all(ways).await
}

/// Something that waits for a disk, away from the runtime; none if it was not done in time.
async fn blocking<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    timeout(limit, spawn_blocking(work)).await.ok()?.ok()
}

fn late(check: Check, limit: Duration) -> Finding {
    let found = format!("it was not looked at within {} s", limit.as_secs());
    Finding::fail(check, found, "see what it waits for: a disk, a pipe, a network file system")
}
