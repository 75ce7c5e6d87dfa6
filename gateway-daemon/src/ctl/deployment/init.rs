//! `init`: the files that a deployment begins with, from a few answers.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use gateway_control::deployment::{Change, Deployment};
use gateway_control::model::{
    Endpoint, GatewayName, InterfaceName, Network, PresencePool, PublicKey, SiteName,
};
use gateway_control::resource::{Gateway, GatewayState, Labels, Resource, Role, Site};
use serde::Serialize;

use super::arguments::InitArguments;
use super::build::client_networks;
use super::usage::UsageError;
use crate::config::{Role as DaemonRole, SOCKET, STORE};
use crate::ctl::print::{Answer, yaml};

const KEY_FILE: &str = "link.key";
const CONTROLLER_FILE: &str = "controller.toml";
const RESOURCES_FILE: &str = "deployment.yaml";

/// What must be known of a deployment's first site.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answers {
    site: SiteName,
    gateway: GatewayName,
    lan: InterfaceName,
    networks: Vec<Network>,
    pool: PresencePool,
    endpoint: Endpoint,
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    path: PathBuf,
    mode: u32,
    text: String,
}

/// The files that were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Begun {
    key: String,
    controller: String,
    resources: String,
    public_key: String,
}

impl Answer for Begun {
    fn text(&self) -> String {
        let Self { key, controller, resources, public_key } = self;
        format!(
            "{key} written: the private key of this gateway's link (public: {public_key})\n\
             {controller} written: what the controller and this host's gateway read\n\
             {resources} written: this site and its gateway, as resources\n\n\
             Next:\n\
             \x20 1. start the controller:  gatewayd --config {controller}\n\
             \x20 2. declare the site:      gatewayctl apply -f {resources}\n\
             \x20 3. look at it:            gatewayctl status\n\
             \x20 4. declare other sites:   gatewayctl site create --help\n"
        )
    }
}

/// Asks for what the command line leaves open, and writes the files; none if one is there already.
pub(super) fn init(arguments: &InitArguments) -> Result<Begun> {
    let directory = &arguments.directory;
    for name in [KEY_FILE, CONTROLLER_FILE, RESOURCES_FILE] {
        let path = directory.join(name);
        if path.exists() {
            bail!(
                "{}: there is such a file already, and nothing is overwritten; move it away, or name \
                 another --directory",
                path.display()
            );
        }
    }
    let answers = answers(arguments)?;
    let private_key = wireguard_control::Key::generate_private();
    let public_key: PublicKey =
        private_key.get_public().to_base64().parse().context("the key's own notation")?;
    let resources = answers.resources(public_key)?;
    check(&resources)?;
    let controller_file = directory.join(CONTROLLER_FILE);
    let text = answers.controller_file();
    DaemonRole::parse(&controller_file, &text)?;
    let planned = [
        Planned {
            path: directory.join(KEY_FILE),
            mode: 0o600,
            text: format!("{}\n", private_key.to_base64()),
        },
        Planned { path: controller_file, mode: 0o644, text },
        Planned { path: directory.join(RESOURCES_FILE), mode: 0o644, text: documents(&resources)? },
    ];
    write(directory, &planned)?;
    let [key, controller, resources] = planned.map(|file| file.path.display().to_string());
    Ok(Begun { key, controller, resources, public_key: public_key.to_string() })
}

/// The resources as YAML documents.
pub(super) fn documents(resources: &[Resource]) -> io::Result<String> {
    let documents = resources.iter().map(yaml).collect::<io::Result<Vec<_>>>()?;
    Ok(documents.join("---\n"))
}

fn answers(arguments: &InitArguments) -> Result<Answers> {
    let InitArguments { site, lan, networks, pool, endpoint, directory: _ } = arguments;
    let missing = [
        ("--site", site.is_none()),
        ("--lan", lan.is_none()),
        ("--networks", networks.is_empty()),
        ("--pool", pool.is_none()),
        ("--endpoint", endpoint.is_none()),
    ];
    let missing: Vec<_> = missing.iter().filter(|it| it.1).map(|it| it.0).collect();
    if !missing.is_empty() && !io::stdin().is_terminal() {
        return Err(UsageError::NobodyToAsk { missing: missing.join(", ") }.into());
    }
    let site = match site {
        Some(site) => site.clone(),
        None => ask(
            "Name of this host's site",
            "lower-case letters, digits and '-'; operators and other sites know it by this",
        )?,
    };
    let lan = match lan {
        Some(lan) => lan.clone(),
        None => ask(
            "Interface towards the site's clients and services",
            "as `ip link` shows it, for example eth1",
        )?,
    };
    let networks = match networks.as_slice() {
        [] => {
            ask::<Networks>(
                "Client networks",
                "the site's own prefixes whose hosts may be clients or serve, for example \
                 10.0.0.0/24; ',' between several; other sites may have the same",
            )?
            .0
        }
        networks => networks.to_vec(),
    };
    let pool = match pool {
        Some(pool) => *pool,
        None => ask(
            "Presence pool",
            "a prefix of the site's own plan that no host uses: remote services get their local \
             addresses here, for example 10.0.0.192/26",
        )?,
    };
    let endpoint = match endpoint {
        Some(endpoint) => *endpoint,
        None => ask(
            "Address and UDP port where gateways of other sites reach this host",
            "for example 192.0.2.1:51820",
        )?,
    };
    let gateway = format!("{site}-gw");
    let gateway = gateway.parse().map_err(|_| UsageError::NoName { made: gateway.clone() })?;
    Ok(Answers { site, gateway, lan, networks, pool, endpoint })
}

