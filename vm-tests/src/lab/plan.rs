//! What the lab's sites are: three with the very same addresses, their services, and who may use
//! them. Pure: it writes the site files' text, and knows no namespace.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::declared::Places;

/// The client network of every site.
pub const CLIENT_NETWORK: &str = "10.0.0.0/24";
/// The gateway of every site, on its LAN.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The client that the rules name, in every site.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The server, in every site.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// A second client, which no rule names at first.
pub const VISITOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 66);
/// What remote clients appear as, in every site.
pub const CLIENT_PRESENCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 250);
/// The port of links that others dial.
pub const LINK_PORT: u16 = 51820;

/// The port of the controller, by UDP and TCP.
pub const CONTROLLER_PORT: u16 = 443;
/// Where a gateway's sealed files are, beside its file.
pub const SEALED: &str = "sealed";

/// The port of the HTTP servers.
pub const HTTP_PORT: u16 = 8080;
/// The port under which the cloud's HTTP server is exposed.
pub const FILES_PORT: u16 = 80;
/// The port of the echo servers: TCP, UDP, and in the cloud SCTP.
pub const ECHO_PORT: u16 = 7007;

/// One site of the plan.
#[derive(Debug, PartialEq, Eq)]
pub struct SitePlan {
    /// Its name.
    pub name: &'static str,
    /// Its transit block.
    pub transit: &'static str,
    /// Its gateway's address on the underlay.
    pub underlay: Ipv4Addr,
    /// Whether it is the hub: the others dial it and reach each other through it.
    pub hub: bool,
}

/// The hub.
pub const CLOUD: SitePlan = SitePlan {
    name: "cloud",
    transit: "240.0.0.0/20",
    underlay: Ipv4Addr::new(192, 0, 2, 1),
    hub: true,
};
/// The first edge.
pub const EDGE_A: SitePlan = SitePlan {
    name: "edge-a",
    transit: "240.0.16.0/20",
    underlay: Ipv4Addr::new(192, 0, 2, 2),
    hub: false,
};
/// The second edge.
pub const EDGE_B: SitePlan = SitePlan {
    name: "edge-b",
    transit: "240.0.32.0/20",
    underlay: Ipv4Addr::new(192, 0, 2, 3),
    hub: false,
};
/// All of them.
pub const SITES: [&SitePlan; 3] = [&CLOUD, &EDGE_A, &EDGE_B];

/// A service of one site, exposed at the others.
#[derive(Debug, PartialEq, Eq)]
pub struct ServicePlan {
    name: &'static str,
    site: &'static SitePlan,
    number: u16,
    ports: &'static [&'static str],
    presence: Ipv4Addr,
    exposed_at: &'static [&'static SitePlan],
}

impl ServicePlan {
    /// Its presence, the same address at every site it is exposed at.
    pub const fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.presence, port)
    }

    /// The address of its presence.
    pub const fn address(&self) -> Ipv4Addr {
        self.presence
    }

    /// What a rule calls it.
    pub fn reference(&self) -> String {
        format!("{}.{}", self.name, self.site.name)
    }

    fn concerns(&self, site: &SitePlan) -> bool {
        self.site == site || self.exposed_at.contains(&site)
    }
}

/// The cloud's message broker.
pub const RABBITMQ: ServicePlan = ServicePlan {
    name: "rabbitmq",
    site: &CLOUD,
    number: 1,
    ports: &["tcp/5672"],
    presence: Ipv4Addr::new(10, 0, 0, 200),
    exposed_at: &[&EDGE_A, &EDGE_B],
};
/// The cloud's name server.
pub const DNS: ServicePlan = ServicePlan {
    name: "dns",
    site: &CLOUD,
    number: 2,
    ports: &["udp/53", "tcp/53"],
    presence: Ipv4Addr::new(10, 0, 0, 201),
    exposed_at: &[&EDGE_A, &EDGE_B],
};
/// The cloud's HTTP server, exposed under another port than its own; answers ping.
pub const FILES: ServicePlan = ServicePlan {
    name: "files",
    site: &CLOUD,
    number: 3,
    ports: &["tcp/80->8080", "icmp-echo"],
    presence: Ipv4Addr::new(10, 0, 0, 202),
    exposed_at: &[&EDGE_A, &EDGE_B],
};
/// The cloud's echo server.
pub const ECHO: ServicePlan = ServicePlan {
    name: "echo",
    site: &CLOUD,
    number: 4,
    ports: &["tcp/7007", "udp/7007", "sctp/7007"],
    presence: Ipv4Addr::new(10, 0, 0, 203),
    exposed_at: &[&EDGE_A, &EDGE_B],
};
/// The HTTP agent in edge A.
pub const AGENT_A: ServicePlan = ServicePlan {
    name: "agent",
    site: &EDGE_A,
    number: 1,
    ports: &["tcp/8080", "icmp-echo"],
    presence: Ipv4Addr::new(10, 0, 0, 211),
    exposed_at: &[&CLOUD],
};
/// The HTTP agent in edge B, whose real address is that of the agent in edge A.
pub const AGENT_B: ServicePlan = ServicePlan {
    name: "agent",
    site: &EDGE_B,
    number: 1,
    ports: &["tcp/8080", "tcp/7007", "udp/7007", "icmp-echo"],
    presence: Ipv4Addr::new(10, 0, 0, 212),
    exposed_at: &[&CLOUD, &EDGE_A],
};
/// All of them.
pub const SERVICES: [&ServicePlan; 6] = [&RABBITMQ, &DNS, &FILES, &ECHO, &AGENT_A, &AGENT_B];

