//! The effective configuration: a model as a site file with every default filled in. Reading it
//! again gives the same model.

use std::fmt::{self, Display, Formatter};

use crate::model::{
    Backend, ClientPresences, Clients, Exposure, FlowSettings, HealthCheck, Host, Lan, Link,
    LocalService, Peer, Probe, RemoteService, RemoteSite, SiteModel,
};
use crate::site_file::{Mode, OwnName, ToldGateway};

impl Display for SiteModel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "mode = {}", text(Mode::Standalone.word()))?;
        writeln!(f, "transit_pool = {}", text(self.transit_pool()))?;
        let (gateway, site) = (self.gateway(), self.site());
        writeln!(f, "\n[gateway]\nname = {}", text(&gateway.name))?;
        writeln!(f, "instance = {}", text(&gateway.instance))?;
        writeln!(f, "\n[site]\nname = {}", text(&site.name))?;
        writeln!(f, "transit = {}", text(site.transit))?;
        writeln!(f, "presence_pool = {}", text(site.presence_pool))?;
        if let Some(address) = site.client_presence {
            writeln!(f, "client_presence = {}", text(address))?;
        }
        self.lans().iter().try_for_each(|lan| write_lan(f, lan))?;
        self.host().map_or(Ok(()), |host| write_host(f, host))?;
        write_link(f, self.link(), true)?;
        writeln!(f, "relay = {}", self.link().relay)?;
        write_next_link(f, self.link())?;
        self.peers().iter().try_for_each(|peer| write_peer(f, peer))?;
        self.remote_sites().iter().try_for_each(|site| write_remote_site(f, site))?;
        self.local_services().iter().try_for_each(|service| write_local_service(f, service))?;
        self.remote_services().iter().try_for_each(|service| write_remote_service(f, service))?;
        write_rules(f, self)?;
        write_flows(f, self.flows())
    }
}

impl Display for ToldGateway {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { own, facts } = self;
        match own {
            Some(OwnName { name, site }) => {
                writeln!(f, "[gateway]\nname = {}\nsite = {}", text(name), text(site))?;
            }
            None => writeln!(f, "[gateway]\n# name, site: what joining has said")?,
        }
        writeln!(f, "instance = {}", text(&facts.instance))?;
        facts.lans.iter().try_for_each(|lan| write_lan(f, lan))?;
        facts.host.as_ref().map_or(Ok(()), |host| write_host(f, host))?;
        write_link(f, &facts.link, own.is_some())?;
        write_flows(f, facts.flows)
    }
}

fn write_lan(f: &mut Formatter<'_>, lan: &Lan) -> fmt::Result {
    writeln!(f, "\n[[lan]]\ninterface = {}", text(&lan.interface))?;
    writeln!(f, "mode = {}", text(lan.mode))?;
    writeln!(f, "networks = {}", list(&lan.networks))
}

fn write_host(f: &mut Formatter<'_>, host: &Host) -> fmt::Result {
    writeln!(f, "\n[host]\ninterface = {}", text(&host.interface))?;
    match &host.addresses {
        Some(addresses) => writeln!(f, "addresses = {}", list(addresses))?,
        None => writeln!(f, "# addresses: those of the LAN interfaces in client networks")?,
    }
    writeln!(f, "networks = {}", list(&host.networks))
}

fn write_link(f: &mut Formatter<'_>, link: &Link, has_key_file: bool) -> fmt::Result {
    writeln!(f, "\n[link]\ninterface = {}", text(&link.interface))?;
    writeln!(f, "kind = {}", text(link.kind))?;
    match has_key_file {
        true => writeln!(f, "private_key_file = {}", text(link.private_key_file.as_str()))?,
        false => writeln!(f, "# private_key_file: none; the key is sealed")?,
    }
    match link.listen_port {
        Some(port) => writeln!(f, "listen_port = {port}")?,
        None => writeln!(f, "# listen_port: any free port")?,
    }
    match link.mtu {
        Some(mtu) => writeln!(f, "mtu = {}", mtu.octets())?,
        None => writeln!(f, "# mtu: what the paths to the peers are found to carry")?,
    }
    Ok(())
}

fn write_next_link(f: &mut Formatter<'_>, link: &Link) -> fmt::Result {
    let Some(next) = &link.next else { return Ok(()) };
    let key = next.private_key_file.as_ref();
    let key = key.map(|key| format!("private_key_file = {}", text(key.as_str())));
    let port = next.listen_port.map(|port| format!("listen_port = {port}"));
    writeln!(f, "next = {}", inline(key.into_iter().chain(port)))
}

fn write_peer(f: &mut Formatter<'_>, peer: &Peer) -> fmt::Result {
    writeln!(f, "\n[[peer]]\nsite = {}", text(&peer.site))?;
    writeln!(f, "public_key = {}", text(peer.public_key))?;
    match peer.endpoints.as_slice() {
        [] => writeln!(f, "# endpoint: it dials this gateway")?,
        [endpoint] => writeln!(f, "endpoint = {}", text(endpoint))?,
        several => writeln!(f, "endpoints = {}", list(several))?,
    }
    match peer.keepalive {
        Some(keepalive) => writeln!(f, "keepalive = {}", text(keepalive))?,
        None => writeln!(f, "keepalive = \"off\"")?,
    }
    writeln!(f, "reaches = {}", list(&peer.reaches))?;
    let Some(next) = &peer.next else { return Ok(()) };
    let key = next.public_key.map(|key| format!("public_key = {}", text(key)));
    let endpoints =
        (!next.endpoints.is_empty()).then(|| format!("endpoints = {}", list(&next.endpoints)));
    writeln!(f, "next = {}", inline(key.into_iter().chain(endpoints)))
}

