//! The gateway host's own part: its addresses are clients, and the tables hold them.

use std::collections::BTreeSet;

use gateway_common::map::Settings;

use super::{Networks, Problems};
use crate::model::{Host, ModelError, Place, SiteDraft, Table};

pub(super) fn check(draft: &SiteDraft, networks: Option<&Networks>, problems: &mut Problems) {
    let Some(host) = &draft.host else { return };
    let place = Place::whole(Table::Host, 0);
    if host.interface.as_str().len() > Host::MOST {
        problems.push(
            place.field("interface"),
            ModelError::HostInterfaceLong { interface: host.interface.clone(), most: Host::MOST },
        );
    }
    let addresses = host.addresses.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (n, address) in addresses.iter().copied().enumerate() {
        let place = place.field("addresses").item(n);
        let pool = draft.site.presence_pool;
        if !seen.insert(address) {
            problems.push(place, ModelError::HostAddressTwice { address });
        } else if pool.offset(address).is_some() {
            problems.push(place, ModelError::HostAddressInPool { address, pool });
        } else if let Some(Networks { own, .. }) = networks
            && own.index(address).is_none()
        {
            problems.push(place, ModelError::HostAddressOutside { address, networks: own.clone() });
        }
    }
    let most = Settings::NETWORKS - Settings::LAN_NETWORKS;
    let count = addresses.len() + host.networks.len();
    if count > most {
        problems.push(place, ModelError::TooManyHostNetworks { count, most });
    }
}
