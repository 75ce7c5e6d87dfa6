//! What a daemon is by its file: a gateway that has all of it there, a controller, or a gateway that a
//! controller tells its share.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use gateway_control::deployment::allocation::COOLING;
use gateway_control::model::{Timeout, ValueError};
use gateway_control::site_file::{self, MAX_LEN, Mode, ToldGateway};
use serde::Deserialize;

use super::network::{NetworkSettings, RawNetwork};
use super::seal::RawSeal;
use super::{ConfigError, SealSettings, SiteFile};
use crate::store::Limits;
use crate::store::etcd::{DeploymentName, EtcdSettings};
use crate::store::sqlite::SqliteSettings;

/// Where operators' requests are answered, unless the file says otherwise.
pub const SOCKET: &str = "/run/presence/controller.sock";
/// Where a controller tells the gateways of its host their shares, unless the file says otherwise.
pub const SESSIONS: &str = "/run/presence/gateways.sock";
/// Where the store's file is, unless the file says otherwise.
pub const STORE: &str = "/var/lib/presence/store";

/// What a daemon is.
#[derive(Clone, Debug)]
pub enum Role {
    /// A gateway that has all of it from its site file.
    Standalone(SiteFile),
    /// The controller, and perhaps the gateway of a site as well.
    Controller(ControllerFile),
    /// A gateway that a controller on the same host tells its share.
    Gateway(GatewayFile),
}

/// The file of a controller.
#[derive(Clone, Debug)]
pub struct ControllerFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Where what is declared is kept.
    pub store: StoreChoice,
    /// How long an address that is no longer used is kept from others, in seconds.
    pub cooling: u64,
    /// Where operators' requests are answered.
    pub socket: PathBuf,
    /// Where the gateways of this host are told their shares.
    pub sessions: PathBuf,
    /// Users that may change things, besides root.
    pub operators: Vec<String>,
    /// Users that may look.
    pub readers: Vec<String>,
    /// Where its sealed files are.
    pub seal: SealSettings,
    /// How gateways in other networks are served; `None`: not at all.
    pub network: Option<NetworkSettings>,
    /// The gateway of this host, if it is one.
    pub gateway: Option<ToldGateway>,
}

/// Where what is declared is kept.
#[derive(Clone, Debug)]
pub enum StoreChoice {
    /// In a file, for one controller.
    File(PathBuf, SqliteSettings),
    /// In etcd, for several.
    Etcd(EtcdSettings),
}

/// The file of a gateway that is told its share.
#[derive(Clone, Debug)]
pub struct GatewayFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// How it reaches the controller.
    pub controller: Place,
    /// Where its sealed files are.
    pub seal: SealSettings,
    /// The gateway.
    pub gateway: ToldGateway,
}

/// How a gateway reaches the controller that tells it its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By this socket: the controller is on the same host.
    Socket(PathBuf),
    /// Over the network, as it has joined.
    Joined,
}

/// The tables that are the daemon's own. `parse_told` reads the others, and refuses those that there are not.
#[derive(Deserialize)]
struct RawFile<C> {
    store: Option<RawStore>,
    api: Option<RawApi>,
    controller: Option<C>,
    #[serde(default)]
    seal: RawSeal,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    path: Option<PathBuf>,
    most_bytes: Option<u64>,
    etcd: Option<Vec<String>>,
    deployment: Option<String>,
    most_operations: Option<usize>,
    most_request_bytes: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApi {
    socket: Option<PathBuf>,
    #[serde(default)]
    operators: Vec<String>,
    #[serde(default)]
    readers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlace {
    socket: Option<PathBuf>,
}

impl Role {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &text(path)?)
    }

