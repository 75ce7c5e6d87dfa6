//! Who may call himself a gateway of the deployment: tokens redeemed, certificates given and renewed, gateways thrown
//! out.
//!
//! What always holds: who somebody is follows from the token that he redeemed or the certificate that he holds, never
//! from what he says. A token is used, and the gateway that comes of it declared, in one transaction. Of each
//! enrolment one certificate after the other is current; whoever shows one that its successor has already been used
//! instead of has a copy of a gateway's keys, and then neither is believed.

mod record;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use gateway_control::identity::{
    ControllerAddress, Joined, Joining, KeyPin, Serial, SpiffeId, Standing, Subject, TrustDomain,
};
use gateway_control::model::{GatewayName, SiteName};
use gateway_control::resource::{
    Field, Gateway, GatewayState, Labels, ManagerName, Resource, Token, TokenRole,
};
use gateway_control::session::RefusalKind;
use rustls::pki_types::CertificateDer;

use super::state::{Prepared, State};
use super::{ATTEMPTS, Author, Controller, ControllerError, Done, Lack};
use crate::identity::{Authority, AuthorityError, Leaf};
use crate::store::{Outcome, StoreError};
use record::{Enrolment, Uses};
pub(super) use record::{Write, enrolment_key, uses_key};

/// In whose name gateways are declared that join, and thrown out.
pub const MANAGER: &str = "presence";

/// What a controller needs to take gateways in.
#[derive(Debug)]
pub struct Members {
    /// The CA.
    pub authority: Authority,
    /// How long a gateway's certificate holds.
    pub life: Duration,
    /// Where gateways reach the deployment's controllers.
    pub controllers: Vec<ControllerAddress>,
}

/// What whoever joins must know of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The key of its CA.
    pub authority: KeyPin,
    /// Where its controllers are.
    pub controllers: Vec<ControllerAddress>,
}

/// Why somebody is not taken in, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// No token has this secret.
    #[error(
        "no token has this secret: it was mistyped, withdrawn, or is of another deployment; ask for another"
    )]
    NoToken,
    /// The token has expired.
    #[error("token {token} expired at {at}; ask for another")]
    Expired {
        /// Its name.
        token: String,
        /// When.
        at: String,
    },
    /// The token was used as often as it may be.
    #[error("token {token} was used {uses} times, which is as often as it may be; ask for another")]
    UsedUp {
        /// Its name.
        token: String,
        /// How often.
        uses: u32,
    },
    /// The token is for something else.
    #[error("token {token} is for joining as a {role}; {remedy}")]
    Role {
        /// Its name.
        token: String,
        /// As what.
        role: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The site has its gateway.
    #[error(
        "site {site} has gateway {gateway}; if this host is to take its place, revoke or delete that one first: \
         `gatewayctl gateway revoke {gateway}`"
    )]
    Taken {
        /// The site.
        site: SiteName,
        /// Its gateway.
        gateway: GatewayName,
    },
    /// A message lacks something.
    #[error("a gateway joins with its link's public key; see that both are of one version")]
    NoLinkKey,
    /// The request is none.
    #[error(transparent)]
    Request(#[from] AuthorityError),
    /// He is not, or no longer, one of the deployment.
    #[error("{0}")]
    Refused(Lack),
    /// This controller takes nobody in.
    #[error("this controller has no CA; set [controller] listen and run `gatewayd init`")]
    NoAuthority,
    /// The controller failed.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MemberError {
    fn refused(kind: RefusalKind, why: String) -> Self {
        Self::Refused(Lack { kind, why })
    }
}

/// What became of a request for the next certificate.
#[derive(Debug)]
pub struct Renewed {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// What it says of its issue.
    pub serial: Serial,
}

impl Controller {
    /// Takes gateways in from now on.
    pub fn enrol(&self, members: Members) {
        // A second time there would be two CAs.
        let set = self.members.set(Arc::new(members));
        assert!(set.is_ok(), "a controller has one CA");
    }

