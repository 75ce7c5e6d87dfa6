//! Resources from text: what is read, what is refused and where, and that what is written reads back.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not there")]

mod cases;
mod drawn;
mod merging;

use gateway_control::resource::{Key, Resource, ResourceError, read, read_one};
use proptest::prelude::*;

use crate::drawn::resource;

const EVERY_KIND: &str = "\
kind: Site
metadata:
  name: edge-a
  labels: {tier: edge, example.com/rack: r1}
spec:
  role: edge
  clientNetworks: [10.0.0.0/24]
  presencePool: 10.0.0.192/26
  clientPresence: 10.0.0.250
  hub: cloud
  transit: 240.0.16.0/20
---
kind: Gateway
metadata: {name: edge-a-gw}
spec:
  site: edge-a
  publicKey: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
  endpoints: [192.0.2.1:51820, '[2001:db8::1]:51820']
---
kind: Service
metadata: {name: web}
spec:
  site: edge-a
  ports: [tcp/80->8080, icmp-echo]
  backends:
    - address: 10.0.0.10
    - {address: 10.0.0.11, weight: 3, state: drain}
  health: {kind: http, path: /ready, status: 204, interval: 5s}
  number: 7
---
kind: Exposure
metadata: {name: web-to-b}
spec:
  service: web.edge-a
  to: {sites: [edge-b]}
  address: 10.0.0.200
  clients: per-client
  from: 10.0.0.0/28
  presences: 10.0.0.208/28
---
kind: Policy
metadata: {name: web}
spec:
  rules:
    - {from: {site: edge-b}, to: web.edge-a}
    - {from: {labels: {tier: edge}, clients: [10.0.0.5/32]}, to: web.edge-a}
---
kind: Token
metadata: {name: join-b}
spec:
  uses: 3
  role: gateway
  site: edge-b
  expires: 2030-01-31T18:00:00Z
  approve: true
  secretHash: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
";

fn refused(text: &str) -> ResourceError {
    read(text).expect_err(text)
}

#[test]
fn every_kind_is_read() {
    let declared = read(EVERY_KIND).unwrap_or_else(|error| panic!("{error}"));
    let keys: Vec<_> = declared.iter().map(|it| it.resource.key().to_string()).collect();
    assert_eq!(
        keys,
        [
            "site edge-a",
            "gateway edge-a-gw",
            "service web.edge-a",
            "exposure web-to-b",
            "policy web",
            "token join-b"
        ]
    );
    let places: Vec<_> = declared.iter().map(|it| (it.document, it.line)).collect();
    assert_eq!(places, [(1, 1), (2, 13), (3, 20), (4, 31), (5, 41), (6, 48)]);
    let Resource::Policy(policy) = &declared[4].resource else { panic!("no policy") };
    let ids: Vec<_> = policy.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["web-1", "web-2"]);
}

#[test]
fn a_token_has_defaults_and_others_than_gateways_have_no_site() {
    let (rest, token) = EVERY_KIND.rsplit_once("---\n").unwrap();
    assert!(rest.ends_with("to: web.edge-a}\n"));
    let token = token.replace("  role: gateway\n", "").replace("  uses: 3\n", "");
    let token = token.replace("  approve: true\n", "");
    let Ok(Resource::Token(read)) = read_one(&token) else { panic!("no token") };
    assert_eq!(
        (read.role.word().to_string(), read.uses.number(), read.approve),
        ("gateway".to_owned(), 1, false)
    );
    assert_eq!(read.expires.seconds(), 1_896_112_800);
    for role in ["controller", "operator"] {
        let text = token.replace("site: edge-b", &format!("role: {role}"));
        let Ok(Resource::Token(read)) = read_one(&text) else { panic!("no token") };
        assert_eq!((read.role.word().to_string(), read.role.site()), (role.to_owned(), None));
    }
}

#[test]
fn json_is_read_as_well() {
    for declared in read(EVERY_KIND).unwrap() {
        let json = serde_json::to_string_pretty(&declared.resource).unwrap();
        assert_eq!(read_one(&json).unwrap_or_else(|error| panic!("{error}")), declared.resource);
    }
}

/// As the controller shows a resource.
const SHOWN: &str = "\
kind: Site
metadata:
  name: a
  labels: {tier: edge, none: ~}
  revision: 17
  managers: {spec.role: root, metadata.labels.tier: [odd]}
spec: {role: edge, hub: ~, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}
status: {conditions: [{type: Applied, status: 'True'}]}
";

