//! What the table `[controller]` of a controller's file says of gateways in other networks: where they are served, what
//! they are told to dial, and how long what they hold is good for.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use gateway_control::identity::{ControllerAddress, ControllerName};
use gateway_control::model::Timeout;
use serde::Deserialize;

use super::ConfigError;

/// A controller that gateways reach over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Its name among the deployment's controllers.
    pub name: ControllerName,
    /// Where it listens, by UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Where gateways reach the deployment's controllers.
    pub advertise: Vec<ControllerAddress>,
    /// How long a certificate holds.
    pub life: Duration,
    /// How long after its end a gateway may still renew it.
    pub grace: Duration,
    /// How long a gateway that hears nothing goes on with what it has; `None`: for ever.
    pub lease: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNetwork {
    pub(super) cooling: Option<String>,
    pub(super) socket: Option<std::path::PathBuf>,
    name: Option<String>,
    #[serde(default)]
    listen: Vec<String>,
    #[serde(default)]
    advertise: Vec<String>,
    certificate_life: Option<String>,
    renewal_grace: Option<String>,
    lease: Option<String>,
}

const LIFE: Duration = Duration::from_secs(86_400);
/// How long after its end a certificate may still be renewed, unless the controller's file says otherwise.
pub const GRACE: Duration = Duration::from_secs(30 * 86_400);
const LEASE: Duration = Duration::from_secs(72 * 3600);
const NAME: &str = "main";

impl NetworkSettings {
    /// Of the file at `path`; `None` if it listens nowhere.
    pub(super) fn read(path: &Path, raw: &RawNetwork) -> Result<Option<Self>, ConfigError> {
        let wrong = |key, error: String| ConfigError::Value { path: path.into(), key, error };
        if raw.listen.is_empty() {
            let needless = [
                ("controller.name", raw.name.is_some()),
                ("controller.advertise", !raw.advertise.is_empty()),
                ("controller.certificate_life", raw.certificate_life.is_some()),
                ("controller.renewal_grace", raw.renewal_grace.is_some()),
                ("controller.lease", raw.lease.is_some()),
            ];
            return match needless.into_iter().find(|(_, given)| *given) {
                Some((key, _)) => {
                    let error = "it is for a controller that gateways reach over the network; add \
                                 controller.listen, or remove it";
                    Err(wrong(key, error.to_owned()))
                }
                None => Ok(None),
            };
        }
        let mut listen = Vec::new();
        for text in &raw.listen {
            let address: SocketAddr = text.parse().map_err(|_| {
                let error = format!(
                    "{text:?} is no address with a port; write for example \"0.0.0.0:443\""
                );
                wrong("controller.listen", error)
            })?;
            listen.push(address);
        }
        let mut advertise = Vec::new();
        for text in &raw.advertise {
            let address: Result<ControllerAddress, _> = text.parse();
            advertise
                .push(address.map_err(|error| wrong("controller.advertise", error.to_string()))?);
        }
        if advertise.is_empty() {
            let error = "it is missing; write where gateways reach this controller and the deployment's others, for \
                         example [\"controller.example:443\"]";
            return Err(wrong("controller.advertise", error.to_owned()));
        }
        let time = |key, text: &Option<String>, otherwise: Duration| match text {
            None => Ok(otherwise),
            Some(text) => {
                let read: Result<Timeout, _> = text.parse();
                let seconds = read.map_err(|error| wrong(key, error.to_string()))?.seconds();
                Ok(Duration::from_secs(seconds.into()))
            }
        };
        let name = raw.name.as_deref().unwrap_or(NAME).parse();
        Ok(Some(Self {
            name: name.map_err(|error: gateway_policy::LabelError| {
                wrong("controller.name", error.to_string())
            })?,
            listen,
            advertise,
            life: time("controller.certificate_life", &raw.certificate_life, LIFE)?,
            grace: time("controller.renewal_grace", &raw.renewal_grace, GRACE)?,
            lease: match raw.lease.as_deref() {
                Some("none") => None,
                _ => Some(time("controller.lease", &raw.lease, LEASE)?),
            },
        }))
    }

    /// The keys with every default filled in.
    pub(super) fn effective(&self) -> String {
        let list = |items: Vec<String>| format!("{items:?}");
        let lease = self.lease.map_or("none".to_owned(), |it| format!("{}s", it.as_secs()));
        format!(
            "name = \"{}\"\nlisten = {}\nadvertise = {}\ncertificate_life = \"{}s\"\nrenewal_grace = \"{}s\"\n\
             lease = \"{lease}\"\n",
            self.name,
            list(self.listen.iter().map(ToString::to_string).collect()),
            list(self.advertise.iter().map(ToString::to_string).collect()),
            self.life.as_secs(),
            self.grace.as_secs(),
        )
    }
}