    /// Checks the text of the file at `path`.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let content = |faults| ConfigError::Content { path: path.into(), faults };
        match site_file::mode(text).map_err(content)? {
            Mode::Standalone => SiteFile::parse(path, text).map(Self::Standalone),
            Mode::Controller => {
                let gateway = site_file::parse_told(text).map_err(content)?;
                ControllerFile::read(path, text, gateway).map(Self::Controller)
            }
            Mode::Gateway => {
                let gateway = site_file::parse_told(text).map_err(content)?;
                GatewayFile::read(path, text, gateway).map(Self::Gateway)
            }
        }
    }

    /// The effective configuration, every default filled in, as far as the file decides it.
    pub fn effective(&self) -> String {
        match self {
            Self::Standalone(file) => file.effective(),
            Self::Controller(file) => {
                let store = match &file.store {
                    StoreChoice::File(path, settings) => format!(
                        "path = {:?}\nmost_bytes = {}",
                        path.display().to_string(),
                        settings.most_bytes
                    ),
                    StoreChoice::Etcd(settings) => format!(
                        "etcd = {:?}\ndeployment = \"{}\"\nmost_operations = {}\nmost_request_bytes = {}",
                        settings.endpoints,
                        settings.deployment,
                        settings.limits.operations,
                        settings.limits.bytes
                    ),
                };
                let gateway = file.gateway.as_ref().map(gateway_part).unwrap_or_default();
                let network =
                    file.network.as_ref().map(NetworkSettings::effective).unwrap_or_default();
                format!(
                    "mode = \"controller\"\n\n[store]\n{store}\n\n[api]\nsocket = {:?}\noperators = {:?}\n\
                     readers = {:?}\n\n[controller]\nsocket = {:?}\ncooling = \"{}s\"\n{network}\n{}{gateway}",
                    file.socket.display().to_string(),
                    file.operators,
                    file.readers,
                    file.sessions.display().to_string(),
                    file.cooling,
                    file.seal.effective(),
                )
            }
            Self::Gateway(file) => format!(
                "mode = \"gateway\"\n\n{}{}{}",
                match &file.controller {
                    Place::Socket(path) => {
                        format!("[controller]\nsocket = {:?}\n\n", path.display().to_string())
                    }
                    Place::Joined => String::new(),
                },
                file.seal.effective(),
                gateway_part(&file.gateway)
            ),
        }
    }

    /// What the file says of a gateway that is told its share; `None` if this is none.
    pub fn told(&self) -> Option<(&Path, &ToldGateway)> {
        match self {
            Self::Standalone(_) => None,
            Self::Controller(file) => file.gateway.as_ref().map(|it| (file.path.as_path(), it)),
            Self::Gateway(file) => Some((&file.path, &file.gateway)),
        }
    }
}

