//! A checked set of allow rules and the decision it gives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::{AllowRule, Clients, RuleId, ServiceId, SiteName};

/// Allow rules in the order the operator wrote them. Two of one id are about one service and the clients of
/// two sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet(Vec<AllowRule>);

impl RuleSet {
    /// Checks the rules against each other; every fault found is in the error.
    pub fn new(rules: Vec<AllowRule>) -> Result<Self, Vec<RuleSetError>> {
        let mut seen: BTreeMap<&RuleId, (&ServiceId, BTreeSet<&SiteName>)> = BTreeMap::new();
        let mut errors = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            // One id may stand for the clients of several sites, as where they are selected by labels.
            let (service, sites) =
                seen.entry(&rule.id).or_insert_with(|| (&rule.service, BTreeSet::new()));
            if *service != &rule.service || !sites.insert(&rule.subject.site) {
                errors.push(RuleSetError::DuplicateId { index, id: rule.id.clone() });
            }
            if matches!(&rule.subject.clients, Clients::In(prefixes) if prefixes.is_empty()) {
                errors.push(RuleSetError::NoClients { index, id: rule.id.clone() });
            }
        }
        drop(seen);
        if errors.is_empty() { Ok(Self(rules)) } else { Err(errors) }
    }

    /// The rules, in the operator's order.
    pub fn rules(&self) -> &[AllowRule] {
        &self.0
    }

    /// Whether `client` may use `service`, and by which rule.
    ///
    /// Of several rules that allow it, the one with the most specific prefix is named; among
    /// equals, the first. A rule without prefixes is less specific than any with.
    pub fn decide(&self, client: Client<'_>, service: &ServiceId) -> Decision<'_> {
        let mut best: Option<(Specificity, &RuleId)> = None;
        for rule in self.0.iter().filter(|rule| rule.service == *service) {
            let Some(found) = client.matched_by(rule) else { continue };
            if best.is_none_or(|(held, _)| found > held) {
                best = Some((found, &rule.id));
            }
        }
        match best {
            Some((_, rule)) => Decision::Allow { rule },
            None => Decision::Deny { reason: DenyReason::NoPolicy },
        }
    }
}

/// Who asks: an address of a site, as that site writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The site the client is in.
    pub site: &'a SiteName,
    /// Its own address there.
    pub address: Ipv4Addr,
}

/// `None`: the whole site; else the prefix length.
type Specificity = Option<u8>;

impl Client<'_> {
    fn matched_by(&self, rule: &AllowRule) -> Option<Specificity> {
        if rule.subject.site != *self.site {
            return None;
        }
        match &rule.subject.clients {
            Clients::All => Some(None),
            Clients::In(prefixes) => prefixes
                .iter()
                .filter(|prefix| prefix.contains(&self.address))
                .map(|prefix| prefix.prefix_len())
                .max()
                .map(Some),
        }
    }
}

/// What a [`RuleSet`] says about one client and one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Allowed.
    Allow {
        /// The rule that determined it.
        rule: &'a RuleId,
    },
    /// Refused.
    Deny {
        /// Why.
        reason: DenyReason,
    },
}

/// Why a [`RuleSet`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// No rule allows it.
    NoPolicy,
}

/// What is wrong with a set of rules. `index` counts from 0 in the order given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetError {
    /// Two rules share an id and are not about one service and two sites.
    #[error("rule {id}: another rule has this id already; give each rule an id of its own")]
    DuplicateId {
        /// The later rule.
        index: usize,
        /// Their id.
        id: RuleId,
    },
    /// The list of client prefixes is there and empty.
    #[error(
        "rule {id}: its list of clients is empty, so it would allow nobody; name a prefix, or \
         leave the list out to allow the whole site"
    )]
    NoClients {
        /// The rule.
        index: usize,
        /// Its id.
        id: RuleId,
    },
}

