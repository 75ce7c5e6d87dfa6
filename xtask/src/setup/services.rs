//! Installing packages whose services are to stay off: now, and when the machine starts next.
//!
//! The demo runs the servers' programs itself, in namespaces; a broker open to the whole network is
//! nothing that a look at the demo should leave. What was enabled before stays enabled.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::process::run;

/// The services that the packages bring, with the target that starts each.
const UNITS: [(&str, &str); 9] = [
    ("epmd.service", "multi-user.target"),
    ("epmd.socket", "sockets.target"),
    ("iperf3.service", "multi-user.target"),
    ("knot.service", "multi-user.target"),
    ("postgresql.service", "multi-user.target"),
    ("rabbitmq-server.service", "multi-user.target"),
    ("ssh.service", "multi-user.target"),
    ("ssh.socket", "sockets.target"),
    ("vsftpd.service", "multi-user.target"),
];

/// Runs an installation to its end, signals or not, and keeps off the services it brings.
pub(super) fn kept_off(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let root = Path::new("/");
    let _signals = Held::begin()?;
    let before = enabled(root);
    let policy = Policy::place(&root.join("usr/sbin/policy-rc.d"))?;
    let installed = install();
    drop(policy);
    let brought: Vec<&str> =
        enabled(root).into_iter().filter(|unit| !before.contains(unit)).collect();
    installed.and(disable(root, &brought))
}

fn enabled(root: &Path) -> Vec<&'static str> {
    let wants = root.join("etc/systemd/system");
    UNITS
        .iter()
        .filter(|(unit, target)| wants.join(format!("{target}.wants")).join(unit).is_symlink())
        .map(|(unit, _)| *unit)
        .collect()
}

fn disable(root: &Path, units: &[&str]) -> Result<()> {
    // Without systemd nothing follows these links.
    if units.is_empty() || !root.join("usr/bin/systemctl").exists() {
        return Ok(());
    }
    println!("not to be started with the machine: {}", units.join(" "));
    run(Command::new("systemctl").args(["--quiet", "disable"]).args(units))
}

/// While it lives, packages do not start the services they bring.
struct Policy {
    placed: Option<PathBuf>,
}

impl Policy {
    const MARK: &str = "# Placed by `cargo xtask setup`; of no effect after its end.";

    fn place(path: &Path) -> Result<Self> {
        // Another's policy stays; one of our own is left from a run that was killed.
        if path.exists() && !fs::read_to_string(path)?.contains(Self::MARK) {
            return Ok(Self { placed: None });
        }
        fs::write(path, Self::text(process::id()))
            .with_context(|| format!("{}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { placed: Some(path.to_path_buf()) })
    }

    /// Refuses while that process lives.
    fn text(process: u32) -> String {
        let mark = Self::MARK;
        format!("#!/bin/sh\n{mark}\nkill -0 {process} 2>/dev/null && exit 101\nexit 0\n")
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.placed
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("{} must be removed by hand: {error}", path.display());
        }
    }
}

/// While it lives, Ctrl-C waits, for this process and for those it starts: half an installation is
/// one that apt refuses to go on from.
struct Held {
    signals: SigSet,
}

impl Held {
    fn begin() -> Result<Self> {
        let signals: SigSet =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("hold signals back")?;
        Ok(Self { signals })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.signals.thread_unblock() {
            eprintln!("signals stay held back: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::output;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refuses(policy: &Path) -> bool {
        Command::new("sh").arg(policy).args(["knot", "start"]).status().unwrap().code() == Some(101)
    }

    #[test]
    fn a_policy_refuses_while_it_lives_and_goes() {
        let scratch = Scratch::new("policy");
        let path = scratch.0.join("policy-rc.d");
        let policy = Policy::place(&path).unwrap();
        assert!(refuses(&path));
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_of_a_run_that_was_killed_is_without_effect_and_replaced() {
        let scratch = Scratch::new("stale");
        let path = scratch.0.join("policy-rc.d");
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::write(&path, Policy::text(gone.id())).unwrap();
        assert!(!refuses(&path));
        let policy = Policy::place(&path).unwrap();
        assert!(refuses(&path));
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_of_somebody_else_stays() {
        let scratch = Scratch::new("foreign");
        let path = scratch.0.join("policy-rc.d");
        fs::write(&path, "#!/bin/sh\nexit 104\n").unwrap();
        drop(Policy::place(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 104\n");
    }

    #[test]
    fn enabled_services_are_seen() {
        let scratch = Scratch::new("enabled");
        let wants = scratch.0.join("etc/systemd/system/sockets.target.wants");
        fs::create_dir_all(&wants).unwrap();
        assert!(enabled(&scratch.0).is_empty());
        std::os::unix::fs::symlink("/no/such/file", wants.join("epmd.socket")).unwrap();
        assert_eq!(enabled(&scratch.0), ["epmd.socket"]);
    }

    #[test]
    fn signals_wait_for_a_program_to_end() {
        let script = "kill -TERM $$; echo went on";
        let signals = Held::begin().unwrap();
        assert_eq!(output(Command::new("sh").args(["-c", script])).unwrap(), "went on\n");
        drop(signals);
        assert!(output(Command::new("sh").args(["-c", script])).is_err());
    }
}