impl ControllerFile {
    fn read(path: &Path, text: &str, gateway: Option<ToldGateway>) -> Result<Self, ConfigError> {
        let raw: RawFile<RawNetwork> = toml(path, text)?;
        let wrong = |key, error: &dyn ToString| wrong(path, key, error);
        let (api, settings) = (raw.api.unwrap_or_default(), raw.controller.unwrap_or_default());
        let cooling = match &settings.cooling {
            None => COOLING,
            Some(text) => {
                let read: Result<Timeout, ValueError> = text.parse();
                read.map_err(|error| wrong("controller.cooling", &error))?.seconds().into()
            }
        };
        let RawStore {
            path: file,
            most_bytes,
            etcd,
            deployment,
            most_operations,
            most_request_bytes,
        } = raw.store.unwrap_or_default();
        let store = match (file, etcd) {
            (Some(_), Some(_)) => {
                return Err(wrong("store", &"it has both path and etcd; keep one of the two"));
            }
            (None, Some(endpoints)) => {
                let deployment = deployment.ok_or_else(|| {
                    wrong("store.deployment", &"it is missing; name the deployment, as its keys in etcd lie below that name")
                })?;
                let deployment: DeploymentName =
                    deployment.parse().map_err(|error: gateway_policy::LabelError| {
                        wrong("store.deployment", &error)
                    })?;
                if most_bytes.is_some() {
                    return Err(wrong(
                        "store.most_bytes",
                        &"it is for a store in a file; remove it, and set etcd's --quota-backend-bytes",
                    ));
                }
                let mut settings = EtcdSettings::new(endpoints, deployment);
                let Limits { operations, bytes } = settings.limits;
                settings.limits = Limits {
                    operations: most_operations.unwrap_or(operations),
                    bytes: most_request_bytes.unwrap_or(bytes),
                };
                StoreChoice::Etcd(settings)
            }
            (file, None) => {
                let of_etcd = [
                    ("store.deployment", deployment.is_some()),
                    ("store.most_operations", most_operations.is_some()),
                    ("store.most_request_bytes", most_request_bytes.is_some()),
                ];
                if let Some((key, _)) = of_etcd.into_iter().find(|(_, given)| *given) {
                    return Err(wrong(key, &"it is for etcd; remove it, or set store.etcd"));
                }
                let mut settings = SqliteSettings::default();
                settings.most_bytes = most_bytes.unwrap_or(settings.most_bytes);
                StoreChoice::File(file.unwrap_or_else(|| STORE.into()), settings)
            }
        };
        if gateway.as_ref().is_some_and(|it| it.own.is_none()) {
            let remedy = "there is none; write name and site, for the gateway beside a controller does not join";
            return Err(wrong("gateway.name", &remedy));
        }
        Ok(Self {
            path: path.into(),
            seal: SealSettings::of_controller(path, raw.seal)?,
            network: NetworkSettings::read(path, &settings)?,
            store,
            cooling,
            socket: api.socket.unwrap_or_else(|| SOCKET.into()),
            sessions: settings.socket.unwrap_or_else(|| SESSIONS.into()),
            operators: api.operators,
            readers: api.readers,
            gateway,
        })
    }
}

impl GatewayFile {
    fn read(path: &Path, text: &str, gateway: Option<ToldGateway>) -> Result<Self, ConfigError> {
        let raw: RawFile<RawPlace> = toml(path, text)?;
        let of_a_controller = [("store", raw.store.is_some()), ("api", raw.api.is_some())];
        if let Some((table, _)) = of_a_controller.into_iter().find(|(_, given)| *given) {
            let remedy = "it is for a controller; remove it, or set mode = \"controller\"";
            return Err(wrong(path, table, &remedy));
        }
        let missing = || {
            wrong(
                path,
                "gateway",
                &"there is none; add [gateway], with name and site or empty for one that joins",
            )
        };
        let gateway = gateway.ok_or_else(missing)?;
        let socket = raw.controller.and_then(|it| it.socket);
        let controller = match (&gateway.own, socket) {
            (Some(_), socket) => Place::Socket(socket.unwrap_or_else(|| SESSIONS.into())),
            (None, None) => Place::Joined,
            (None, Some(_)) => {
                let remedy = "it is for a gateway with a name and a site in its file; add gateway.name and \
                              gateway.site, or remove it and join over the network";
                return Err(wrong(path, "controller.socket", &remedy));
            }
        };
        Ok(Self {
            path: path.into(),
            controller,
            seal: SealSettings::of_gateway(path, raw.seal, &gateway.facts.instance)?,
            gateway,
        })
    }
}

fn wrong(path: &Path, key: &'static str, error: &dyn ToString) -> ConfigError {
    ConfigError::Value { path: path.into(), key, error: error.to_string() }
}

fn gateway_part(gateway: &ToldGateway) -> String {
    format!("\n{gateway}")
}

fn toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text)
        .map_err(|error| ConfigError::Notation { path: path.into(), error: Box::new(error) })
}

