//! A lab whose deployment is declared: the cloud's gatewayd is the controller as well, and tells every gateway its
//! share. What an operator would do is done by `gatewayctl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::binaries;
use super::gateway::CTL_BOUND;
use super::namespace::bounded_output;
use super::plan::{LINK_PORT, SitePlan};
use super::wait::wait_for;

/// The demo's deployment but for its gateways, whose keys are made anew for each lab.
const RESOURCES: [(&str, &str); 3] = [
    ("sites.yaml", include_str!("../../../policies/examples/demo/sites.yaml")),
    ("services.yaml", include_str!("../../../policies/examples/demo/services.yaml")),
    ("policies.yaml", include_str!("../../../policies/examples/demo/policies.yaml")),
];
/// The deployment's trust domain.
pub const TRUST_DOMAIN: &str = "demo.example";
/// Bound on every gateway having applied what is declared.
const APPLIED_BOUND: Duration = Duration::from_secs(120);

/// The files by which a lab's controller and gateways find each other.
#[derive(Debug, Clone)]
pub struct Places {
    directory: PathBuf,
}

impl Places {
    /// Those in a directory of the lab's.
    pub fn new(directory: PathBuf) -> Result<Self> {
        super::sweep::make_private(&directory)?;
        Ok(Self { directory })
    }

    /// The socket of the API.
    pub fn api(&self) -> PathBuf {
        self.directory.join("api")
    }

    /// The socket of gateways.
    pub fn sessions(&self) -> PathBuf {
        self.directory.join("gateways")
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }
}

/// An operator at the controller.
#[derive(Debug, Clone)]
pub struct Operator {
    places: Places,
}

impl Operator {
    /// One who uses the controller at these places.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    /// Where the controller is.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Declares the demo's deployment.
    pub fn declare(&self) -> Result<()> {
        let directory = self.places.directory.join("resources");
        fs::create_dir_all(&directory)?;
        for (name, text) in RESOURCES {
            fs::write(directory.join(name), text)?;
        }
        self.run(&["apply", "-f", text(&directory)?]).map(drop)
    }

    /// Declares the gateway of a site.
    pub fn declare_gateway(&self, site: &SitePlan, public_key: &str) -> Result<()> {
        let name = format!("{}-gw", site.name);
        let endpoint = format!("{}:{LINK_PORT}", site.underlay);
        let mut words =
            vec!["gateway", "create", &name, "--site", site.name, "--public-key", public_key];
        words.extend(["--endpoint", &endpoint]);
        self.run(&words).map(drop)
    }

    /// Applies documents.
    pub fn apply(&self, documents: &str) -> Result<()> {
        let file = self.places.directory.join("change.yaml");
        fs::write(&file, documents)?;
        self.run(&["apply", "-f", text(&file)?]).map(drop)
    }

    /// Waits until every gateway has in its kernel what it is told.
    pub fn wait_applied(&self) -> Result<()> {
        wait_for("every gateway to have applied what is declared", APPLIED_BOUND, || {
            let status = self.json(&["status"])?;
            let sites = status["sites"].as_array().context("the status has sites")?;
            Ok(!sites.is_empty() && sites.iter().all(|it| it["gateway"]["state"] == "applied"))
        })
        .with_context(|| format!("{:?}", self.json(&["status"])))
    }

    /// Runs `gatewayctl` and gives what it answers as JSON.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let words = [&["-o", "json"], words].concat();
        let output = self.run(&words)?;
        serde_json::from_str(&output).with_context(|| format!("gatewayctl {words:?}: {output}"))
    }

    /// Runs `gatewayctl` and gives what it prints; fails as it does.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        ensure!(
            output.status.success(),
            "gatewayctl {words:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `gatewayctl`.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(binaries::locate("gatewayctl")?);
        command.arg("--controller").arg(self.places.api()).args(words);
        bounded_output(&mut command, CTL_BOUND)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of the lab is text")
}
