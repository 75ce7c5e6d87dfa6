//! `cargo xtask setup`: what the other commands need from the machine.
//!
//! On Debian and its descendants, as root, installs what is missing; elsewhere says what is missing and
//! the command that installs it. Quick when nothing is missing, so the other commands call it first.

mod services;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::artifacts::cargo;
use crate::ebpf_toolchain::{self, EbpfToolchain};
use crate::process;

/// One reason to need something from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compiling the kernel half.
    KernelHalf,
    /// Checking the kernel half's style.
    KernelHalfLint,
    /// Running guests.
    Guests,
    /// Building sites out of namespaces, with real servers in them.
    Sites,
    /// Measuring: what the data path is compared with.
    Bench,
}

/// Everything; what `cargo xtask setup` alone stands for.
pub(crate) const ALL: [Need; 5] =
    [Need::KernelHalf, Need::KernelHalfLint, Need::Guests, Need::Sites, Need::Bench];

/// With the packages of the tools that `vm-tests/kernels.toml` gives every guest.
const GUEST_PACKAGES: [&str; 10] = [
    "binutils",
    "bpftool",
    "busybox-static",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "qemu-system-x86",
    "traceroute",
    "xz-utils",
];
const BENCH_PACKAGES: [&str; 4] = ["etcd-server", "ethtool", "nftables", "util-linux"];
const COMPILER_PACKAGES: [&str; 3] = ["cargo-web", "rust-web-src", "rustc-web"];
/// An archive with these has a `rustc-web` that is new enough.
const COMPILER_PROOF: [&str; 2] = ["rustc-web", "libllvm22"];
const LINT_PACKAGE: &str = "rust-web-clippy";
/// The last series that loads the compiler's own LLVM instead of bringing one.
const LINKER_SERIES: &str = "0.10.";
const LINKER_INSTALL: [&str; 5] = ["install", "bpf-linker", "--version", "0.10.4", "--locked"];
/// A nightly of LLVM 22, for machines whose archive has no `rustc-web`.
const NIGHTLY_INSTALL: &str = "rustup toolchain install nightly-2026-05-19 --profile minimal \
                               --component rust-src --component clippy";

/// Makes the machine fit, or says why it is not and what to do.
pub(crate) fn ensure(workspace: &Path, needs: &[Need]) -> Result<()> {
    if is_root()? {
        services::finish_killed()?;
    }
    let missing = Missing::find(workspace, needs)?;
    if missing.is_empty() {
        return Ok(());
    }
    // The linker is the caller's own, among cargo's programs.
    if !missing.packages.is_empty() && (!has_apt() || !is_root()?) {
        bail!("{}", missing.advice(has_apt()));
    }
    missing.install(workspace)?;
    let still = Missing::find(workspace, needs)?;
    if !still.is_empty() {
        bail!("after the installation: {}", still.advice(true));
    }
    Ok(())
}

/// Do we run with all rights?
pub(crate) fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim() == "0")
}

#[derive(Debug, Default)]
struct Missing {
    packages: BTreeSet<String>,
    linker: bool,
}

impl Missing {
    fn find(workspace: &Path, needs: &[Need]) -> Result<Self> {
        let mut wanted = BTreeSet::new();
        let mut missing = Self::default();
        for need in needs {
            match need {
                Need::KernelHalf => missing.toolchain(ebpf_toolchain::find().as_ref().err())?,
                Need::KernelHalfLint => {
                    if ebpf_toolchain::find().is_ok_and(|found| !has_clippy(&found)) {
                        missing.packages.insert(LINT_PACKAGE.to_owned());
                    }
                }
                Need::Guests => wanted.extend(GUEST_PACKAGES.map(str::to_owned)),
                Need::Bench => wanted.extend(BENCH_PACKAGES.map(str::to_owned)),
                Need::Sites => wanted.extend(site_packages(workspace)?),
            }
        }
        // A fresh machine has no compiler to judge by; its clippy comes in the same go.
        if missing.packages.contains("rustc-web") && needs.contains(&Need::KernelHalfLint) {
            missing.packages.insert(LINT_PACKAGE.to_owned());
        }
        missing.packages.extend(absent(wanted)?);
        Ok(missing)
    }

    fn toolchain(&mut self, lacking: Option<&ebpf_toolchain::Missing>) -> Result<()> {
        match lacking {
            None => {}
            Some(ebpf_toolchain::Missing::Linker) => {}
            Some(_) => self.packages.extend(COMPILER_PACKAGES.map(str::to_owned)),
        }
        self.linker = match ebpf_toolchain::linker() {
            Some(linker) => {
                !process::output(Command::new(linker).arg("--version"))?.contains(LINKER_SERIES)
            }
            None => true,
        };
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.linker
    }

    /// What is missing and the commands that install it.
    fn advice(&self, apt: bool) -> String {
        let mut lines = Vec::new();
        let names = self.packages.iter().cloned().collect::<Vec<_>>().join(" ");
        if !self.packages.is_empty() && apt {
            lines.push(format!("missing packages: {names}"));
            lines.push(format!("  as root: apt-get install --no-install-recommends {names}"));
        } else if !self.packages.is_empty() {
            lines.push(format!("missing, by the names of Debian's packages: {names}"));
            lines.push("  install what your distribution calls them".to_owned());
            if self.packages.contains("rustc-web") {
                lines.push(format!(
                    "  in place of those with web in their names: {NIGHTLY_INSTALL}"
                ));
            }
        }
        if self.linker {
            lines.push("missing: bpf-linker 0.10.4".to_owned());
            lines.push(format!("  cargo {} --force", LINKER_INSTALL.join(" ")));
        }
        lines.join("\n")
    }

