//! `vm-tests/kernels.toml`: which kernels there are guests of, and what runs in each.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Programs of this machine that every guest has.
    pub(crate) tools: Vec<String>,
    /// Programs of the workspace that every guest has.
    pub(crate) programs: Vec<String>,
    /// Tests that need what the host's kernel may lack; they run in guests alone.
    pub(crate) guest_only: Vec<String>,
    /// The kernel that benchmarks are measured in.
    pub(crate) measured: String,
    #[serde(rename = "kernel")]
    pub(crate) kernels: Vec<Kernel>,
}

/// One guest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    /// The package that depends on the newest kernel of its kind.
    pub(crate) metapackage: String,
    /// The version whose digest is recorded.
    pub(crate) version: String,
    pub(crate) sha256: String,
    /// May a newer version stand in, under the archive's own digest?
    pub(crate) any_newer: bool,
    /// Loaded before the tests, with what they depend on.
    pub(crate) modules: Vec<String>,
    pub(crate) memory_mib: u32,
    /// The bound on the whole run, boot included.
    pub(crate) minutes: u64,
    /// Test binaries of `vm-tests`, in the order in which they run.
    pub(crate) tests: Vec<String>,
}

impl Kernel {
    /// The names of its files of tests.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(String::as_str)
    }
}

impl Table {
    pub(crate) fn read(workspace: &Path) -> Result<Self> {
        let path = workspace.join("vm-tests/kernels.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// The kernels of these names; all for none.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<&Kernel>> {
        if names.is_empty() {
            return Ok(self.kernels.iter().collect());
        }
        names.iter().map(|name| self.kernel(name)).collect()
    }

    /// The kernel of this name.
    pub(crate) fn kernel(&self, name: &str) -> Result<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name).with_context(|| {
            let known: Vec<_> = self.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            format!("no kernel {name}; there is {}", known.join(", "))
        })
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Self = toml::from_str(text)?;
        for test in &table.guest_only {
            if !table.kernels.iter().any(|kernel| kernel.tests.contains(test)) {
                bail!("{test} is for guests alone and no kernel lists it: it would never run");
            }
        }
        for kernel in &table.kernels {
            if kernel.tests.is_empty() {
                bail!("kernel {} has no tests", kernel.name);
            }
        }
        table.kernel(&table.measured)?;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        tools = ["ip"]
        programs = []
        guest_only = ["a"]
        measured = "old"
        [[kernel]]
        name = "old"
        metapackage = "linux-image"
        version = "1"
        sha256 = "00"
        any_newer = false
        modules = []
        memory_mib = 512
        minutes = 1
        tests = ["a"]
    "#;

    #[test]
    fn kernels_are_selected_by_name() {
        let table = Table::parse(TEXT).unwrap();
        assert_eq!(table.select(&[]).unwrap().len(), 1);
        assert_eq!(table.select(&["old".to_owned()]).unwrap()[0].tests, ["a"]);
        let error = table.select(&["new".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "no kernel new; there is old");
    }

    #[test]
    fn a_test_that_would_never_run_is_an_error() {
        let text = TEXT.replace(r#"tests = ["a"]"#, r#"tests = ["b"]"#);
        assert!(Table::parse(&text).unwrap_err().to_string().contains("would never run"));
        let text = TEXT.replace(r#"tests = ["a"]"#, "tests = []").replace(r#"["a"]"#, "[]");
        assert!(Table::parse(&text).is_err());
        assert!(Table::parse(&TEXT.replace("minutes", "hours")).is_err());
        let text = TEXT.replace(r#"measured = "old""#, r#"measured = "new""#);
        assert_eq!(Table::parse(&text).unwrap_err().to_string(), "no kernel new; there is old");
    }

    #[test]
    fn the_table_in_the_tree_is_valid() {
        Table::read(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
    }
}
