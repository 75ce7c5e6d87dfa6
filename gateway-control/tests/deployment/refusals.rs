//! What does not fit together is refused: the resource, the field, and the remedy are named.

use gateway_control::resource::{Key, Kind};

use crate::{SMALL, change, delete, empty, puts, said, small};

/// Resources put on top of the small deployment, and what is said.
const PUT: &[(&str, &str)] = &[
    // References.
    (
        "kind: Gateway\nmetadata: {name: g}\nspec: {site: x, publicKey: KEY}",
        "gateway g: site: there is no site x",
    ),
    (
        "kind: Service\nmetadata: {name: s}\nspec: {site: x, ports: [tcp/1], backends: [{address: 10.0.0.9}]}",
        "service s.x: site: there is no site x",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: x.cloud, to: {sites: [edge-a]}}",
        "exposure e: service: there is no service x.cloud",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [x]}}",
        "exposure e: to.sites: there is no site x",
    ),
    (
        "kind: Policy\nmetadata: {name: p}\nspec: {rules: [{from: {site: x}, to: web.cloud}]}",
        "policy p: from.site: there is no site x",
    ),
    (
        "kind: Policy\nmetadata: {name: p}\nspec: {rules: [{from: {site: edge-a}, to: x.cloud}]}",
        "policy p: to: there is no service x.cloud",
    ),
    // Sites.
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [10.0.0.200/29], presencePool: 10.0.0.192/26}",
        "lies wholly in presencePool",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [241.0.0.0/24], presencePool: 10.0.0.192/26}",
        "clientNetworks: 241.0.0.0/24 overlaps the transit pool 240.0.0.0/4",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [], presencePool: 241.0.0.0/24}",
        "presencePool: 241.0.0.0/24 overlaps the transit pool",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [], presencePool: 10.0.0.0/24, clientPresence: 10.0.1.1}",
        "clientPresence: 10.0.1.1 is outside presencePool",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [], presencePool: 10.0.0.0/24, hub: edge-a}",
        "site s: hub: edge-a is no cloud site",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: cloud, clientNetworks: [], presencePool: 10.0.0.0/24, hub: cloud}",
        "needs no hub; remove it",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: cloud, clientNetworks: [], presencePool: 10.0.0.0/24}",
        "must name theirs; set hub in site edge-a, site edge-b",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [10.0.0.0/8], presencePool: 10.0.0.0/24}",
        "have 16777216 addresses and a site may have 8388608",
    ),
    (
        "kind: Site\nmetadata: {name: cloud}\nspec: {role: cloud, clientNetworks: [10.0.1.0/24], presencePool: 10.0.0.192/26}",
        "service web.cloud: backends: 10.0.0.10 is in none of the site's client networks",
    ),
    (
        "kind: Site\nmetadata: {name: cloud}\nspec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.0/26}",
        "service web.cloud: backends: 10.0.0.10 is in presencePool 10.0.0.0/26",
    ),
    // Gateways.
    (
        "kind: Gateway\nmetadata: {name: g}\nspec: {site: edge-a, publicKey: KEY}",
        "site edge-a has gateway edge-a-gw already",
    ),
    (
        "kind: Gateway\nmetadata: {name: g}\nspec: {site: edge-b, publicKey: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=}",
        "the key of gateway edge-a-gw as well",
    ),
    (
        "kind: Gateway\nmetadata: {name: g}\nspec: {site: edge-b, publicKey: KEY, endpoints: ['192.0.2.1:51820']}",
        "an endpoint of gateway cloud-gw as well",
    ),
    (
        "kind: Gateway\nmetadata: {name: g}\nspec: {site: edge-b, publicKey: KEY, endpoints: ['240.0.0.1:1']}",
        "endpoints: 240.0.0.1:1 overlaps the transit pool",
    ),
    (
        "kind: Gateway\nmetadata: {name: cloud-gw}\nspec: {site: cloud, publicKey: KEY}",
        "neither it nor gateway edge-a-gw, which it has a link to, has an endpoint",
    ),
    // Exposures.
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [cloud]}}",
        "cloud is the service's own site",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {labels: {tier: edge}}}",
        "exposure web-to-a exposes it to site edge-a already",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [edge-b]}, address: 10.0.0.1}",
        "address: 10.0.0.1 is outside presencePool 10.0.0.192/26 of site edge-b",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [edge-b]}, clients: per-client}",
        "exposure e: from: site edge-b has not just one client network",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [edge-b]}, clients: per-client, from: 10.9.0.0/28}",
        "from: 10.9.0.0/28 is in none of the client networks of site edge-b",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [edge-b]}, clients: per-client, from: 10.0.0.0/28, presences: 10.0.0.224/29}",
        "has fewer addresses than 10.0.0.0/28",
    ),
    (
        "kind: Exposure\nmetadata: {name: e}\nspec: {service: web.cloud, to: {sites: [edge-b]}, clients: per-client, from: 10.0.0.0/28, presences: 10.0.0.0/28}",
        "presences: 10.0.0.0/28 is outside presencePool 10.0.0.192/26 of site cloud",
    ),
    (
        "kind: Exposure\nmetadata: {name: web-to-a}\nspec: {service: web.cloud, to: {sites: [edge-a]}, clients: per-client, from: 10.0.0.0/28}",
        "policy web: rules: rule web lets every client of site edge-a use web.cloud, where only 10.0.0.0/28",
    ),
    (
        "kind: Exposure\nmetadata: {name: web-to-a}\nspec: {service: web.cloud, to: {sites: [edge-a]}, clients: per-client}",
        "is full: 1 addresses are held, 0 cool off; make it a /23",
    ),
    // Policies.
    (
        "kind: Policy\nmetadata: {name: p}\nspec: {rules: [{from: {site: edge-a, clients: [10.1.0.0/28]}, to: web.cloud}]}",
        "from.clients: 10.1.0.0/28 is in none of the client networks of site edge-a",
    ),
    (
        "kind: Policy\nmetadata: {name: p}\nspec: {rules: [{from: {labels: {tier: edge}, clients: [10.0.0.200/32]}, to: web.cloud}]}",
        "10.0.0.200/32 lies in presencePool 10.0.0.192/26 of site edge-a",
    ),
    (
        "kind: Policy\nmetadata: {name: web-1}\nspec: {rules: [{from: {site: edge-b}, to: web.cloud}]}\n---\nkind: Policy\nmetadata: {name: web}\nspec: {rules: [{from: {site: edge-a}, to: web.cloud}, {from: {site: edge-b}, to: web.cloud}]}",
        "its rule web-1 has the id of a rule of policy",
    ),
    // Tokens.
    (
        "kind: Token\nmetadata: {name: t}\nspec: {site: x, expires: 2030-01-31T18:00:00Z, secretHash: HASH}",
        "token t: site: there is no site x; declare it, or correct the name",
    ),
    (
        "kind: Token\nmetadata: {name: t}\nspec: {site: cloud, expires: 2030-01-31T18:00:00Z, secretHash: HASH}\n---\nkind: Token\nmetadata: {name: u}\nspec: {role: operator, expires: 1970-01-01T00:00:00Z, secretHash: HASH}",
        "token t: secretHash: it is the hash of token u as well; every token has a secret of its own",
    ),
    // Wishes.
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [], presencePool: 10.0.0.0/24, transit: 240.0.0.0/20}",
        "site s: transit: 240.0.0.0/20 is that of site cloud",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [], presencePool: 10.0.0.0/24, transit: 239.0.0.0/20}",
        "is outside the transit pool",
    ),
    (
        "kind: Site\nmetadata: {name: s}\nspec: {role: edge, clientNetworks: [10.0.0.0/16], presencePool: 10.0.0.0/24, transit: 250.0.0.0/20}",
        "wish for a /15",
    ),
    (
        "kind: Service\nmetadata: {name: s}\nspec: {site: cloud, ports: [tcp/1], backends: [{address: 10.0.0.9}], number: 1}",
        "service s.cloud: number: number 1 is that of service web.cloud",
    ),
    (
        "kind: Site\nmetadata: {name: edge-a, labels: {tier: edge}}\nspec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26, clientPresence: 10.0.0.193}",
        "clientPresence: 10.0.0.193 is that of service web.cloud at site edge-a",
    ),
];

