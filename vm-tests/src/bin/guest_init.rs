//! The first process of a guest: makes the machine usable, runs the tests it was given, switches off.
//!
//! `cargo xtask vm` puts it into the root file system as `/init`, beside the lists of modules and tests
//! below `/presence`; `cargo xtask bench` a command in place of tests, which counts as one test. Lines that
//! begin with `guest: ` are its own; the last of them is the count. It ends
//! by switching the machine off whatever happens, since the end of the first process is a kernel panic.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "xtask uses the rest")]
#[path = "../../../xtask/src/tally.rs"]
mod tally;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use self::tally::{Empty, Tally, judge};

const MODULES: &str = "/presence/modules";
const TESTS: &str = "/presence/tests";
const COMMAND: &str = "/presence/command";
const PATH: &str = "/usr/bin:/busybox";

fn main() {
    println!("guest: init");
    let tally = prepare().and_then(|()| run_tests()).unwrap_or_else(|error| {
        println!("guest: cannot run tests: {error:#}");
        Tally { passed: 0, failed: 1 }
    });
    // The kernel's own messages would land in the middle of the last line.
    let _ = fs::write("/proc/sys/kernel/printk", "1");
    println!("guest: {tally}");
    let error = tool("poweroff").arg("-f").status();
    println!("guest: cannot switch off: {error:?}");
}

fn prepare() -> Result<()> {
    for (kind, place, options) in [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("devpts", "/dev/pts", ""),
        ("tmpfs", "/dev/shm", ""),
        ("tmpfs", "/run", "mode=0755"),
        ("tmpfs", "/tmp", "mode=1777"),
        ("bpf", "/sys/fs/bpf", "mode=0700"),
        ("cgroup2", "/sys/fs/cgroup", ""),
        ("tracefs", "/sys/kernel/tracing", ""),
    ] {
        fs::create_dir_all(place).with_context(|| format!("directory {place}"))?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount of {kind} on {place}"))?;
    }
    for (link, target) in [("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0")] {
        symlink(target, link).with_context(|| format!("link {link}"))?;
    }
    for module in lines(MODULES)? {
        let file = format!("{MODULES}.d/{module}");
        // Busybox may be built without module loading; kmod's own tools are not in the guest.
        succeed(tool("insmod").arg(&file)).with_context(|| format!("module {module}"))?;
    }
    succeed(tool("ip").args(["link", "set", "lo", "up"]))
}

fn run_tests() -> Result<Tally> {
    let mut sum = Tally::default();
    if let [program, arguments @ ..] = lines(COMMAND)?.as_slice() {
        println!("guest: run {program} {}", arguments.join(" "));
        let (_, success) = run(tool(program).args(arguments))?;
        sum.add(Tally { passed: u64::from(success), failed: u64::from(!success) });
    }
    for name in lines(TESTS)? {
        println!("guest: run {name}");
        let file = Path::new(&format!("{TESTS}.d")).join(&name);
        let (output, success) = run(Command::new(file).arg("--test-threads=1"))?;
        let (tally, complaints) = judge(&output, success, Empty::Refused);
        for complaint in complaints {
            println!("guest: {name} failed: {complaint}");
        }
        sum.add(tally);
    }
    Ok(sum)
}

/// Shows the output as it comes and gives it at the end, with whether the binary succeeded.
fn run(command: &mut Command) -> Result<(String, bool)> {
    let (mut reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let mut child = command
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LIB_BACKTRACE", "0")
        .env("PRESENCE_BIN_DIR", "/usr/bin")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("{} does not start", command.get_program().display()))?;
    // The command holds the pipe's writing ends; its end shows only when they are gone.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        heard.extend_from_slice(&buffer[..count]);
        io::stdout().write_all(&buffer[..count])?;
        io::stdout().flush()?;
    }
    let success = child.wait()?.success();
    Ok((String::from_utf8_lossy(&heard).into_owned(), success))
}

fn lines(path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn tool(name: &str) -> Command {
    let real = Path::new("/usr/bin").join(name);
    let mut command =
        Command::new(if real.exists() { real } else { Path::new("/busybox").join(name) });
    command.env("PATH", PATH);
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
