//! Every fault a site file can have: where it is reported, and what the message says.

mod cases;
mod roles;

use cases::{BACKEND, CASES};
use gateway_control::Plan;
use gateway_control::model::{InterfaceName, Keepalive, Note, SiteModel};
use gateway_control::site_file::{MAX_LEN, SiteFileError, parse};

/// A gateway with services of its own and of two other sites, one of them relayed.
const GOOD: &str = r#"
[gateway]
name = "edge-a-gw"

[site]
name = "edge-a"
transit = "240.0.16.0/20"
presence_pool = "10.0.0.192/26"
client_presence = "10.0.0.250"

[[lan]]
interface = "lan0"
networks = ["10.0.0.0/24", "10.0.2.0/24"]

[link]
private_key_file = "link.key"

[[peer]]
site = "cloud"
public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
endpoint = "192.0.2.1:51820"
reaches = ["edge-b"]

[[remote_site]]
name = "cloud"
transit = "240.0.0.0/20"
client_networks = ["10.0.0.0/24"]

[[remote_site]]
name = "edge-b"
transit = "240.0.32.0/20"

[[service]]
name = "rabbitmq"
site = "cloud"
number = 1
ports = ["tcp/5672", "icmp-echo"]
presence = "10.0.0.200"

[[service]]
name = "http"
site = "edge-b"
number = 1
ports = ["tcp/80->8080"]
presence = "10.0.0.201"

[[service]]
name = "agent"
site = "edge-a"
number = 1
ports = ["tcp/80", "udp/5000-5999"]
backend = "10.0.0.10"

[[allow]]
id = "a-rabbitmq"
from = "edge-a"
clients = ["10.0.0.5/32"]
to = "rabbitmq.cloud"

[[allow]]
id = "cloud-agent"
from = "cloud"
clients = ["10.0.0.7/32"]
to = "agent.edge-a"
"#;

fn good() -> SiteModel {
    parse(GOOD).unwrap_or_else(|error| panic!("{error}"))
}

fn faults(text: &str) -> SiteFileError {
    match parse(text) {
        Ok(model) => panic!("should be refused:\n{text}\nbut is read as:\n{model}"),
        Err(error) => error,
    }
}

#[test]
fn defaults_are_filled_in() {
    let model = good();
    assert_eq!(model.gateway().instance.as_str(), "default");
    assert_eq!(model.transit_pool().to_string(), "240.0.0.0/4");
    assert_eq!(model.link().interface.as_str(), "presence");
    assert_eq!(model.link().kind.to_string(), "auto");
    assert!(!model.link().relay);
    assert_eq!(model.peers()[0].keepalive, Some(Keepalive::DEFAULT));
    assert_eq!(model.lans()[0].mode.to_string(), "auto");
    assert_eq!(model.flows().capacity.entries(), 65_536);
    assert_eq!(model.flows().timeouts.open.seconds(), 7440);
    assert_eq!(model.flows().grace.seconds(), 120);
    assert_eq!(model.remote_sites()[1].via.as_str(), "cloud");
    assert_eq!(model.remote_services()[0].transit.to_string(), "240.0.8.1");
    assert_eq!(model.local_services()[0].client_presence.to_string(), "10.0.0.250");
    assert_eq!(model.notes(), []);
}

