//! Where in a deployment a page of its resources begins, so that a list in pages costs no more than one as a
//! whole. [`Deployment::resources_behind`] calls it.

use std::collections::BTreeMap;
use std::ops::Bound;

use gateway_policy::{ServiceName, SiteName};

use super::Deployment;
use crate::model::GatewayName;
use crate::resource::{ExposureName, Key, PolicyName, Resource, TokenName};

/// Where each kind begins; `None` for those that lie before.
pub(super) struct Behind {
    sites: Option<Bound<SiteName>>,
    gateways: Option<Bound<GatewayName>>,
    services: Option<Bound<(SiteName, ServiceName)>>,
    exposures: Option<Bound<ExposureName>>,
    policies: Option<Bound<PolicyName>>,
    tokens: Option<Bound<TokenName>>,
}

impl Behind {
    pub(super) fn new(key: &Key) -> Self {
        let mut behind = Self {
            sites: None,
            gateways: Some(Bound::Unbounded),
            services: Some(Bound::Unbounded),
            exposures: Some(Bound::Unbounded),
            policies: Some(Bound::Unbounded),
            tokens: Some(Bound::Unbounded),
        };
        match key {
            Key::Site(name) => behind.sites = Some(Bound::Excluded(name.clone())),
            Key::Gateway(name) => behind.gateways = Some(Bound::Excluded(name.clone())),
            Key::Service(id) => {
                behind.gateways = None;
                behind.services = Some(Bound::Excluded((id.site.clone(), id.name.clone())));
            }
            Key::Exposure(name) => {
                (behind.gateways, behind.services) = (None, None);
                behind.exposures = Some(Bound::Excluded(name.clone()));
            }
            Key::Policy(name) => {
                (behind.gateways, behind.services, behind.exposures) = (None, None, None);
                behind.policies = Some(Bound::Excluded(name.clone()));
            }
            Key::Token(name) => {
                (behind.gateways, behind.services, behind.exposures) = (None, None, None);
                behind.policies = None;
                behind.tokens = Some(Bound::Excluded(name.clone()));
            }
        }
        behind
    }

    pub(super) fn resources(self, of: &Deployment) -> impl Iterator<Item = Resource> + '_ {
        let sites = from(&of.sites, self.sites).cloned().map(Resource::Site);
        let gateways = from(&of.gateways, self.gateways).cloned().map(Resource::Gateway);
        // The site's own services first, then those of the sites behind it.
        let (own, others) = match self.services {
            Some(Bound::Excluded((site, name))) => {
                let own = of.services.get(&site).map(|own| from(own, Some(Bound::Excluded(name))));
                (own, Some(Bound::Excluded(site)))
            }
            whole => (None, whole.map(|_| Bound::Unbounded)),
        };
        let others = from(&of.services, others).flat_map(BTreeMap::values);
        let services = own.into_iter().flatten().chain(others).cloned().map(Resource::Service);
        let exposures = from(&of.exposures, self.exposures).cloned().map(Resource::Exposure);
        let policies = from(&of.policies, self.policies).cloned().map(Resource::Policy);
        let tokens = from(&of.tokens, self.tokens).cloned().map(Resource::Token);
        sites.chain(gateways).chain(services).chain(exposures).chain(policies).chain(tokens)
    }
}

/// The values from a key on; none if there is no bound.
fn from<K: Ord, V>(map: &BTreeMap<K, V>, bound: Option<Bound<K>>) -> impl Iterator<Item = &V> {
    let range = bound.map(|bound| map.range((bound, Bound::Unbounded)));
    range.into_iter().flatten().map(|(_, value)| value)
}
