//! Installing packages whose services are to stay off: now, and when the machine starts next.
//!
//! The demo runs the servers' programs itself, in namespaces; a broker open to the whole network is
//! nothing that a look at the demo should leave. What was enabled before stays enabled.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::process::run;

/// Where the policy stands that Debian's packages ask before they start a service.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Runs an installation to its end, signals or not, and keeps off the services it brings.
pub(super) fn kept_off(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let root = Path::new("/");
    finish(root)?;
    let _signals = Held::begin()?;
    let before = Enabled::find(root)?;
    let policy = Policy::place(&root.join(POLICY), &before)?;
    let installed = install();
    // The policy goes when all is off: until then it says what is to be done if this process is killed.
    let off = turn_off(root, &before);
    drop(policy);
    installed.and(off)
}

/// Turns off what an installation brought that was killed.
pub(super) fn finish_killed() -> Result<()> {
    finish(Path::new("/"))
}

fn finish(root: &Path) -> Result<()> {
    let path = root.join(POLICY);
    match Policy::left_behind(&path)? {
        Some(before) => {
            let _signals = Held::begin()?;
            turn_off(root, &before)?;
            fs::remove_file(&path).with_context(|| format!("{}", path.display()))
        }
        None => Ok(()),
    }
}

/// What is started with the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Enabled {
    /// Services and sockets of systemd.
    units: BTreeSet<String>,
    /// Scripts of the init before it.
    scripts: BTreeSet<String>,
}

impl Enabled {
    fn find(root: &Path) -> Result<Self> {
        let mut units = BTreeSet::new();
        for directory in names(&root.join("etc/systemd/system"))? {
            if directory.ends_with(".wants") || directory.ends_with(".requires") {
                units.extend(names(&root.join("etc/systemd/system").join(directory))?);
            }
        }
        units.retain(|unit| unit.ends_with(".service") || unit.ends_with(".socket"));
        // `S01knot` is knot, started.
        let links = names(&root.join("etc/rc2.d"))?;
        let scripts = links.iter().filter_map(|link| {
            Some(
                link.strip_prefix('S')?
                    .trim_start_matches(|it: char| it.is_ascii_digit())
                    .to_owned(),
            )
        });
        Ok(Self { units, scripts: scripts.collect() })
    }

    fn since(&self, before: &Self) -> Self {
        Self { units: &self.units - &before.units, scripts: &self.scripts - &before.scripts }
    }

    /// What turns it off, on a machine with these programs.
    fn commands(&self, has: impl Fn(&str) -> bool) -> Vec<Command> {
        let mut commands = Vec::new();
        if has("usr/bin/systemctl") {
            if !self.units.is_empty() {
                let mut disable = Command::new("systemctl");
                disable.args(["--quiet", "disable"]);
                // Somebody else's policy may have let them start; where systemd does not run it starts
                // nothing.
                if has("run/systemd/system") {
                    disable.arg("--now");
                }
                disable.args(&self.units);
                commands.push(disable);
            }
        } else if has("usr/sbin/update-rc.d") {
            for script in &self.scripts {
                let mut disable = Command::new("update-rc.d");
                disable.args([script, "disable"]);
                commands.push(disable);
            }
        }
        commands
    }
}

fn turn_off(root: &Path, before: &Enabled) -> Result<()> {
    let brought = Enabled::find(root)?.since(before);
    for mut command in brought.commands(|program| root.join(program).exists()) {
        println!("not to be started with the machine: {command:?}");
        run(&mut command)?;
    }
    Ok(())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .with_context(|| format!("{}", directory.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("{}", directory.display())),
    }
}

/// While it lives, packages do not start the services they bring.
struct Policy {
    placed: Option<PathBuf>,
}

impl Policy {
    const MARK: &str = "# Placed by `cargo xtask setup`; of no effect after its end.";
    const UNITS: &str = "# units enabled before:";
    const SCRIPTS: &str = "# scripts enabled before:";

