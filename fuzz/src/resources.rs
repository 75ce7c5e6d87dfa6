//! Resources: from any bytes to a deployment, each gateway's share and its model.

use gateway_control::deployment::allocation::Recorded;
use gateway_control::deployment::share::LocalFacts;
use gateway_control::deployment::{Change, Deployment, Desired};
use gateway_control::model::{Lan, LanMode, ModelError, SiteModel};
use gateway_control::resource::{Resource, read, read_one};
use gateway_control::site_file;

const HUB: &str = include_str!("../../policies/examples/three-sites/cloud.toml");

/// Reads `data` as resources and applies them to an empty deployment.
///
/// # Panics
///
/// If a refused text has no fault to show, a resource does not read back as it was written, a refused
/// change leaves something behind, or a gateway's share makes no model.
pub fn resources(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let declared = match read(text) {
        Ok(declared) => declared,
        Err(error) => {
            assert!(!error.faults().is_empty(), "refused without a fault");
            assert!(error.to_string().contains('^'), "a fault shows no place");
            return;
        }
    };
    let resources: Vec<Resource> = declared.into_iter().map(|it| it.resource).collect();
    resources.iter().for_each(reads_back);
    let nothing = Desired::new(Deployment::default(), Recorded::default(), 0);
    let nothing = nothing.expect("an empty deployment wants nothing");
    let mut desired = nothing.clone();
    match desired.change(resources.iter().cloned().map(Change::Put).collect(), 0) {
        Ok(diff) => {
            assert_eq!(diff.is_empty(), resources.is_empty(), "{diff}");
            models(&desired);
            let all = resources.iter().map(|it| Change::Delete(it.key())).collect();
            desired.change(all, 0).expect("all together depend on nothing else");
            assert!(desired.deployment() == nothing.deployment(), "something is left");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a problem");
            assert!(desired == nothing, "a refused change left something behind");
        }
    }
}

fn reads_back(resource: &Resource) {
    let json = serde_json::to_string(resource).expect("a resource is text all through");
    match read_one(&json) {
        Ok(read) => assert_eq!(read, *resource, "it reads back as another"),
        Err(error) => panic!("what was written is refused: {error}\n{json}"),
    }
}

fn models(desired: &Desired) {
    let hub = site_file::parse(HUB).expect("the shipped example is right");
    for gateway in desired.deployment().gateways().values() {
        let site = desired.deployment().site(&gateway.site).expect("a gateway's site is there");
        let lan = Lan {
            interface: "lan0".parse().expect("a name"),
            mode: LanMode::Auto,
            networks: site.client_networks.indexed().map(|(network, _)| network).collect(),
        };
        let facts = LocalFacts { lans: vec![lan], ..LocalFacts::of(&hub) };
        let share = desired.share(&site.name).expect("a site has a share");
        let draft = share.draft(&gateway.name, &facts).expect("its networks are the site's");
        for problem in SiteModel::check(draft).err().into_iter().flatten() {
            let is_size = matches!(
                problem.error,
                ModelError::TooManySlots { .. }
                    | ModelError::TooManyPorts { .. }
                    | ModelError::TooManyClients { .. }
                    | ModelError::TooManyNetworks { .. }
            );
            assert!(is_size, "the share of {} makes no model: {}", site.name, problem.error);
        }
    }
}