    /// What whoever joins must know of the deployment; `None` if this controller takes nobody in.
    pub fn invitation(&self) -> Option<Invitation> {
        let members = self.members.get()?;
        Some(Invitation {
            trust_domain: members.authority.trust_domain().clone(),
            authority: members.authority.pin(),
            controllers: members.controllers.clone(),
        })
    }

    /// Has the CA do something.
    pub fn with_authority<T>(&self, act: impl FnOnce(&Authority) -> T) -> Result<T, MemberError> {
        Ok(act(&self.members()?.authority))
    }

    fn members(&self) -> Result<&Arc<Members>, MemberError> {
        self.members.get().ok_or(MemberError::NoAuthority)
    }

    /// Takes somebody in who has a token. Whatever is wrong, the token is as it was.
    pub async fn redeem(&self, joining: &Joining, now: u64) -> Result<Joined, MemberError> {
        let members = Arc::clone(self.members()?);
        let key = Authority::requested(&joining.request)?;
        let author = presence();
        let mut place = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            let state = self.current(&mut place, now).await?;
            let planned = self.plan_enrolment(&state, joining, key, now).await;
            let Enrolling { id, serial, standing, prepared } = match planned {
                Ok(planned) => planned,
                Err(error) => {
                    *place = Some(state);
                    return Err(error);
                }
            };
            // Before the token is used: what cannot be signed uses up nothing.
            let certificate =
                members.authority.issue(&id, &joining.request, serial, now, members.life)?;
            let done = self.commit(&mut place, state, prepared, &author, now).await?;
            if done.is_some() {
                tracing::info!(%id, ?standing, "a gateway has joined");
                return Ok(Joined {
                    id,
                    standing,
                    certificate: certificate.to_vec(),
                    authorities: vec![members.authority.certificate().to_vec()],
                    controllers: members.controllers.clone(),
                });
            }
        }
        Err(ControllerError::Contended { attempts: ATTEMPTS }.into())
    }

    async fn plan_enrolment(
        &self,
        state: &State,
        joining: &Joining,
        key: KeyPin,
        now: u64,
    ) -> Result<Enrolling, MemberError> {
        let members = self.members()?;
        let deployment = state.desired.deployment();
        let token = deployment.token_of(&joining.secret.hash()).ok_or(MemberError::NoToken)?;
        let site = usable(token, now)?;
        let (entry, uses) = Uses::read(self.store.as_ref(), &token.name).await?;
        let most = token.uses.number();
        if uses.count >= most {
            let token = token.name.to_string();
            return Err(MemberError::UsedUp { token, uses: most });
        }
        if let Some(gateway) = deployment.gateway_of(site) {
            let (site, gateway) = (site.clone(), gateway.name.clone());
            return Err(MemberError::Taken { site, gateway });
        }
        let link_key = joining.link_key.ok_or(MemberError::NoLinkKey)?;
        let name = free_name(state, site);
        let (gateway_state, standing) = match token.approve {
            true => (GatewayState::Pending, Standing::Pending),
            false => (GatewayState::Active, Standing::Active),
        };
        let resource = Resource::Gateway(Gateway {
            name: name.clone(),
            labels: Labels::default(),
            site: site.clone(),
            public_key: link_key,
            endpoints: joining.endpoints.clone(),
            state: gateway_state,
        });
        let subject = Subject::Gateway(site.clone(), name.clone());
        let id = members.authority.trust_domain().id(subject);
        let serial = Serial { epoch: now, generation: 1, random: random()? };
        let enrolment = Enrolment::new(site.clone(), serial, key, &token.name);
        let fields: Vec<Field> = resource.fields().into_iter().collect();
        let mut prepared = state.set(resource, &fields, &presence().manager);
        prepared.also(uses.used_once(&token.name, entry));
        prepared.also(enrolment.written(&name, None));
        Ok(Enrolling { id, serial, standing, prepared })
    }

    /// Whether the holder of this certificate is a gateway of the deployment now; who shows it has the key to it.
    pub async fn admit(&self, leaf: &Leaf, now: u64) -> Result<GatewayName, MemberError> {
        let (site, name) = self.gateway(leaf)?;
        self.standing(site, name, now).await?;
        let Some((entry, enrolment)) = Enrolment::read(self.store.as_ref(), name).await? else {
            return Err(unknown(name));
        };
        if enrolment.epoch != leaf.serial.epoch {
            let why = format!(
                "this certificate of gateway {name} is of another enrolment than the present one; remove the \
                 state of this host, and join again with a new token"
            );
            return Err(MemberError::refused(RefusalKind::Superseded, why));
        }
        let (shown, current) = (leaf.serial.generation, enrolment.generation);
        let is_previous = shown.checked_add(1) == Some(current) && !enrolment.confirmed;
        if shown == current && leaf.key != enrolment.key || shown < current && !is_previous {
            return Err(self.lock(name, shown, now).await?);
        }
        if shown > current || shown == current && !enrolment.confirmed {
            // Of a later generation than the store knows: the store was restored from a backup, and the CA's
            // signature is word enough.
            let seen = Enrolment { generation: shown, key: leaf.key, confirmed: true, ..enrolment };
            let write = seen.written(name, Some(&entry));
            if let Outcome::Conflict(_) = self.store.transact(write.alone()).await? {
                tracing::debug!(gateway = %name, "another controller has taken note of it");
            }
        }
        Ok(name.clone())
    }

    /// The next certificate of a gateway that holds one of `held`. Asked again with the same key, because the answer
    /// was lost, it gives one of the same generation.
    pub async fn renew(
        &self,
        id: &SpiffeId,
        held: Serial,
        request: &[u8],
        now: u64,
    ) -> Result<Renewed, MemberError> {
        let members = Arc::clone(self.members()?);
        let key = Authority::requested(request)?;
        let Subject::Gateway(site, name) = &id.subject else { return Err(no_gateway(id)) };
        for _ in 0..ATTEMPTS {
            self.standing(site, name, now).await?;
            let Some((entry, enrolment)) = Enrolment::read(self.store.as_ref(), name).await? else {
                return Err(unknown(name));
            };
            let is_again = held.generation.checked_add(1) == Some(enrolment.generation)
                && enrolment.key == key
                && !enrolment.confirmed;
            if enrolment.epoch != held.epoch || enrolment.generation != held.generation && !is_again
            {
                return Err(self.lock(name, held.generation, now).await?);
            }
            let generation = held.generation.checked_add(1).ok_or_else(|| unknown(name))?;
            let serial = Serial { epoch: held.epoch, generation, random: random()? };
            let certificate = members.authority.issue(id, request, serial, now, members.life)?;
            if is_again {
                return Ok(Renewed { certificate, serial });
            }
            let next = Enrolment { generation, key, confirmed: false, ..enrolment };
            let write = next.written(name, Some(&entry)).alone();
            match self.store.transact(write).await? {
                Outcome::Committed(_) => return Ok(Renewed { certificate, serial }),
                // Somebody else renewed meanwhile: what that means is found out by reading again.
                Outcome::Conflict(_) => {}
            }
        }
        Err(ControllerError::Contended { attempts: ATTEMPTS }.into())
    }

    /// Says whether a gateway takes part from now on. One that was revoked never does again.
    pub async fn set_gateway_state(
        &self,
        name: &GatewayName,
        to: GatewayState,
        author: &Author,
        now: u64,
    ) -> Result<Done, ControllerError> {
        let mut place = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            let state = self.current(&mut place, now).await?;
            let prepared = match state.gateway_in(name, to, &presence().manager) {
                Ok(prepared) => prepared,
                Err(error) => {
                    *place = Some(state);
                    return Err(error);
                }
            };
            if let Some(done) = self.commit(&mut place, state, prepared, author, now).await? {
                return Ok(done);
            }
        }
        Err(ControllerError::Contended { attempts: ATTEMPTS })
    }

    /// Two hosts have the keys of one gateway: nobody knows which is the right one.
    async fn lock(
        &self,
        name: &GatewayName,
        generation: u32,
        now: u64,
    ) -> Result<MemberError, MemberError> {
        let why = format!(
            "two hosts have the keys of gateway {name}: certificate {generation} was shown after its successor; \
             both are locked out. Find out who copied them, and join again with a new token"
        );
        tracing::error!(gateway = %name, generation, "{why}");
        self.set_gateway_state(name, GatewayState::Revoked, &presence(), now).await?;
        self.fleet.remark(name, now, "Locked", &why);
        Ok(MemberError::refused(RefusalKind::Revoked, why))
    }

    fn gateway<'a>(&self, leaf: &'a Leaf) -> Result<(&'a SiteName, &'a GatewayName), MemberError> {
        match &leaf.id.subject {
            Subject::Gateway(site, name) => Ok((site, name)),
            Subject::Controller(_) | Subject::Operator(_) => Err(no_gateway(&leaf.id)),
        }
    }

    /// Whether a gateway is declared for a site, and was not thrown out.
    async fn standing(
        &self,
        site: &SiteName,
        name: &GatewayName,
        now: u64,
    ) -> Result<(), MemberError> {
        let declared = self.look(now, |state| {
            state.desired.deployment().gateways().get(name).map(|it| (it.site.clone(), it.state))
        });
        match declared.await? {
            Some((of, GatewayState::Active | GatewayState::Pending)) if of == *site => Ok(()),
            Some((of, GatewayState::Revoked)) if of == *site => {
                let why = format!(
                    "gateway {name} was revoked; if this host is to take part again, join with a new token"
                );
                Err(MemberError::refused(RefusalKind::Revoked, why))
            }
            _ => Err(unknown(name)),
        }
    }
}

