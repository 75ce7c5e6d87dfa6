//! The table `[seal]` of the files of controllers and of gateways that are told their shares: where sealed files
//! are, and what they are sealed with.

use std::path::{Path, PathBuf};

use gateway_control::model::InstanceName;
use serde::Deserialize;

use super::{ConfigError, beside};
use crate::seal::{PassphraseSource, SealError, Sealer, Strongbox};

/// Where state is kept, unless the file says otherwise.
const STATE: &str = "/var/lib/presence";
/// The key file, unless the file says otherwise.
const KEY_FILE: &str = "/etc/presence/seal.key";

/// Where sealed files are, and what they are sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealSettings {
    /// Their directory.
    pub directory: PathBuf,
    /// What their key is wrapped with.
    pub sealer: Sealer,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSeal {
    directory: Option<PathBuf>,
    #[serde(default)]
    kind: RawKind,
    path: Option<PathBuf>,
    descriptor: Option<u16>,
    credential: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    #[default]
    File,
    Passphrase,
    Credential,
}

impl SealSettings {
    /// Opens what is there. It has to be.
    pub fn open(&self) -> Result<Strongbox, SealError> {
        Strongbox::open(&self.directory, &self.sealer)
    }

    /// Opens what is there, or makes it where there is nothing sealed yet.
    pub fn establish(&self) -> Result<Strongbox, SealError> {
        Strongbox::establish(&self.directory, &self.sealer)
    }

    /// A controller's, of the file at `path`.
    pub(super) fn of_controller(path: &Path, raw: RawSeal) -> Result<Self, ConfigError> {
        Self::read(path, raw, "controller")
    }

    /// A gateway's; each instance has sealed files of its own.
    pub(super) fn of_gateway(
        path: &Path,
        raw: RawSeal,
        instance: &InstanceName,
    ) -> Result<Self, ConfigError> {
        Self::read(path, raw, &format!("gateway-{instance}"))
    }

    fn read(path: &Path, raw: RawSeal, own: &str) -> Result<Self, ConfigError> {
        let wrong = |key, error: &str| ConfigError::Value {
            path: path.into(),
            key,
            error: error.to_owned(),
        };
        let of_other = match raw.kind {
            RawKind::File => [
                ("seal.descriptor", raw.descriptor.is_some()),
                ("seal.credential", raw.credential.is_some()),
            ],
            RawKind::Passphrase => [
                ("seal.credential", raw.credential.is_some()),
                ("seal.path", raw.path.is_some() && raw.descriptor.is_some()),
            ],
            RawKind::Credential => {
                [("seal.path", raw.path.is_some()), ("seal.descriptor", raw.descriptor.is_some())]
            }
        };
        if let Some((key, _)) = of_other.into_iter().find(|(_, given)| *given) {
            let error = "it does not go with the rest; file has path, passphrase has either path or descriptor, \
                         credential has credential";
            return Err(wrong(key, error));
        }
        let file = raw.path.map(|file| beside(path, &file));
        let sealer = match raw.kind {
            RawKind::File => Sealer::File(file.unwrap_or_else(|| KEY_FILE.into())),
            RawKind::Passphrase => Sealer::Passphrase(match (file, raw.descriptor) {
                (Some(file), _) => PassphraseSource::File(file),
                (None, Some(number)) => PassphraseSource::Descriptor(number),
                (None, None) => {
                    let error = "say with path or descriptor where the passphrase is read from";
                    return Err(wrong("seal.kind", error));
                }
            }),
            RawKind::Credential => {
                let missing = || wrong("seal.credential", "it is missing; name the credential");
                let name = raw.credential.ok_or_else(missing)?;
                let name = name.parse().map_err(|error: crate::seal::InvalidCredentialName| {
                    wrong("seal.credential", &error.to_string())
                })?;
                Sealer::Credential(name)
            }
        };
        let directory = raw.directory.map(|directory| beside(path, &directory));
        Ok(Self { directory: directory.unwrap_or_else(|| Path::new(STATE).join(own)), sealer })
    }

    /// The table with every default filled in.
    pub(super) fn effective(&self) -> String {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let sealer = match &self.sealer {
            Sealer::File(path) => format!("kind = \"file\"\npath = {}", quoted(path)),
            Sealer::Passphrase(PassphraseSource::File(path)) => {
                format!("kind = \"passphrase\"\npath = {}", quoted(path))
            }
            Sealer::Passphrase(PassphraseSource::Descriptor(number)) => {
                format!("kind = \"passphrase\"\ndescriptor = {number}")
            }
            Sealer::Credential(name) => format!("kind = \"credential\"\ncredential = \"{name}\""),
        };
        format!("[seal]\ndirectory = {}\n{sealer}\n", quoted(&self.directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SealSettings, String> {
        let raw: RawSeal = toml::from_str(text).map_err(|error| error.to_string())?;
        let path = Path::new("/etc/presence/c.toml");
        SealSettings::of_controller(path, raw).map_err(|error| error.to_string())
    }

    #[test]
    fn every_sealer_is_written_as_it_was_read() {
        for text in [
            "",
            "directory = \"/srv/x\"\npath = \"/media/key\"",
            "kind = \"passphrase\"\npath = \"/run/passphrase\"",
            "kind = \"passphrase\"\ndescriptor = 0",
            "kind = \"credential\"\ncredential = \"presence-seal\"",
        ] {
            let settings = read(text).unwrap();
            let table: toml::Table = settings.effective().parse().unwrap();
            let again =
                read(&table["seal"].to_string().replace(", ", "\n").replace(['{', '}'], ""));
            assert_eq!(again, Ok(settings), "{text}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let settings = read("directory = \"state\"\npath = \"seal.key\"").unwrap();
        assert_eq!(settings.directory, Path::new("/etc/presence/state"));
        assert_eq!(settings.sealer, Sealer::File("/etc/presence/seal.key".into()));
    }

    #[test]
    fn instances_have_sealed_files_of_their_own() {
        let of = |instance: &str| {
            let raw = RawSeal::default();
            let instance = instance.parse().unwrap();
            SealSettings::of_gateway(Path::new("x"), raw, &instance).unwrap().directory
        };
        assert_ne!(of("a"), of("b"));
        assert_ne!(of("a"), read("").unwrap().directory);
    }

    #[test]
    fn faults_name_the_key_and_the_remedy() {
        for (text, parts) in [
            ("descriptor = 3", ["seal.descriptor", "file has path"]),
            ("kind = \"passphrase\"", ["seal.kind", "path or descriptor"]),
            ("kind = \"passphrase\"\npath = \"a\"\ndescriptor = 3", ["seal.path", "either"]),
            ("kind = \"credential\"", ["seal.credential", "name the credential"]),
            ("kind = \"credential\"\ncredential = \"a/b\"", ["seal.credential", "letters"]),
            ("kind = \"credential\"\ncredential = \"a\"\npath = \"b\"", ["seal.path", "go with"]),
            ("kind = \"tpm\"", ["tpm", "passphrase"]),
            ("passphrase = \"secret\"", ["unknown field `passphrase`", "descriptor"]),
        ] {
            let error = read(text).unwrap_err();
            parts.iter().for_each(|part| assert!(error.contains(part), "{text}: {error}"));
        }
    }
}
