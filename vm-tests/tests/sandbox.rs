//! What gatewayd, its link processes and a controller have given up, as the kernel tells it, and what that keeps
//! whoever has taken them over from. Each attempt is made with the sandbox and without it, where it succeeds.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gateway_daemon::config::Role;
use gateway_daemon::sandbox::{self, Setting};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, chroot};
use socket2::{Domain, Protocol, Socket, Type};
use vm_tests::lab::gateway::Choices;
use vm_tests::lab::name::LabName;
use vm_tests::lab::plan::EDGE_A;
use vm_tests::lab::process::Process;
use vm_tests::lab::wait::wait_for;
use vm_tests::lab::{Lab, binaries};

const BOUND: Duration = Duration::from_secs(20);
/// Which attempt this test's own program is to make, in a process of its own.
const ATTEMPT: &str = "PRESENCE_ATTEMPT";
/// The file of the role that it is to make it in, if it is to be confined.
const FILE: &str = "PRESENCE_ATTEMPT_FILE";

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is as if there were no sandbox.
    Done,
    /// An error.
    Refused,
    /// The end of the process.
    Killed,
}

use Outcome::{Done, Killed, Refused};

/// An attempt by its name, what becomes of it in a gateway and in a controller, and how it is made.
struct Attempt {
    name: &'static str,
    in_gateway: Outcome,
    in_controller: Outcome,
    act: fn(&Path) -> io::Result<()>,
}

const fn attempt(
    name: &'static str,
    in_gateway: Outcome,
    in_controller: Outcome,
    act: fn(&Path) -> io::Result<()>,
) -> Attempt {
    Attempt { name, in_gateway, in_controller, act }
}

const ATTEMPTS: &[Attempt] = &[
    attempt("write where only it writes", Done, Done, |_| {
        let path = format!("/run/presence/attempt-{}", std::process::id());
        fs::write(&path, "x").and_then(|()| fs::remove_file(path))
    }),
    attempt("open a UDP socket", Done, Done, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    attempt("read its file", Done, Done, |file| fs::read(file).map(drop)),
    attempt("write into /etc", Refused, Refused, |_| {
        let path = format!("/etc/presence-attempt-{}", std::process::id());
        fs::write(&path, "x").and_then(|()| fs::remove_file(path))
    }),
    attempt("write into /run", Refused, Refused, |_| {
        let path = format!("/run/presence-attempt-{}", std::process::id());
        fs::write(&path, "x").and_then(|()| fs::remove_file(path))
    }),
    attempt("read the home of root", Refused, Refused, |_| fs::read_dir("/root").map(drop)),
    attempt("read passwords", Refused, Done, |_| fs::File::open("/etc/passwd").map(drop)),
    attempt("run a program", Refused, Killed, |_| match Command::new("/bin/true").status()? {
        status if status.signal() == Some(Signal::SIGSYS as i32) => {
            raise(Signal::SIGSYS).map_err(io::Error::from)
        }
        _ => Ok(()),
    }),
    attempt("mount a file system", Refused, Refused, |file| {
        let place = file.parent().unwrap_or(file);
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        Ok(umount2(place, MntFlags::MNT_DETACH)?)
    }),
    attempt("make a network namespace", Killed, Killed, |_| Ok(unshare(CloneFlags::CLONE_NEWNET)?)),
    attempt("change the root directory", Killed, Killed, |_| Ok(chroot("/")?)),
    attempt("read all packets of the host", Refused, Refused, |_| {
        Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0x0300))).map(drop)
    }),
    attempt("speak to the audit log", Refused, Refused, |_| {
        const AUDIT: i32 = 9;
        Socket::new(Domain::from(16), Type::RAW, Some(Protocol::from(AUDIT))).map(drop)
    }),
    attempt("send raw packets", Done, Refused, |_| {
        Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map(drop)
    }),
    attempt("give a file to another user", Refused, Refused, |_| {
        let path = format!("/run/presence/attempt-{}", std::process::id());
        fs::write(&path, "x")?;
        let given = chown(&path, Some(65_534), None);
        fs::remove_file(path)?;
        given
    }),
    attempt("read another user's file", Refused, Refused, |file| {
        fs::File::open(file.with_file_name("of-another")).map(drop)
    }),
];

/// Not a test when it is started by the others: then it makes an attempt and ends.
#[test]
fn attempts_have_names_of_their_own() -> Result<()> {
    if let Ok(name) = env::var(ATTEMPT) {
        let found = ATTEMPTS.iter().find(|attempt| attempt.name == name);
        let attempt = found.with_context(|| format!("there is no attempt {name:?}"))?;
        let file = PathBuf::from(env::var(FILE)?);
        let confined = !name.is_empty() && env::var("PRESENCE_ATTEMPT_CONFINED").is_ok();
        if confined {
            sandbox::enter(Setting::On, &Role::load(&file)?)?;
        }
        match (attempt.act)(&file) {
            Ok(()) => std::process::exit(10),
            Err(error) => {
                println!("{error}");
                std::process::exit(11)
            }
        }
    }
    let names: BTreeSet<&str> = ATTEMPTS.iter().map(|attempt| attempt.name).collect();
    ensure!(names.len() == ATTEMPTS.len(), "two attempts have the same name");
    Ok(())
}