#[test]
fn what_does_not_fit_is_refused_with_a_remedy() {
    let mut missing = Vec::new();
    for (text, expected) in PUT {
        let text = text.replace("KEY", "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=");
        let text = text.replace("HASH", &"5e".repeat(32));
        match change(&mut small(), puts(&text)) {
            Err(said) if said.contains(expected) => {}
            Err(said) => missing.push(format!("{text}\n  expected {expected}\n  but: {said}")),
            Ok(diff) => missing.push(format!("{text}\n  expected {expected}\n  but: {diff}")),
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n\n"));
}

#[test]
fn what_is_in_use_is_not_removed_and_dependants_are_named() {
    for (kind, name, by) in [
        (Kind::Site, "cloud", "gateway cloud-gw, service web.cloud, site edge-a, site edge-b"),
        (Kind::Site, "edge-a", "gateway edge-a-gw, exposure web-to-a, policy web"),
        (Kind::Service, "web.cloud", "exposure web-to-a, policy web"),
    ] {
        let mut desired = small();
        let dependants = desired.deployment().dependants(&Key::new(kind, name).unwrap());
        let dependants: Vec<_> = dependants.iter().map(Key::to_string).collect();
        assert_eq!(dependants.join(", "), by);
        let said = change(&mut desired, vec![delete(kind, name)]).unwrap_err();
        assert!(
            said.ends_with(&format!(
                "it is in use by {by}; remove or change those first, or with it"
            )),
            "{said}"
        );
    }
    for (kind, name) in
        [(Kind::Gateway, "edge-a-gw"), (Kind::Exposure, "web-to-a"), (Kind::Policy, "web")]
    {
        let mut desired = small();
        assert!(desired.deployment().dependants(&Key::new(kind, name).unwrap()).is_empty());
        change(&mut desired, vec![delete(kind, name)]).unwrap();
        let said = change(&mut desired, vec![delete(kind, name)]).unwrap_err();
        assert!(said.contains("there is none of this name"), "{said}");
    }
}

#[test]
fn tokens_are_kept_for_their_sites_and_told_to_nobody() {
    let token = |name: &str, of: &str, hash: &str| {
        let hash = hash.repeat(32);
        format!(
            "kind: Token\nmetadata: {{name: {name}}}\nspec: {{{of}, expires: 1970-01-01T00:00:00Z, secretHash: '{hash}'}}\n---\n"
        )
    };
    let text = token("one", "site: edge-b, uses: 5", "1a") + &token("two", "role: operator", "2b");
    let mut desired = small();
    let before = desired.clone();
    assert!(desired.change(puts(&text), 0).unwrap().is_empty());
    let one = desired.deployment().token_of(&"1a".repeat(32).parse().unwrap()).unwrap();
    assert_eq!((one.name.as_str(), one.uses.number()), ("one", 5));
    let keys: Vec<_> = desired.deployment().resources().map(|it| it.key().to_string()).collect();
    assert_eq!(keys[keys.len() - 2..], ["token one", "token two"]);
    let said = change(&mut desired, vec![delete(Kind::Site, "edge-b")]).unwrap_err();
    assert!(said.contains("site edge-b: it is in use by token one; remove"), "{said}");
    // Its secret may be another, and the one before is nobody's then.
    assert!(desired.change(puts(&token("one", "role: controller", "3c")), 0).unwrap().is_empty());
    assert!(desired.deployment().token_of(&"1a".repeat(32).parse().unwrap()).is_none());
    desired.change(vec![delete(Kind::Site, "edge-b")], 0).unwrap();
    let mut whole = before;
    whole.change(vec![delete(Kind::Site, "edge-b")], 0).unwrap();
    let tokens = [delete(Kind::Token, "one"), delete(Kind::Token, "two")];
    assert!(desired.change(tokens.into(), 0).unwrap().is_empty());
    assert!(desired == whole, "something is left of the tokens");
}

#[test]
fn all_is_removed_at_once_in_any_order() {
    let mut desired = small();
    let changes = desired
        .deployment()
        .resources()
        .map(|it| gateway_control::deployment::Change::Delete(it.key()));
    let changes = changes.collect();
    change(&mut desired, changes).unwrap();
    assert_eq!(desired.deployment().resources().count(), 0);
    for site in ["cloud", "edge-a", "edge-b"] {
        assert!(desired.share(&site.parse().unwrap()).is_none());
    }
}

#[test]
fn one_wrong_resource_among_many_refuses_all_of_them() {
    let text = SMALL.replace("to: {sites: [edge-a]}", "to: {sites: [edge-c]}");
    let mut desired = empty();
    let problems = desired.change(puts(&text), 0).unwrap_err();
    assert_eq!(
        said(&problems),
        "exposure web-to-a: to.sites: there is no site edge-c; declare it, or correct the name"
    );
    assert_eq!(desired.deployment().resources().count(), 0);
}
