//! Network namespaces: made, entered by threads, emptied and removed. The lab's topology and its
//! servers stand on this.
//!
//! A thread enters the network namespace alone and keeps every mount, unlike `ip netns exec`, which
//! mounts a new /sys and so hides the BPF file system. A child started by such a thread lives in
//! the namespace too, and a socket opened by it stays there wherever it is used later.

use std::fs::{self, File};
use std::io::Read;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::Process;
use super::wait::{wait_for, wait_until};

/// Where `ip netns` keeps its names.
pub const DIRECTORY: &str = "/run/netns";

const END_BOUND: Duration = Duration::from_secs(20);

/// A named network namespace. Dropping the value does not remove it: the sweep of the lab does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, with loopback up and IPv6 off (so that nothing but the test's own
    /// traffic is on its wires).
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self { name: name.to_owned() };
        namespace.run(|| -> Result<()> {
            for scope in ["all", "default"] {
                let setting = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
                if Path::new(&setting).exists() {
                    fs::write(&setting, "1").with_context(|| format!("write {setting}"))?;
                }
            }
            Ok(())
        })??;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The namespace of this name, made earlier.
    pub fn existing(name: &str) -> Result<Self> {
        let namespace = Self { name: name.to_owned() };
        ensure!(namespace.path().exists(), "there is no network namespace {name}");
        Ok(namespace)
    }

    /// Its name, as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip -n NAME WORDS`.
    pub fn ip(&self, words: &str) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Runs `work` on a thread inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves the calling thread into the namespace, for good.
    pub fn enter(&self) -> Result<()> {
        let file = File::open(self.path()).with_context(|| format!("open {}", self.name))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", self.name))
    }

    /// Starts `command` here as `title`, in a process group of its own, its output going to `log`.
    pub fn spawn(&self, title: &str, command: &mut Command, log: &Path) -> Result<Process> {
        self.run(|| Process::spawn(title, command, log))?
    }

    /// Runs `command` here to its end, at most `bound` long, and gives what it wrote.
    pub fn output(&self, command: &mut Command, bound: Duration) -> Result<Output> {
        self.run(|| bounded_output(command, bound))?
    }

    /// The ids of the processes in here, this one left out.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let own = fs::metadata(self.path()).with_context(|| format!("look at {}", self.name))?;
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc").context("list /proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            // A process that ended meanwhile, or is a zombie, has no namespace to look at.
            let Ok(theirs) = fs::metadata(entry.path().join("ns/net")) else { continue };
            if (theirs.st_ino(), theirs.st_dev()) == (own.st_ino(), own.st_dev())
                && Pid::from_raw(pid) != Pid::this()
            {
                pids.push(Pid::from_raw(pid));
            }
        }
        Ok(pids)
    }

    /// How many packets the devices in here have carried, loopback left out.
    pub fn packets(&self) -> Result<u64> {
        let table = self.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        Ok(packets_in(&table.context("read /proc/thread-self/net/dev")?))
    }

    /// Ends every process in here, then removes the namespace with its devices.
    pub fn remove(&self) -> Result<()> {
        wait_for(format!("the processes in {} to end", self.name), END_BOUND, || {
            let pids = self.pids()?;
            for pid in &pids {
                // Already gone is as good as ended.
                let _ = kill(*pid, Signal::SIGKILL);
            }
            Ok(pids.is_empty())
        })?;
        run(Command::new("ip").args(["netns", "del", &self.name]))?;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }
}

/// Runs a command to its end and gives its standard output; a failure carries what it complained
/// about.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn bounded_output(command: &mut Command, bound: Duration) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let ended = wait_until(format!("{command:?} to end"), bound, || Ok(child.try_wait()?));
    if ended.is_err() {
        // The wait below reaps it; it may have ended by itself meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
    let read = |drained: Option<thread::JoinHandle<Vec<u8>>>| match drained.map(|it| it.join()) {
        Some(Ok(bytes)) => Ok(bytes),
        _ => bail!("reading the output of {command:?} failed"),
    };
    let (stdout, stderr) = (read(stdout)?, read(stderr)?);
    let status = ended.with_context(|| String::from_utf8_lossy(&stderr).trim().to_owned())?;
    Ok(Output { status, stdout, stderr })
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a read error is what there is to show.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn packets_in(table: &str) -> u64 {
    const RECEIVED: usize = 1;
    const SENT: usize = 9;
    table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(device, _)| device.trim() != "lo")
        .map(|(_, numbers)| {
            let numbers: Vec<u64> =
                numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            numbers.get(RECEIVED).unwrap_or(&0) + numbers.get(SENT).unwrap_or(&0)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::packets_in;

    #[test]
    fn counts_received_and_sent_of_all_but_loopback() {
        let table = "Inter-| Receive | Transmit\n face |bytes packets\n\
            lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n\
            lan0: 100 3 0 0 0 0 0 0 50 4 0 0 0 0 0 0\n\
            wan0: 100 10 0 0 0 0 0 0 50 20 0 0 0 0 0 0\n";
        assert_eq!(packets_in(table), 37);
    }
}
