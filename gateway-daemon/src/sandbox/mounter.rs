//! A process that mounts the BPF file system again should somebody unmount it, and does nothing else. What Landlock
//! restricts can mount nothing (security/landlock/fs.c, hook_sb_mount, Linux 6.18), and without pins nobody else
//! finds the data path.
//!
//! Started by gatewayd before it gives up rights, it ends with it. An octet asks it, and a line answers: empty, or
//! why not.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use gateway_dataplane::{BPFFS, require_file_system};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{Needs, Setting, confine};
use crate::sandbox::refuse_dumps;

/// Longest wait for an answer; a mount takes no time.
const PATIENCE: Duration = Duration::from_secs(5);

struct Mounter {
    _process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

static MOUNTER: OnceLock<Mutex<Mounter>> = OnceLock::new();

/// Starts the process.
pub(super) fn start() -> io::Result<()> {
    let mut process = Command::new("/proc/self/exe")
        .arg("mounter")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    let mut mounter = Mounter { _process: process, questions, answers: BufReader::new(answers) };
    mounter.ask()?;
    // A second one would be dropped and end.
    let _ = MOUNTER.set(Mutex::new(mounter));
    Ok(())
}

/// Mounts the BPF file system where everybody expects it, if nobody has. Blocks for a moment.
pub fn require_bpf_file_system() -> io::Result<()> {
    let is_mounted = statfs(BPFFS).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
    match MOUNTER.get() {
        Some(mounter) if !is_mounted => {
            mounter.lock().unwrap_or_else(PoisonError::into_inner).ask()
        }
        // Whoever is not confined mounts it himself.
        _ => Ok(()),
    }
}

impl Mounter {
    fn ask(&mut self) -> io::Result<()> {
        self.questions.write_all(b"?")?;
        let patience = PollTimeout::try_from(PATIENCE).map_err(io::Error::other)?;
        let mut answers = [PollFd::new(self.answers.get_ref().as_fd(), PollFlags::POLLIN)];
        if poll(&mut answers, patience)? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the mounter does not answer"));
        }
        let mut answer = String::new();
        self.answers.by_ref().take(4096).read_line(&mut answer)?;
        match answer.trim_end() {
            "" if answer.is_empty() => Err(io::Error::other("the mounter has ended")),
            "" => Ok(()),
            reason => Err(io::Error::other(reason.to_owned())),
        }
    }
}

/// Serves until gatewayd ends; the whole of the hidden subcommand.
pub fn serve_mounter() -> ExitCode {
    let confined = refuse_dumps()
        .map_err(|error| error.to_string())
        .and_then(|()| confine(Setting::On, Needs::of_mounter).map_err(|error| error.to_string()));
    let mut questions = io::stdin().lock();
    let mut question = [0];
    while questions.read_exact(&mut question).is_ok() {
        let answer = match &confined {
            Ok(_) => require_file_system(Path::new(BPFFS)).map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        let answer = answer.err().unwrap_or_default().replace('\n', " ");
        if writeln!(io::stdout(), "{answer}").is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}