/// The text of a file, no longer than is allowed but for one byte, so that its parser sees that it is too long.
pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |reason| ConfigError::Read { path: path.into(), reason };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_LEN as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "[gateway]\nname = \"gw\"\nsite = \"cloud\"\n[[lan]]\ninterface = \"lan0\"\n\
        networks = [\"10.0.0.0/24\"]\n[link]\nprivate_key_file = \"link.key\"";

    fn read(text: &str) -> Result<ControllerFile, String> {
        let gateway = site_file::parse_told(text).map_err(|error| error.to_string())?;
        ControllerFile::read(Path::new("c.toml"), text, gateway).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_one_controller_with_a_file() {
        let file = read("mode = \"controller\"").unwrap();
        assert!(matches!(&file.store, StoreChoice::File(path, _) if path == Path::new(STORE)));
        assert_eq!((file.cooling, file.socket), (COOLING, SOCKET.into()));
        assert!(file.operators.is_empty() && file.readers.is_empty() && file.gateway.is_none());
    }

    #[test]
    fn the_effective_file_says_the_same() {
        let etcd = "[store]\netcd = [\"http://192.0.2.9:2379\"]\ndeployment = \"acme\"";
        for rest in ["", GATEWAY, etcd] {
            let file = read(&format!("mode = \"controller\"\n{rest}")).unwrap();
            let text = Role::Controller(file).effective();
            let again =
                Role::Controller(read(&text).unwrap_or_else(|error| panic!("{error}: {text}")));
            assert_eq!(again.effective(), text);
        }
    }

    #[test]
    fn etcd_is_for_several() {
        let text = "mode = \"controller\"\n[store]\netcd = [\"http://192.0.2.9:2379\"]\n\
                    deployment = \"acme\"\nmost_operations = 5000\n[controller]\ncooling = \"2h\"";
        let file = read(text).unwrap();
        let StoreChoice::Etcd(settings) = file.store else { panic!("no etcd") };
        assert_eq!((settings.limits.operations, file.cooling), (5000, 7200));
        assert_eq!(settings.deployment.as_str(), "acme");
    }

    #[test]
    fn faults_name_the_key_and_the_remedy() {
        for (text, parts) in [
            ("[store]\npath = \"x\"\netcd = []", ["store", "keep one"]),
            ("[store]\netcd = []", ["store.deployment", "it is missing"]),
            ("[store]\netcd = []\ndeployment = \"A b\"", ["store.deployment", "lower-case"]),
            ("[store]\nmost_operations = 1", ["store.most_operations", "it is for etcd"]),
            ("[store]\nfile = \"x\"", ["unknown field `file`", "line 3"]),
            ("[api]\nsocket = 3", ["line 3", "socket"]),
            ("[controller]\ncooling = \"soon\"", ["controller.cooling", "soon"]),
            ("[controller]\nsockets = \"x\"", ["unknown field `sockets`", "cooling"]),
        ] {
            let error = read(&format!("mode = \"controller\"\n{text}")).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{text}: {error}");
            }
            assert!(error.contains("c.toml"), "{error}");
        }
    }

    #[test]
    fn a_gateway_that_is_told_its_share_has_no_table_of_a_controller() {
        let read = |rest: &str| {
            let text = format!("mode = \"gateway\"\n{rest}{GATEWAY}");
            Role::parse(Path::new("g.toml"), &text).map_err(|error| error.to_string())
        };
        let Ok(Role::Gateway(file)) = read("[controller]\nsocket = \"/run/c.sock\"\n") else {
            panic!("no gateway")
        };
        assert_eq!(file.controller, Place::Socket("/run/c.sock".into()));
        for (text, parts) in [
            ("[store]\n", ["g.toml: store: it is for a controller", "remove it"]),
            ("[api]\noperators = []\n", ["g.toml: api: it is for a controller", "mode"]),
            ("[controller]\ncooling = \"2h\"\n", ["unknown field `cooling`", "line 3"]),
            ("[peer]\n", ["unknown field `peer`", "line 2"]),
        ] {
            let error = read(text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
        let error = Role::parse(Path::new("g.toml"), "mode = \"gateway\"").unwrap_err();
        assert!(error.to_string().contains("add [gateway]"), "{error}");
    }
}
