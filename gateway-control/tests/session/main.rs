//! Sessions: both ends against each other over a network that does what it likes, and each against what must not
//! come.
#![allow(clippy::unwrap_used, reason = "a test may fail where a value is not what it expects")]

mod ends;
mod pair;
mod shares;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_control::deployment::share::{Item, ItemKey, LinkedGateway, Share};
use gateway_control::model::{PublicKey, SiteName};

/// A share with links to sites `s0`, `s1`, and so on, each with a key of one octet repeated.
pub(crate) fn share(links: &BTreeMap<u16, u8>) -> Arc<Share> {
    let mut share = Share::default();
    for (site, key) in links {
        let site: SiteName = format!("s{site}").parse().unwrap();
        let public_key = PublicKey::from([*key; 32]);
        let item = LinkedGateway { site: site.clone(), public_key, endpoints: Vec::new() };
        share.set(ItemKey::Peer(site), Some(Item::Peer(item)));
    }
    Arc::new(share)
}

/// That with so many links.
pub(crate) fn links(count: u16) -> BTreeMap<u16, u8> {
    (0..count).map(|site| (site, 1)).collect()
}
