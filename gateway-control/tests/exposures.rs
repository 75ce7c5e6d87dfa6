//! Client presences of their own: every client that is let in has one, no two share one, and what
//! cannot be is refused with the place and a remedy.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not what it expects")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use gateway_common::host::MemoryTables;
use gateway_common::map::{AllowKey, PresenceKind};
use gateway_common::tables::Tables as _;
use gateway_control::model::SiteModel;
use gateway_control::{Interface, compile, site_file};
use ipnet::Ipv4Net;
use proptest::prelude::*;

/// A site with one service that shows clients of `cloud`, whose networks are laid out unevenly.
fn text(exposure: &str, clients: &str, more: &str) -> String {
    format!(
        r#"gateway = {{ name = "edge-gw" }}
site = {{ name = "edge", transit = "240.0.16.0/20", presence_pool = "10.0.0.128/25", client_presence = "10.0.0.250" }}
link = {{ private_key_file = "link.key", listen_port = 51820 }}
lan = [{{ interface = "lan0", networks = ["10.0.0.0/24"] }}]
remote_site = [{{ name = "cloud", transit = "240.0.32.0/20", client_networks = ["10.9.0.0/30", "10.8.0.0/31", "10.0.0.0/24"] }}]
peer = [{{ site = "cloud", public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=" }}]
[[service]]
name = "web"
site = "edge"
number = 1
ports = ["tcp/80"]
backend = "10.0.0.10"
exposures = [{exposure}]
[[allow]]
id = "rule"
from = "cloud"
{clients}
to = "web.edge"
{more}
"#
    )
}

fn own(from: &str, presences: &str) -> String {
    format!(
        "{{ site = \"cloud\", clients = \"per-client\", from = \"{from}\", presences = \"{presences}\" }}"
    )
}

fn tables(model: &SiteModel) -> MemoryTables {
    let names = ["lan0", "presence"].into_iter();
    let interface = |index| Interface { index, mac: [2; 6], mtu: 1420 };
    let interfaces = (7..).zip(names).map(|(n, name)| (name.parse().unwrap(), interface(n)));
    MemoryTables::new(compile(model, &interfaces.collect()).unwrap(), 16)
}

proptest! {
    /// The presence of each client is the first one and as many on as the client is from `from`.
    #[test]
    fn every_client_has_the_presence_that_its_place_says(
        length in 26u8..=32,
        network in any::<u32>(),
        rule_length in 0u8..=6,
        rule_place in any::<u32>(),
    ) {
        let at = |length: u8, place: u32, base: u32, room: u32| {
            let size = 1u32 << (32 - length);
            Ipv4Net::new(Ipv4Addr::from(base + place % (room / size) * size), length).unwrap()
        };
        let from = at(length, network, u32::from(Ipv4Addr::new(10, 0, 0, 0)), 256);
        let rule = at(
            length.saturating_add(rule_length).min(32),
            rule_place,
            u32::from(from.network()),
            1 << (32 - length),
        );
        let first = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 128), length).unwrap();
        let text = text(
            &own(&from.to_string(), &first.to_string()),
            &format!("clients = [\"{rule}\"]"),
            "",
        );
        let model = site_file::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let again = site_file::parse(&model.to_string());
        prop_assert_eq!(again.unwrap(), model.clone());
        let tables = tables(&model);
        let service = model.local_services()[0].transit;
        let (block, networks) = model.clients_of(&"cloud".parse().unwrap()).unwrap();
        let mut seen = BTreeSet::new();
        for client in Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), 24).unwrap().hosts() {
            let index = u32::try_from(networks.index(client).unwrap()).unwrap();
            let transit = block.client(index).unwrap().into();
            let allow = tables.allow(&AllowKey::exact(service.into(), transit));
            prop_assert_eq!(allow.is_some(), rule.contains(&client), "{}", client);
            let Some(allow) = allow else { continue };
            let place = u32::from(client) - u32::from(from.network());
            let presence = Ipv4Addr::from(u32::from(first.network()) + place);
            prop_assert_eq!(Ipv4Addr::from(allow.presence(transit)), presence);
            prop_assert!(allow.keeps_ports() && seen.insert(presence));
            let offset = model.site().presence_pool.offset(presence).unwrap();
            prop_assert_eq!(tables.desired.presences[&offset].kind(), PresenceKind::Client);
        }
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy() {
    let named = "clients = [\"10.0.0.4/30\"]";
    let service = "[[service]]\nname = \"b\"\nsite = \"cloud\"\nnumber = 1\nports = [\"tcp/1\"]\n\
                   presence = \"10.0.0.130\"";
    let other = format!(
        "[[service]]\nname = \"api\"\nsite = \"edge\"\nnumber = 2\nports = [\"tcp/2\"]\n\
         backend = \"10.0.0.11\"\nexposures = [{}]",
        own("10.0.0.16/30", "10.0.0.132/30")
    );
    for (exposure, clients, more, told) in [
        (own("10.0.0.0/28", "10.0.0.128/29"), named, "", "16 clients and 10.0.0.128/29 only 8"),
        (own("10.0.0.0/28", "10.0.0.0/28"), named, "", "not wholly in presence_pool"),
        (own("10.0.0.0/28", "10.0.0.240/28"), named, "", "hold 10.0.0.250"),
        (own("10.0.0.0/28", "10.0.0.128/28"), named, service, "hold 10.0.0.130"),
        (own("10.0.0.0/29", "10.0.0.128/29"), named, &other, "stand for other clients at web.edge"),
        (own("10.7.0.0/28", "10.0.0.128/28"), named, "", "in none of the client networks of cloud"),
        (own("10.0.0.0/30", "10.0.0.128/30"), named, "", "rule rule: it lets 10.0.0.4/30 use web"),
        (own("10.0.0.0/28", "10.0.0.128/28"), "", "", "it lets every client of cloud use web"),
        ("{ site = \"edge\" }".to_owned(), named, "", "to no other site"),
        ("{ site = \"cloud\" }, { site = \"cloud\" }".to_owned(), named, "", "two exposures"),
        ("{ site = \"cloud\", clients = \"own\" }".to_owned(), named, "", "none of \"shared\""),
        (
            "{ site = \"cloud\", clients = \"per-client\" }".to_owned(),
            named,
            "",
            "add what is missing",
        ),
        ("{ site = \"cloud\", from = \"10.0.0.0/28\" }".to_owned(), named, "", "remove them"),
    ] {
        let text = text(&exposure, clients, more);
        let error = site_file::parse(&text).unwrap_err().to_string();
        assert!(error.contains(told) && error.starts_with("line "), "{told}:\n{error}");
    }
}

#[test]
fn the_same_clients_may_appear_alike_at_two_services() {
    let same = own("10.0.0.0/28", "10.0.0.128/28");
    let api = format!(
        "[[service]]\nname = \"api\"\nsite = \"edge\"\nnumber = 2\nports = [\"tcp/2\"]\n\
         backend = \"10.0.0.11\"\nexposures = [{same}]"
    );
    let text = text(&same, "clients = [\"10.0.0.4/30\"]", &api);
    if let Err(error) = site_file::parse(&text) {
        panic!("{error}");
    }
}
