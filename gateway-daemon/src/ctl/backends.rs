//! `gatewayctl backend list`: the hosts that serve this site's services, how they are and what they get.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gateway_common::desired::Tables;
use gateway_common::map::{BackendKey, BackendState, Flow, FlowKey, ServiceKind};
use gateway_control::model::SiteModel;
use serde::Serialize;

use super::names::service_name;
use super::print::{Answer, or_dash, seconds, table};
use crate::health::Account;

const UNANSWERED: &str = "nobody on the LAN answers for its address";

/// Back ends, by service.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Backends(Vec<Row>);

/// One back end of one service.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The service, as `SERVICE.SITE`.
    pub service: String,
    /// The host.
    pub address: Ipv4Addr,
    /// Its weight, if there is a record of the site file in force.
    pub weight: Option<u32>,
    /// `active`, `draining`, `down` or `unreachable`.
    pub state: &'static str,
    /// Why.
    pub why: String,
    /// For how long, if that is known, in seconds.
    pub since_seconds: Option<u64>,
    /// Its health check, if it has one.
    pub health: Option<String>,
    /// Flows it serves.
    pub flows: usize,
    /// Its slots.
    pub slots: usize,
    /// All slots of the service.
    pub slots_of_service: usize,
}

/// What is known beside the tables.
pub(crate) struct Known<'a> {
    /// The site file in force.
    pub model: Option<&'a SiteModel>,
    /// What the daemon wrote down.
    pub account: &'a Account,
    /// Whom the kernel asks for in vain.
    pub unresolved: &'a BTreeSet<Ipv4Addr>,
    /// Seconds since 1970.
    pub now: u64,
}

impl Backends {
    /// The back ends of `tables`, with these flows.
    pub(crate) fn of(tables: &Tables, flows: &[(FlowKey, Flow)], known: &Known<'_>) -> Self {
        let mut serving: BTreeMap<BackendKey, usize> = BTreeMap::new();
        for (key, flow) in flows {
            *serving
                .entry(BackendKey { service: key.service, address: flow.service })
                .or_default() += 1;
        }
        let rows = tables.backends.iter().map(|(key, backend)| {
            let flows = serving.get(key).copied().unwrap_or(0);
            Row::of(tables, *key, backend.state(), flows, known)
        });
        Self(rows.collect())
    }

    /// How many there are, and how many of them get new flows and are reachable.
    pub(crate) fn summary(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|row| row.state == "active").count())
    }

    /// Those that should serve and do not: address, state and why, with their services.
    pub(crate) fn troubled(&self) -> BTreeMap<(Ipv4Addr, &'static str, &str), Vec<&str>> {
        let mut troubled: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for row in self.0.iter().filter(|row| matches!(row.state, "down" | "unreachable")) {
            let trouble = (row.address, row.state, row.why.as_str());
            troubled.entry(trouble).or_default().push(&row.service);
        }
        troubled
    }

    /// Services none of whose back ends gets new flows.
    pub(crate) fn unserved(&self) -> BTreeSet<&str> {
        let rows = self.0.iter().filter(|row| row.slots_of_service == 0);
        rows.map(|row| row.service.as_str()).collect()
    }
}

impl Row {
    fn of(
        tables: &Tables,
        key: BackendKey,
        state: BackendState,
        flows: usize,
        known: &Known<'_>,
    ) -> Self {
        let address = Ipv4Addr::from(key.address);
        let (slots, slots_of_service) = slots(tables, key);
        let services = known.model.into_iter().flat_map(SiteModel::local_services);
        let service = services.into_iter().find(|it| it.transit == Ipv4Addr::from(key.service));
        let declared =
            service.and_then(|it| it.backends.iter().find(|backend| backend.address == address));
        let judged = known.account.of(&key);
        let since = |at: u64| known.now.saturating_sub(at);
        let judged_since = judged.map(|it| since(it.since));
        let unreachable = known.unresolved.contains(&address);
        let (state, why, since_seconds) = match state {
            BackendState::Draining => {
                let why = match flows {
                    0 => "no flow is left: remove it from the site file".to_owned(),
                    _ if unreachable => format!("gets no new flows; {UNANSWERED}"),
                    _ => "gets no new flows; its own go on".to_owned(),
                };
                ("draining", why, None)
            }
            BackendState::Down => {
                let why = judged.map_or("its health check fails", |it| it.why.as_str());
                let why = if unreachable { format!("{why}; {UNANSWERED}") } else { why.to_owned() };
                ("down", why, judged_since)
            }
            BackendState::Active if unreachable => {
                let at = known.account.unreachable.get(&address).map(|at| since(*at));
                ("unreachable", UNANSWERED.to_owned(), at)
            }
            BackendState::Active => {
                let why = judged.map_or("not checked", |it| it.why.as_str());
                ("active", why.to_owned(), judged_since)
            }
        };
        Self {
            service: service_name(tables, key.service),
            address,
            weight: declared.map(|backend| backend.weight.number()),
            state,
            why,
            since_seconds,
            health: service.and_then(|it| it.health.as_ref()).map(|it| it.probe.to_string()),
            flows,
            slots,
            slots_of_service,
        }
    }
}

