//! Allocation by cases: order, wishes, cooling, full pools, the record's notation.

use gateway_control::deployment::Desired;
use gateway_control::deployment::allocation::{COOLING, RecordError, Recorded, Stands, settle};
use gateway_control::resource::Kind;

use crate::{SMALL, delete, empty, puts, said, small};

fn presence(desired: &Desired, site: &str, stands: &str) -> Option<String> {
    let stands: Stands = stands.parse().unwrap();
    desired.recorded().presence(&site.parse().unwrap(), &stands).map(|it| it.to_string())
}

fn exposure(name: &str, service: &str, site: &str, rest: &str) -> String {
    format!(
        "kind: Exposure\nmetadata: {{name: {name}}}\nspec: {{service: {service}, to: {{sites: [{site}]}}{rest}}}\n---\n"
    )
}

fn service(name: &str, site: &str) -> String {
    format!(
        "kind: Service\nmetadata: {{name: {name}}}\nspec: {{site: {site}, ports: [tcp/1], backends: [{{address: 10.0.0.9}}]}}\n---\n"
    )
}

#[test]
fn what_is_freed_cools_off_and_its_last_holder_may_have_it_back() {
    let mut desired = small();
    let dns = service("dns", "cloud");
    let dns_to_a = exposure("dns-to-a", "dns.cloud", "edge-a", "");
    assert_eq!(presence(&desired, "edge-a", "service web.cloud").as_deref(), Some("10.0.0.193"));
    desired.change(vec![delete(Kind::Exposure, "web-to-a")], 100).unwrap();
    assert_eq!(presence(&desired, "edge-a", "service web.cloud"), None);
    // Another does not get the address while it cools off, not even if it wishes for it.
    let wish = exposure("dns-to-a", "dns.cloud", "edge-a", ", address: 10.0.0.193");
    let problems = desired.change(puts(&(dns.clone() + &wish)), 200).unwrap_err();
    let expected = format!(
        "10.0.0.193 was that of service web.cloud at site edge-a and cools off for {} s more",
        COOLING - 100
    );
    assert!(said(&problems).contains(&expected), "{}", said(&problems));
    desired.change(puts(&(dns.clone() + &dns_to_a)), 200).unwrap();
    assert_eq!(presence(&desired, "edge-a", "service dns.cloud").as_deref(), Some("10.0.0.194"));
    // Its last holder has it back at once.
    let web_to_a = exposure("again", "web.cloud", "edge-a", "");
    desired.change(puts(&web_to_a), 300).unwrap();
    assert_eq!(presence(&desired, "edge-a", "service web.cloud").as_deref(), Some("10.0.0.193"));
    // After the time anybody may have it.
    desired.change(vec![delete(Kind::Exposure, "again")], 400).unwrap();
    desired.change(vec![delete(Kind::Exposure, "dns-to-a")], 400).unwrap();
    desired.change(puts(&dns_to_a), 400 + COOLING).unwrap();
    assert_eq!(presence(&desired, "edge-a", "service dns.cloud").as_deref(), Some("10.0.0.193"));
}

#[test]
fn wishes_are_served_before_free_choices() {
    let mut desired = empty();
    let text = SMALL.replace("to: {sites: [edge-a]}", "to: {sites: [edge-a]}, address: 10.0.0.193")
        + "---\n"
        + &service("aaa", "cloud")
        + &exposure("aaa", "aaa.cloud", "edge-a", "");
    desired.change(puts(&text), 0).unwrap();
    assert_eq!(presence(&desired, "edge-a", "service web.cloud").as_deref(), Some("10.0.0.193"));
    assert_eq!(presence(&desired, "edge-a", "service aaa.cloud").as_deref(), Some("10.0.0.194"));
    // The pool's first address and the network's last are nobody's unasked.
    assert_eq!(presence(&desired, "cloud", "clients").as_deref(), Some("10.0.0.193"));
}

#[test]
fn clients_of_their_own_have_a_range_as_large_as_theirs() {
    let mut desired = small();
    let rest = ", clients: per-client, from: 10.1.0.0/28";
    desired.change(puts(&exposure("web-to-b", "web.cloud", "edge-b", rest)), 0).unwrap();
    let (id, site) = ("web.cloud".parse().unwrap(), "edge-b".parse().unwrap());
    let clients = desired.recorded().clients(&id, &site, "10.1.0.0/28".parse().unwrap()).unwrap();
    assert_eq!(clients.addresses().unwrap().to_string(), "10.0.0.208/28");
    let rest = ", clients: per-client, from: 10.1.0.0/28, presences: 10.0.0.224/28";
    desired.change(puts(&exposure("web-to-b", "web.cloud", "edge-b", rest)), 0).unwrap();
    let clients = desired.recorded().clients(&id, &site, "10.1.0.0/28".parse().unwrap()).unwrap();
    assert_eq!(clients.addresses().unwrap().to_string(), "10.0.0.224/28");
}

