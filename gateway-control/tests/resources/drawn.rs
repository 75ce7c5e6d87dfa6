//! Resources drawn at random, by their text, so that only what can be written is drawn.

use gateway_control::resource::{Declared, Resource, read, read_one};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", Just("null".to_owned()), Just("7".to_owned())]
}

fn labels() -> impl Strategy<Value = String> {
    let value = "([a-zA-Z0-9]([a-zA-Z0-9_.-]{0,5}[a-zA-Z0-9])?)?";
    let key = "([a-z]{1,4}\\.[a-z]{1,4}/)?[a-zA-Z0-9]{1,6}";
    prop::collection::btree_map(key, value, 0..4).prop_map(|labels| {
        let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("\"{k}\": \"{v}\"")).collect();
        format!("{{{}}}", pairs.join(", "))
    })
}

fn one_label() -> impl Strategy<Value = String> {
    ("[a-z]{1,4}", "[a-z0-9]{0,4}").prop_map(|(k, v)| format!("{{\"{k}\": \"{v}\"}}"))
}

fn prefix(length: u8) -> impl Strategy<Value = String> {
    (0u32..1 << (length - 8)).prop_map(move |n| {
        let base = (10u32 << 24) | (n << (32 - length));
        format!("{}/{length}", std::net::Ipv4Addr::from(base))
    })
}

