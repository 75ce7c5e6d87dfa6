//! Texts that are refused: one change of a text that is read, the place and what is said.

use crate::{EVERY_KIND, refused};

/// What is replaced, by what, line and column of the fault, and a part of what is said.
type Case = (&'static str, &'static str, (usize, usize), &'static str);

const CASES: &[Case] = &[
    // Notation.
    ("  role: edge", "  role: [edge", (7, 17), "correct the notation"),
    ("  role: edge", "\trole: edge", (6, 2), "correct the notation"),
    ("spec:\n  role", "spec: &x\n  role", (6, 3), "an anchor"),
    ("role: edge", "role: !x edge", (6, 12), "a tag"),
    ("role: edge", "role: edge\n  role: edge", (7, 3), "\"role\" is there already"),
    ("  role: edge", "  role: edge\n  [a]: b", (7, 3), "a key must be a text"),
    // Shape.
    ("kind: Gateway", "kind: gateway", (13, 7), "not a choice; write one of Site, Gateway"),
    ("kind: Gateway\n", "", (13, 1), "kind is missing"),
    ("metadata: {name: edge-a-gw}\n", "", (13, 1), "metadata is missing"),
    ("{name: edge-a-gw}", "edge-a-gw", (14, 11), "metadata is a text; write a mapping"),
    ("{name: edge-a-gw}", "{}", (14, 11), "metadata.name is missing"),
    ("role: edge", "role: edge\n  rank: 1", (7, 3), "no field spec.\"rank\"; its fields are role,"),
    ("clientNetworks: [10.0.0.0/24]", "clientNetworks: 10.0.0.0/24", (7, 19), "write a list"),
    ("  hub: cloud", "  hub: [cloud]", (10, 8), "spec.hub is a list; write a text"),
    ("number: 7", "number: '7'", (29, 11), "a whole number, without quotes"),
    ("number: 7", "number: 7.5", (29, 11), "a whole number"),
    ("weight: 3", "weight: 3, mass: 1", (27, 39), "no field spec.backends[1].\"mass\""),
    ("path: /ready", "paths: /ready", (28, 24), "no field spec.health.\"paths\""),
    ("kind: Site\n", "", (1, 1), "document 1: kind is missing"),
    // Values.
    ("name: edge-a\n", "name: Edge\n", (3, 9), "site \"Edge\": metadata.name: a name cannot hold"),
    ("tier: edge, ex", "tier: a b, ex", (4, 18), "no label value"),
    ("tier: edge, ex", "-tier: edge, ex", (4, 12), "no label key"),
    ("role: edge", "role: middle", (6, 9), "write one of cloud, edge"),
    ("[10.0.0.0/24]", "[10.0.0.0/24, 10.0.0.0/25]", (7, 19), "overlap"),
    ("[10.0.0.0/24]", "[10.0.0.1/24]", (7, 20), "spec.clientNetworks[0]: 10.0.0.1/24 has bits"),
    ("10.0.0.192/26", "10.0.0.0/8", (8, 17), "unusable size"),
    ("clientPresence: 10.0.0.250", "clientPresence: x", (9, 19), "not an IPv4 address"),
    ("240.0.16.0/20", "240.0.16.0/24", (11, 12), "unusable size"),
    ("IK08=", "IK0=", (17, 14), "not a WireGuard public key"),
    ("[192.0.2.1:51820,", "[hub.example:1,", (18, 15), "not an endpoint"),
    ("'[2001:db8::1]:51820'", "192.0.2.1:51820", (16, 3), "named twice"),
    ("tcp/80->8080", "tcp/80-70", (24, 11), "does not go up"),
    ("[tcp/80->8080, icmp-echo]", "[]", (24, 10), "the list is empty"),
    ("10.0.0.11", "10.0.0.10", (27, 17), "in the list twice"),
    ("weight: 3", "weight: 0", (27, 36), "from 1 to 100"),
    ("kind: http", "kind: tcp", (28, 29), "has no `path`"),
    ("interval: 5s", "interval: 5", (28, 61), "not a duration"),
    ("number: 7", "number: 0", (29, 11), "out of bounds"),
    ("{sites: [edge-b]}", "{}", (35, 7), "give either sites or labels"),
    ("{sites: [edge-b]}", "{sites: []}", (35, 15), "the list is empty"),
    ("{sites: [edge-b]}", "{sites: [b, b]}", (35, 15), "b is named twice"),
    ("{sites: [edge-b]}", "{labels: {}}", (35, 16), "would select every site"),
    ("{sites: [edge-b]}", "{sites: [b, c]}", (34, 3), "for one site only"),
    ("clients: per-client", "clients: each", (37, 12), "none of \"shared\" and"),
    ("clients: per-client", "clients: shared", (34, 3), "spec.from: it is for clients: per-client"),
    ("{site: edge-b}", "{}", (45, 14), "give either site or labels"),
    ("[10.0.0.5/32]", "[]", (46, 46), "the list is empty"),
    ("role: gateway", "role: hub", (52, 9), "write one of gateway, controller, operator"),
    ("role: gateway", "role: operator", (51, 3), "spec.site: only gateways join a site; remove it"),
    (
        "  role: gateway\n  site: edge-b\n",
        "  role: gateway\n",
        (51, 3),
        "spec.site: a gateway joins a site",
    ),
    ("uses: 3", "uses: 0", (51, 9), "from 1 to 1000000"),
    ("uses: 3", "uses: many", (51, 9), "a whole number"),
    ("2030-01-31T18:00:00Z", "tomorrow", (54, 12), "\"tomorrow\" is no time; write one in UTC"),
    ("2030-01-31T18:00:00Z", "2030-02-31T18:00:00Z", (54, 12), "is no time"),
    ("approve: true", "approve: 'true'", (55, 12), "write true or false, without quotes"),
    ("approve: true", "approve: yes", (55, 12), "write true or false, without quotes"),
    ("5e884898", "5E884898", (56, 15), "it is no SHA-256 hash"),
    (
        "  approve: true\n",
        "  secret: x\n",
        (55, 3),
        "its fields are role, site, uses, expires, approve, secretHash",
    ),
];

#[test]
fn every_fault_is_told_where_it_is() {
    let mut missing = Vec::new();
    for (from, to, place, said) in CASES {
        assert_eq!(EVERY_KIND.matches(from).count(), 1, "{from:?} is not in the text once");
        let error = refused(&EVERY_KIND.replace(from, to));
        let told = error.faults().iter().any(|fault| {
            fault.kind.to_string().contains(said) && (fault.line, fault.column) == *place
        });
        if !told {
            missing.push(format!("{to:?}: expected {said:?} at {place:?}:\n{error}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n\n"));
}

#[test]
fn names_of_odd_kinds() {
    let shown = |name: &str| {
        let name = format!("name: {name}\n");
        refused(&EVERY_KIND.replace("name: edge-a\n", &name)).to_string()
    };
    for name in
        ["''", "' a'", "a.b", "é", "a_b", "-a", "\"\\0\"", "\"\\e[31m\"", "../x", "\u{202e}a"]
    {
        let shown = shown(name);
        assert!(shown.contains("metadata.name: "), "{name:?}: {shown}");
        assert!(!shown.contains(['\0', '\u{1b}']), "{name:?}: {shown:?}");
    }
    assert!(shown(&"a".repeat(64)).contains("64 characters long"));
    // What looks like a number or a truth value is a name as good as any.
    for name in ["7", "true", "1e3", "0x10", "no"] {
        let name = format!("name: {name}\n");
        let text = EVERY_KIND.replace("name: edge-a\n", &name);
        assert!(gateway_control::resource::read(&text).is_ok(), "{name}");
    }
}

#[test]
fn rule_ids_must_fit() {
    let long = "p".repeat(62);
    let text = EVERY_KIND.replace(
        "kind: Policy\nmetadata: {name: web}",
        &format!("kind: Policy\nmetadata: {{name: {long}}}"),
    );
    assert!(refused(&text).to_string().contains("would be too long; shorten the name"));
}
