//! Large deployments for the benchmarks of the control plane, by their resources.
//!
//! One hub, the other sites edges with a /24 of clients each.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use gateway_control::deployment::Change;
use gateway_control::model::PublicKey;
use gateway_control::resource::read_one;

/// How large a deployment is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Sites, the hub among them.
    pub sites: usize,
    /// Services: every tenth the hub's, the others spread over the edges.
    pub services: usize,
    /// Rules that each let one edge use one service, which is exposed to it.
    pub rules: usize,
}

impl Size {
    /// All that is declared.
    pub fn changes(self) -> Result<Vec<Change>> {
        let mut changes = sites(self.sites, "")?;
        for n in 0..self.services {
            changes.push(self.service(n, 9)?);
        }
        let mut exposed = BTreeSet::new();
        for n in 0..self.rules {
            let (edge, service) = self.pair(n);
            let is_own = service.ends_with(&format!(".{edge}"));
            if !is_own && exposed.insert((edge.clone(), service.clone())) {
                changes.push(exposure(&format!("x{n}"), &service, &edge)?);
            }
            changes.push(rule(&format!("p{n}"), &edge, &service)?);
        }
        Ok(changes)
    }

    /// A gateway for each site; the hub's is dialled.
    pub fn gateways(self) -> Result<Vec<Change>> {
        let edges = (0..self.sites - 1).map(|n| format!("e{n}"));
        let gateway = |(n, site): (u32, String)| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            let endpoints = if n == 0 { ", endpoints: ['192.0.2.1:51820']" } else { "" };
            put(&format!(
                "kind: Gateway\nmetadata: {{name: g{n}}}\nspec: {{site: {site}, publicKey: '{}'{endpoints}}}",
                PublicKey::from(key)
            ))
        };
        (0..).zip(std::iter::once("hub".to_owned()).chain(edges)).map(gateway).collect()
    }

    /// A service with a back end of this number.
    pub fn service(self, n: usize, backend: usize) -> Result<Change> {
        put(&format!(
            "kind: Service\nmetadata: {{name: s{n}}}\nspec: {{site: {}, ports: [tcp/80], backends: [{{address: \
             10.0.0.{backend}}}]}}",
            self.at(n)
        ))
    }

    /// Which edge and which service a rule is about; numbers without a common divisor spread them.
    pub fn pair(self, rule: usize) -> (String, String) {
        let service = rule * 7 % self.services;
        (format!("e{}", rule * 31 % (self.sites - 1)), format!("s{service}.{}", self.at(service)))
    }

    fn at(self, service: usize) -> String {
        match service.is_multiple_of(10) {
            true => "hub".to_owned(),
            false => format!("e{}", service % (self.sites - 1)),
        }
    }
}

/// A hub with a thousand edges, a hundred services of it that are exposed to all of them, and so many policies,
/// each for another pair.
pub fn policies(count: usize) -> Result<Vec<Change>> {
    let mut changes = sites(EDGES + 1, ", labels: {tier: edge}")?;
    for n in 0..SERVICES {
        changes.push(put(&format!(
            "kind: Service\nmetadata: {{name: s{n}}}\nspec: {{site: hub, ports: [tcp/80], backends: [{{address: \
             10.0.0.9}}]}}"
        ))?);
        changes.push(put(&format!(
            "kind: Exposure\nmetadata: {{name: x{n}}}\nspec: {{service: s{n}.hub, to: {{labels: {{tier: edge}}}}}}"
        ))?);
    }
    for n in 0..count {
        changes.push(policy(n, n / EDGES % SERVICES)?);
    }
    Ok(changes)
}

/// One of [`policies`], about this service.
pub fn policy(n: usize, service: usize) -> Result<Change> {
    rule(&format!("p{n}"), &format!("e{}", n % EDGES), &format!("s{service}.hub"))
}

const EDGES: usize = 1000;
const SERVICES: usize = 100;

/// A policy of one rule.
pub fn rule(name: &str, edge: &str, service: &str) -> Result<Change> {
    put(&format!(
        "kind: Policy\nmetadata: {{name: {name}}}\nspec: {{rules: [{{from: {{site: {edge}}}, to: {service}}}]}}"
    ))
}

/// An exposure to one site.
pub fn exposure(name: &str, service: &str, edge: &str) -> Result<Change> {
    put(&format!(
        "kind: Exposure\nmetadata: {{name: {name}}}\nspec: {{service: {service}, to: {{sites: [{edge}]}}}}"
    ))
}

fn sites(count: usize, labels: &str) -> Result<Vec<Change>> {
    let site = |name: &str, labels: &str, role: &str| {
        put(&format!(
            "kind: Site\nmetadata: {{name: {name}{labels}}}\nspec: {{role: {role}, clientNetworks: [10.0.0.0/24], \
             presencePool: 10.1.0.0/16}}"
        ))
    };
    let edges = (0..count - 1).map(|n| site(&format!("e{n}"), labels, "edge"));
    [site("hub", "", "cloud")].into_iter().chain(edges).collect()
}

fn put(text: &str) -> Result<Change> {
    read_one(text).map(Change::Put).map_err(|error| anyhow!("{error}\n{text}"))
}