fn optional<T>(name: &'static str, value: impl Strategy<Value = T>) -> impl Strategy<Value = String>
where
    T: std::fmt::Debug + std::fmt::Display,
{
    prop::option::of(value)
        .prop_map(move |it| it.map_or(String::new(), |it| format!(", {name}: \"{it}\"")))
}

fn site() -> impl Strategy<Value = String> {
    let networks = prop::collection::btree_set(prefix(24), 0..4)
        .prop_map(|nets| nets.into_iter().collect::<Vec<_>>().join(", "));
    let role = prop_oneof![Just("cloud"), Just("edge")];
    let transit = (0u32..256).prop_map(|n| format!("240.{n}.0.0/20"));
    let rest = (
        optional("hub", name()),
        optional("transit", transit),
        optional("clientPresence", "10\\.0\\.0\\.[1-9]"),
    );
    (role, networks, prefix(26), rest).prop_map(|(role, nets, pool, (hub, transit, presence))| {
        format!(
            "role: {role}, clientNetworks: [{nets}], presencePool: {pool}{hub}{transit}{presence}"
        )
    })
}

fn gateway() -> impl Strategy<Value = String> {
    let endpoints = prop::collection::btree_set(1u16.., 0..3);
    (name(), endpoints).prop_map(|(site, ports)| {
        let endpoints: Vec<_> = ports.iter().map(|port| format!("\"192.0.2.1:{port}\"")).collect();
        format!(
            "site: \"{site}\", publicKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: [{}]",
            endpoints.join(", ")
        )
    })
}

fn service(site: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let backends = prop::collection::btree_map(0u8.., (1u8..=100, any::<bool>()), 1..4);
    let ports = prop_oneof![
        Just("tcp/80->8080, icmp-echo, ip/47"),
        Just("tcp/5672"),
        Just("tcp/1-9, udp/*, tcp/443")
    ];
    let health = prop_oneof![
        Just(String::new()),
        Just(", health: {kind: icmp, rise: 7}".to_owned()),
        (1u16.., "/[a-z#: ,{}'!-]{0,8}").prop_map(|(port, path)| {
            let path = path.replace([' ', '"'], "");
            format!(", health: {{kind: http, port: {port}, path: \"{path}\", timeout: 2s}}")
        }),
    ];
    let number = prop::option::of(1u32..9999)
        .prop_map(|n| n.map_or(String::new(), |n| format!(", number: {n}")));
    (site, ports, backends, health, number).prop_map(|(site, ports, backends, health, number)| {
        let backends: Vec<_> = backends
            .iter()
            .map(|(n, (weight, drain))| {
                let state = if *drain { "drain" } else { "use" };
                format!("{{address: 10.0.0.{n}, weight: {weight}, state: {state}}}")
            })
            .collect();
        let backends = backends.join(", ");
        format!("site: \"{site}\", ports: [{ports}], backends: [{backends}]{health}{number}")
    })
}

fn exposure() -> impl Strategy<Value = String> {
    let clients = prop_oneof![
        Just(String::new()),
        Just(", clients: per-client".to_owned()),
        prefix(28).prop_map(|from| format!(", clients: per-client, from: {from}")),
    ];
    let to = prop_oneof![
        prop::collection::btree_set(name(), 1..4).prop_map(|sites| {
            let sites: Vec<_> = sites.iter().map(|site| format!("\"{site}\"")).collect();
            format!("{{sites: [{}]}}", sites.join(", "))
        }),
        one_label().prop_map(|labels| format!("{{labels: {labels}}}")),
        name().prop_map(|site| format!("{{sites: [\"{site}\"]}}, address: 10.0.0.9")),
    ];
    (name(), name(), to, clients).prop_map(|(service, site, to, clients)| {
        format!("service: {service}.{site}, to: {to}{clients}")
    })
}

fn policy() -> impl Strategy<Value = String> {
    let from = prop_oneof![
        name().prop_map(|site| format!("site: \"{site}\"")),
        one_label().prop_map(|labels| format!("labels: {labels}")),
    ];
    let clients = prop_oneof![
        Just(String::new()),
        prop::collection::vec(prefix(28), 1..3)
            .prop_map(|nets| format!(", clients: [{}]", nets.join(", "))),
    ];
    let rule = (from, clients, name(), name()).prop_map(|(from, clients, service, site)| {
        format!("{{from: {{{from}{clients}}}, to: {service}.{site}}}")
    });
    prop::collection::vec(rule, 1..4).prop_map(|rules| format!("rules: [{}]", rules.join(", ")))
}

fn token() -> impl Strategy<Value = String> {
    let role = prop_oneof![
        name().prop_map(|site| format!("site: \"{site}\"")),
        name().prop_map(|site| format!("role: gateway, site: \"{site}\"")),
        Just("role: operator".to_owned()),
        Just("role: controller, approve: true".to_owned()),
    ];
    let uses =
        prop_oneof![Just(String::new()), (1..=1_000_000).prop_map(|n| format!(", uses: {n}"))];
    let expires = (1970..9999, 1..=12, 1..=28, 0..24).prop_map(|(year, month, day, hour)| {
        format!("{year}-{month:02}-{day:02}T{hour:02}:59:00Z")
    });
    (role, uses, expires, "[0-9a-f]{64}").prop_map(|(role, uses, expires, hash)| {
        format!("{role}{uses}, expires: {expires}, secretHash: \"{hash}\"")
    })
}

fn text(kind: &str, name: &str, labels: &str, spec: &str) -> String {
    let metadata = format!("{{name: \"{name}\", labels: {labels}}}");
    format!("kind: {kind}\nmetadata: {metadata}\nspec: {{{spec}}}\n")
}

/// Any resource of any kind.
pub(crate) fn resource() -> impl Strategy<Value = Resource> {
    let spec = prop_oneof![
        site().prop_map(|it| ("Site", it)),
        gateway().prop_map(|it| ("Gateway", it)),
        service(name()).prop_map(|it| ("Service", it)),
        exposure().prop_map(|it| ("Exposure", it)),
        policy().prop_map(|it| ("Policy", it)),
        token().prop_map(|it| ("Token", it)),
    ];
    (spec, name(), labels()).prop_map(|((kind, spec), name, labels)| {
        let text = text(kind, &name, &labels, &spec);
        read_one(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    })
}

/// Some documents of one and the same resource.
pub(crate) fn documents() -> impl Strategy<Value = Vec<Declared>> {
    fn some(
        kind: &'static str,
        spec: impl Strategy<Value = String> + 'static,
    ) -> BoxedStrategy<Vec<Declared>> {
        // Few keys and values, so that documents meet in them.
        let labels = prop::collection::btree_map("[a-d]", "[xy]?", 0..4).prop_map(|labels| {
            let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}: \"{v}\"")).collect();
            format!("{{{}}}", pairs.join(", "))
        });
        let document = (labels, spec).prop_map(move |(labels, spec)| {
            let text = text(kind, "same", &labels, &spec);
            let declared = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            declared.into_iter().next().unwrap()
        });
        prop::collection::vec(document, 2..7).boxed()
    }
    prop_oneof![
        some("Site", site()),
        some("Gateway", gateway()),
        some("Service", service(Just("here".to_owned()))),
        some("Exposure", exposure()),
        some("Policy", policy()),
        some("Token", token()),
    ]
}
