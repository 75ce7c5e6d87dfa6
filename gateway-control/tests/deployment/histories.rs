//! Random histories of changes, by one controller and by two that restart and overtake each other.

use std::collections::BTreeMap;

use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::share::{LocalFacts, Share};
use gateway_control::deployment::{Change, Deployment, Desired};
use gateway_control::model::{Lan, LanMode, SiteModel};
use gateway_control::resource::{Key, Resource, read_one};
use proptest::prelude::*;

use crate::said;

/// One change: what, which, and what of it.
#[derive(Clone, Debug)]
struct Step {
    change: Change,
    /// Seconds since the step before.
    later: u64,
    /// Which of two controllers takes it, and whether that one starts anew before.
    controller: bool,
    restart: bool,
}

const SITES: [&str; 5] = ["c1", "c2", "e1", "e2", "e3"];
const COOLING: u64 = 100;

fn site() -> impl Strategy<Value = String> {
    let networks = prop_oneof![
        4 => Just("10.0.0.0/24"),
        2 => Just("10.0.0.0/24, 10.1.0.0/28"),
        1 => Just("10.0.0.0/24, 10.16.0.0/14"),
    ];
    let pool = prop_oneof![3 => Just("10.0.0.192/26"), 1 => Just("10.0.0.240/28"), 1 => Just("10.2.0.0/29")];
    let presence = prop_oneof![3 => Just(""), 1 => Just(", clientPresence: 10.0.0.250")];
    let transit = prop_oneof![4 => Just(""), 1 => Just(", transit: 240.0.48.0/20")];
    let hub = prop_oneof![1 => Just(""), 3 => Just(", hub: c1")];
    (0..SITES.len(), networks, pool, presence, transit, hub, 0..2).prop_map(
        |(n, networks, pool, presence, transit, hub, label)| {
            let name = SITES[n];
            let (role, hub) = if name.starts_with('c') { ("cloud", "") } else { ("edge", hub) };
            format!(
                "kind: Site\nmetadata: {{name: {name}, labels: {{t: '{label}'}}}}\nspec: {{role: {role}, \
                 clientNetworks: [{networks}], presencePool: {pool}{presence}{transit}{hub}}}"
            )
        },
    )
}

fn gateway() -> impl Strategy<Value = String> {
    let state = prop_oneof![4 => Just("active"), 1 => Just("pending"), 2 => Just("revoked")];
    let which = prop_oneof![3 => Just(("", "p")), 1 => Just(("2", "q"))];
    (0..SITES.len(), any::<bool>(), which, state).prop_map(|(n, dials, (which, key), state)| {
        let site = SITES[n];
        let endpoints =
            if site.starts_with('c') || dials { format!("'192.0.2.{n}:1'") } else { String::new() };
        format!(
            "kind: Gateway\nmetadata: {{name: {site}-gw{which}}}\nspec: {{site: {site}, publicKey: \
             {n}{key}7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: [{endpoints}], state: {state}}}"
        )
    })
}

fn service() -> impl Strategy<Value = String> {
    let number = prop_oneof![4 => Just(""), 1 => Just(", number: 3"), 1 => Just(", number: 3000")];
    (0..SITES.len(), 0..3, number).prop_map(|(site, n, number)| {
        format!(
            "kind: Service\nmetadata: {{name: s{n}}}\nspec: {{site: {}, ports: [tcp/{}], backends: \
             [{{address: 10.0.0.{}}}]{number}}}",
            SITES[site],
            n + 1,
            n + 9
        )
    })
}

