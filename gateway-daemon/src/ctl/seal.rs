//! `gatewayctl seal`: what is sealed on this host and with what, and sealing with something else. Works on the
//! files, whether gatewayd runs or not.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::arguments::{Form, SealCommand};
use super::print::{Answer, pairs, print, table};
use crate::config::{ConfigError, Role, SealSettings};
use crate::sandbox::refuse_dumps;
use crate::seal::Strongbox;

/// A strongbox, and whether what is in it opens.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sealed {
    directory: PathBuf,
    strongbox: String,
    sealer: String,
    files: Vec<SealedFile>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SealedFile {
    name: String,
    /// Its length in clear.
    octets: Option<usize>,
    /// Why it does not open.
    wrong: Option<String>,
}

/// Some sealed files do not open.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the sealed files cannot be opened; what is wrong stands above")]
struct NotOpened(usize);

pub(super) fn run(command: SealCommand, form: Form) -> Result<()> {
    refuse_dumps()?;
    match command {
        SealCommand::Show { config } => {
            let settings = settings(&config)?;
            let sealed = Sealed::look(&settings, &settings.open()?)?;
            print(&sealed, form)?;
            match sealed.files.iter().filter(|file| file.wrong.is_some()).count() {
                0 => Ok(()),
                count => Err(NotOpened(count).into()),
            }
        }
        SealCommand::Rewrap { config, to } => {
            let (before, after) = (settings(&config)?, settings(&to)?);
            let strongbox = before.open()?;
            strongbox.rewrap(&after.sealer)?;
            let again = SealSettings { directory: before.directory, sealer: after.sealer };
            print(&Sealed::look(&again, &strongbox)?, form)?;
            Ok(())
        }
    }
}

fn settings(config: &Path) -> Result<SealSettings, ConfigError> {
    match Role::load(config)? {
        Role::Controller(file) => Ok(file.seal),
        Role::Gateway(file) => Ok(file.seal),
        Role::Standalone(_) => Err(ConfigError::Value {
            path: config.into(),
            key: "seal",
            error: "a gateway that runs by a site file has nothing sealed; name the file of a controller or of a \
                    gateway that is told its share"
                .to_owned(),
        }),
    }
}

impl Sealed {
    fn look(settings: &SealSettings, strongbox: &Strongbox) -> Result<Self> {
        let files = strongbox.names()?.into_iter().map(|name| {
            let (octets, wrong) = match strongbox.read(&name) {
                Ok(content) => (content.map(|content| content.len()), None),
                Err(error) => (None, Some(error.to_string())),
            };
            SealedFile { name: name.to_string(), octets, wrong }
        });
        Ok(Self {
            directory: settings.directory.clone(),
            strongbox: strongbox.id().to_string(),
            sealer: settings.sealer.to_string(),
            files: files.collect(),
        })
    }
}

impl Answer for Sealed {
    fn text(&self) -> String {
        let head = pairs([
            ("directory", self.directory.display().to_string()),
            ("strongbox", self.strongbox.clone()),
            ("sealed with", self.sealer.clone()),
        ]);
        let rows = self.files.iter().map(|file| {
            let octets = file.octets.map(|octets| octets.to_string()).unwrap_or_default();
            let state = file.wrong.clone().unwrap_or_else(|| "opens".to_owned());
            [file.name.clone(), octets, state]
        });
        format!("{head}\n{}", table(["NAME", "OCTETS", "STATE"], rows, "nothing is sealed yet"))
    }
}