/// One allow rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What a verdict names.
    pub id: String,
    from: &'static str,
    clients: Ipv4Addr,
    to: String,
}

impl Rule {
    /// A rule that lets one host of a site use a service.
    pub fn new(id: &str, from: &SitePlan, client: Ipv4Addr, to: &ServicePlan) -> Self {
        Self { id: id.to_owned(), from: from.name, clients: client, to: to.reference() }
    }

    /// The words by which `gatewayctl` declares it.
    pub fn words(&self) -> Vec<String> {
        let clients = format!("{}/32", self.clients);
        ["allow", self.from, &self.to, "--clients", &clients, "--name", &self.id]
            .map(str::to_owned)
            .to_vec()
    }
}

/// The rules every lab starts with: each site's client may use what is exposed there, the visitor
/// nothing.
pub fn rules() -> Vec<Rule> {
    SERVICES
        .iter()
        .flat_map(|service| {
            service.exposed_at.iter().map(|from| {
                let id = format!("{}-{}-{}", from.name, service.name, service.site.name);
                Rule::new(&id, from, CLIENT, service)
            })
        })
        .collect()
}

/// Public keys of the sites' links, in the order of [`SITES`], as base64.
pub type PublicKeys = [String; SITES.len()];

/// What differs from lab to lab in a site file.
#[derive(Debug)]
pub struct SiteFile<'a> {
    /// Whose file it is.
    pub site: &'static SitePlan,
    /// Where the controller is that says the rest; `None`: the file has all of it.
    pub places: Option<&'a Places>,
    /// Instance of the gateway and name of its link device.
    pub instance: &'a str,
    /// The LAN interface.
    pub lan: &'a str,
    /// How the LAN's packets are taken: `auto`, `xdp` or `tc`.
    pub mode: &'a str,
    /// Kind of link device: `auto`, `kernel` or `userspace`.
    pub link_kind: &'a str,
    /// Its private key, beside the site file.
    pub private_key_file: &'a str,
    /// The keys of all sites.
    pub public_keys: &'a PublicKeys,
    /// Who may use what.
    pub rules: &'a [Rule],
    /// Flows it has room for.
    pub flow_capacity: u32,
    /// How long connections without a flow may go on after a start without flows.
    pub grace: &'a str,
}

