//! A controller's side of the network: its CA, its own certificate, which it renews itself, and its door.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_lc_rs::rand;
use gateway_control::identity::{Serial, Subject};
use tokio::time::sleep;

use crate::clock::now;
use crate::config::{NetworkSettings, SealSettings};
use crate::controller::Controller;
use crate::controller::members::Members;
use crate::enrolment;
use crate::identity::{
    Authority, AuthorityError, Credential, LeafKey, ServerCredential, Trust, gateways_config,
};
use crate::session::{Door, ListenSettings, Listener, ResetKey};
use crate::store::Store;

/// How often it is looked whether the own certificate is due.
const LOOK: Duration = Duration::from_secs(30);

/// A controller's side of the network, ready to serve.
#[derive(Debug)]
pub(super) struct Network {
    door: Door,
    controller: Arc<Controller>,
    own: Arc<ServerCredential>,
    settings: NetworkSettings,
}

impl Network {
    /// Opens the CA, and listens.
    pub(super) async fn open(
        settings: &NetworkSettings,
        seal: &SealSettings,
        store: &dyn Store,
        controller: &Arc<Controller>,
    ) -> Result<Self> {
        let strongbox = seal.open().context("the controller's sealed files")?;
        let authority = enrolment::open_authority(store, &strongbox).await?;
        let trust =
            Trust::new(authority.trust_domain().clone(), [authority.certificate().as_ref()])?;
        let credential = credential(&authority, settings)?;
        let own = ServerCredential::new(&credential, authority.certificate().clone())?;
        let tls = gateways_config(trust, settings.grace, Arc::clone(&own))?;
        let reset_key = Some(ResetKey::of(&authority.pkcs8(), &settings.name.to_string()));
        let doorway = ListenSettings { reset_key, ..ListenSettings::default() };
        let listener =
            Listener::bind(&settings.listen, &tls, doorway).context("controller.listen")?;
        let addresses: Vec<_> = listener.addresses().iter().map(ToString::to_string).collect();
        tracing::info!(
            trust_domain = %authority.trust_domain(), at = addresses.join(", "), "gateways are served"
        );
        controller.enrol(Members {
            authority,
            life: settings.life,
            controllers: settings.advertise.clone(),
        });
        let door = Door::new(listener, Arc::clone(controller), settings.lease);
        Ok(Self { door, controller: Arc::clone(controller), own, settings: settings.clone() })
    }

    /// Serves gateways until nobody can come in any more.
    pub(super) async fn serve(self) -> Result<()> {
        let Self { door, controller, own, settings } = self;
        tokio::select! {
            error = door.serve() => Err(error).context("the door of gateways"),
            ended = renew(&controller, &own, &settings) => ended,
        }
    }
}

/// Gives the controller itself a certificate in time: it has the CA.
async fn renew(
    controller: &Controller,
    own: &ServerCredential,
    settings: &NetworkSettings,
) -> Result<()> {
    let mut due = now().saturating_add(settings.life.as_secs() / 2);
    loop {
        sleep(LOOK).await;
        if now() < due {
            continue;
        }
        let credential = controller.with_authority(|authority| credential(authority, settings));
        own.replace(&credential??)?;
        due = now().saturating_add(settings.life.as_secs() / 2);
        tracing::info!("the controller has its next certificate");
    }
}

/// A new key, with a certificate.
fn credential(authority: &Authority, settings: &NetworkSettings) -> Result<Credential> {
    let key = LeafKey::generate()?;
    let id = authority.trust_domain().id(Subject::Controller(settings.name.clone()));
    let mut random = [0; 4];
    rand::fill(&mut random).map_err(|_| AuthorityError::Chance)?;
    let serial = Serial { epoch: now(), generation: 1, random: u32::from_be_bytes(random) };
    let certificate = authority.issue(&id, &key.request()?, serial, now(), settings.life)?;
    Ok(Credential { key, certificate })
}
