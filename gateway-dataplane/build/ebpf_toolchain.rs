//! Where the compiler and linker of the kernel half are on this machine.
//!
//! Included by `gateway-dataplane/build.rs`, which runs what is found, and by `cargo xtask setup`,
//! which installs what is not. Uses `std` alone and changes nothing.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The LLVM that both the compiler and `bpf-linker` 0.10 have to be of.
const LLVM_MAJOR: &str = "22";

/// A compiler with its library sources, and the linker that turns its output into a BPF object.
#[derive(Debug)]
pub(crate) struct EbpfToolchain {
    /// The `cargo` that belongs to `rustc`, by path.
    pub(crate) cargo: PathBuf,
    /// The compiler, by path.
    pub(crate) rustc: PathBuf,
    /// The directory in which `bpf-linker` finds the LLVM it loads.
    pub(crate) llvm_directory: PathBuf,
    /// `bpf-linker`, by path.
    pub(crate) linker: PathBuf,
}

/// The one part that is missing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No nightly and no distribution compiler of the right LLVM.
    Compiler,
    /// A compiler without `library/core`.
    LibrarySources,
    /// No `bpf-linker`.
    Linker,
    /// No `libLLVM-22.so` that `bpf-linker` could load.
    Llvm,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Compiler => {
                "no compiler for the BPF target: neither a rustup nightly of LLVM 22 with rust-src nor \
                 Debian's rustc-web and cargo-web"
            }
            Self::LibrarySources => {
                "the compiler for the BPF target has no library sources: Debian's rust-web-src is \
                 not installed"
            }
            Self::Linker => "bpf-linker is neither in PATH nor among cargo's installed binaries",
            Self::Llvm => "libLLVM-22.so, which bpf-linker loads, is not beside the compiler's libraries",
        })
    }
}

/// Finds the whole toolchain, or the first part that is missing.
///
/// A rustup nightly comes first; an incomplete one is passed over in favour of the distribution's
/// compiler.
pub(crate) fn find() -> Result<EbpfToolchain, Missing> {
    let (cargo, rustc, llvm_directory) = match rustup_nightly() {
        Some(found) => found,
        None => distribution_compiler()?,
    };
    Ok(EbpfToolchain { cargo, rustc, llvm_directory, linker: linker().ok_or(Missing::Linker)? })
}

impl EbpfToolchain {
    /// The toolchain's cargo, or a program that runs it, with a clean environment.
    ///
    /// What the outer cargo says about its own compiler, flags and directories must not reach it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
            command.env_remove(name);
        }
        command
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("LD_LIBRARY_PATH", &self.llvm_directory)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(env::consts::ARCH));
        command
    }
}

/// The flags of the kernel half; `host_arch` decides the layout of the registers in probes.
fn rustflags(host_arch: &str) -> String {
    [
        format!("--cfg=bpf_target_arch=\"{host_arch}\"").as_str(),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
        "-Ctarget-feature=+allows-misaligned-mem-access",
        // Two conditions folded into one evaluate the second on a register that the first may have
        // left unset, which the verifier refuses ("!read_ok"). Said to the compiler and to the linker,
        // which both optimise.
        "-Cllvm-args=-bonus-inst-threshold=0",
        "-Clink-arg=--llvm-args=-bonus-inst-threshold=0",
    ]
    .join("\x1f")
}

fn is_of_outer_build(name: &OsString) -> bool {
    const NAMES: [&str; 10] = [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "CARGO",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ];
    const PREFIXES: [&str; 4] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CLIPPY_"];
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn rustup_nightly() -> Option<(PathBuf, PathBuf, PathBuf)> {
    let rustup = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| home(".rustup"))?;
    let mut toolchains: Vec<PathBuf> = rustup
        .join("toolchains")
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
        })
        .collect();
    toolchains.sort();
    toolchains.into_iter().find_map(|root| {
        let (cargo, rustc, libraries) =
            (root.join("bin/cargo"), root.join("bin/rustc"), root.join("lib"));
        let usable =
            has_sources(&root) && cargo.exists() && has_llvm(&rustc) && holds_llvm(&libraries);
        usable.then_some((cargo, rustc, libraries))
    })
}

fn distribution_compiler() -> Result<(PathBuf, PathBuf, PathBuf), Missing> {
    let (cargo, rustc) = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    if !cargo.exists() || !has_llvm(&rustc) {
        return Err(Missing::Compiler);
    }
    if !has_sources(Path::new("/usr")) {
        return Err(Missing::LibrarySources);
    }
    let libraries = [
        PathBuf::from(format!("/usr/lib/{}-linux-gnu", env::consts::ARCH)),
        PathBuf::from(format!("/usr/lib/llvm-{LLVM_MAJOR}/lib")),
    ];
    match libraries.into_iter().find(|directory| holds_llvm(directory)) {
        Some(directory) => Ok((cargo, rustc, directory)),
        None => Err(Missing::Llvm),
    }
}

/// `bpf-linker`, by path.
pub(crate) fn linker() -> Option<PathBuf> {
    let installed = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| home(".cargo"));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(installed.map(|directory| directory.join("bin")))
        .map(|directory| directory.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
}

fn has_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

fn has_llvm(rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).arg("-vV").env_remove("LD_LIBRARY_PATH").output() else {
        return false;
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("LLVM version: "))
        .any(|version| version.split('.').next() == Some(LLVM_MAJOR))
}

fn holds_llvm(directory: &Path) -> bool {
    let Ok(entries) = directory.read_dir() else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(&format!("libLLVM-{LLVM_MAJOR}")) && name.contains(".so")
    })
}

fn home(directory: &str) -> Option<PathBuf> {
    Some(PathBuf::from(env::var_os("HOME")?).join(directory))
}
