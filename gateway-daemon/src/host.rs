//! What this host must offer before a gateway can start: rights and kernel features, each refusal
//! with its remedy. `gatewayctl` asks for the rights alone.
//!
//! What only an attempt can tell (program types, helpers) is left to the attempt.

use std::fs;

use nix::sys::utsname::uname;

/// What the host lacks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostError {
    /// Missing capabilities.
    #[error("not permitted: this needs {missing}; run as root, or with these capabilities")]
    Capabilities {
        /// Their names.
        missing: String,
    },
    /// A kernel that is too old.
    #[error(
        "kernel {release} is too old: the programs need Linux 6.1 or later; install a newer kernel"
    )]
    Kernel {
        /// Its release.
        release: String,
    },
    /// A kernel without BPF.
    #[error(
        "this kernel has no BPF (its list of file systems lacks \"bpf\"); install one that is \
         built with CONFIG_BPF_SYSCALL"
    )]
    NoBpf,
}

/// Whether a gateway can run here at all.
pub fn check() -> Result<(), HostError> {
    permitted()?;
    kernel()
}

/// Whether the kernel can carry a gateway.
pub fn kernel() -> Result<(), HostError> {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned());
    kernel_is_new_enough(&release.unwrap_or_default())?;
    // What cannot be read (no /proc) is not held against the host.
    fs::read_to_string("/proc/filesystems").map_or(Ok(()), |list| has_bpf(&list))
}

/// Whether this process may change the data path.
pub fn permitted() -> Result<(), HostError> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    match effective_capabilities(&status) {
        Some(held) => has_capabilities(held),
        None => Ok(()),
    }
}

const NET_ADMIN: (u64, &str) = (1 << 12, "CAP_NET_ADMIN");
const SYS_ADMIN: (u64, &str) = (1 << 21, "CAP_SYS_ADMIN");
const PERFMON: (u64, &str) = (1 << 38, "CAP_PERFMON");
const BPF: (u64, &str) = (1 << 39, "CAP_BPF");

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, as it did before they were (Linux 5.8,
/// 2c78ee898d8f and 984fe94f9474).
fn has_capabilities(held: u64) -> Result<(), HostError> {
    let holds = |(bit, _): (u64, &str)| held & bit != 0;
    let missing: Vec<&str> = [NET_ADMIN, BPF, PERFMON]
        .into_iter()
        .filter(|needed| !holds(*needed) && (*needed == NET_ADMIN || !holds(SYS_ADMIN)))
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(HostError::Capabilities { missing: missing.join(", ") })
}

fn kernel_is_new_enough(release: &str) -> Result<(), HostError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (6, 1) => {
            Err(HostError::Kernel { release: release.into() })
        }
        _ => Ok(()),
    }
}

fn has_bpf(file_systems: &str) -> Result<(), HostError> {
    let mut names = file_systems.lines().filter_map(|line| line.split_whitespace().last());
    if names.any(|name| name == "bpf") { Ok(()) } else { Err(HostError::NoBpf) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named() {
        let root = effective_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n").unwrap();
        assert_eq!(has_capabilities(root), Ok(()));
        let narrow = NET_ADMIN.0 | BPF.0 | PERFMON.0;
        assert_eq!(has_capabilities(narrow), Ok(()));
        let old = NET_ADMIN.0 | SYS_ADMIN.0;
        assert_eq!(has_capabilities(old), Ok(()));
        let none = has_capabilities(0).unwrap_err().to_string();
        assert!(none.contains("CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON"), "{none}");
        let part = has_capabilities(SYS_ADMIN.0).unwrap_err().to_string();
        assert!(part.contains("CAP_NET_ADMIN;"), "{part}");
    }

    #[test]
    fn kernels_are_told_by_their_release() {
        for good in ["6.1.0-1-amd64", "6.18.5", "10.0", "unknown", ""] {
            assert_eq!(kernel_is_new_enough(good), Ok(()), "{good}");
        }
        for old in ["6.0.19", "5.10.0-30-amd64", "3.10.0"] {
            assert!(kernel_is_new_enough(old).is_err(), "{old}");
        }
    }

    #[test]
    fn a_kernel_without_bpf_is_told() {
        assert_eq!(has_bpf("nodev\tsysfs\nnodev\tbpf\n\text4\n"), Ok(()));
        assert_eq!(has_bpf("nodev\tsysfs\n\text4\n"), Err(HostError::NoBpf));
    }
}
