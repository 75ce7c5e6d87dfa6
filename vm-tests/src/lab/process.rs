//! A process the lab started: its log, its signals, its end. Dropping the value ends the process,
//! unless it was let go.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::wait_until;

/// A child of this process.
#[derive(Debug)]
pub struct Process {
    title: String,
    child: Child,
    log: PathBuf,
    let_go: bool,
}

impl Process {
    /// Starts `command` with its output appended to `log`, in a process group of its own: a Ctrl-C
    /// meant for the lab ends it in the lab's order.
    pub fn spawn(title: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(log)
                .with_context(|| format!("open the log {}", log.display()))
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    anyhow::anyhow!("{title}: {:?} is not installed", command.get_program())
                }
                _ => anyhow::Error::new(error).context(format!("start {title}")),
            })?;
        Ok(Self { title: title.to_owned(), child, log: log.to_owned(), let_go: false })
    }

    /// What the lab calls it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits pid_t"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("send {signal} to {}", self.title))
    }

    /// Ends it with SIGKILL and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("kill {}", self.title))?;
        self.child.wait().with_context(|| format!("wait for {}", self.title))
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("look at {}", self.title))
    }

    /// Waits for its end by itself.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        wait_until(format!("{} to end", self.title), bound, || Ok(self.child.try_wait()?))
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines it wrote, each indented, for a failure's message.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    /// Lets it live on after this value and this process.
    pub fn let_go(mut self) {
        self.let_go = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.let_go || matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.kill() {
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}

/// The last `lines` lines of a text, each indented.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("      {line}\n")).collect()
}