#[test]
fn what_the_controller_shows_can_be_applied() {
    let declared = read(SHOWN).unwrap_or_else(|error| panic!("{error}")).remove(0);
    assert_eq!(declared.revision, Some(17));
    let fields: Vec<_> = declared.fields.iter().map(ToString::to_string).collect();
    let stated = ["metadata.labels.none", "metadata.labels.tier"];
    assert_eq!(fields[..2], stated);
    assert_eq!(fields[2..], ["spec.clientNetworks", "spec.presencePool", "spec.role"]);
    assert_eq!(read_one(SHOWN).as_ref(), Ok(&declared.resource));
    let plain =
        SHOWN.replace("  revision: 17\n", "").replace("status: {cond", "status: {x: y, cond");
    let plain = read(&plain).unwrap().remove(0);
    assert_eq!((plain.revision, &plain.resource), (None, &declared.resource));
    for wrong in ["'17'", "-1", "1.5", "18446744073709551616", "[1]", "new"] {
        let said = refused(&SHOWN.replace("17", wrong)).to_string();
        assert!(said.contains("metadata.revision is") && said.contains("whole number"), "{said}");
    }
    for wrong in ["statuses: {}\n", "managers: {}\n", "revision: 1\n"] {
        assert!(
            refused(&format!("{SHOWN}{wrong}"))
                .to_string()
                .contains("its fields are kind, metadata, spec")
        );
    }
}

#[test]
fn empty_documents_are_left_out() {
    for text in ["", "---\n", "# nothing\n", "---\n---\n~\n---\n"] {
        assert_eq!(read(text), Ok(Vec::new()), "{text:?}");
        assert!(read_one(text).unwrap_err().to_string().contains("there is no resource"));
    }
    let text = format!("---\n---\n{EVERY_KIND}");
    assert_eq!(read(&text).unwrap()[0].document, 2);
    assert!(read_one(EVERY_KIND).unwrap_err().to_string().contains("there are 6 resources"));
}

fn policy(n: usize, service: &str) -> String {
    format!(
        "---\nkind: Policy\nmetadata: {{name: p-{n}}}\nspec:\n  rules: [{{from: {{site: a}}, to: \
         {service}}}]\n"
    )
}

#[test]
fn one_error_among_5000_documents_refuses_all() {
    let text: String =
        (1..=5000).map(|n| policy(n, if n == 2500 { "no-site" } else { "s.b" })).collect();
    let error = refused(&text);
    let [fault] = error.faults() else { panic!("{error}") };
    assert_eq!((fault.document, fault.line, fault.column), (2500, 2499 * 5 + 5, 33));
    let shown = error.to_string();
    assert!(shown.starts_with(
        "document 2500, line 12500, column 33: policy \"p-2500\": spec.rules[0].to: "
    ));
    assert!(shown.contains("names no site; write SERVICE.SITE"), "{shown}");
    let right: String = (1..=5000).map(|n| policy(n, "s.b")).collect();
    assert_eq!(read(&right).unwrap().len(), 5000);
}

#[test]
fn a_resource_declared_twice_names_the_first_place() {
    let text = policy(1, "a.b") + &policy(2, "a.b") + &policy(1, "c.d");
    let shown = refused(&text).to_string();
    assert!(shown.contains("policy p-1: it is declared on line 2 already"), "{shown}");
}

#[test]
fn all_faults_are_told_at_once_in_order() {
    let text = "kind: Site\nmetadata: {name: A}\nspec:\n  role: hub\n  clientNetworks: [10.0.0.1/24]\n  \
                presencePool: 10.0.0.0/8\n  pool: x\n---\nkind: Thing\nmetadata: {}\nspec: {}\n";
    let error = refused(text);
    let lines: Vec<_> = error.faults().iter().map(|fault| (fault.document, fault.line)).collect();
    assert_eq!(lines, [(1, 2), (1, 4), (1, 5), (1, 6), (1, 7), (2, 9)], "{error}");
}

#[test]
fn bombs_are_refused_at_once() {
    let mut bomb = "a: &a [x]\n".to_owned();
    for (from, to) in ('a'..='y').zip('b'..='z') {
        bomb += &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(", "));
    }
    let shown = refused(&bomb).to_string();
    assert!(shown.contains("an anchor (&name) has no place"), "{shown}");
    let deep = "[".repeat(100_000);
    assert!(!refused(&deep).faults().is_empty());
    let block = "- ".repeat(10_000);
    assert!(!refused(&block).faults().is_empty());
    let indented: String = (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert!(!refused(&indented).faults().is_empty());
}

#[test]
fn a_text_beyond_the_limit_is_not_looked_at() {
    let text = " ".repeat(gateway_control::resource::MAX_LEN + 1);
    assert!(refused(&text).to_string().contains("apply it in parts"));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(resource in resource()) {
        let json = serde_json::to_string(&resource).unwrap();
        let read = read_one(&json).unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(&read, &resource);
        let yaml = serde_saphyr::to_string(&resource).unwrap();
        let read = read_one(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        prop_assert_eq!(&read, &resource);
        prop_assert_eq!(Key::new(read.key().kind(), &read.key().name()), Ok(resource.key()));
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in "[a-z:\\-\\[\\]{},&*!|>'\"#%? \n\t0-9.]{0,200}") {
        if let Err(error) = read(&text) {
            prop_assert!(!error.faults().is_empty());
            prop_assert!(error.to_string().contains('^'));
        }
    }
}