fn outcome(name: &str, file: &Path, confined: bool) -> Result<Outcome> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", "attempts_have_names_of_their_own", "--nocapture", "--test-threads=1"])
        .env(ATTEMPT, name)
        .env(FILE, file);
    if confined {
        command.env("PRESENCE_ATTEMPT_CONFINED", "1");
    }
    let output = command.output()?;
    match (output.status.code(), output.status.signal()) {
        (Some(10), _) => Ok(Done),
        (Some(11), _) => Ok(Refused),
        (None, Some(signal)) if signal == Signal::SIGSYS as i32 => Ok(Killed),
        _ => bail!(
            "{name}: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// A directory with the files of a gateway and of a controller, and one of another user; removed when dropped.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Result<Self> {
        let directory =
            PathBuf::from(format!("/run/presence-sandbox-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let files = Self(directory);
        fs::write(files.gateway(), include_str!("../../policies/examples/three-sites/cloud.toml"))?;
        let at = files.0.display();
        fs::write(
            files.controller(),
            format!(
                "mode = \"controller\"\n[store]\npath = \"{at}/store\"\n[seal]\ndirectory = \"{at}/sealed\"\n\
                 path = \"{at}/key\"\n"
            ),
        )?;
        let of_another = files.0.join("of-another");
        fs::write(&of_another, "x")?;
        fs::set_permissions(&of_another, fs::Permissions::from_mode(0o600))?;
        chown(&of_another, Some(65_534), Some(65_534))?;
        Ok(files)
    }

    fn gateway(&self) -> PathBuf {
        self.0.join("site.toml")
    }

    fn controller(&self) -> PathBuf {
        self.0.join("controller.toml")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_the_sandbox_every_attempt_succeeds() -> Result<()> {
    let files = Files::new("off")?;
    fs::create_dir_all("/run/presence")?;
    for attempt in ATTEMPTS {
        let found = outcome(attempt.name, &files.gateway(), false)?;
        ensure!(found == Done, "{}: {found:?}, so its refusal would prove nothing", attempt.name);
    }
    Ok(())
}

#[test]
fn a_gateway_that_is_taken_over_gets_no_further() -> Result<()> {
    let files = Files::new("gateway")?;
    for attempt in ATTEMPTS {
        let found = outcome(attempt.name, &files.gateway(), true)?;
        ensure!(found == attempt.in_gateway, "{}: {found:?}", attempt.name);
    }
    Ok(())
}

#[test]
fn a_controller_that_is_taken_over_gets_no_further() -> Result<()> {
    let files = Files::new("controller")?;
    for attempt in ATTEMPTS {
        let found = outcome(attempt.name, &files.controller(), true)?;
        ensure!(found == attempt.in_controller, "{}: {found:?}", attempt.name);
    }
    Ok(())
}

/// What the kernel says of each thread of a process.
fn threads(pid: Pid) -> Result<Vec<String>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        threads.push(fs::read_to_string(entry?.path().join("status"))?);
    }
    ensure!(!threads.is_empty(), "process {pid} has no threads");
    Ok(threads)
}

fn value<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(found.with_context(|| format!("no {name} in {status}"))?.trim())
}

/// Every thread has these capabilities, what it starts can get no others than those that are bounding, and there are
/// filters of its calls.
fn ensure_confined(pid: Pid, capabilities: &[u32], bounding: &[u32]) -> Result<()> {
    let set = |numbers: &[u32]| numbers.iter().map(|number| 1_u64 << number).sum();
    let (wanted, bounding): (u64, u64) = (set(capabilities), set(bounding));
    for status in threads(pid)? {
        for (set, wanted) in [
            ("CapPrm", wanted),
            ("CapEff", wanted),
            ("CapBnd", bounding),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            let found = u64::from_str_radix(value(&status, set)?, 16)?;
            ensure!(found == wanted, "{set} is {found:x} and not {wanted:x}: {status}");
        }
        ensure!(value(&status, "NoNewPrivs")? == "1", "{status}");
        ensure!(value(&status, "Seccomp")? == "2", "{status}");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.context("no limit of core dumps")?.split_whitespace().collect();
    ensure!(core[4..6] == ["0", "0"], "{core:?}");
    Ok(())
}

const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;
const GATEWAY: &[u32] = &[NET_ADMIN, NET_RAW, SYS_ADMIN, PERFMON, BPF];

/// The processes that were started by one.
fn children(parent: Pid) -> Result<Vec<(Pid, String)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        if value(&status, "PPid")? == parent.to_string() {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            children.push((Pid::from_raw(pid), command.replace('\0', " ")));
        }
    }
    Ok(children)
}