    fn install(&self, workspace: &Path) -> Result<()> {
        if !self.packages.is_empty() {
            println!("installing {}", self.packages.iter().cloned().collect::<Vec<_>>().join(" "));
            process::run(apt().arg("update"))?;
            self.offered()?;
            let install = || {
                let mut install = apt();
                install.args(["-y", "install", "--no-install-recommends"]).args(&self.packages);
                install
            };
            // Ctrl-C is free to end the download, which is most of the time.
            process::run(install().arg("--download-only"))?;
            services::kept_off(|| process::run(&mut install()))?;
        }
        if self.linker {
            println!("installing bpf-linker");
            // Not where cargo would: an interrupted build would stay there, and be of no use.
            let scratch = workspace.join("target/bpf-linker");
            let mut install = cargo(workspace);
            install.args(LINKER_INSTALL).arg("--force").arg("--target-dir").arg(&scratch);
            process::run(&mut install)?;
            fs::remove_dir_all(&scratch).with_context(|| format!("{}", scratch.display()))?;
        }
        Ok(())
    }

    /// Does the archive have the compiler? Only Debian's does, and in Debian 12 an old one unless the
    /// security updates are among its sources.
    fn offered(&self) -> Result<()> {
        let offers =
            |package| process::output(Command::new("apt-cache").args(["show", package])).is_ok();
        if self.packages.contains("rustc-web") && !COMPILER_PROOF.into_iter().all(offers) {
            bail!(
                "no rustc-web of LLVM 22 in this machine's archive (Debian 12 has it among its \
                 security updates); instead: {NIGHTLY_INSTALL}"
            );
        }
        Ok(())
    }
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // A machine just started may be updating itself.
    command.args(["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists() && Path::new("/usr/bin/dpkg-query").exists()
}

/// Is there a linter that belongs to the kernel half's compiler?
pub(crate) fn has_clippy(toolchain: &EbpfToolchain) -> bool {
    toolchain.cargo.with_file_name("cargo-clippy").exists()
}

fn site_packages(workspace: &Path) -> Result<Vec<String>> {
    let path = workspace.join("vm-tests/packages.txt");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Ok(package_names(&text))
}

fn package_names(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

fn absent(wanted: BTreeSet<String>) -> Result<BTreeSet<String>> {
    if wanted.is_empty() {
        return Ok(wanted);
    }
    if !has_apt() {
        return Ok(wanted.into_iter().filter(|package| !is_present(package)).collect());
    }
    // Exits with 1 when a package is unknown to it, which is an answer like any other.
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Package}\n"])
        .args(&wanted)
        .output()
        .context("`dpkg-query` does not start")?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed: BTreeSet<&str> =
        listing.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    Ok(wanted.into_iter().filter(|package| !installed.contains(package.as_str())).collect())
}

/// Where there is no dpkg: is the program there that the package is wanted for?
fn is_present(package: &str) -> bool {
    let program = match package {
        "amqp-tools" => "amqp-publish",
        "binutils" => "strip",
        "busybox-static" => "busybox",
        "dnsmasq-base" => "dnsmasq",
        "etcd-server" => "etcd",
        "iproute2" => "ip",
        "iputils-ping" => "ping",
        "kmod" => "depmod",
        "knot" => "knotd",
        "knot-dnsutils" => "kdig",
        "nftables" => "nft",
        "nghttp2-client" => "nghttp",
        "nghttp2-server" => "nghttpd",
        "openssh-client" => "ssh",
        "openssh-server" => "sshd",
        "postgresql" => "pgbench",
        "qemu-system-x86" => "qemu-system-x86_64",
        "util-linux" => "unshare",
        same => same,
    };
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_packages_is_read() {
        assert_eq!(package_names("# all\n\nip # tools\n tc\n"), ["ip", "tc"]);
    }

    #[test]
    fn the_advice_names_what_is_missing_and_the_command() {
        let packages = ["rustc-web", "kmod"].map(str::to_owned).into();
        let missing = Missing { packages, linker: true };
        let advice = missing.advice(true);
        assert!(
            advice.contains("apt-get install --no-install-recommends kmod rustc-web"),
            "{advice}"
        );
        assert!(advice.contains("cargo install bpf-linker --version 0.10.4 --locked"), "{advice}");
        assert!(missing.advice(false).contains("rustup toolchain install"));
        assert!(!Missing { linker: true, ..Missing::default() }.advice(true).contains("apt-get"));
    }

    #[test]
    fn packages_not_installed_are_found() {
        if has_apt() {
            let wanted = BTreeSet::from(["dpkg".to_owned(), "no-such-package-here".to_owned()]);
            assert_eq!(
                absent(wanted).unwrap(),
                BTreeSet::from(["no-such-package-here".to_owned()])
            );
        } else {
            assert!(!is_present("no-such-package-here"));
        }
    }
}
