//! Random models. Each is made from a declaration that is right by construction, so that
//! `SiteModel::check` must accept it.

use std::net::Ipv4Addr;

use gateway_control::model::{
    AllowRule, Backend, Clients, Endpoint, Gateway, Host, Keepalive, Lan, LanMode, Link, LinkKind,
    Network, NextLink, NextPeer, Peer, PortSpec, Ports, RemoteSiteDraft, ServiceDraft, ServiceId,
    ServiceNumber, Site, SiteDraft, SiteModel, Subject, TransitBlock, TransitPool,
};
use gateway_control::{Interface, Interfaces};
use ipnet::Ipv4Net;
use proptest::prelude::*;
use proptest::sample::Index;

/// A host that has every interface the model names.
pub(crate) fn interfaces(model: &SiteModel) -> Interfaces {
    let lans = model.lans().iter().map(|lan| lan.interface.clone());
    let far = model.host().map(|host| host.far_interface());
    let names = std::iter::once(model.link().interface.clone()).chain(lans).chain(far);
    let interface = |index| Interface { index, mac: [2, 0, 0, 0, 0, 1], mtu: 1420 };
    (10u32..).zip(names).map(|(index, name)| (name, interface(index))).collect()
}

/// Any model.
pub(crate) fn model() -> impl Strategy<Value = SiteModel> {
    draft().prop_map(|draft| match SiteModel::check(draft) {
        Ok(model) => model,
        Err(problems) => panic!("a declaration made right was refused: {problems:?}"),
    })
}

fn draft() -> impl Strategy<Value = SiteDraft> {
    let own = (prop::collection::vec(networks(), 0..3), any::<[bool; 3]>(), any::<u16>());
    let remote = prop::collection::vec((networks(), any::<bool>()), 0..5);
    let services = prop::collection::vec((any::<Index>(), any::<Index>(), ports()), 0..12);
    let rules = prop::collection::vec(rule(), 0..20);
    (own, remote, services, rules).prop_map(|(own, remote, services, rules)| {
        let (lans, [relay, mtu, listens], port) = own;
        let remote_sites: Vec<_> =
            (1..).zip(&remote).map(|(n, (networks, _))| remote_site(n, networks.clone())).collect();
        let site = Site {
            name: "here".parse().unwrap(),
            transit: block(0),
            presence_pool: "192.168.0.0/24".parse().unwrap(),
            client_presence: Some(Ipv4Addr::new(192, 168, 0, 255)),
        };
        let lans: Vec<Lan> = (0u8..).zip(lans).map(|(n, networks)| lan(n, networks)).collect();
        let services = self::services(&site, &lans, &remote_sites, services);
        let allows = self::rules(&site, &lans, &remote_sites, &services, rules);
        SiteDraft {
            transit_pool: TransitPool::default(),
            gateway: Gateway {
                name: "gateway".parse().unwrap(),
                instance: "here".parse().unwrap(),
            },
            site,
            lans,
            host: mtu.then(|| Host {
                interface: "presence0".parse().unwrap(),
                addresses: None,
                networks: Vec::new(),
            }),
            link: Link {
                interface: "presence".parse().unwrap(),
                kind: LinkKind::Userspace,
                private_key_file: "keys/\"odd\"\\\n\u{1f}name".parse().unwrap(),
                listen_port: (listens || !remote.is_empty())
                    .then(|| port.max(1).try_into().unwrap()),
                mtu: mtu.then(|| 1420.try_into().unwrap()),
                relay,
                next: (port % 3 == 1).then(|| NextLink {
                    private_key_file: (port % 2 == 1).then(|| "next".parse().unwrap()),
                    listen_port: (port % 65_535 + 1).try_into().ok(),
                }),
            },
            peers: peers(&remote_sites, &remote),
            remote_sites,
            services,
            allows,
            flows: "60s"
                .parse()
                .map(|datagram| {
                    let mut flows = gateway_control::model::FlowSettings::default();
                    flows.timeouts.datagram = datagram;
                    flows.grace = "7m".parse().unwrap();
                    flows
                })
                .unwrap(),
        }
    })
}

fn block(site: u32) -> TransitBlock {
    let base = Ipv4Addr::from(u32::from(Ipv4Addr::new(240, 16, 0, 0)) + (site << 12));
    format!("{base}/20").parse().unwrap()
}

/// Up to two networks of different sizes, at odd indices; the caller puts them apart.
fn networks() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![24u8..=32, 29u8..=32], 0..3)
}

/// Networks of these lengths, each in a /24 of its own.
fn laid_out(start: u8, lengths: Vec<u8>) -> Vec<Network> {
    (start..)
        .zip(lengths)
        .map(|(third, length)| {
            let net = Ipv4Net::new(Ipv4Addr::new(10, 0, third, 0), length).unwrap();
            Network::try_from(net).unwrap()
        })
        .collect()
}

fn lan(n: u8, networks: Vec<u8>) -> Lan {
    Lan {
        interface: format!("lan{n}").parse().unwrap(),
        mode: [LanMode::Auto, LanMode::Xdp, LanMode::Tc][usize::from(n % 3)],
        networks: laid_out(n * 2, networks),
    }
}

fn remote_site(n: u32, networks: Vec<u8>) -> RemoteSiteDraft {
    RemoteSiteDraft {
        name: format!("site-{n}").parse().unwrap(),
        transit: block(n),
        client_networks: laid_out(0, networks),
    }
}

fn endpoints(n: usize, count: usize) -> Vec<Endpoint> {
    (0..count).map(|m| format!("192.0.2.{n}:{}", 51820 + m).parse().unwrap()).collect()
}