impl SiteFile<'_> {
    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string does not fail");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        if let Some(places) = self.places {
            return self.write_told(text, places);
        }
        let Self { site, instance, .. } = self;
        writeln!(text, "[gateway]\nname = \"{}-gw\"\ninstance = \"{instance}\"\n", site.name)?;
        writeln!(
            text,
            "[site]\nname = \"{}\"\ntransit = \"{}\"\npresence_pool = \"10.0.0.192/26\"\n\
             client_presence = \"{CLIENT_PRESENCE}\"\n",
            site.name, site.transit
        )?;
        self.write_local(text)?;
        if site.hub {
            writeln!(text, "relay = true")?;
        }
        writeln!(text)?;
        for (other, key) in SITES.iter().zip(self.public_keys).filter(|(other, _)| *other != site) {
            if site.hub || other.hub {
                writeln!(text, "[[peer]]\nsite = \"{}\"\npublic_key = \"{key}\"", other.name)?;
            }
            if other.hub {
                writeln!(
                    text,
                    "endpoint = \"{}:{LINK_PORT}\"\nkeepalive = \"5s\"",
                    other.underlay
                )?;
                let beyond = SITES.iter().filter(|it| **it != *site && !it.hub);
                let names: Vec<_> = beyond.map(|it| format!("\"{}\"", it.name)).collect();
                writeln!(text, "reaches = [{}]", names.join(", "))?;
            }
            writeln!(
                text,
                "\n[[remote_site]]\nname = \"{}\"\ntransit = \"{}\"\n\
                 client_networks = [\"{CLIENT_NETWORK}\"]\n",
                other.name, other.transit
            )?;
        }
        for service in SERVICES.iter().filter(|service| service.concerns(site)) {
            let ports: Vec<_> = service.ports.iter().map(|port| format!("\"{port}\"")).collect();
            writeln!(
                text,
                "[[service]]\nname = \"{}\"\nsite = \"{}\"\nnumber = {}\nports = [{}]",
                service.name,
                service.site.name,
                service.number,
                ports.join(", ")
            )?;
            if service.site == *site {
                writeln!(text, "backend = \"{SERVER}\"\n")?;
            } else {
                writeln!(text, "presence = \"{}\"\n", service.presence)?;
            }
        }
        for rule in self.rules.iter().filter(|rule| self.concerns(rule)) {
            writeln!(
                text,
                "[[allow]]\nid = \"{}\"\nfrom = \"{}\"\nclients = [\"{}/32\"]\nto = \"{}\"\n",
                rule.id, rule.from, rule.clients, rule.to
            )?;
        }
        self.write_flows(text)
    }

    /// What only the gateway's host knows; at the hub also what the controller is.
    fn write_told(&self, text: &mut String, places: &Places) -> std::fmt::Result {
        let Self { site, instance, .. } = self;
        if site.hub {
            let (store, api, sessions) = (places.store(), places.api(), places.sessions());
            let address = format!("{}:{CONTROLLER_PORT}", site.underlay);
            writeln!(text, "mode = \"controller\"\n\n[store]\npath = {store:?}\n")?;
            writeln!(text, "[api]\nsocket = {api:?}\n")?;
            writeln!(text, "[controller]\nsocket = {sessions:?}")?;
            writeln!(text, "listen = [\"{address}\"]\nadvertise = [\"{address}\"]\n")?;
            writeln!(text, "[gateway]\nname = \"{0}-gw\"\nsite = \"{0}\"", site.name)?;
        } else {
            writeln!(text, "mode = \"gateway\"\n\n[gateway]")?;
        }
        writeln!(text, "instance = \"{instance}\"\n")?;
        writeln!(text, "[seal]\ndirectory = \"{SEALED}\"\npath = \"seal.key\"\n")?;
        self.write_local(text)?;
        writeln!(text)?;
        self.write_flows(text)
    }

    /// Interfaces and link device, at whose end more may follow.
    fn write_local(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "[[lan]]\ninterface = \"{}\"\nmode = \"{}\"\nnetworks = [\"{CLIENT_NETWORK}\"]\n",
            self.lan, self.mode
        )?;
        writeln!(text, "[link]\ninterface = \"{}\"\nkind = \"{}\"", self.instance, self.link_kind)?;
        if self.places.is_none() || self.site.hub {
            writeln!(text, "private_key_file = \"{}\"", self.private_key_file)?;
        }
        if self.site.hub { writeln!(text, "listen_port = {LINK_PORT}") } else { Ok(()) }
    }

    fn write_flows(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "[flows]\ncapacity = {}\ngrace = \"{}\"", self.flow_capacity, self.grace)
    }

    /// The gateways of the client's site and of the service's enforce a rule; hubs between do not.
    fn concerns(&self, rule: &Rule) -> bool {
        let its_service = |it: &&ServicePlan| it.reference() == rule.to && it.site == self.site;
        rule.from == self.site.name || SERVICES.iter().any(its_service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(site: &'static SitePlan) -> String {
        SiteFile {
            site,
            places: None,
            instance: "demo-x",
            lan: "lan0",
            mode: "auto",
            link_kind: "auto",
            private_key_file: "link.key",
            public_keys: &["A", "E", "I"].map(|it| it.repeat(43) + "="),
            rules: &rules(),
            flow_capacity: 65536,
            grace: "0s",
        }
        .text()
    }

    #[test]
    fn the_site_files_are_valid() {
        for site in SITES {
            if let Err(error) = gateway_control::site_file::parse(&text(site)) {
                panic!("{}: {error}\n{}", site.name, text(site));
            }
        }
    }

    #[test]
    fn edges_dial_the_hub_and_reach_each_other_through_it() {
        let edge = text(&EDGE_A);
        assert!(edge.contains("endpoint = \"192.0.2.1:51820\""), "{edge}");
        assert!(edge.contains("reaches = [\"edge-b\"]"), "{edge}");
        assert_eq!(edge.matches("[[peer]]").count(), 1, "{edge}");
        let hub = text(&CLOUD);
        assert_eq!(hub.matches("[[peer]]").count(), 2, "{hub}");
        assert!(hub.contains("relay = true") && !hub.contains("endpoint"), "{hub}");
    }

    #[test]
    fn a_site_holds_the_services_it_has_or_shows_and_no_others() {
        let edge = text(&EDGE_B);
        assert_eq!(edge.matches("[[service]]").count(), 5, "{edge}");
        assert!(edge.contains("name = \"agent\"\nsite = \"edge-b\""), "{edge}");
        assert!(!edge.contains("10.0.0.211"), "{edge}");
    }
}