/// What joining comes to.
struct Enrolling {
    id: SpiffeId,
    serial: Serial,
    standing: Standing,
    prepared: Prepared,
}

/// The site that a token lets a gateway join now.
fn usable(token: &Token, now: u64) -> Result<&SiteName, MemberError> {
    if token.expires.seconds() <= now {
        let at = token.expires.to_string();
        return Err(MemberError::Expired { token: token.name.to_string(), at });
    }
    match &token.role {
        TokenRole::Gateway(site) => Ok(site),
        TokenRole::Controller | TokenRole::Operator => Err(MemberError::Role {
            token: token.name.to_string(),
            role: token.role.word().to_string(),
            remedy: "ask for one for a gateway: `gatewayctl token create --site SITE`",
        }),
    }
}

/// A name for a site's next gateway that no other has.
fn free_name(state: &State, site: &SiteName) -> GatewayName {
    let gateways = state.desired.deployment().gateways();
    // Leaves room for a number of six digits.
    let stem: String = site.as_str().chars().take(54).collect();
    let stem = stem.trim_end_matches('-');
    (1_u32..)
        .filter_map(|number| format!("{stem}-gw{number}").parse().ok())
        .find(|name| !gateways.contains_key(name))
        .expect("there are fewer gateways than numbers")
}

fn presence() -> Author {
    let manager: ManagerName = MANAGER.parse().expect("a name of lower-case letters");
    Author { manager, force: true }
}

fn random() -> Result<u32, MemberError> {
    let mut octets = [0; 4];
    rand::fill(&mut octets).map_err(|_| AuthorityError::Chance)?;
    Ok(u32::from_be_bytes(octets))
}

fn unknown(name: &GatewayName) -> MemberError {
    let why = format!(
        "gateway {name} is not one of the deployment, or was deleted; join again with a new token"
    );
    MemberError::refused(RefusalKind::Unknown, why)
}

fn no_gateway(id: &SpiffeId) -> MemberError {
    MemberError::refused(RefusalKind::Unknown, format!("{id} is no gateway"))
}