/// Networks, separated by commas.
#[derive(Debug)]
struct Networks(Vec<Network>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let networks = text.split(',').map(|it| it.trim().parse::<Network>());
        let networks: Result<Vec<_>, _> = networks.collect();
        let networks = networks.map_err(|error| error.to_string())?;
        client_networks(&networks).map_err(|error| error.to_string())?;
        Ok(Self(networks))
    }
}

/// Asks until the answer is one.
fn ask<T: FromStr<Err: Display>>(question: &str, meaning: &str) -> Result<T> {
    let mut stderr = io::stderr();
    writeln!(stderr, "{question}\n  ({meaning})")?;
    loop {
        write!(stderr, "> ")?;
        stderr.flush()?;
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer)? == 0 {
            bail!("there was no answer, so nothing was written");
        }
        match answer.trim().parse() {
            Ok(answer) => return Ok(answer),
            Err(error) => writeln!(stderr, "  {error}")?,
        }
    }
}

impl Answers {
    fn resources(&self, public_key: PublicKey) -> Result<[Resource; 2], UsageError> {
        let site = Site {
            name: self.site.clone(),
            labels: Labels::default(),
            role: Role::Cloud,
            client_networks: client_networks(&self.networks)?,
            presence_pool: self.pool,
            client_presence: None,
            hub: None,
            transit: None,
        };
        let gateway = Gateway {
            state: GatewayState::Active,
            name: self.gateway.clone(),
            labels: Labels::default(),
            site: self.site.clone(),
            public_key,
            endpoints: vec![self.endpoint],
        };
        Ok([Resource::Site(site), Resource::Gateway(gateway)])
    }

    fn controller_file(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let networks: Vec<_> = self.networks.iter().map(|it| quoted(&it.to_string())).collect();
        format!(
            "# The controller of a deployment, and the gateway of site {site} on the same host.\n\
             mode = \"controller\"\n\n\
             [store]\n\
             path = \"{STORE}\"\n\n\
             [api]\n\
             socket = \"{SOCKET}\"\n\
             operators = []    # user names that may change things, besides root\n\
             readers = []      # user names that may look\n\n\
             [gateway]\n\
             name = {gateway}\n\
             site = {quoted_site}\n\n\
             [[lan]]\n\
             interface = {lan}\n\
             networks = [{networks}]\n\n\
             [link]\n\
             private_key_file = \"{KEY_FILE}\"\n\
             listen_port = {port}\n",
            site = self.site,
            gateway = quoted(self.gateway.as_str()),
            quoted_site = quoted(self.site.as_str()),
            lan = quoted(self.lan.as_str()),
            networks = networks.join(", "),
            port = self.endpoint.socket_address().port(),
        )
    }
}

/// Whether the controller would take them.
fn check(resources: &[Resource]) -> Result<(), UsageError> {
    let changes = resources.iter().cloned().map(Change::Put).collect();
    let problems = match Deployment::default().apply(changes) {
        Ok(_) => return Ok(()),
        Err(problems) => problems,
    };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(UsageError::Content(problems.join("\n")))
}

/// Writes all files or, if one cannot be written, none.
fn write(directory: &Path, files: &[Planned]) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.with_context(|| format!("cannot make {}", directory.display()))?;
    for (n, Planned { path, mode, text }) in files.iter().enumerate() {
        let mut options = File::options();
        let opened = options.write(true).create_new(true).mode(*mode).open(path);
        let is_new = opened.is_ok();
        let written = opened
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        if let Err(error) = written {
            let made = files.iter().take(if is_new { n + 1 } else { n });
            for Planned { path, .. } in made {
                // The error that is told is the one that began it.
                let _ = fs::remove_file(path);
            }
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Answers {
            site: "cloud".parse().unwrap(),
            gateway: "cloud-gw".parse().unwrap(),
            lan: "eth\"1".parse().unwrap(),
            networks: vec!["10.0.0.0/24".parse().unwrap(), "10.1.0.0/24".parse().unwrap()],
            pool: "10.0.0.192/26".parse().unwrap(),
            endpoint: "192.0.2.1:51821".parse().unwrap(),
        }
    }

    #[test]
    fn the_controllers_file_has_what_was_answered() {
        let text = answers().controller_file();
        let role = DaemonRole::parse(Path::new("x"), &text).unwrap();
        assert!(matches!(role, DaemonRole::Controller(file) if file.gateway.is_some()));
        let file: toml::Table = answers().controller_file().parse().unwrap();
        assert_eq!(file["mode"].as_str(), Some("controller"));
        assert_eq!(file["gateway"]["site"].as_str(), Some("cloud"));
        assert_eq!(file["lan"][0]["interface"].as_str(), Some("eth\"1"));
        assert_eq!(file["lan"][0]["networks"][1].as_str(), Some("10.1.0.0/24"));
        assert_eq!(file["link"]["listen_port"].as_integer(), Some(51821));
        assert_eq!(file["link"]["private_key_file"].as_str(), Some(KEY_FILE));
    }

    #[test]
    fn the_resources_make_a_deployment() {
        let key = wireguard_control::Key::generate_private().get_public().to_base64();
        let resources = answers().resources(key.parse().unwrap()).unwrap();
        check(&resources).unwrap();
        let read = gateway_control::resource::read(&documents(&resources).unwrap()).unwrap();
        assert_eq!(read.into_iter().map(|it| it.resource).collect::<Vec<_>>(), resources);
    }

    #[test]
    fn networks_are_checked_as_they_are_answered() {
        assert_eq!("10.0.0.0/24, 10.1.0.0/24".parse::<Networks>().map(|it| it.0.len()), Ok(2));
        for wrong in ["", "10.0.0.0/24,", "10.0.0.0/24,10.0.0.0/25", "10.0.0.1/24"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }
}
