//! What cargo built: every test binary and every program, by package and name.
//!
//! All commands of xtask select the same packages, so that cargo settles on the same features and
//! compiles nothing twice.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// Everything but the kernel half, which the user half's build script compiles for its own target.
pub(crate) const SELECTION: [&str; 3] = ["--workspace", "--exclude", "gateway-ebpf"];

/// The programs of a build with the next map ABI, with which upgrades are rehearsed. Selected among the
/// same packages, they share all that does not depend on the ABI.
const REHEARSAL: [&str; 6] = [
    "--features",
    "gateway-daemon/rehearsal",
    "--bin",
    "gatewayd-rehearsal",
    "--bin",
    "gatewayctl-rehearsal",
];

/// How the code is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to compile: every test.
    Dev,
    /// What is shipped and shown.
    Release,
}

impl Profile {
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }
}

/// What is in a test binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The tests beside a library's or a program's code.
    Unit,
    /// A file of its own below `tests/`.
    Integration,
}

/// One test binary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestBinary {
    pub(crate) package: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Where cargo would run it.
    pub(crate) directory: PathBuf,
    pub(crate) file: PathBuf,
}

/// The outcome of a build.
#[derive(Debug, Default)]
pub(crate) struct Artifacts {
    pub(crate) tests: Vec<TestBinary>,
    binaries: Vec<(String, PathBuf)>,
}

impl Artifacts {
    /// Builds the programs of the packages selected.
    pub(crate) fn programs(workspace: &Path, selection: &[&str], profile: Profile) -> Result<Self> {
        Self::of(workspace, &["build", "--bins"], selection, profile)
    }

    /// Builds the programs of a build with the next map ABI beside those of this one.
    pub(crate) fn rehearsal(
        workspace: &Path,
        selection: &[&str],
        profile: Profile,
    ) -> Result<Self> {
        let command = [&["build"][..], &REHEARSAL].concat();
        Self::of(workspace, &command, selection, profile)
    }

    /// Builds all programs and the files of tests of these names, or all tests for none.
    pub(crate) fn all(workspace: &Path, files: &[&str]) -> Result<Self> {
        let programs = Self::programs(workspace, &SELECTION, Profile::Dev)?;
        Self::rehearsal(workspace, &SELECTION, Profile::Dev)?;
        let mut command = vec!["test", "--no-run"];
        for file in files {
            command.extend(["--test", file]);
        }
        let tests = Self::of(workspace, &command, &SELECTION, Profile::Dev)?;
        Ok(Self { tests: tests.tests, binaries: programs.binaries })
    }

    /// A program by its name.
    pub(crate) fn binary(&self, name: &str) -> Result<&Path> {
        let found = self.binaries.iter().find(|(known, _)| known == name);
        found
            .map(|(_, file)| file.as_path())
            .with_context(|| format!("no program {name} was built"))
    }

    /// A file of tests by its package and name.
    pub(crate) fn test_of(&self, package: &str, name: &str) -> Result<&Path> {
        let found = self.tests.iter().find(|test| {
            test.package == package && test.name == name && test.kind == Kind::Integration
        });
        found
            .map(|test| test.file.as_path())
            .with_context(|| format!("{package} has no tests/{name}.rs"))
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target_directory(&self, workspace: &Path) -> PathBuf {
        let built = self.binaries.first().and_then(|(_, file)| file.parent()?.parent());
        built.map_or_else(|| workspace.join("target"), Path::to_path_buf)
    }

    fn of(
        workspace: &Path,
        command: &[&str],
        selection: &[&str],
        profile: Profile,
    ) -> Result<Self> {
        let mut cargo = cargo(workspace);
        cargo
            .args(command)
            .args(["--locked", "--message-format=json-render-diagnostics"])
            .args(selection)
            .args(profile.arguments())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = cargo
            .output()
            .with_context(|| format!("`{}` does not start", process::line(&cargo)))?;
        if !output.status.success() {
            bail!("`{}` failed: {}", process::line(&cargo), output.status);
        }
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn parse(messages: &str) -> Result<Self> {
        let mut artifacts = Self::default();
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Value = serde_json::from_str(line).context("a message of cargo")?;
            artifacts.take(&message);
        }
        artifacts.tests.sort();
        artifacts.binaries.sort();
        Ok(artifacts)
    }

    fn take(&mut self, message: &Value) {
        let Some(file) = message["executable"].as_str().map(PathBuf::from) else { return };
        let Some(directory) =
            message["manifest_path"].as_str().and_then(|path| Path::new(path).parent())
        else {
            return;
        };
        let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        let is_file_of_tests = message["target"]["kind"][0].as_str() == Some("test");
        if message["profile"]["test"].as_bool() != Some(true) {
            self.binaries.push((name, file));
            return;
        }
        self.tests.push(TestBinary {
            // Packages are named as their directories.
            package: directory
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            kind: if is_file_of_tests { Kind::Integration } else { Kind::Unit },
            name,
            directory: directory.to_path_buf(),
            file,
        });
    }
}

/// The cargo that runs this, in the workspace.
pub(crate) fn cargo(workspace: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = concat!(
        r#"{"reason":"compiler-artifact","manifest_path":"/w/vm-tests/Cargo.toml","target":{"kind":["test"],"name":"path"},"profile":{"test":true},"executable":"/w/target/debug/deps/path-1"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/vm-tests/Cargo.toml","target":{"kind":["lib"],"name":"vm_tests"},"profile":{"test":true},"executable":"/w/target/debug/deps/vm_tests-1"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/vm-tests/Cargo.toml","target":{"kind":["bin"],"name":"lab"},"profile":{"test":false},"executable":"/w/target/debug/lab"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"kind":["lib"],"name":"a"},"profile":{"test":false},"executable":null}"#,
        "\nnot json\n",
        r#"{"reason":"build-finished","success":true}"#,
    );

    #[test]
    fn messages_are_sorted_into_tests_and_programs() {
        let artifacts = Artifacts::parse(MESSAGES).unwrap();
        assert_eq!(artifacts.binary("lab").unwrap(), Path::new("/w/target/debug/lab"));
        assert!(artifacts.binary("vm_tests").is_err());
        assert_eq!(artifacts.tests.len(), 2);
        assert_eq!(
            artifacts.test_of("vm-tests", "path").unwrap(),
            Path::new("/w/target/debug/deps/path-1")
        );
        assert!(artifacts.test_of("vm-tests", "vm_tests").is_err());
        assert_eq!(artifacts.target_directory(Path::new("/x")), Path::new("/w/target"));
    }
}