#[test]
fn the_effective_configuration_reads_back() {
    let model = good();
    let text = model.to_string();
    assert!(text.contains("capacity = 65536"), "{text}");
    assert_eq!(parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")), model);
}

#[test]
fn grace_is_read_and_reads_back() {
    for (written, seconds) in [("0s", 0), ("5m", 300), ("1h", 3600)] {
        let text = format!("{GOOD}\n[flows]\ngrace = \"{written}\"\n");
        let model = parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(model.flows().grace.seconds(), seconds);
        assert_eq!(parse(&model.to_string()).unwrap(), model);
    }
}

#[test]
fn keepalive_follows_the_endpoint() {
    let listening = GOOD
        .replace("endpoint = \"192.0.2.1:51820\"\n", "")
        .replace("[link]\n", "[link]\nlisten_port = 51820\n");
    assert_eq!(parse(&listening).unwrap().peers()[0].keepalive, None);
    let off = GOOD.replace("reaches", "keepalive = \"off\"\nreaches");
    let model = parse(&off).unwrap();
    assert_eq!(model.peers()[0].keepalive, None);
    assert_eq!(parse(&model.to_string()).unwrap(), model);
}

#[test]
fn a_rotation_reads_back_and_is_planned() {
    const NEXT_KEY: &str = "4p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
    let text =
        GOOD.replace("[link]\n", "[link]\nnext = { private_key_file = \"new.key\" }\n").replace(
            "endpoint = \"192.0.2.1:51820\"",
            &format!(
                "endpoints = [\"192.0.2.1:51820\", \"198.51.100.1:51820\"]\nnext = {{ public_key = \
                 \"{NEXT_KEY}\", endpoint = \"192.0.2.1:51821\" }}"
            ),
        );
    let model = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parse(&model.to_string()).unwrap(), model);
    let link = Plan::new(&model).link;
    assert_eq!(link.second_interface.as_str(), "presence2");
    assert_eq!(link.next.unwrap().private_key_file.as_str(), "new.key");
    assert_eq!(link.peers[0].current.endpoints.len(), 2);
    let next = link.peers[0].next.as_ref().unwrap();
    assert_eq!(next.public_key.to_string(), NEXT_KEY);
    assert_eq!(next.endpoints[0].to_string(), "192.0.2.1:51821");
    let sites: Vec<_> = link.peers[0].sites.iter().map(|site| site.as_str()).collect();
    assert_eq!(sites, ["cloud", "edge-b"]);

    let without = Plan::new(&good()).link;
    assert_eq!((without.next, &without.peers[0].next), (None, &None));
}

#[test]
fn the_second_device_has_a_name_that_fits_and_differs() {
    for (first, second) in [
        ("presence", "presence2"),
        ("fifteen-letters", "fifteen-letterS"),
        ("fifteen-letterS", "fifteen-letters"),
        ("fifteen-number2", "fifteen-number3"),
        ("fifteen-number3", "fifteen-number2"),
    ] {
        let mut link = good().link().clone();
        link.interface = first.parse().unwrap();
        assert_eq!(link.second_interface().as_str(), second);
    }
}

#[test]
fn back_ends_and_their_health_read_back() {
    let text = GOOD.replace(
        BACKEND,
        "backends = [{ address = \"10.0.0.10\", weight = 3 }, { address = \"10.0.0.11\", state = \
         \"drain\" }]\nhealth = { kind = \"http\", port = 8080, path = \"/up?x=1\", fall = 5 }",
    );
    let model = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let rendered = model.to_string();
    assert_eq!(parse(&rendered).unwrap_or_else(|error| panic!("{error}\n{rendered}")), model);
    let service = &model.local_services()[0];
    let weights: Vec<_> = service.backends.iter().map(|it| it.weight.number()).collect();
    assert_eq!(weights, [3, 1]);
    let health = service.health.as_ref().unwrap();
    assert_eq!(health.probe.to_string(), "http 8080 /up?x=1 (200)");
    assert_eq!((health.rise.number(), health.fall.number()), (2, 5));
    assert_eq!((health.interval.seconds(), health.timeout.seconds()), (2, 1));
}

#[test]
fn rules_without_effect_are_noted() {
    let text = format!(
        "{GOOD}\n[[allow]]\nid = \"others\"\nfrom = \"edge-b\"\nclients = [\"10.9.0.0/32\"]\n\
         to = \"unheard-of.cloud\"\n\n[[allow]]\nid = \"inside\"\nfrom = \"edge-a\"\n\
         to = \"agent.edge-a\"\n"
    );
    let model = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let notes: Vec<_> = model.notes().iter().map(Note::to_string).collect();
    assert_eq!(
        notes,
        [
            "rule others has no effect here: the gateways of edge-b and cloud enforce it for \
             unheard-of.cloud",
            "rule inside has no effect: clients of edge-a use agent.edge-a without a gateway \
             between",
        ]
    );
}

#[test]
fn every_fault_is_reported_where_it_is() {
    for (old, new, line, parts) in CASES {
        assert_eq!(GOOD.matches(old).count(), 1, "{old:?} is not unique in the good file");
        let text = GOOD.replace(old, new);
        let error = faults(&text);
        let expected = error.faults().iter().any(|fault| {
            let reported = text.lines().nth(fault.line - 1).unwrap_or("");
            let shown = fault.to_string();
            reported.contains(line) && parts.iter().all(|part| shown.contains(part))
        });
        assert!(expected, "{old:?} -> {new:?}: no fault at {line:?} says {parts:?}:\n{error}");
    }
}