impl RuleSetError {
    /// Which rule of the list it is about.
    pub fn index(&self) -> usize {
        match self {
            Self::DuplicateId { index, .. } | Self::NoClients { index, .. } => *index,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Subject;

    fn rule(id: &str, site: &str, clients: &[&str], service: &str) -> AllowRule {
        let clients = match clients {
            [] => Clients::All,
            some => Clients::In(some.iter().map(|p| p.parse().unwrap()).collect()),
        };
        AllowRule {
            id: id.parse().unwrap(),
            subject: Subject { site: site.parse().unwrap(), clients },
            service: service.parse().unwrap(),
        }
    }

    fn decide(rules: &RuleSet, site: &str, address: &str, service: &str) -> Option<String> {
        let site = site.parse().unwrap();
        let client = Client { site: &site, address: address.parse().unwrap() };
        match rules.decide(client, &service.parse().unwrap()) {
            Decision::Allow { rule } => Some(rule.to_string()),
            Decision::Deny { reason: DenyReason::NoPolicy } => None,
        }
    }

    #[test]
    fn decisions() {
        let rules = RuleSet::new(vec![
            rule("site", "edge-a", &[], "rabbitmq.cloud"),
            rule("wide", "edge-a", &["10.0.0.0/28"], "rabbitmq.cloud"),
            rule("wide-again", "edge-a", &["10.0.0.0/28"], "rabbitmq.cloud"),
            rule("host", "edge-a", &["10.0.0.5/32", "10.0.0.64/26"], "rabbitmq.cloud"),
            rule("one", "edge-b", &["10.0.0.5/32"], "dns.cloud"),
        ])
        .unwrap();
        let cases = [
            ("edge-a", "10.0.0.5", "rabbitmq.cloud", Some("host")),
            ("edge-a", "10.0.0.70", "rabbitmq.cloud", Some("host")),
            ("edge-a", "10.0.0.6", "rabbitmq.cloud", Some("wide")),
            ("edge-a", "10.0.0.200", "rabbitmq.cloud", Some("site")),
            ("edge-a", "10.0.0.5", "dns.cloud", None),
            ("edge-b", "10.0.0.5", "dns.cloud", Some("one")),
            ("edge-b", "10.0.0.6", "dns.cloud", None),
            ("edge-b", "10.0.0.5", "rabbitmq.cloud", None),
            ("edge-b", "10.0.0.5", "dns.edge-b", None),
        ];
        for (site, address, service, expected) in cases {
            assert_eq!(
                decide(&rules, site, address, service).as_deref(),
                expected,
                "{address} of {site} to {service}"
            );
        }
    }

    #[test]
    fn faults_are_all_reported() {
        let mut nobody = rule("b", "edge-a", &[], "dns.cloud");
        nobody.subject.clients = Clients::In(Vec::new());
        let rules =
            vec![rule("a", "edge-a", &[], "dns.cloud"), nobody, rule("a", "x", &[], "y.cloud")];
        let errors = RuleSet::new(rules).unwrap_err();
        assert_eq!(errors.iter().map(RuleSetError::index).collect::<Vec<_>>(), [1, 2]);
        assert!(matches!(errors[0], RuleSetError::NoClients { .. }));
        assert!(matches!(errors[1], RuleSetError::DuplicateId { .. }));
    }

    #[test]
    fn one_id_stands_for_the_clients_of_several_sites() {
        let several = vec![
            rule("edges", "edge-a", &[], "dns.cloud"),
            rule("edges", "edge-b", &["10.0.0.0/28"], "dns.cloud"),
        ];
        let rules = RuleSet::new(several.clone()).unwrap();
        assert_eq!(decide(&rules, "edge-b", "10.0.0.5", "dns.cloud").as_deref(), Some("edges"));
        let again = [several, vec![rule("edges", "edge-a", &[], "dns.cloud")]].concat();
        assert_eq!(RuleSet::new(again).unwrap_err()[0].index(), 2);
    }

    proptest! {
        /// Of nested prefixes in any order, the longest that holds the client is named.
        #[test]
        fn most_specific_wins(lengths in prop::collection::vec(0u8..=32, 1..8), host: u32) {
            let address = Ipv4Addr::from(host);
            let rules = lengths
                .iter()
                .enumerate()
                .map(|(n, length)| {
                    let prefix = ipnet::Ipv4Net::new(address, *length).unwrap().trunc();
                    rule(&format!("r{n}"), "edge-a", &[&prefix.to_string()], "dns.cloud")
                })
                .collect();
            let rules = RuleSet::new(rules).unwrap();
            let longest = lengths.iter().max().unwrap();
            let first = lengths.iter().position(|length| length == longest).unwrap();
            prop_assert_eq!(
                decide(&rules, "edge-a", &address.to_string(), "dns.cloud"),
                Some(format!("r{first}"))
            );
        }
    }
}