fn exposure() -> impl Strategy<Value = String> {
    let to = prop_oneof![
        4 => (0..SITES.len()).prop_map(|n| format!("sites: [{}]", SITES[n])),
        1 => (0..2).prop_map(|label| format!("labels: {{t: '{label}'}}")),
    ];
    let rest = prop_oneof![
        5 => Just(""),
        1 => Just(", address: 10.0.0.245"),
        1 => Just(", clients: per-client, from: 10.0.0.0/30"),
        1 => Just(", clients: per-client, from: 10.0.0.16/28"),
    ];
    (0..6, 0..SITES.len(), 0..3, to, rest).prop_map(|(n, site, service, to, rest)| {
        format!(
            "kind: Exposure\nmetadata: {{name: x{n}}}\nspec: {{service: s{service}.{}, to: {{{to}}}{rest}}}",
            SITES[site]
        )
    })
}

fn policy() -> impl Strategy<Value = String> {
    let from = prop_oneof![
        3 => (0..SITES.len()).prop_map(|n| format!("site: {}", SITES[n])),
        2 => (0..2).prop_map(|label| format!("labels: {{t: '{label}'}}")),
    ];
    let clients =
        prop_oneof![Just(""), Just(", clients: [10.0.0.0/31]"), Just(", clients: [10.0.0.17/32]")];
    let rule = (from, clients, 0..SITES.len(), 0..3).prop_map(|(from, clients, site, service)| {
        format!("{{from: {{{from}{clients}}}, to: s{service}.{}}}", SITES[site])
    });
    (0..4, prop::collection::vec(rule, 1..3)).prop_map(|(n, rules)| {
        format!("kind: Policy\nmetadata: {{name: p{n}}}\nspec: {{rules: [{}]}}", rules.join(", "))
    })
}

