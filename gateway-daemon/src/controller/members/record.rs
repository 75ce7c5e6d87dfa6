//! What the store keeps of each enrolment and of each token's use, beside what is declared.
//!
//! | key | value |
//! |---|---|
//! | `identity/gateway/NAME` | which certificate of a gateway is current, as JSON |
//! | `identity/token/NAME` | how often a token was used, as JSON |

use gateway_control::identity::{KeyPin, Serial};
use gateway_control::model::{GatewayName, SiteName};
use gateway_control::resource::{SecretHash, TokenName};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::MemberError;
use crate::controller::ControllerError;
use crate::controller::layout::IDENTITY;
use crate::store::{Condition, Entry, Key, Store, Transaction, Value};

/// Which certificate of a gateway is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Enrolment {
    /// The site that it was enrolled for.
    pub(super) site: SiteName,
    /// When it was enrolled, in seconds since 1970.
    pub(super) epoch: u64,
    /// The last certificate's number.
    pub(super) generation: u32,
    /// The key of the last certificate.
    pub(super) key: KeyPin,
    /// Whether the last certificate was seen in use.
    pub(super) confirmed: bool,
    /// The token that it was enrolled with.
    pub(super) token: String,
}

/// How often a token was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Uses {
    pub(super) count: u32,
}

/// A key that is written, unless it was since it was read.
#[derive(Clone, Debug)]
pub(in crate::controller) struct Write {
    key: Key,
    condition: Condition,
    value: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    site: String,
    epoch: u64,
    generation: u32,
    key: String,
    confirmed: bool,
    token: String,
}

impl Write {
    fn new(key: Key, before: Option<&Entry>, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("texts and numbers");
        let value = Value::new(json).expect("some names and numbers are short");
        let condition = before.map_or(Condition::Absent, |it| Condition::Unchanged(it.modified));
        Self { key, condition, value }
    }

    /// As part of a transaction.
    pub(in crate::controller) fn within(self, transaction: Transaction) -> Transaction {
        transaction.when(self.key.clone(), self.condition).put(self.key, self.value)
    }

    pub(super) fn alone(self) -> Transaction {
        self.within(Transaction::new())
    }
}

/// The key of a gateway's enrolment.
pub(in crate::controller) fn enrolment_key(name: &GatewayName) -> Key {
    Key::new(format!("{IDENTITY}gateway/{name}")).expect("a name is neither empty nor long")
}

/// The key of a token's uses.
pub(in crate::controller) fn uses_key(name: &TokenName) -> Key {
    Key::new(format!("{IDENTITY}token/{name}")).expect("a name is neither empty nor long")
}

async fn read<T: DeserializeOwned>(
    store: &dyn Store,
    key: &Key,
) -> Result<Option<(Entry, T)>, MemberError> {
    let Some(entry) = store.get(key).await? else { return Ok(None) };
    let value = serde_json::from_slice(entry.value.as_bytes());
    let value = value.map_err(|error| alien(key, error.to_string()))?;
    Ok(Some((entry, value)))
}

fn alien(key: &Key, finding: String) -> ControllerError {
    ControllerError::Alien { key: key.to_string(), finding }
}

impl Enrolment {
    pub(super) fn new(site: SiteName, serial: Serial, key: KeyPin, token: &TokenName) -> Self {
        let Serial { epoch, generation, random: _ } = serial;
        // The answer to joining may be lost; then the host joins anew, and this is never seen.
        Self { site, epoch, generation, key, confirmed: false, token: token.to_string() }
    }

    pub(super) async fn read(
        store: &dyn Store,
        name: &GatewayName,
    ) -> Result<Option<(Entry, Self)>, MemberError> {
        let at = enrolment_key(name);
        let Some((entry, written)) = read::<Written>(store, &at).await? else { return Ok(None) };
        let Written { site, epoch, generation, key, confirmed, token } = written;
        let site = site.parse().map_err(|_| alien(&at, "its site is no name".to_owned()))?;
        // Both are SHA-256 in the same notation.
        let key: SecretHash =
            key.parse().map_err(|_| alien(&at, "its key is no hash".to_owned()))?;
        let key = KeyPin::new(*key.octets());
        Ok(Some((entry, Self { site, epoch, generation, key, confirmed, token })))
    }

    /// As it is written if nobody has since it was read.
    pub(super) fn written(&self, name: &GatewayName, before: Option<&Entry>) -> Write {
        let Self { site, epoch, generation, key, confirmed, token } = self;
        let (site, key, token) = (site.to_string(), key.to_string(), token.clone());
        let (epoch, generation, confirmed) = (*epoch, *generation, *confirmed);
        let written = Written { site, epoch, generation, key, confirmed, token };
        Write::new(enrolment_key(name), before, &written)
    }
}

impl Uses {
    pub(super) async fn read(
        store: &dyn Store,
        token: &TokenName,
    ) -> Result<(Option<Entry>, Self), MemberError> {
        Ok(match read(store, &uses_key(token)).await? {
            Some((entry, uses)) => (Some(entry), uses),
            None => (None, Self::default()),
        })
    }

    pub(super) fn used_once(self, token: &TokenName, before: Option<Entry>) -> Write {
        let uses = Self { count: self.count.saturating_add(1) };
        Write::new(uses_key(token), before.as_ref(), &uses)
    }
}
