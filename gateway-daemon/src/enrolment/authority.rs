//! The deployment's CA as the store keeps it. Its certificate is there for every controller; its key is there once for
//! each controller, sealed by that one's strongbox, so that the store alone signs nothing.
//!
//! | key | value |
//! |---|---|
//! | `identity/authority` | trust domain and certificate, as JSON |
//! | `identity/authority/STRONGBOX` | the key, sealed |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway_control::identity::TrustDomain;
use serde::{Deserialize, Serialize};

use crate::identity::{Authority, AuthorityError};
use crate::seal::{Purpose, SealError, Strongbox};
use crate::store::{Condition, Key, Outcome, Store, StoreError, Transaction, Value};

const KEY: &str = "identity/authority";
const PURPOSE: Purpose = Purpose::of("authority");

/// Why the CA is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeptAuthorityError {
    /// None was made.
    #[error(
        "the deployment has no CA; make it with `gatewayd init --config FILE --trust-domain NAME`"
    )]
    None,
    /// One was made.
    #[error("the deployment has a CA already, for trust domain {0}; it is made once")]
    Exists(TrustDomain),
    /// Its key is not there for this controller.
    #[error(
        "the key of the deployment's CA is not sealed for this host: its [seal] directory is another than when \
         `gatewayd init` ran; name that one, or restore it from a backup"
    )]
    NotForThisHost,
    /// What the store has is none.
    #[error("the store's key {KEY}: {0}; restore the store from a backup")]
    Content(String),
    /// The strongbox failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The CA could not be made or read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    trust_domain: String,
    certificate: String,
}

fn key() -> Key {
    Key::new(KEY).expect("neither empty nor long")
}

fn sealed_key(strongbox: &Strongbox) -> Key {
    Key::new(format!("{KEY}/{}", strongbox.id())).expect("neither empty nor long")
}

async fn kept(store: &dyn Store) -> Result<Option<(TrustDomain, Vec<u8>)>, KeptAuthorityError> {
    let Some(entry) = store.get(&key()).await? else { return Ok(None) };
    let content = |error: &dyn ToString| KeptAuthorityError::Content(error.to_string());
    let kept: Kept =
        serde_json::from_slice(entry.value.as_bytes()).map_err(|error| content(&error))?;
    let certificate = BASE64.decode(&kept.certificate).map_err(|error| content(&error))?;
    let trust_domain = kept.trust_domain.parse();
    let trust_domain: TrustDomain =
        trust_domain.map_err(|error: gateway_control::identity::SpiffeError| content(&error))?;
    Ok(Some((trust_domain, certificate)))
}

/// The CA as it was kept.
pub async fn open(
    store: &dyn Store,
    strongbox: &Strongbox,
) -> Result<Authority, KeptAuthorityError> {
    let (trust_domain, certificate) = kept(store).await?.ok_or(KeptAuthorityError::None)?;
    let sealed = store.get(&sealed_key(strongbox)).await?;
    let sealed = sealed.ok_or(KeptAuthorityError::NotForThisHost)?;
    let key = strongbox.unseal(&PURPOSE, sealed.value.as_bytes())?;
    Ok(Authority::open(trust_domain, certificate, &key)?)
}

/// Makes the CA and keeps it.
pub(super) async fn create(
    store: &dyn Store,
    strongbox: &Strongbox,
    trust_domain: TrustDomain,
    now: u64,
) -> Result<Authority, KeptAuthorityError> {
    let authority = Authority::create(trust_domain, now)?;
    let written = Kept {
        trust_domain: authority.trust_domain().to_string(),
        certificate: BASE64.encode(authority.certificate()),
    };
    let content = |error: &dyn ToString| KeptAuthorityError::Content(error.to_string());
    let written = serde_json::to_vec(&written).map_err(|error| content(&error))?;
    let written = Value::new(written).map_err(|error| content(&error))?;
    let sealed = strongbox.seal(&PURPOSE, &authority.pkcs8())?;
    let sealed = Value::new(sealed).map_err(|error| content(&error))?;
    let transaction = Transaction::new()
        .when(key(), Condition::Absent)
        .put(key(), written)
        .put(sealed_key(strongbox), sealed);
    match store.transact(transaction).await? {
        Outcome::Committed(_) => Ok(authority),
        Outcome::Conflict(_) => {
            let (trust_domain, _) = kept(store).await?.ok_or(KeptAuthorityError::None)?;
            Err(KeptAuthorityError::Exists(trust_domain))
        }
    }
}