/// A peer for each remote site that is not relayed; the first relays those that are.
fn peers(sites: &[RemoteSiteDraft], drawn: &[(Vec<u8>, bool)]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for (n, (site, (_, relayed))) in sites.iter().zip(drawn).enumerate() {
        match peers.first_mut().filter(|_| *relayed) {
            Some(first) => first.reaches.push(site.name.clone()),
            None => peers.push(Peer {
                site: site.name.clone(),
                public_key: format!("{n}p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=")
                    .parse()
                    .unwrap(),
                endpoints: endpoints(n, n % 3),
                keepalive: (n % 3 == 0).then_some(Keepalive::DEFAULT),
                reaches: Vec::new(),
                next: (n % 4 == 1).then(|| NextPeer {
                    public_key: (n % 8 == 1).then(|| {
                        format!("{n}p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK0A=").parse().unwrap()
                    }),
                    endpoints: endpoints(n, n % 5 + 1),
                }),
            }),
        }
    }
    peers
}

/// Port lists of entries that cannot overlap: each takes a tenth of the ports for itself.
fn ports() -> impl Strategy<Value = Ports> {
    let tenth = (0u8..8, 1u16..3000, 0u16..3000);
    prop::collection::vec(tenth, 1..8).prop_map(|drawn| {
        let mut specs: Vec<String> = Vec::new();
        let (mut whole, mut other) = (false, false);
        for (n, (kind, low, width)) in (0u16..).zip(drawn) {
            let (low, high) = (n * 6000 + low, n * 6000 + low + width);
            specs.push(match kind {
                0 => format!("udp/{low}"),
                1 => format!("tcp/{low}->{}", high + 1),
                2 | 3 if width > 0 => format!("tcp/{low}-{high}"),
                4 if width > 0 => format!("udp/{low}-{high}"),
                5 if !whole => {
                    whole = true;
                    format!("ip/{}", 137 + low % 119)
                }
                6 if !other => {
                    other = true;
                    "icmp-echo".to_owned()
                }
                _ => format!("tcp/{low}"),
            });
        }
        if drawn_all(&specs) {
            specs.retain(|spec| !spec.starts_with("udp/"));
            specs.push("udp/*".to_owned());
        }
        let specs: Vec<PortSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        Ports::new(specs).unwrap()
    })
}

/// Every fourth list or so opens all of UDP instead of some of it.
fn drawn_all(specs: &[String]) -> bool {
    specs.len().is_multiple_of(4)
}

fn services(
    site: &Site,
    lans: &[Lan],
    remote: &[RemoteSiteDraft],
    drawn: Vec<(Index, Index, Ports)>,
) -> Vec<ServiceDraft> {
    let hosts: Vec<Network> = lans.iter().flat_map(|lan| lan.networks.clone()).collect();
    let mut services = Vec::new();
    for (n, (at, host, ports)) in (1u8..).zip(drawn) {
        let elsewhere = at.index(remote.len() + 1).checked_sub(1).and_then(|n| remote.get(n));
        let backend = (!hosts.is_empty()).then(|| host.get(&hosts).prefix().broadcast());
        let (at, backend, presence) = match (elsewhere, backend) {
            (Some(remote), _) => (&remote.name, None, Some(Ipv4Addr::new(192, 168, 0, n))),
            (None, Some(backend)) => (&site.name, Some(backend), None),
            (None, None) => continue,
        };
        services.push(ServiceDraft {
            id: ServiceId { site: at.clone(), name: format!("service-{n}").parse().unwrap() },
            number: ServiceNumber::try_from(i64::from(n) * 150).unwrap(),
            ports,
            backends: backend.map(Backend::new).into_iter().collect(),
            health: None,
            presence,
            exposures: Vec::new(),
        });
    }
    services
}

#[derive(Clone, Debug)]
struct DrawnRule {
    from: Index,
    to: Index,
    /// Network, prefix length and host of each client prefix.
    clients: Option<Vec<(Index, u8, u32)>>,
}

fn rule() -> impl Strategy<Value = DrawnRule> {
    // Ends of networks are where blocks of unequal prefixes come to the same entry.
    let host = prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
    let client = (any::<Index>(), prop_oneof![24u8..=32, 30u8..=32], host);
    let clients = prop::option::of(prop::collection::vec(client, 1..4));
    (any::<Index>(), any::<Index>(), clients).prop_map(|(from, to, clients)| DrawnRule {
        from,
        to,
        clients,
    })
}

fn rules(
    site: &Site,
    lans: &[Lan],
    remote: &[RemoteSiteDraft],
    services: &[ServiceDraft],
    drawn: Vec<DrawnRule>,
) -> Vec<AllowRule> {
    let own: Vec<Network> = lans.iter().flat_map(|lan| lan.networks.clone()).collect();
    let mut sites = vec![(&site.name, own)];
    sites.extend(remote.iter().map(|site| (&site.name, site.client_networks.clone())));
    let mut rules = Vec::new();
    if services.is_empty() {
        return rules;
    }
    for (n, rule) in drawn.into_iter().enumerate() {
        let (from, networks) = rule.from.get(&sites);
        let clients = match rule.clients {
            Some(drawn) if !networks.is_empty() => {
                let prefix = |(network, length, host): (Index, u8, u32)| {
                    let net = network.get(networks).prefix();
                    let host = u32::from(net.network()) | (host & u32::from(net.hostmask()));
                    let length = length.max(net.prefix_len());
                    Ipv4Net::new(Ipv4Addr::from(host), length).unwrap().trunc()
                };
                Clients::In(drawn.into_iter().map(prefix).collect())
            }
            _ => Clients::All,
        };
        rules.push(AllowRule {
            id: format!("rule-{n}").parse().unwrap(),
            subject: Subject { site: (*from).clone(), clients },
            service: rule.to.get(services).id.clone(),
        });
    }
    rules
}