fn token() -> impl Strategy<Value = String> {
    let role = prop_oneof![
        (0..SITES.len()).prop_map(|n| format!("site: {}", SITES[n])),
        Just("role: operator".to_owned()),
    ];
    (0..3, role, 0..3).prop_map(|(n, role, secret)| {
        let hash = format!("{secret}a").repeat(32);
        format!(
            "kind: Token\nmetadata: {{name: t{n}}}\nspec: {{{role}, expires: 2030-01-31T18:00:00Z, secretHash: '{hash}'}}"
        )
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        2 => site(), 1 => gateway(), 2 => service(), 4 => exposure(), 3 => policy(), 1 => token()
    ]
    .prop_map(|text| match read_one(&text) {
        Ok(resource) => resource,
        // A wish and several sites: without the wish it is right.
        Err(_) => read_one(&text.replace(", address: 10.0.0.245", "")).unwrap(),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![3 => 0u64..20, 1 => 90u64..120];
    (resource(), prop::bool::weighted(0.3), later, any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(resource, delete, later, controller, restart)| {
            let change =
                if delete { Change::Delete(resource.key()) } else { Change::Put(resource) };
            Step { change, later, controller, restart }
        })
}

/// Every site, its gateway and a service first, so that much of what follows is accepted.
fn beginning() -> Vec<Change> {
    let mut text = Vec::new();
    for (n, site) in SITES.iter().enumerate() {
        let role = if site.starts_with('c') { "role: cloud" } else { "role: edge, hub: c1" };
        text.push(format!(
            "kind: Site\nmetadata: {{name: {site}, labels: {{t: '{}'}}}}\nspec: {{{role}, clientNetworks: \
             [10.0.0.0/24], presencePool: 10.0.0.192/26}}", n % 2
        ));
        text.push(format!(
            "kind: Gateway\nmetadata: {{name: {site}-gw}}\nspec: {{site: {site}, publicKey: \
             {n}p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, endpoints: ['192.0.2.{n}:1']}}"
        ));
        text.push(format!(
            "kind: Service\nmetadata: {{name: s0}}\nspec: {{site: {site}, ports: [tcp/1], backends: [{{address: \
             10.0.0.9}}]}}"
        ));
    }
    text.iter().map(|text| Change::Put(read_one(text).unwrap())).collect()
}

fn started(recorded: &Recorded) -> Desired {
    let mut desired = Desired::new(Deployment::default(), recorded.clone(), 0).unwrap();
    desired.change(beginning(), 0).unwrap_or_else(|problems| panic!("{}", said(&problems)));
    desired
}

/// A whole model of every site that has a gateway.
fn models(desired: &Desired) {
    for (name, site) in desired.deployment().sites() {
        let Some(gateway) = desired.deployment().gateway_of(name) else { continue };
        let mut facts = facts();
        facts.lans = vec![Lan {
            interface: "lan0".parse().unwrap(),
            mode: LanMode::Auto,
            networks: site.client_networks.indexed().map(|(network, _)| network).collect(),
        }];
        let share = desired.share(name).unwrap();
        assert_eq!(Share::decode(&share.encode()).as_ref(), Ok(share), "as octets");
        let draft = share.draft(&gateway.name, &facts).unwrap();
        if let Err(problems) = SiteModel::check(draft) {
            let shown: Vec<_> = problems.iter().map(|it| it.error.to_string()).collect();
            panic!("site {name}: {}", shown.join("\n"));
        }
    }
}

fn facts() -> LocalFacts {
    let text = include_str!("../../../policies/examples/three-sites/cloud.toml");
    LocalFacts::of(&gateway_control::site_file::parse(text).unwrap())
}

/// Numbers of one space that somebody holds: who, by their first and how many.
type Held = BTreeMap<(String, u32), (u32, String)>;

fn held(desired: &Desired) -> Held {
    let (deployment, recorded) = (desired.deployment(), desired.recorded());
    let mut held = Held::new();
    let mut hold = |space: String, first: u32, size: u32, holder: String| {
        assert!(held.insert((space, first), (size, holder)).is_none(), "one address twice");
    };
    for name in deployment.sites().keys() {
        let block = recorded.transit(name).unwrap().prefix();
        let size = u32::from(block.hostmask()) + 1;
        hold("transit".to_owned(), block.network().into(), size, name.to_string());
        for (net, stands) in recorded.presences_at(name) {
            let size = u32::from(net.hostmask()) + 1;
            hold(format!("presences {name}"), net.network().into(), size, stands.to_string());
        }
        for service in deployment.services_at(name) {
            let number = recorded.number(&service.id).unwrap().value();
            hold(format!("numbers {name}"), number, 1, service.id.to_string());
        }
    }
    held
}

/// Who had what last, and when that ended.
#[derive(Default)]
struct Audit {
    held: Held,
    freed: Vec<(String, u32, u32, String, u64)>,
}

impl Audit {
    fn look(&mut self, desired: &Desired, change: &Change, now: u64) {
        let new = held(desired);
        let mut last: Option<(&str, u32)> = None;
        for ((space, first), (size, holder)) in &new {
            let apart = last.is_none_or(|(before, end)| before != space.as_str() || end < *first);
            assert!(apart, "{space}: overlap at {first}");
            last = Some((space, first + (size - 1)));
            for (freed, low, length, before, at) in &self.freed {
                let meets = freed == space && *low < first + size && *first < low + length;
                if meets && before != holder {
                    assert!(
                        at + COOLING <= now,
                        "{space}: {holder} got {first} of {before} after {} s",
                        now - at
                    );
                }
            }
        }
        for (place, (size, holder)) in &self.held {
            if new.get(place).is_some_and(|(_, now)| now == holder) {
                continue;
            }
            let (space, first) = place.clone();
            let moved = new.iter().any(|((other, _), (_, it))| *other == space && it == holder);
            // What is still wanted moves only by a change of the site's plan or of the wish itself.
            let may_move =
                matches!(change.key(), Key::Site(_) | Key::Exposure(_) | Key::Service(_));
            assert!(!moved || may_move, "{space}: {holder} moved from {first} by {change:?}");
            self.freed.push((space, first, *size, holder.clone(), now));
        }
        self.held = new;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn shares_changed_step_by_step_are_those_computed_as_a_whole(
        steps in prop::collection::vec(step(), 1..60), from_nothing in prop::bool::weighted(0.3)
    ) {
        let mut desired = Desired::new(Deployment::default(), Recorded::new(COOLING), 0).unwrap();
        if !from_nothing {
            desired = started(&Recorded::new(COOLING));
        }
        let mut now = 0;
        for step in steps {
            now += step.later;
            let before = desired.clone();
            let preview = desired.preview(vec![step.change.clone()], now);
            prop_assert!(desired == before, "a preview left something behind");
            let diff = desired.change(vec![step.change.clone()], now);
            prop_assert_eq!(&diff, &preview);
            let Ok(diff) = diff else {
                prop_assert!(desired == before, "a refused change left something behind");
                continue;
            };
            let read = Recorded::read(COOLING, desired.recorded().records()).unwrap();
            let whole = Desired::new(desired.deployment().clone(), read, now);
            let whole = whole.unwrap_or_else(|problems| panic!("{}", said(&problems)));
            for site in SITES {
                let site = site.parse().unwrap();
                prop_assert_eq!(desired.share(&site), whole.share(&site));
                let told = diff.sites().any(|(name, _)| *name == site);
                prop_assert_eq!(told, before.share(&site) != desired.share(&site));
            }
            models(&desired);
        }
    }

    #[test]
    fn two_controllers_never_give_one_address_twice(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut store = Store::new();
        let mut controllers = [store.load(0), store.load(0)];
        let mut audit = Audit::default();
        audit.look(&controllers[0].1, &beginning()[0], 0);
        let mut now = 0;
        for step in steps {
            now += step.later;
            let controller = &mut controllers[usize::from(step.controller)];
            if step.restart {
                *controller = store.load(now);
            }
            // One that was overtaken loses what it computed and begins again from what is stored.
            let done = loop {
                let done = controller.1.change(vec![step.change.clone()], now).is_ok();
                if controller.0 == store.revision {
                    break done;
                }
                *controller = store.load(now);
            };
            if done {
                store.save(controller);
                audit.look(&controller.1, &step.change, now);
            }
        }
        let [one, other] = [store.load(now), store.load(now)];
        prop_assert!(one.1 == other.1);
    }
}

/// What both controllers share: resources and records as texts, and a revision.
struct Store {
    revision: u64,
    resources: Vec<String>,
    records: BTreeMap<String, String>,
}

impl Store {
    fn new() -> Self {
        let mut store = Self { revision: 0, resources: Vec::new(), records: BTreeMap::new() };
        store.save(&mut (0, started(&Recorded::new(COOLING))));
        store
    }

    fn load(&self, now: u64) -> (u64, Desired) {
        let mut deployment = Deployment::default();
        let resources = self.resources.iter().map(|text| Change::Put(read_one(text).unwrap()));
        deployment
            .apply(resources.collect())
            .unwrap_or_else(|problems| panic!("{}", said(&problems)));
        let records = self
            .records
            .iter()
            .map(|(key, record)| (key.parse().unwrap(), serde_json::from_str(record).unwrap()));
        let recorded = Recorded::read(COOLING, records).unwrap();
        let desired = Desired::new(deployment, recorded, now);
        (self.revision, desired.unwrap_or_else(|problems| panic!("{}", said(&problems))))
    }

    fn save(&mut self, (revision, desired): &mut (u64, Desired)) {
        self.revision += 1;
        *revision = self.revision;
        let resources = desired.deployment().resources();
        self.resources = resources.map(|it| serde_json::to_string(&it).unwrap()).collect();
        for key in desired.unsaved() {
            match desired.recorded().record(key) {
                Some(record) => {
                    let record = serde_json::to_string(&record).unwrap();
                    self.records.insert(key.to_string(), record);
                }
                None => {
                    self.records.remove(&key.to_string());
                }
            }
        }
        desired.saved();
        assert_eq!(self.records.len(), desired.recorded().records().count());
    }
}
