//! What a gateway that has joined keeps of it, sealed: who it is, its certificate and keys, the key of its link, and
//! where the controllers are.

use gateway_control::identity::{ControllerAddress, SpiffeError, SpiffeId, Subject};
use gateway_control::site_file::OwnName;
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Credential, KeyError, Leaf, LeafError, LeafKey, TlsError, Trust};
use crate::link::PrivateKey;
use crate::seal::{Purpose, SealError, Strongbox};

/// The sealed file.
const NAME: Purpose = Purpose::of("identity");

/// What a gateway that has joined keeps of it.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Who it is.
    pub id: SpiffeId,
    /// Its certificate, and the key to it.
    pub credential: Credential,
    /// The deployment's CAs (DER).
    pub authorities: Vec<Vec<u8>>,
    /// Where its controllers are.
    pub controllers: Vec<ControllerAddress>,
    /// The key that the next certificate is asked for with. Kept before it is asked for, so that an answer that is
    /// lost can be asked for again.
    pub next_key: Option<LeafKey>,
    /// The private key of its link.
    pub link_key: PrivateKey,
}

/// Why there is no such thing.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The strongbox failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What is sealed is something else.
    #[error(
        "what is sealed as this gateway's identity is none of this version: {0}; remove the sealed files, and join again"
    )]
    Content(String),
    /// A key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate is none.
    #[error("this gateway's certificate: {0}")]
    Leaf(#[from] LeafError),
    /// Its certificate is of somebody else than a gateway.
    #[error("{0} is no gateway")]
    NoGateway(SpiffeId),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Kept {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bytes, tag = "2")]
    certificate: Vec<u8>,
    #[prost(bytes, tag = "3")]
    key: Vec<u8>,
    #[prost(bytes, repeated, tag = "4")]
    authorities: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "5")]
    controllers: Vec<String>,
    #[prost(bytes, optional, tag = "6")]
    next_key: Option<Vec<u8>>,
    #[prost(bytes, tag = "7")]
    link_key: Vec<u8>,
}

impl Kept {
    fn clear(&mut self) {
        self.key.zeroize();
        self.next_key.zeroize();
        self.link_key.zeroize();
    }
}

impl Membership {
    /// What the strongbox has; `None` if this gateway has not joined.
    pub fn load(strongbox: &Strongbox) -> Result<Option<Self>, MembershipError> {
        let Some(octets) = strongbox.read(&NAME)? else { return Ok(None) };
        let content = |error: &dyn ToString| MembershipError::Content(error.to_string());
        let mut kept = Kept::decode(octets.as_slice()).map_err(|error| content(&error))?;
        let read = Self::read(&kept);
        kept.clear();
        read.map(Some)
    }

    fn read(kept: &Kept) -> Result<Self, MembershipError> {
        let content = |error: &dyn ToString| MembershipError::Content(error.to_string());
        let link_key = Zeroizing::new(
            <[u8; 32]>::try_from(kept.link_key.as_slice()).map_err(|error| content(&error))?,
        );
        let controllers = kept.controllers.iter().map(|it| it.parse());
        Ok(Self {
            id: kept.id.parse().map_err(|error: SpiffeError| content(&error))?,
            credential: Credential {
                key: LeafKey::read(&kept.key)?,
                certificate: CertificateDer::from(kept.certificate.clone()),
            },
            authorities: kept.authorities.clone(),
            controllers: controllers.collect::<Result<_, _>>().map_err(|error| content(&error))?,
            next_key: kept.next_key.as_deref().map(LeafKey::read).transpose()?,
            link_key: PrivateKey::from(*link_key),
        })
    }

    /// Keeps it in place of what was kept. It is on the disk when this returns.
    pub fn save(&self, strongbox: &Strongbox) -> Result<(), MembershipError> {
        let mut kept = Kept {
            id: self.id.to_string(),
            certificate: self.credential.certificate.to_vec(),
            key: self.credential.key.pkcs8().to_vec(),
            authorities: self.authorities.clone(),
            controllers: self.controllers.iter().map(ToString::to_string).collect(),
            next_key: self.next_key.as_ref().map(|it| it.pkcs8().to_vec()),
            link_key: self.link_key.as_bytes().to_vec(),
        };
        let octets = Zeroizing::new(kept.encode_to_vec());
        kept.clear();
        Ok(strongbox.write(&NAME, &octets)?)
    }

    /// Forgets it.
    pub fn remove(strongbox: &Strongbox) -> Result<(), MembershipError> {
        Ok(strongbox.remove(&NAME)?)
    }

    /// What its certificate says.
    pub fn leaf(&self) -> Result<Leaf, MembershipError> {
        Ok(Leaf::read(&self.credential.certificate)?)
    }

    /// Whom it trusts.
    pub fn trust(&self) -> Result<Trust, TlsError> {
        let authorities = self.authorities.iter().map(Vec::as_slice);
        Trust::new(self.id.trust_domain.clone(), authorities)
    }

    /// Its site and name.
    pub fn own_name(&self) -> Result<OwnName, MembershipError> {
        match &self.id.subject {
            Subject::Gateway(site, name) => Ok(OwnName { name: name.clone(), site: site.clone() }),
            Subject::Controller(_) | Subject::Operator(_) => {
                Err(MembershipError::NoGateway(self.id.clone()))
            }
        }
    }
}
