//! The site files of one deployment, and whether their gateways answer as expected.

use std::collections::BTreeMap;

use gateway_common::host::MemoryTables;
use gateway_common::map::{AllowKey, NameKey, NameKind, PortKey};
use gateway_common::tables::Tables as _;
use gateway_common::{Port, Protocol, Reason, TransitAddress};
use gateway_control::model::{RuleId, SiteModel, SiteName};
use gateway_control::site_file::{self, SiteFileError};
use gateway_control::{CompileError, Interface, compile};
use gateway_policy::{Client, Decision, DenyReason};

use crate::{Expectation, Target, Verdict};

/// One gateway for each site.
#[derive(Debug)]
pub struct Deployment(BTreeMap<SiteName, (SiteModel, MemoryTables)>);

/// Why site files make no deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// A site file is wrong.
    #[error(transparent)]
    SiteFile(#[from] SiteFileError),
    /// A model does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Two files are of one site.
    #[error("two site files are of site {0}; keep one")]
    SameSite(SiteName),
    /// A line about something that is not declared.
    #[error("line {line}: {name} is not declared where it is; correct the line or the site file")]
    Unknown {
        /// The line.
        line: usize,
        /// What it names.
        name: String,
    },
    /// A line that does not hold.
    #[error(
        "line {line}: {wanted} is expected, but the gateway of {site} says {by_tables} by its \
         tables, and of its rules decides: {by_rules}"
    )]
    Otherwise {
        /// The line.
        line: usize,
        /// Whose gateway was asked.
        site: SiteName,
        /// What was expected.
        wanted: Verdict,
        /// What the tables say.
        by_tables: Verdict,
        /// The rule that decides, or that there is none.
        by_rules: String,
    },
}

impl Deployment {
    /// Reads and compiles the site files of a deployment.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, DeploymentError> {
        let models = texts.into_iter().map(site_file::parse).collect::<Result<Vec<_>, _>>()?;
        Self::of(models)
    }

    /// Compiles the gateways of a deployment.
    pub fn of(models: impl IntoIterator<Item = SiteModel>) -> Result<Self, DeploymentError> {
        let mut gateways = BTreeMap::new();
        for model in models {
            let link = [model.link().interface.clone()];
            let far = model.host().map(|host| host.far_interface());
            let names = model.lans().iter().map(|lan| lan.interface.clone()).chain(link).chain(far);
            let interface = |index| Interface { index, mac: [0; 6], mtu: 1420 };
            let interfaces = (1..).zip(names).map(|(n, name)| (name, interface(n))).collect();
            let tables = MemoryTables::new(compile(&model, &interfaces)?, 0);
            let site = model.site().name.clone();
            if gateways.insert(site.clone(), (model, tables)).is_some() {
                return Err(DeploymentError::SameSite(site));
            }
        }
        Ok(Self(gateways))
    }

    /// Puts a line to the gateways at both ends.
    ///
    /// An expected permission must be given by both, by the same rule. An expected refusal must be
    /// for that reason at the client's gateway, and a refusal at the other. Rules and tables of each
    /// gateway must agree.
    pub fn check(&self, expected: &Expectation) -> Result<(), DeploymentError> {
        let (client, service) = self.transit_addresses(expected)?;
        for site in [&expected.site, &expected.service.site] {
            let (model, tables) = self.gateway(expected, site)?;
            let by_rules = by_rules(model, expected);
            let by_tables = by_tables(tables, expected, client, service);
            let agree = match &by_tables {
                Verdict::Allow(rule) => by_rules.as_ref() == Some(rule),
                Verdict::Deny(Reason::NoPolicy) => by_rules.is_none(),
                Verdict::Deny(_) => true,
            };
            let as_expected = match (&expected.verdict, &by_tables) {
                (Verdict::Deny(_), Verdict::Deny(_)) if *site != expected.site => true,
                (wanted, found) => wanted == found,
            };
            if !agree || !as_expected {
                return Err(DeploymentError::Otherwise {
                    line: expected.line,
                    site: site.clone(),
                    wanted: expected.verdict.clone(),
                    by_tables,
                    by_rules: by_rules.map_or("none".to_owned(), |rule| rule.to_string()),
                });
            }
        }
        Ok(())
    }

    /// The client's and the service's, as their own sites' gateways make them.
    fn transit_addresses(
        &self,
        asked: &Expectation,
    ) -> Result<(TransitAddress, TransitAddress), DeploymentError> {
        let (model, _) = self.gateway(asked, &asked.site)?;
        let client = model
            .client_networks()
            .index(asked.client)
            .and_then(|index| model.site().transit.client(u32::try_from(index).ok()?));
        let (model, _) = self.gateway(asked, &asked.service.site)?;
        let service = model.local_services().iter().find(|service| service.id == asked.service);
        let unknown = |name: String| DeploymentError::Unknown { line: asked.line, name };
        Ok((
            client
                .ok_or_else(|| unknown(format!("client {} of {}", asked.client, asked.site)))?
                .into(),
            service.ok_or_else(|| unknown(format!("service {}", asked.service)))?.transit.into(),
        ))
    }

    fn gateway(
        &self,
        asked: &Expectation,
        site: &SiteName,
    ) -> Result<&(SiteModel, MemoryTables), DeploymentError> {
        let unknown =
            || DeploymentError::Unknown { line: asked.line, name: format!("site {site}") };
        self.0.get(site).ok_or_else(unknown)
    }
}

fn by_rules(model: &SiteModel, asked: &Expectation) -> Option<RuleId> {
    let client = Client { site: &asked.site, address: asked.client };
    match model.rules().decide(client, &asked.service) {
        Decision::Allow { rule } => Some(rule.clone()),
        Decision::Deny { reason: DenyReason::NoPolicy } => None,
    }
}

fn by_tables(
    tables: &MemoryTables,
    asked: &Expectation,
    client: TransitAddress,
    service: TransitAddress,
) -> Verdict {
    let Target { protocol, port } = asked.target;
    let port = PortKey::exact(service, Protocol(protocol), Port::new(port));
    if tables.service(service).is_none() {
        return Verdict::Deny(Reason::NoService);
    }
    let Some(allow) = tables.allow(&AllowKey::exact(service, client)) else {
        return Verdict::Deny(Reason::NoPolicy);
    };
    if tables.port(&port).is_none() {
        return Verdict::Deny(Reason::PortNotServed);
    }
    let name = tables.desired.name(NameKey::new(NameKind::Rule, allow.rule));
    Verdict::Allow(name.parse().expect("every rule in the tables is named by its id"))
}