fn write_remote_site(f: &mut Formatter<'_>, site: &RemoteSite) -> fmt::Result {
    writeln!(f, "\n[[remote_site]]\nname = {}", text(&site.name))?;
    writeln!(f, "transit = {}", text(site.transit))?;
    let networks: Vec<_> = site.client_networks.indexed().map(|(network, _)| network).collect();
    writeln!(f, "client_networks = {}", list(&networks))
}

fn exposure(Exposure { site, clients }: &Exposure) -> String {
    let mut pairs = vec![format!("site = {}", text(site)), format!("clients = {}", text(clients))];
    if let ClientPresences::PerClient { from, presences } = clients {
        pairs.push(format!("from = {}", text(from)));
        pairs.push(format!("presences = {}", text(presences)));
    }
    inline(pairs.into_iter())
}

fn write_local_service(f: &mut Formatter<'_>, service: &LocalService) -> fmt::Result {
    let LocalService { id, number, transit, ports, backends, health, .. } = service;
    writeln!(f, "\n[[service]] # transit address {transit}")?;
    writeln!(f, "name = {}\nsite = {}\nnumber = {number}", text(&id.name), text(&id.site))?;
    writeln!(f, "ports = {}", list(ports.specs()))?;
    match backends.as_slice() {
        [only] if *only == Backend::new(only.address) => {
            writeln!(f, "backend = {}", text(only.address))?;
        }
        several => {
            let several: Vec<_> = several.iter().map(backend).collect();
            writeln!(f, "backends = [{}]", several.join(", "))?;
        }
    }
    if !service.exposures.is_empty() {
        let exposures: Vec<_> = service.exposures.iter().map(exposure).collect();
        writeln!(f, "exposures = [{}]", exposures.join(", "))?;
    }
    match health {
        Some(check) => writeln!(f, "health = {}", health_check(check)),
        None => writeln!(f, "# health: its back ends are held to serve"),
    }
}

fn backend(Backend { address, weight, turn }: &Backend) -> String {
    let pairs = [
        format!("address = {}", text(address)),
        format!("weight = {}", weight.number()),
        format!("state = {}", text(turn)),
    ];
    inline(pairs.into_iter())
}

fn health_check(HealthCheck { probe, interval, timeout, rise, fall }: &HealthCheck) -> String {
    let probe = match probe {
        Probe::Tcp { port } => format!("kind = \"tcp\", port = {port}"),
        Probe::Http { port, path, status } => {
            format!("kind = \"http\", port = {port}, path = {}, status = {status}", text(path))
        }
        Probe::Icmp => "kind = \"icmp\"".to_owned(),
    };
    let pairs = [
        probe,
        format!("interval = {}", text(interval)),
        format!("timeout = {}", text(timeout)),
        format!("rise = {}", rise.number()),
        format!("fall = {}", fall.number()),
    ];
    inline(pairs.into_iter())
}

fn write_remote_service(f: &mut Formatter<'_>, service: &RemoteService) -> fmt::Result {
    let RemoteService { id, number, transit, ports, presence } = service;
    writeln!(f, "\n[[service]] # transit address {transit}")?;
    writeln!(f, "name = {}\nsite = {}\nnumber = {number}", text(&id.name), text(&id.site))?;
    writeln!(f, "ports = {}\npresence = {}", list(ports.specs()), text(presence))
}

fn write_rules(f: &mut Formatter<'_>, model: &SiteModel) -> fmt::Result {
    for rule in model.rules().rules() {
        writeln!(f, "\n[[allow]]\nid = {}", text(&rule.id))?;
        writeln!(f, "from = {}", text(&rule.subject.site))?;
        match &rule.subject.clients {
            Clients::All => {}
            Clients::In(prefixes) => writeln!(f, "clients = {}", list(prefixes))?,
        }
        writeln!(f, "to = {}", text(&rule.service))?;
    }
    Ok(())
}

fn write_flows(f: &mut Formatter<'_>, flows: FlowSettings) -> fmt::Result {
    let timeouts = flows.timeouts;
    writeln!(f, "\n[flows]\ncapacity = {}", flows.capacity.entries())?;
    for (key, quota) in [("per_client", flows.per_client), ("per_site", flows.per_site)] {
        match quota.flows() {
            0 => writeln!(f, "{key} = \"off\"")?,
            flows => writeln!(f, "{key} = {flows}")?,
        }
    }
    writeln!(f, "grace = {}", text(flows.grace))?;
    writeln!(f, "\n[flows.timeouts]")?;
    for (key, timeout) in [
        ("opening", timeouts.opening),
        ("open", timeouts.open),
        ("half_closed", timeouts.half_closed),
        ("closed", timeouts.closed),
        ("datagram", timeouts.datagram),
        ("datagram_replied", timeouts.datagram_replied),
    ] {
        writeln!(f, "{key} = {}", text(timeout))?;
    }
    Ok(())
}

/// A TOML table on one line.
fn inline(pairs: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// A TOML string.
fn text(value: impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

fn list<T: Display>(values: &[T]) -> String {
    let values: Vec<_> = values.iter().map(text).collect();
    format!("[{}]", values.join(", "))
}
