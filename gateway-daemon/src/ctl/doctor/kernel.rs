//! What the kernel of this host offers to a gateway or a controller.

use std::fs;
use std::path::Path;

use gateway_control::model::LinkKind;
use nix::sys::utsname::uname;

use super::report::{Check, Finding};
use crate::host::{self, HostError};
use crate::sandbox::has_landlock;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Features {
    rights: Result<(), String>,
    programs: Result<(), String>,
    release: String,
    types: bool,
    wireguard: bool,
    tun: bool,
    landlock: bool,
    seccomp: bool,
}

impl Features {
    /// Looks.
    pub(super) fn look() -> Self {
        let release = uname().map(|it| it.release().to_string_lossy().into_owned());
        let release = release.unwrap_or_default();
        let text = |result: Result<(), HostError>| result.map_err(|error| error.to_string());
        Self {
            rights: text(host::permitted()),
            programs: text(host::kernel()),
            types: Path::new("/sys/kernel/btf/vmlinux").exists(),
            wireguard: has_module("wireguard", &release),
            tun: Path::new("/dev/net/tun").exists(),
            landlock: has_landlock(),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            release,
        }
    }

    /// What every daemon needs.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let landlock = match self.landlock {
            true => Finding::ok(Check::Kernel, "restricts files for a process (Landlock)"),
            false => Finding::warn(
                Check::Kernel,
                "has no Landlock in force: gatewayd runs, and may open more files than it needs",
                "boot with `landlock` in front of the list of the kernel parameter `lsm=`",
            ),
        };
        let seccomp = match self.seccomp {
            true => Finding::ok(Check::Kernel, "restricts system calls for a process (seccomp)"),
            false => Finding::warn(
                Check::Kernel,
                "has no seccomp: gatewayd runs, and may make more system calls than it needs",
                "install a kernel that is built with CONFIG_SECCOMP_FILTER",
            ),
        };
        vec![landlock, seccomp]
    }

    /// What a gateway needs besides.
    pub(super) fn judge_gateway(&self, link: LinkKind) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(error) = &self.rights {
            findings.push(Finding::error(Check::Kernel, error));
        }
        findings.push(match &self.programs {
            Ok(()) => Finding::ok(Check::Kernel, format!("{} carries BPF programs", self.release)),
            Err(error) => Finding::error(Check::Kernel, error),
        });
        findings.push(match has_tcx(&self.release) {
            true => Finding::ok(Check::Kernel, "attaches programs as links (TCX)"),
            false => Finding::ok(
                Check::Kernel,
                "has no TCX, which is of Linux 6.6: programs go by clsact filters",
            ),
        });
        findings.push(match self.types {
            true => Finding::ok(Check::Kernel, "describes its types (BTF)"),
            false => Finding::warn(
                Check::Kernel,
                "does not describe its types (BTF), and gatewayd was never tried on such a one",
                "install a kernel that is built with CONFIG_DEBUG_INFO_BTF",
            ),
        });
        findings.push(self.judge_link(link));
        findings
    }

    fn judge_link(&self, link: LinkKind) -> Finding {
        let ok = |found: &str| Finding::ok(Check::Kernel, found);
        let fail = |found: &str, remedy: &str| Finding::fail(Check::Kernel, found, remedy);
        match (link, self.wireguard, self.tun) {
            (LinkKind::Auto | LinkKind::Kernel, true, _) => ok("has WireGuard"),
            (LinkKind::Auto, false, true) => ok(
                "has no WireGuard: the link is served by a process of gatewayd, through a TUN device",
            ),
            (LinkKind::Auto, false, false) => fail(
                "has neither WireGuard nor TUN devices, and a link needs one of them",
                "load the module (`modprobe wireguard`, or `modprobe tun`), or install a kernel that has it",
            ),
            (LinkKind::Kernel, false, _) => fail(
                "has no WireGuard, and link.kind is \"kernel\"",
                "load the module (`modprobe wireguard`), or set link.kind to \"auto\"",
            ),
            (LinkKind::Userspace, _, true) => {
                ok("has TUN devices, which link.kind \"userspace\" needs")
            }
            (LinkKind::Userspace, _, false) => fail(
                "has no TUN devices (/dev/net/tun), and link.kind is \"userspace\"",
                "load the module (`modprobe tun`), or set link.kind to \"auto\"",
            ),
        }
    }
}

/// TCX is there since Linux 6.6 (e420bed02507).
fn has_tcx(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 6),
        _ => false,
    }
}

/// Whether the kernel has it, built in or as a module that is or can be loaded.
fn has_module(name: &str, release: &str) -> bool {
    let modules = Path::new("/lib/modules").join(release);
    let listed = ["modules.builtin", "modules.dep"].into_iter().any(|list| {
        let list = fs::read_to_string(modules.join(list)).unwrap_or_default();
        list.lines().any(|line| is_module(line, name))
    });
    listed || Path::new("/sys/module").join(name).exists()
}

/// Whether a line is of this module: `PATH/NAME.ko`, perhaps compressed, perhaps with what it depends on.
fn is_module(line: &str, name: &str) -> bool {
    let path = line.split(':').next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with(".ko"))
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    fn features() -> Features {
        Features {
            rights: Ok(()),
            programs: Ok(()),
            release: "6.1.0-30-amd64".to_owned(),
            types: true,
            wireguard: true,
            tun: true,
            landlock: true,
            seccomp: true,
        }
    }

    #[test]
    fn what_is_missing_is_told_as_bad_as_it_is() {
        let all = |features: &Features, link| {
            let findings = features.judge().into_iter().chain(features.judge_gateway(link));
            findings.map(|it| it.verdict).max()
        };
        assert_eq!(all(&features(), LinkKind::Auto), Some(Verdict::Ok));
        let without = Features { wireguard: false, ..features() };
        assert_eq!(all(&without, LinkKind::Auto), Some(Verdict::Ok));
        assert_eq!(all(&without, LinkKind::Kernel), Some(Verdict::Fail));
        let without = Features { wireguard: false, tun: false, ..features() };
        assert_eq!(all(&without, LinkKind::Auto), Some(Verdict::Fail));
        for worse in [
            Features { landlock: false, ..features() },
            Features { seccomp: false, ..features() },
            Features { types: false, ..features() },
        ] {
            assert_eq!(all(&worse, LinkKind::Auto), Some(Verdict::Warn), "{worse:?}");
        }
        let old = Features { programs: Err("kernel 5.10 is too old".to_owned()), ..features() };
        assert_eq!(all(&old, LinkKind::Auto), Some(Verdict::Fail));
    }

    #[test]
    fn modules_are_found_by_their_names() {
        assert!(is_module(
            "kernel/drivers/net/wireguard/wireguard.ko.xz: kernel/net/udp.ko",
            "wireguard"
        ));
        assert!(is_module("kernel/drivers/net/wireguard/wireguard.ko", "wireguard"));
        assert!(!is_module("kernel/x/other.ko: kernel/wireguard.ko", "wireguard"));
        assert!(!is_module("kernel/x/wireguard2.ko", "wireguard"));
        assert!(has_tcx("6.6.1") && has_tcx("6.18") && !has_tcx("6.1.0") && !has_tcx("?"));
    }
}