    fn place(path: &Path, before: &Enabled) -> Result<Self> {
        // Another's policy stays.
        if path.exists() && !fs::read_to_string(path)?.contains(Self::MARK) {
            return Ok(Self { placed: None });
        }
        fs::write(path, Self::text(process::id(), before))
            .with_context(|| format!("{}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { placed: Some(path.to_path_buf()) })
    }

    /// Refuses while that process lives, and remembers what was enabled before it.
    fn text(process: u32, before: &Enabled) -> String {
        let (mark, units, scripts) = (Self::MARK, Self::UNITS, Self::SCRIPTS);
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        format!(
            "#!/bin/sh\n{mark}\n{units} {}\n{scripts} {}\nkill -0 {process} 2>/dev/null && exit 101\nexit \
             0\n",
            list(&before.units),
            list(&before.scripts),
        )
    }

    /// What was enabled before a run that was killed; nothing if none was, or another one runs.
    fn left_behind(path: &Path) -> Result<Option<Enabled>> {
        let text = match fs::read_to_string(path) {
            Ok(text) if text.contains(Self::MARK) => text,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        let list = |heading: &str| -> Option<BTreeSet<String>> {
            let names = text.lines().find_map(|line| line.strip_prefix(heading))?;
            Some(names.split_whitespace().map(str::to_owned).collect())
        };
        let refuses = Command::new("sh").arg(path).status()?.code() == Some(101);
        let before = list(Self::UNITS).zip(list(Self::SCRIPTS)).filter(|_| !refuses);
        Ok(before.map(|(units, scripts)| Enabled { units, scripts }))
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
        let policy = Policy::place(&path, &Enabled::default()).unwrap();
        assert!(refuses(&path));
        assert_eq!(Policy::left_behind(&path).unwrap(), None, "it is in use");
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_of_a_run_that_was_killed_is_without_effect_and_replaced() {
        let scratch = Scratch::new("stale");
        let path = scratch.0.join("policy-rc.d");
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let before = Enabled {
            units: ["knot.service".to_owned()].into(),
            scripts: ["knot".to_owned()].into(),
        };
        fs::write(&path, Policy::text(gone.id(), &before)).unwrap();
        assert!(!refuses(&path));
        assert_eq!(Policy::left_behind(&path).unwrap(), Some(before.clone()));
        let policy = Policy::place(&path, &before).unwrap();
        assert!(refuses(&path));
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_of_somebody_else_stays() {
        let scratch = Scratch::new("foreign");
        let path = scratch.0.join("policy-rc.d");
        fs::write(&path, "#!/bin/sh\nexit 104\n").unwrap();
        drop(Policy::place(&path, &Enabled::default()).unwrap());
        assert_eq!(Policy::left_behind(&path).unwrap(), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 104\n");
    }

    fn enable(root: &Path, link: &str) {
        let link = root.join("etc").join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/no/such/file", link).unwrap();
    }

    #[test]
    fn what_an_installation_enabled_is_turned_off_and_nothing_else() {
        let scratch = Scratch::new("enabled");
        let root = &scratch.0;
        enable(root, "systemd/system/multi-user.target.wants/postgresql.service");
        enable(root, "rc2.d/S01postgresql");
        enable(root, "rc2.d/K01ssh");
        let before = Enabled::find(root).unwrap();
        assert!(before.since(&before).commands(|_| true).is_empty());

        enable(root, "systemd/system/sockets.target.wants/epmd.socket");
        enable(root, "systemd/system/multi-user.target.wants/of-tomorrow.service");
        enable(root, "systemd/system/timers.target.wants/logrotate.timer");
        enable(root, "rc2.d/S01of-tomorrow");
        let brought = Enabled::find(root).unwrap().since(&before);
        let lines = |has: &[&str]| -> Vec<String> {
            let commands = brought.commands(|program| has.contains(&program));
            commands.iter().map(|it| format!("{it:?}").replace('"', "")).collect()
        };
        let all = "epmd.socket of-tomorrow.service";
        assert_eq!(
            lines(&["usr/bin/systemctl", "usr/sbin/update-rc.d"]),
            [format!("systemctl --quiet disable {all}")]
        );
        assert_eq!(
            lines(&["usr/bin/systemctl", "run/systemd/system"]),
            [format!("systemctl --quiet disable --now {all}")]
        );
        assert_eq!(lines(&["usr/sbin/update-rc.d"]), ["update-rc.d of-tomorrow disable"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn what_a_killed_installation_left_is_finished_once() {
        let scratch = Scratch::new("killed");
        let root = &scratch.0;
        fs::create_dir_all(root.join("usr/sbin")).unwrap();
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let path = root.join(POLICY);
        fs::write(&path, Policy::text(gone.id(), &Enabled::default())).unwrap();
        finish(root).unwrap();
        assert!(!path.exists());
        finish(root).unwrap();
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
