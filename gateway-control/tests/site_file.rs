//! Every fault a site file can have: where it is reported, and what the message says.

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

const BACKEND: &str = "backend = \"10.0.0.10\"";

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

/// Each case: what of the good file is replaced by what; text on the line that is reported; parts of
/// the message.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    // Notation.
    ("name = \"edge-a-gw\"", "name = ", "name = ", &[]),
    ("name = \"edge-a-gw\"", "nam = \"edge-a-gw\"", "nam =", &["unknown field `nam`"]),
    ("name = \"edge-a-gw\"", "", "[gateway]", &["missing field `name`; add it"]),
    (
        "number = 1\nports = [\"tcp/80\"",
        "number = \"1\"\nports = [\"tcp/80\"",
        "\"1\"",
        &["string"],
    ),
    ("[link]", "[links]", "[links]", &["unknown field `links`"]),
    // Single values.
    ("name = \"edge-a-gw\"", "name = \"Edge\"", "\"Edge\"", &["gateway: name:", "'E'", "lower"]),
    ("name = \"edge-a-gw\"", "name = \"a\"\ninstance = \"a/b\"", "a/b", &["instance", "'/'"]),
    ("interface = \"lan0\"", "interface = \"a/b\"", "a/b", &["lan \"a/b\": interface", "15"]),
    (
        "interface = \"lan0\"",
        "interface = \"sixteen-letters-\"",
        "sixteen",
        &["is not an interface name", "1 to 15"],
    ),
    ("\"10.0.0.0/24\", \"10.0.2", "\"10.0.0.5/24\", \"10.0.2", "10.0.0.5/24", &["10.0.0.0/24"]),
    ("\"10.0.0.0/24\", \"10.0.2", "\"10.0.0.0\", \"10.0.2", "networks", &["not an IPv4 prefix"]),
    ("\"10.0.2.0/24\"", "\"127.0.0.0/8\"", "127", &["loopback", "unicast"]),
    ("\"10.0.2.0/24\"", "\"224.0.0.0/24\"", "224", &["multicast"]),
    ("240.0.16.0/20", "240.0.16.0/21", "transit =", &["size", "/8 to /20"]),
    ("240.0.16.0/20", "240.0.17.0/20", "transit =", &["bits set", "240.0.16.0/20"]),
    ("240.0.16.0/20", "255.255.240.0/20", "transit =", &["255.255.255.255"]),
    ("10.0.0.192/26", "10.0.0.254/31", "presence_pool", &["/16 to /30"]),
    ("10.0.0.192/26", "10.0.0.0/15", "presence_pool", &["/16 to /30"]),
    ("\n[gateway]", "transit_pool = \"240.0.0.0/3\"\n[gateway]", "/3", &["bits set"]),
    ("\n[gateway]", "transit_pool = \"240.0.0.0/13\"\n[gateway]", "/13", &["/4 to /12"]),
    ("\n[gateway]", "transit_pool = \"224.0.0.0/4\"\n[gateway]", "/4", &["multicast"]),
    ("client_presence = \"10.0.0.250\"", "client_presence = \"ten\"", "ten", &["IPv4 address"]),
    ("[link]", "[link]\nkind = \"vpn\"", "vpn", &["auto, kernel, userspace"]),
    ("interface = \"lan0\"", "interface = \"lan0\"\nmode = \"fast\"", "fast", &["auto, xdp, tc"]),
    ("[link]", "[link]\nmtu = 500", "500", &["link: mtu", "576"]),
    ("[link]", "[link]\nlisten_port = 65536", "65536", &["link: listen_port", "1 to 65535"]),
    ("\"link.key\"", "\"\"", "private_key_file", &["path is empty"]),
    ("+IK08=", "+IK0=", "public_key", &["44 characters"]),
    ("192.0.2.1:51820", "hub:51820", "endpoint", &["ADDRESS:PORT"]),
    ("reaches =", "keepalive = \"0s\"\nreaches =", "0s", &["\"off\""]),
    ("reaches =", "keepalive = \"often\"\nreaches =", "often", &["not a duration"]),
    ("number = 1\nports = [\"tcp/80\"", "number = 0\nports = [\"tcp/80\"", "= 0", &["from 1"]),
    ("tcp/5672", "tpc/5672", "tpc/5672", &["service \"rabbitmq\": ports", "tcp/PORT"]),
    ("\"tcp/5672\", \"icmp-echo\"", "", "ports = []", &["empty", "name a port"]),
    ("udp/5000-5999", "udp/6000-5999", "udp/6000", &["6000-5999", "smaller port first"]),
    ("udp/5000-5999", "ip/17", "ip/17", &["udp/*"]),
    ("udp/5000-5999", "tcp/80->81", "tcp/80->81", &["tcp/80 and tcp/80->81"]),
    ("\"rabbitmq.cloud\"", "\"rabbitmq\"", "to =", &["SERVICE.SITE"]),
    ("id = \"a-rabbitmq\"", "id = \"a rabbitmq\"", "id =", &["allow \"a rabbitmq\": id", "' '"]),
    (
        "[[allow]]\nid = \"a-r",
        "[flows]\ncapacity = 1000\n[[allow]]\nid = \"a-r",
        "1000",
        &["power"],
    ),
    (
        "[[allow]]\nid = \"a-r",
        "[flows.timeouts]\nopen = \"31h31\"\n[[allow]]\nid = \"a-r",
        "31h31",
        &["flows.timeouts: open", "not a duration"],
    ),
    (
        "[[allow]]\nid = \"a-r",
        "[flows.timeouts]\nclosed = \"0s\"\n[[allow]]\nid = \"a-r",
        "0s",
        &["flows.timeouts: closed", "1s to 720h"],
    ),
    // Sites.
    ("name = \"edge-b\"", "name = \"cloud\"", "cloud", &["site cloud", "rename"]),
    ("name = \"cloud\"\nt", "name = \"edge-a\"\nt", "edge-a", &["site edge-a", "rename"]),
    ("240.0.32.0/20", "240.0.16.0/20", "transit", &["edge-b", "240.0.16.0/20 of site edge-a"]),
    ("240.0.32.0/20", "240.0.0.0/19", "transit", &["overlaps", "of its own"]),
    ("240.0.32.0/20", "10.16.0.0/20", "transit", &["edge-b", "outside transit_pool 240.0.0.0/4"]),
    (
        "\"10.0.2.0/24\"",
        "\"10.0.0.128/25\"",
        "networks",
        &["10.0.0.0/24 and 10.0.0.128/25 overlap"],
    ),
    ("\"10.0.2.0/24\"", "\"10.0.16.0/20\"", "networks", &["4352", "2048", "larger block"]),
    (
        "client_networks = [\"10.0.0.0/24\"]",
        "client_networks = [\"10.0.0.0/20\"]",
        "/20",
        &["4096"],
    ),
    (
        "\"10.0.2.0/24\"",
        "\"10.1.0.0/24\",\"10.2.0.0/24\",\"10.3.0.0/24\",\"10.4.0.0/24\",\"10.5.0.0/24\",\
         \"10.6.0.0/24\",\"10.7.0.0/24\",\"10.8.0.0/28\"",
        "networks",
        &["9 client networks", "hold 8", "join"],
    ),
    ("\"10.0.2.0/24\"", "\"240.8.0.0/24\"", "networks", &["edge-a", "overlaps transit_pool"]),
    ("\"10.0.2.0/24\"", "\"10.0.0.192/27\"", "networks", &["wholly in presence_pool"]),
    ("10.0.0.192/26", "240.9.0.0/26", "presence_pool", &["overlaps transit_pool"]),
    ("10.0.0.250", "10.0.0.5", "client_presence", &["outside presence_pool 10.0.0.192/26"]),
    ("client_presence = \"10.0.0.250\"\n", "", "[site]", &["agent.edge-a", "set client_presence"]),
    // Interfaces and peers.
    (
        "interface = \"lan0\"",
        "interface = \"presence\"",
        "[link]",
        &["interface presence", "twice"],
    ),
    (
        "[link]",
        "[[lan]]\ninterface = \"lan0\"\nnetworks = []\n[link]",
        "interface = \"lan0\"",
        &["interface lan0", "twice"],
    ),
    ("site = \"cloud\"\npublic", "site = \"fog\"\npublic", "fog", &["add a [[remote_site]]"]),
    ("[\"edge-b\"]", "[\"edge-c\"]", "edge-c", &["peer cloud", "edge-c is not declared"]),
    ("[\"edge-b\"]", "[\"edge-b\", \"edge-a\"]", "edge-a", &["is this site"]),
    ("[\"edge-b\"]", "[\"edge-b\", \"cloud\"]", "reaches", &["site cloud: it is reached", "again"]),
    ("reaches = [\"edge-b\"]", "", "[[remote_site]]", &["site edge-b: no peer", "`reaches`"]),
    ("endpoint = \"192.0.2.1:51820\"", "", "[[peer]]", &["no endpoint", "listen_port"]),
    ("192.0.2.1:51820", "240.0.0.1:51820", "endpoint", &["is in transit_pool", "underlay"]),
    ("reaches =", "endpoints = [\"192.0.2.2:1\"]\nreaches =", "endpoints", &["put all of them"]),
    ("endpoint = \"192.0.2.1:51820\"", "endpoints = []", "endpoints", &["the list is empty"]),
    (
        "endpoint = \"192.0.2.1:51820\"",
        "endpoints = [\"192.0.2.1:51820\", \"192.0.2.1:51820\"]",
        "endpoints",
        &["peer cloud", "192.0.2.1:51820 is named twice"],
    ),
    ("[link]", "[link]\nnext = { port = 1 }", "next", &["unknown field"]),
    ("[link]", "[link]\nnext = { listen_port = 0 }", "next", &["next.listen_port", "1 to 65535"]),
    ("[link]", "[link]\nnext = { private_key_file = \"\" }", "next", &["path is empty"]),
    (
        "[link]",
        "[link]\nlisten_port = 7\nnext = { listen_port = 7 }",
        "next",
        &["next.listen_port 7", "another"],
    ),
    (
        "[link]",
        "[link]\nnext = { private_key_file = \"new.key\" }",
        "[[peer]]",
        &["peer cloud: neither end dials the next link", "link.next.listen_port"],
    ),
    (
        "interface = \"lan0\"",
        "interface = \"presence2\"\nnetworks = []\n[[peer]]\nsite = \"edge-b\"\npublic_key = \
         \"4p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\"\nendpoint = \"192.0.2.3:1\"\nnext = \
         { endpoint = \"192.0.2.3:2\" }\n[[lan]]\ninterface = \"lan0\"",
        "[link]",
        &["second device is called presence2"],
    ),
    (
        "reaches =",
        "next = { public_key = \"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\", endpoint = \
         \"192.0.2.1:2\" }\nreaches =",
        "next",
        &["next.public_key", "has already"],
    ),
    (
        "reaches =",
        "next = { endpoint = \"240.0.0.1:2\" }\nreaches =",
        "next",
        &["240.0.0.1:2 is in transit_pool"],
    ),
    // Services.
    (
        "name = \"http\"\nsite = \"edge-b\"",
        "name = \"rabbitmq\"\nsite = \"cloud\"",
        "name",
        &["name"],
    ),
    (
        "site = \"edge-b\"\nnumber",
        "site = \"fog\"\nnumber",
        "fog",
        &["http.fog", "[[remote_site]]"],
    ),
    (
        "number = 1\nports = [\"tcp/80\"",
        "number = 2048\nports = [\"tcp/80\"",
        "2048",
        &["agent.edge-a: number 2048", "1 to 2047"],
    ),
    (
        "name = \"http\"\nsite = \"edge-b\"",
        "name = \"http\"\nsite = \"cloud\"",
        "number = 1",
        &["http.cloud: number 1 is that of rabbitmq.cloud"],
    ),
    ("backend = \"10.0.0.10\"", "", "[[service]]", &["agent.edge-a", "set `backend`"]),
    (
        "backend = \"10.0.0.10\"",
        "backend = \"10.0.3.1\"",
        "10.0.3.1",
        &["10.0.0.0/24, 10.0.2.0/24"],
    ),
    ("backend = \"10.0.0.10\"", "backend = \"10.0.0.193\"", "193", &["in presence_pool"]),
    (
        "backend = \"10.0.0.10\"",
        "backend = \"10.0.0.10\"\npresence = \"10.0.0.203\"",
        "203",
        &["at this site", "remove `presence`"],
    ),
    // Back ends.
    (BACKEND, "backends = []", "backends", &["the list is empty"]),
    (
        BACKEND,
        "backend = \"10.0.0.10\"\nbackends = [{ address = \"10.0.0.11\" }]",
        "backends",
        &["keep one"],
    ),
    (BACKEND, "backends = [{ address = \"10.0.0\" }]", "backends", &["not an IPv4 address"]),
    (
        BACKEND,
        "backends = [{ address = \"10.0.0.9\" }, { address = \"10.0.0.9\" }]",
        "backends",
        &["10.0.0.9 is in the list twice"],
    ),
    (
        BACKEND,
        "backends = [\n{ address = \"10.0.0.9\" },\n{ address = \"10.0.3.1\" }]",
        "10.0.3.1",
        &["backend 10.0.3.1", "10.0.0.0/24, 10.0.2.0/24"],
    ),
    (BACKEND, "backends = [{ address = \"10.0.0.9\", weight = 0 }]", "weight", &["from 1 to 100"]),
    (BACKEND, "backends = [{ address = \"10.0.0.9\", state = \"off\" }]", "state", &["\"drain\""]),
    (BACKEND, "backends = [{ address = \"10.0.0.9\", wait = 1 }]", "wait", &["unknown field"]),
    (BACKEND, "backend = \"10.0.0.10\"\nhealth = { kind = \"ping\" }", "ping", &["\"icmp\""]),
    (
        BACKEND,
        "backend = \"10.0.0.10\"\nhealth = { kind = \"icmp\", port = 80 }",
        "health",
        &["kind icmp has no `port`"],
    ),
    (
        BACKEND,
        "backend = \"10.0.0.10\"\nhealth = { kind = \"tcp\", path = \"/\" }",
        "health",
        &["kind tcp has no `path`"],
    ),
    (
        BACKEND,
        "backend = \"10.0.0.10\"\nhealth = { kind = \"http\", port = 80, path = \"a b\" }",
        "health",
        &["not a path"],
    ),
    (
        BACKEND,
        "backend = \"10.0.0.10\"\nhealth = { kind = \"icmp\", interval = \"1s\", timeout = \"2s\" }",
        "health",
        &["timeout 2s is longer than interval 1s"],
    ),
    (
        BACKEND,
        "backend = \"10.0.0.10\"\nhealth = { kind = \"icmp\", fall = 0 }",
        "health",
        &["from 1 to 100"],
    ),
    (
        "presence = \"10.0.0.201\"",
        "presence = \"10.0.0.201\"\nhealth = { kind = \"icmp\" }",
        "health",
        &["http.edge-b", "remove `health`"],
    ),
    ("presence = \"10.0.0.201\"", "", "[[service]]", &["http.edge-b", "set `presence`"]),
    ("10.0.0.201", "10.0.0.190", "190", &["http.edge-b", "outside presence_pool 10.0.0.192/26"]),
    ("10.0.0.201", "10.0.0.250", "250", &["this site's client_presence"]),
    ("10.0.0.201", "10.0.0.200", "200", &["is that of rabbitmq.cloud"]),
    (
        "presence = \"10.0.0.201\"",
        "presence = \"10.0.0.201\"\nbackend = \"10.0.0.10\"",
        "backend",
        &["http.edge-b", "remove `backend`"],
    ),
    // Rules.
    ("id = \"cloud-agent\"", "id = \"a-rabbitmq\"", "id", &["rule a-rabbitmq: another rule"]),
    ("from = \"cloud\"", "from = \"fog\"", "fog", &["rule cloud-agent: site fog"]),
    ("\"rabbitmq.cloud\"", "\"rabbitmq.fog\"", "to", &["rule a-rabbitmq: site fog"]),
    ("\"rabbitmq.cloud\"", "\"mysql.cloud\"", "to", &["service mysql.cloud", "[[service]]"]),
    ("\"agent.edge-a\"", "\"angel.edge-a\"", "to", &["service angel.edge-a", "[[service]]"]),
    ("[\"10.0.0.5/32\"]", "[\"10.0.9.0/24\"]", "clients", &["of site edge-a", "of a [[lan]]"]),
    ("[\"10.0.0.5/32\"]", "[\"10.0.0.0/16\"]", "clients", &["10.0.0.0/16 is in none"]),
    ("[\"10.0.0.5/32\"]", "[\"10.0.0.200/32\"]", "clients", &["lies in presence_pool"]),
    ("[\"10.0.0.5/32\"]", "[]", "id", &["a-rabbitmq", "allow nobody"]),
    ("[\"10.0.0.7/32\"]", "[\"10.0.2.7/32\"]", "clients", &["site cloud", "[[remote_site]]"]),
];

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
