//! From a declaration to a model: everything that concerns more than one value.

mod exposures;
mod host;
mod peers;
mod rules;
mod services;
mod sites;

use super::{ClientNetworks, ModelError, Place, RemoteSite, SiteDraft, SiteModel};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the declaration.
    pub place: Place,
    /// What.
    pub error: ModelError,
}

/// Every problem found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn push(&mut self, place: Place, error: impl Into<ModelError>) {
        self.0.push(Problem { place, error: error.into() });
    }
}

impl SiteModel {
    /// Checks a declaration as a whole. On failure, every problem found is in the error.
    pub fn check(draft: SiteDraft) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let names = sites::names(&draft, &mut problems);
        sites::blocks(&draft, &mut problems);
        sites::presence_pool(&draft, &mut problems);
        peers::interfaces(&draft, &mut problems);
        peers::next(&draft, &mut problems);
        let networks = sites::networks(&draft, &mut problems);
        host::check(&draft, networks.as_ref(), &mut problems);
        let reached = peers::reached(&draft, &names, &mut problems);
        let (local_services, remote_services) =
            services::check(&draft, &names, networks.as_ref(), &mut problems);
        exposures::check(&draft, &names, networks.as_ref(), &mut problems);
        let rules = rules::check(&draft, &names, networks.as_ref(), &mut problems);

        let (Some(networks), Some(rules)) = (networks, rules) else { return Err(problems.0) };
        let mut remote_sites = Vec::new();
        for (site, client_networks) in draft.remote_sites.into_iter().zip(networks.remote) {
            let Some(via) = reached.get(&site.name) else { continue };
            remote_sites.push(RemoteSite {
                name: site.name,
                transit: site.transit,
                client_networks,
                via: via.clone(),
            });
        }
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let remote_index = remote_sites
            .iter()
            .enumerate()
            .map(|(index, site)| (site.name.clone(), index))
            .collect();
        Ok(Self {
            transit_pool: draft.transit_pool,
            gateway: draft.gateway,
            site: draft.site,
            lans: draft.lans,
            client_networks: networks.own,
            host: draft.host,
            link: draft.link,
            peers: draft.peers,
            remote_sites,
            remote_index,
            local_services,
            remote_services,
            rules,
            flows: draft.flows,
        })
    }
}

/// The client networks of all sites; `remote` in the order of the declaration.
struct Networks {
    own: ClientNetworks,
    remote: Vec<ClientNetworks>,
}
