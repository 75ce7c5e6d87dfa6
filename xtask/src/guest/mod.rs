//! `cargo xtask vm`: the tests in a machine of their own, with a kernel of a known distribution.
//!
//! One guest per kernel of `vm-tests/kernels.toml`: kernel from the distribution's archive, a root file
//! system made here, QEMU. The guest's init (`vm-tests/src/bin/guest_init.rs`) runs the tests and closes
//! with a count; a guest that does not close with one has failed, whatever else it wrote.

mod console;
mod cpio;
mod initramfs;
mod kernel;
mod table;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::console::Console;
use self::initramfs::Contents;
pub(crate) use self::table::{Kernel, Table};
use crate::artifacts::Artifacts;
use crate::process::{self, Ending, Listen};
use crate::tally::Tally;

/// How long hardware virtualisation may take until init speaks. Where nested virtualisation is offered
/// but does not work, a guest hangs without a word.
const KVM_PATIENCE: Duration = Duration::from_secs(10);

/// Runs one guest per kernel named, or per kernel there is, and sums up.
///
/// An error is what kept a guest from starting; what happens inside is in the count.
pub(crate) fn run(
    workspace: &Path,
    table: &Table,
    names: &[String],
    artifacts: &Artifacts,
) -> Result<Tally> {
    if env::consts::ARCH != "x86_64" {
        bail!("guests are of x86_64 kernels; this machine is {}", env::consts::ARCH);
    }
    let mut sum = Tally::default();
    for kernel in table.select(names)? {
        let tally = run_one(workspace, table, kernel, artifacts)
            .with_context(|| format!("guest {}", kernel.name))?;
        println!("guest {}: {tally}", kernel.name);
        sum.add(tally);
    }
    Ok(sum)
}

fn run_one(
    workspace: &Path,
    table: &Table,
    kernel: &Kernel,
    artifacts: &Artifacts,
) -> Result<Tally> {
    let cache = artifacts.target_directory(workspace).join("guests").join(&kernel.name);
    let unpacked = kernel::unpack(kernel, &cache)?;
    let tests = kernel
        .tests
        .iter()
        .map(|name| Ok((name.clone(), artifacts.test_of("vm-tests", name)?.to_path_buf())))
        .collect::<Result<Vec<_>>>()?;
    let programs = table
        .programs
        .iter()
        .map(|name| Ok((name.clone(), artifacts.binary(name)?.to_path_buf())))
        .collect::<Result<Vec<_>>>()?;
    let initramfs = cache.join("initramfs");
    let contents = Contents {
        init: artifacts.binary("guest_init")?,
        modules: &unpacked.modules,
        tests: &tests,
        command: &[],
        programs: &programs,
        tools: &table.tools,
    };
    initramfs::write(&contents, &initramfs)?;

    let log = cache.join("console.log");
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok() {
        let console = boot(kernel, &unpacked.image, &initramfs, &log, Accelerator::Kvm)?;
        if console.booted {
            return Ok(verdict(kernel, &console, &log));
        }
        println!("guest {}: /dev/kvm is here and boots nothing; emulated instead", kernel.name);
    }
    let console = boot(kernel, &unpacked.image, &initramfs, &log, Accelerator::Tcg)?;
    Ok(verdict(kernel, &console, &log))
}