/// How many slots a back end has, and its service.
fn slots(tables: &Tables, key: BackendKey) -> (usize, usize) {
    let Some(service) = tables.services.get(&key.service) else { return (0, 0) };
    let ServiceKind::Here { first, count } = service.kind() else { return (0, 0) };
    let run = tables.slots.range(first..first.saturating_add(count));
    let own = run.clone().filter(|(_, address)| **address == key.address).count();
    (own, run.count())
}

impl Answer for Backends {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            let share = (row.slots * 100).checked_div(row.slots_of_service).unwrap_or(0);
            [
                row.service.clone(),
                row.address.to_string(),
                or_dash(row.weight),
                row.state.to_owned(),
                or_dash(row.since_seconds.map(seconds)),
                format!("{share}%"),
                row.flows.to_string(),
                or_dash(row.health.as_ref()),
                row.why.clone(),
            ]
        });
        let heading =
            ["service", "backend", "weight", "state", "since", "share", "flows", "health", "why"];
        table(heading, rows, "no services at this site")
    }
}

#[cfg(test)]
mod tests {
    use gateway_common::map::{Backend, Service};

    use super::super::sample;
    use super::*;

    fn rows(tables: &Tables, unresolved: &BTreeSet<Ipv4Addr>, account: &Account) -> Backends {
        let model = sample::model();
        let known = Known { model: Some(&model), account, unresolved, now: 1000 };
        Backends::of(tables, &[], &known)
    }

    #[test]
    fn states_are_told_with_their_reasons() {
        let mut tables = sample::tables();
        let (key, host) =
            tables.backends.first_key_value().map(|(key, _)| (*key, key.address)).unwrap();
        let found = rows(&tables, &BTreeSet::new(), &Account::default());
        assert_eq!(found.0.len(), 1);
        assert_eq!(
            (found.0[0].state, found.0[0].slots, found.0[0].slots_of_service),
            ("active", 1, 1)
        );
        assert_eq!((found.0[0].service.as_str(), found.0[0].weight), ("agent.edge-a", Some(1)));
        assert!(found.text().contains("100%"), "{}", found.text());

        let gone = [Ipv4Addr::from(host)].into();
        let account =
            Account { unreachable: [(Ipv4Addr::from(host), 940)].into(), ..Account::default() };
        let found = rows(&tables, &gone, &account);
        assert_eq!((found.0[0].state, found.0[0].since_seconds), ("unreachable", Some(60)));
        let trouble = (Ipv4Addr::from(host), "unreachable", UNANSWERED);
        assert_eq!(found.troubled(), [(trouble, vec!["agent.edge-a"])].into());
        assert_eq!((found.summary(), found.unserved()), ((1, 0), [].into()));

        let none = Service::new(ServiceKind::Here { first: 0, count: 0 });
        tables.services.insert(key.service, none);
        tables.backends.insert(key, Backend::new(BackendState::Down));
        let found = rows(&tables, &gone, &account);
        assert_eq!((found.0[0].state, found.0[0].slots_of_service), ("down", 0));
        assert_eq!(found.0[0].why, format!("its health check fails; {UNANSWERED}"));
        assert_eq!(rows(&tables, &BTreeSet::new(), &account).0[0].why, "its health check fails");
        assert_eq!(found.unserved(), ["agent.edge-a"].into());
        tables.backends.insert(key, Backend::new(BackendState::Draining));
        let found = rows(&tables, &gone, &account);
        assert!(found.0[0].state == "draining" && found.0[0].why.contains("remove it"));
        assert!(rows(&Tables::default(), &gone, &account).text().contains("no services"));
    }
}