fn daemon(lab: &Lab) -> Result<Pid> {
    let status = lab.site(&EDGE_A).gateway.ctl("status")?;
    let pid = status["daemon"]["pid"].as_i64().context("the daemon runs")?;
    Ok(Pid::from_raw(i32::try_from(pid)?))
}

#[test]
fn a_gateway_and_what_it_starts_have_what_they_need_and_no_more() -> Result<()> {
    let mut lab = Lab::network(LabName::unique(), Choices::default())?;
    lab.gateway(&EDGE_A).start()?;
    lab.during(|lab| {
        let pid = daemon(lab)?;
        ensure_confined(pid, GATEWAY, GATEWAY)?;
        let mut found = BTreeSet::new();
        for (pid, command) in children(pid)? {
            let word = command.split(' ').nth(1).unwrap_or_default().to_owned();
            match word.as_str() {
                // Who may not bound its capabilities any more may start nothing either.
                "link-device" => ensure_confined(pid, &[NET_ADMIN], GATEWAY)?,
                "mounter" => ensure_confined(pid, &[SYS_ADMIN], &[SYS_ADMIN])?,
                _ => bail!("gatewayd has started {command}"),
            }
            found.insert(word);
        }
        ensure!(found.iter().eq(["link-device", "mounter"]), "{found:?}");
        let confinement = &lab.site(&EDGE_A).gateway.ctl("status")?["daemon"]["confinement"];
        ensure!(confinement["seccomp"] == true, "{confinement}");
        ensure!(confinement["capabilities"].as_array().is_some_and(|it| it.len() == 5));
        Ok(())
    })
}

#[test]
fn a_key_elsewhere_is_read_after_a_restart_and_the_log_says_so() -> Result<()> {
    let elsewhere = Files::new("elsewhere")?;
    let mut lab = Lab::network(LabName::unique(), Choices::default())?;
    lab.gateway(&EDGE_A).start()?;
    lab.during(|lab| {
        let gateway = lab.gateway(&EDGE_A);
        let (file, key) = (gateway.site_file(), elsewhere.0.join("link.key"));
        let text = fs::read_to_string(&file)?;
        let line = text.lines().find(|line| line.starts_with("private_key_file"));
        let line = line.context("the site file names a key")?;
        let before = line.split('"').nth(1).context("the key is quoted")?;
        let before = file.parent().context("it is in a directory")?.join(before);
        fs::copy(before, &key)?;
        let named = format!("private_key_file = {:?}", key.display().to_string());
        fs::write(&file, text.replace(line, &named))?;
        let log = gateway.reload()?;
        ensure!(log.contains("Permission denied") && log.contains("start it again"), "{log}");
        gateway.end()?;
        gateway.start()
    })
}

/// A controller alone, which serves.
fn controller(files: &Files) -> Result<Process> {
    let text = fs::read_to_string(files.controller())?;
    let at = files.0.display();
    let sockets =
        format!("[api]\nsocket = \"{at}/api\"\n[controller]\nsocket = \"{at}/gateways\"\n");
    fs::write(files.controller(), text + &sockets)?;
    let mut command = Command::new(binaries::locate("gatewayd")?);
    command.arg("--config").arg(files.controller());
    let process = Process::spawn("the controller", &mut command, &files.0.join("log"))?;
    wait_for("the controller to serve", BOUND, || Ok(files.0.join("gateways").exists()))
        .with_context(|| process.log_tail(25))?;
    Ok(process)
}

#[test]
fn a_controller_has_low_ports_and_nothing_else() -> Result<()> {
    let files = Files::new("alone")?;
    ensure_confined(controller(&files)?.pid(), &[NET_BIND_SERVICE], &[NET_BIND_SERVICE])
}

/// With a control: a program that does not keep itself from it leaves one.
#[test]
fn nothing_that_crashes_leaves_a_core() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY)?;
    let files = Files::new("core")?;
    let mut control = Command::new("sleep").arg("60").current_dir(&files.0).spawn()?;
    kill(Pid::from_raw(i32::try_from(control.id())?), Signal::SIGABRT)?;
    ensure!(control.wait()?.core_dumped(), "this host makes no core dumps, so nothing is shown");
    let mut controller = controller(&files)?;
    controller.signal(Signal::SIGABRT)?;
    let status = controller.wait(BOUND)?;
    ensure!(status.signal() == Some(Signal::SIGABRT as i32), "{status}");
    ensure!(!status.core_dumped(), "{status}");
    let mut lab = Lab::network(LabName::unique(), Choices::default())?;
    lab.gateway(&EDGE_A).start()?;
    lab.during(|lab| {
        let started = children(daemon(lab)?)?;
        let link = started.into_iter().find(|(_, command)| command.contains("link-device"));
        kill(link.context("no link process")?.0, Signal::SIGABRT)?;
        let gateway = &lab.site(&EDGE_A).gateway;
        wait_for("its end to be told", BOUND, || {
            Ok(gateway.log().contains("link device process ended"))
        })?;
        ensure!(!gateway.log().contains("core dumped"), "{}", gateway.log_tail());
        Ok(())
    })
}
