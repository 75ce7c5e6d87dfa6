//! Compiles the kernel half (`gateway-ebpf`, binary `gateway`) for the BPF target.
//!
//! Gives the crate two environment variables: `GATEWAY_OBJECT`, the object's path, and
//! `GATEWAY_SOURCE_HASH`, the fingerprint of the sources it was compiled from. A build that cannot
//! compile the kernel half fails; there is no object of an earlier build to fall back to.
#![forbid(unsafe_code)]

#[path = "build/ebpf_toolchain.rs"]
mod ebpf_toolchain;
#[path = "build/source_hash.rs"]
mod source_hash;

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), String> {
    let workspace = directory("CARGO_MANIFEST_DIR")?
        .parent()
        .map(Path::to_path_buf)
        .ok_or("gateway-dataplane lies in no workspace")?;
    for input in [
        "gateway-ebpf",
        "gateway-common/src",
        "gateway-common/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    for variable in ["PATH", "RUSTUP_HOME", "CARGO_HOME"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }

    // Taken before the compiler reads the sources: an edit in between shows as a stale object, not as a fresh one.
    let hash = source_hash::source_hash(&workspace)
        .map_err(|error| format!("the sources of the kernel half cannot be read: {error}"))?;
    let object = compile(&workspace, &directory("OUT_DIR")?.join("ebpf"))?;
    println!("cargo::rustc-env=GATEWAY_OBJECT={}", object.display());
    println!("cargo::rustc-env=GATEWAY_SOURCE_HASH={hash}");
    Ok(())
}

fn compile(workspace: &Path, target: &Path) -> Result<PathBuf, String> {
    let toolchain = ebpf_toolchain::find()
        .map_err(|missing| format!("{missing}; `cargo xtask setup` installs it"))?;
    let mut command = toolchain.command(&toolchain.cargo);
    command
        .current_dir(workspace)
        .args([
            "build",
            "--locked",
            "--release",
            "-Zbuild-std=core",
            "--target",
            "bpfel-unknown-none",
        ])
        .args(["--package", "gateway-ebpf", "--bin", "gateway", "--target-dir"])
        .arg(target);
    for (feature, variable) in
        [("debug", "CARGO_FEATURE_DEBUG"), ("rehearsal", "CARGO_FEATURE_REHEARSAL")]
    {
        if env::var_os(variable).is_some() {
            command.args(["--features", feature]);
        }
    }
    let status = command
        .status()
        .map_err(|error| format!("{} does not start: {error}", toolchain.cargo.display()))?;
    if !status.success() {
        return Err(
            "the kernel half (gateway-ebpf) does not compile; the compiler's own words are above"
                .to_owned(),
        );
    }
    Ok(target.join("bpfel-unknown-none/release/gateway"))
}

fn directory(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("cargo did not set {variable}"))
}