#[test]
fn a_full_pool_names_the_size_that_is_enough() {
    let mut desired = empty();
    let small_pool = SMALL.replace(
        "edge-a, labels: {tier: edge}}\nspec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.192/26}",
        "edge-a, labels: {tier: edge}}\nspec: {role: edge, clientNetworks: [10.0.0.0/24], presencePool: 10.0.0.252/30}",
    );
    let mut text = small_pool.clone() + "---\n";
    for name in ["b", "c"] {
        text += &(service(name, "cloud") + &exposure(name, &format!("{name}.cloud"), "edge-a", ""));
    }
    let problems = desired.change(puts(&text), 0).unwrap_err();
    assert_eq!(
        said(&problems),
        "exposure web-to-a: address: presencePool 10.0.0.252/30 of site edge-a is full: 2 addresses are \
         held, 0 cool off; make it a /29"
    );
    let text = text.replace("10.0.0.252/30", "10.0.0.248/29");
    desired.change(puts(&text), 0).unwrap();
}

#[test]
fn a_full_transit_pool_says_what_would_be_enough() {
    let pool = "240.0.0.0/12".parse().unwrap();
    let deployment = gateway_control::deployment::Deployment::new(pool);
    let mut desired = Desired::new(deployment, Recorded::default(), 0).unwrap();
    let site = |n: usize| {
        format!(
            "kind: Site\nmetadata: {{name: s{n}}}\nspec: {{role: edge, clientNetworks: [], presencePool: 10.0.0.0/24}}\n---\n"
        )
    };
    let text: String = (0..256).map(site).collect();
    desired.change(puts(&text), 0).unwrap();
    let problems = desired.change(puts(&site(256)), 0).unwrap_err();
    assert!(said(&problems).contains("the transit pool 240.0.0.0/12 is full: 1048576 addresses are held, 0 cool off; declare a transit pool of /11"), "{}", said(&problems));
}

#[test]
fn larger_networks_move_a_site_to_a_larger_block() {
    let mut desired = small();
    let text = SMALL.replace("10.1.0.0/24]", "10.16.0.0/14]");
    let diff = desired.change(puts(&text), 0).unwrap();
    assert_eq!(
        desired.recorded().transit(&"edge-b".parse().unwrap()).unwrap().to_string(),
        "240.16.0.0/12"
    );
    assert_eq!(
        diff.sites().map(|(site, _)| site.as_str()).collect::<Vec<_>>(),
        ["cloud", "edge-b"]
    );
}

#[test]
fn the_record_reads_back_and_a_damaged_one_is_refused() {
    let mut desired = small();
    desired
        .change(vec![delete(Kind::Policy, "web"), delete(Kind::Exposure, "web-to-a")], 77)
        .unwrap();
    let written: Vec<String> = desired
        .recorded()
        .records()
        .map(|(key, record)| format!("{key} {}", serde_json::to_string(&record).unwrap()))
        .collect();
    let text = written.join("\n");
    assert!(text.contains("transit/240.0.16.0 {"), "{text}");
    assert!(text.contains("\"holder\":\"service web.cloud\",\"freed\":77"), "{text}");
    let mut read = read(&text).unwrap();
    assert_eq!(read, *desired.recorded());
    let settled = settle(desired.deployment(), &mut read, 78).unwrap();
    assert_eq!((read, settled.records.len()), (desired.recorded().clone(), 0));
    for (from, to, said) in [
        ("transit/240.0.16.0", "transit/16", "\"transit/16\" names no allocation"),
        ("transit/240.0.16.0", "transit/edge-a/1", "\"transit/edge-a/1\" names no allocation"),
        ("\"holder\":\"service web.cloud\"", "\"holder\":\"web\"", "\"web\" holds nothing"),
        ("\"size\":4096", "\"size\":4095", "allocations of the transit pool overlap"),
        ("\"size\":4096", "\"size\":0", "allocations of the transit pool overlap"),
        ("\"size\":4096", "\"size\":8192", "allocations of the transit pool overlap"),
        (
            "\"holder\":\"edge-a\"",
            "\"holder\":\"cloud\"",
            "allocations of the transit pool overlap",
        ),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        let error = self::read(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(said), "{to}: {error}");
    }
}

fn read(text: &str) -> Result<Recorded, RecordError> {
    let records = text.lines().map(|line| {
        let (key, record) = line.split_once(' ').unwrap();
        Ok((key.parse()?, serde_json::from_str(record).unwrap()))
    });
    Recorded::read(COOLING, records.collect::<Result<Vec<_>, _>>()?)
}
