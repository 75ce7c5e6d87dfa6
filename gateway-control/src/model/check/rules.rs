//! Rules: each about known sites and services, and about clients that can exist.

use std::collections::BTreeSet;

use gateway_common::map::{self, Map};
use ipnet::Ipv4Net;

use super::sites::{Names, Which};
use super::{Networks, Problems};
use crate::model::{
    AllowRule, ClientNetworks, Clients, ModelError, Place, RuleSet, ServiceId, SiteDraft, Table,
    TransitBlock,
};
use crate::prefixes::client_prefixes;

pub(super) fn check(
    draft: &SiteDraft,
    names: &Names,
    networks: Option<&Networks>,
    problems: &mut Problems,
) -> Option<RuleSet> {
    let services: BTreeSet<&ServiceId> = draft.services.iter().map(|service| &service.id).collect();
    let mut entries = 0;
    let mut full = false;
    for (index, rule) in draft.allows.iter().enumerate() {
        let place = Place::whole(Table::Allow, index);
        let (from, to) = (names.get(&rule.subject.site), names.get(&rule.service.site));
        for (site, known, field) in
            [(&rule.subject.site, from, "from"), (&rule.service.site, to, "to")]
        {
            if known.is_none() {
                problems.push(
                    place.field(field),
                    ModelError::RuleSiteUnknown { rule: rule.id.clone(), site: site.clone() },
                );
            }
        }
        let (Some(from), Some(to)) = (from, to) else { continue };
        // Between two other sites their gateways know the service and the clients; this one need not.
        if *from != Which::Here && *to != Which::Here {
            continue;
        }
        if !services.contains(&rule.service) {
            problems.push(
                place.field("to"),
                ModelError::RuleServiceUnknown {
                    rule: rule.id.clone(),
                    service: rule.service.clone(),
                },
            );
        }
        let Some((block, networks)) = clients_of(draft, *from, networks) else { continue };
        if clients(draft, rule, *from, networks, place, problems) {
            entries += client_prefixes(&rule.subject.clients, block, networks).count();
        }
        if entries > map::Allows::CAPACITY as usize && !full {
            full = true;
            problems.push(
                place,
                ModelError::TooManyClients {
                    rule: rule.id.clone(),
                    count: entries,
                    most: map::Allows::CAPACITY,
                },
            );
        }
    }
    match RuleSet::new(draft.allows.clone()) {
        Ok(rules) => Some(rules),
        Err(errors) => {
            for error in errors {
                problems.push(Place::whole(Table::Allow, error.index()).field("id"), error);
            }
            None
        }
    }
}

fn clients_of<'a>(
    draft: &SiteDraft,
    site: Which,
    networks: Option<&'a Networks>,
) -> Option<(TransitBlock, &'a ClientNetworks)> {
    let networks = networks?;
    match site {
        Which::Here => Some((draft.site.transit, &networks.own)),
        Which::Remote(index) => {
            Some((draft.remote_sites.get(index)?.transit, networks.remote.get(index)?))
        }
    }
}

/// Whether every prefix of the rule has clients.
fn clients(
    draft: &SiteDraft,
    rule: &AllowRule,
    from: Which,
    networks: &ClientNetworks,
    place: Place,
    problems: &mut Problems,
) -> bool {
    let Clients::In(prefixes) = &rule.subject.clients else { return true };
    let before = problems.0.len();
    for (n, prefix) in prefixes.iter().enumerate() {
        let place = place.field("clients").item(n);
        if let Some(error) = client_prefix(draft, rule, from, networks, *prefix) {
            problems.push(place, error);
        }
    }
    problems.0.len() == before
}

fn client_prefix(
    draft: &SiteDraft,
    rule: &AllowRule,
    from: Which,
    networks: &ClientNetworks,
    clients: Ipv4Net,
) -> Option<ModelError> {
    let pool = draft.site.presence_pool;
    if from == Which::Here && pool.prefix().contains(&clients) {
        return Some(ModelError::RuleClientsInPool { rule: rule.id.clone(), clients, pool });
    }
    networks.first_index(clients).is_none().then(|| ModelError::RuleClientsOutside {
        rule: rule.id.clone(),
        clients,
        site: rule.subject.site.clone(),
        remedy: match from {
            Which::Here => "`networks` of a [[lan]]",
            Which::Remote(_) => "`client_networks` of its [[remote_site]]",
        },
    })
}
