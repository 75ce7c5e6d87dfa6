//! `gatewayd init`: what a deployment needs before its controller takes gateways in.

use std::path::Path;

use anyhow::{Result, bail};
use gateway_control::identity::TrustDomain;

use super::authority;
use crate::clock::now;
use crate::config::Role;
use crate::driver::open_store;

/// Makes the strongbox, the store if there is none, and the deployment's CA. Says what was made.
pub async fn init(config: &Path, trust_domain: TrustDomain) -> Result<String> {
    let role = Role::load(config)?;
    let Role::Controller(file) = &role else {
        bail!(
            "{}: its mode is not \"controller\"; a deployment begins with its controller's file",
            config.display()
        );
    };
    let Some(network) = &file.network else {
        bail!(
            "{}: this controller takes in nobody over the network; add [controller] with listen and advertise",
            config.display()
        );
    };
    let strongbox = file.seal.establish()?;
    let store = open_store(&file.store).await?;
    let made = authority::create(store.as_ref(), &strongbox, trust_domain, now()).await?;
    let advertised: Vec<_> = network.advertise.iter().map(ToString::to_string).collect();
    Ok(format!(
        "trust domain {} has a CA now; its key is sealed in {}\n\
         key of the CA (SHA-256): {}\n\
         gateways will reach the deployment at {}\n\n\
         Next:\n\
         \x20 1. start the controller:   gatewayd --config {}\n\
         \x20 2. declare a site:         gatewayctl site create --help\n\
         \x20 3. let its gateway join:   gatewayctl token create --site SITE\n",
        made.trust_domain(),
        file.seal.directory.display(),
        made.pin(),
        advertised.join(", "),
        config.display(),
    ))
}