#[test]
fn two_peers_share_nothing() {
    let second = |key: &str, endpoint: &str| {
        let peer = format!(
            "[[peer]]\nsite = \"edge-b\"\npublic_key = \"{key}\"\nendpoint = \"{endpoint}\"\n\n\
             [[remote_site]]\nname = \"cloud\""
        );
        GOOD.replace("reaches = [\"edge-b\"]\n", "")
            .replace("[[remote_site]]\nname = \"cloud\"", &peer)
    };
    let (key, other) = (
        "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
        "4p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
    );
    assert!(parse(&second(other, "192.0.2.2:51820")).is_ok());
    let error = faults(&second(key, "192.0.2.2:51820")).to_string();
    assert!(error.contains("peer edge-b: its public key is also that of peer cloud"), "{error}");
    let error = faults(&second(other, "192.0.2.1:51820")).to_string();
    assert!(error.contains("peer edge-b: endpoint 192.0.2.1:51820 is also that of"), "{error}");
}

#[test]
fn all_faults_of_a_kind_are_reported_in_order() {
    let text = GOOD
        .replace("tcp/5672", "tcp/0")
        .replace("240.0.16.0/20", "240.0.16.0/2")
        .replace("\"10.0.0.7/32\"", "\"10.0.0.7/33\", \"x\"");
    let lines: Vec<_> = faults(&text).faults().iter().map(|fault| fault.line).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.is_sorted());

    let text = GOOD
        .replace("10.0.0.201", "10.0.0.200")
        .replace("10.0.0.10\"", "10.9.0.10\"")
        .replace("240.0.32.0/20", "240.0.0.0/20")
        .replace("\"10.0.0.7/32\"", "\"10.0.4.7/32\", \"10.0.5.0/24\"");
    let error = faults(&text);
    assert_eq!(error.faults().len(), 5, "{error}");
}

#[test]
fn the_place_is_shown() {
    let error = faults(&GOOD.replace("10.0.0.201", "10.0.1.7")).to_string();
    assert_eq!(
        error,
        "line 45, column 12: service http.edge-b: presence 10.0.1.7 is outside presence_pool \
         10.0.0.192/26; choose a free address in the pool\n\
         \x20  |\n\
         45 | presence = \"10.0.1.7\"\n\
         \x20  |            ^^^^^^^^^^"
    );
}

#[test]
fn sizes_are_bounded() {
    let long = format!("{GOOD}#{}", " ".repeat(MAX_LEN));
    assert!(faults(&long).to_string().contains("is this the right file?"));

    let nested = format!("{GOOD}\nx = {}", "[".repeat(100_000));
    assert_eq!(faults(&nested).faults().len(), 1);

    // Ranges that start at 1 and end at 65534 are 30 prefixes each.
    let service = |n: usize| {
        format!(
            "[[service]]\nname = \"s{n}\"\nsite = \"cloud\"\nnumber = {}\n\
             ports = [\"tcp/1-65534\", \"udp/1-65534\"]\npresence = \"10.4.{}.{}\"\n",
            n + 2,
            n / 256,
            n % 256
        )
    };
    let services: String = (0..5000).map(service).collect();
    let many = GOOD
        .replace("10.0.0.192/26", "10.4.0.0/16")
        .replace("client_presence = \"10.0.0.250\"", "client_presence = \"10.4.255.250\"")
        .replace("240.0.0.0/20", "241.0.0.0/16")
        .replace("10.0.0.20", "10.4.255.20")
        .replace("[[allow]]\nid = \"a-r", &format!("{services}[[allow]]\nid = \"a-r"));
    let error = faults(&many);
    assert_eq!(error.faults().len(), 1, "{error}");
    assert!(error.to_string().contains("tables hold 262144"), "{error}");
}

#[test]
fn interface_names_are_the_kernels() {
    for right in ["lan0", "eth0.100", "a", "fifteen-letters"] {
        assert!(right.parse::<InterfaceName>().is_ok(), "{right}");
    }
    for wrong in ["", ".", "..", "a b", "a\tb", "é", "wg%d", "sixteen-letters-", "a:b", "a/b"] {
        assert!(wrong.parse::<InterfaceName>().is_err(), "{wrong}");
    }
}