/// Runs a program of the workspace in a guest whose clock counts instructions; gives what it wrote, and
/// whether it came to a good end.
pub(crate) fn measure(
    workspace: &Path,
    table: &Table,
    kernel: &Kernel,
    artifacts: &Artifacts,
    command: &[&str],
) -> Result<(String, bool)> {
    let cache = artifacts.target_directory(workspace).join("guests").join(&kernel.name);
    let unpacked = kernel::unpack(kernel, &cache)?;
    let names = table.programs.iter().map(String::as_str).chain(command.first().copied());
    let programs = names
        .map(|name| Ok((name.to_owned(), artifacts.binary(name)?.to_path_buf())))
        .collect::<Result<Vec<_>>>()?;
    let initramfs = cache.join("bench-initramfs");
    let contents = Contents {
        init: artifacts.binary("guest_init")?,
        modules: &unpacked.modules,
        tests: &[],
        command,
        programs: &programs,
        tools: &[&table.tools[..], &["nft".to_owned()]].concat(),
    };
    initramfs::write(&contents, &initramfs)?;
    let log = cache.join("bench-console.log");
    let ended = boot(kernel, &unpacked.image, &initramfs, &log, Accelerator::Counted)?;
    let good = verdict(kernel, &ended, &log).failed == 0;
    Ok((String::from_utf8_lossy(&fs::read(&log)?).into_owned(), good))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accelerator {
    Kvm,
    Tcg,
    /// One processor, whose clock is the number of instructions it has run, in nanoseconds.
    Counted,
}

/// A console that has ended, with how its machine came to its end.
struct Ended {
    booted: bool,
    death: Option<String>,
    tally: Option<Tally>,
    ending: Ending,
}

fn boot(
    kernel: &Kernel,
    image: &Path,
    initramfs: &Path,
    log: &PathBuf,
    accelerator: Accelerator,
) -> Result<Ended> {
    let started = Instant::now();
    let mut console = Console::new(&kernel.name, File::create(log)?);
    let mut failure = None;
    let mut qemu = qemu(kernel, image, initramfs, accelerator);
    let ending = process::listen(&mut qemu, Duration::from_secs(kernel.minutes * 60), |piece| {
        if let Err(error) = console.feed(piece) {
            failure = Some(error);
            return Listen::Stop;
        }
        let hangs =
            accelerator == Accelerator::Kvm && !console.booted && started.elapsed() > KVM_PATIENCE;
        if hangs { Listen::Stop } else { Listen::On }
    })?;
    if let Some(error) = failure {
        return Err(error).with_context(|| format!("{}", log.display()));
    }
    console.close()?;
    Ok(Ended { booted: console.booted, death: console.death, tally: console.tally, ending })
}

fn qemu(kernel: &Kernel, image: &Path, initramfs: &Path, accelerator: Accelerator) -> Command {
    // A panic restarts the machine at once, which `-no-reboot` turns into QEMU's end.
    let arguments = "console=ttyS0 loglevel=4 panic=-1 oops=panic softlockup_panic=1 \
                     watchdog_thresh=30 random.trust_cpu=on";
    let mut command = Command::new("qemu-system-x86_64");
    command.args(match accelerator {
        Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host", "-smp", "2"].as_slice(),
        Accelerator::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"],
        Accelerator::Counted => &[
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=0,sleep=off",
            "-cpu",
            "max",
            "-smp",
            "1",
        ],
    });
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ])
        .args(["-m", &kernel.memory_mib.to_string()])
        .args(["-append", arguments])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs);
    command
}

fn verdict(kernel: &Kernel, ended: &Ended, log: &Path) -> Tally {
    let complaint = match (&ended.death, ended.tally, ended.ending) {
        (Some(death), _, _) => format!("its kernel died: {death}"),
        (None, _, Ending::OutOfTime) => format!("it outlived its {} minutes", kernel.minutes),
        (None, None, _) => "it ended without a count".to_owned(),
        (None, Some(Tally { passed: 0, failed: 0 }), _) => "it ran no test".to_owned(),
        (None, Some(tally), _) => return tally,
    };
    println!("guest {}: {complaint}; see {}", kernel.name, log.display());
    let mut tally = ended.tally.unwrap_or_default();
    tally.add(Tally { passed: 0, failed: 1 });
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = r#"
        tools = []
        programs = []
        guest_only = []
        measured = "k"
        [[kernel]]
        name = "k"
        metapackage = "m"
        version = "1"
        sha256 = "00"
        any_newer = false
        modules = []
        memory_mib = 512
        minutes = 1
        tests = ["a"]
    "#;

    #[test]
    fn only_a_guest_that_closes_with_a_count_can_pass() {
        let table: Table = toml::from_str(KERNEL).unwrap();
        let judge = |death: Option<&str>, tally, ending| {
            let ended = Ended { booted: true, death: death.map(str::to_owned), tally, ending };
            verdict(&table.kernels[0], &ended, Path::new("log"))
        };
        let good = Tally { passed: 2, failed: 0 };
        assert_eq!(judge(None, Some(good), Ending::Stopped), good);
        assert_eq!(judge(None, None, Ending::Stopped).failed, 1);
        assert_eq!(judge(None, Some(Tally::default()), Ending::Stopped).failed, 1);
        assert_eq!(judge(None, Some(good), Ending::OutOfTime).failed, 1);
        assert_eq!(judge(Some("Kernel panic"), Some(good), Ending::Stopped).failed, 1);
    }
}
