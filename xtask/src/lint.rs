//! `cargo xtask lint`: the project's style, as far as a program can judge it.
//!
//! Each check gives the places that offend; none is a matter of opinion. What a file may hold is
//! decided by its path alone, so a reader finds every exception in the constants below.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::artifacts::{SELECTION, cargo};
use crate::ebpf_toolchain;
use crate::process;
use crate::source;

/// The only files with `unsafe` blocks. An attribute that names a section or a symbol, which a BPF object
/// cannot do without, may stand anywhere in the kernel half.
const UNSAFE_FILES: [&str; 3] =
    ["gateway-dataplane/src/pod.rs", "gateway-ebpf/src/frame.rs", "gateway-ebpf/src/tables.rs"];

/// The only files of the shipped crates that start another program: the operator's editor, and `gatewayd`
/// again as the process that serves a userspace link, and as the one that mounts.
const SPAWNING_FILES: [&str; 3] = [
    "gateway-daemon/src/ctl/deployment/edit.rs",
    "gateway-daemon/src/link/process.rs",
    "gateway-daemon/src/sandbox/mounter.rs",
];

/// The crates that are shipped; they configure the system by netlink and never by a shell.
const SHIPPED: [&str; 5] =
    ["gateway-common", "gateway-control", "gateway-daemon", "gateway-dataplane", "gateway-policy"];

const LONGEST_FILE: usize = 600;

/// Text that must not stand in code, with the reason.
const BANNED: [(&str, &str); 4] = [
    ("todo!", "nothing is left for later in the code"),
    ("unimplemented!", "nothing is left for later in the code"),
    ("dbg!", "a trace of debugging"),
    ("fn get_", "name it after what it gives"),
];

/// How no type may end. A manager in whose name a field is set is one of the words that operators use.
const BANNED_SUFFIX: (&str, &str) = ("Manager", "name it after what it does");

const BANNED_FILES: [&str; 4] = ["util", "utils", "helper", "helpers"];

/// A check by its name; it fails with every place that offends.
pub(crate) type Check = (&'static str, fn(&Path) -> Result<()>);

/// All checks of the lint, in the order of their cost.
pub(crate) const CHECKS: [Check; 4] = [
    ("sources", sources),
    ("format", format),
    ("clippy", clippy),
    ("clippy of the kernel half", clippy_of_kernel_half),
];

fn format(workspace: &Path) -> Result<()> {
    process::run(cargo(workspace).args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Path) -> Result<()> {
    process::run(
        cargo(workspace)
            .args(["clippy", "--quiet", "--locked", "--all-targets"])
            .args(SELECTION)
            .args(["--", "-D", "warnings"]),
    )
}

fn clippy_of_kernel_half(workspace: &Path) -> Result<()> {
    let toolchain = ebpf_toolchain::find().map_err(|missing| anyhow::anyhow!("{missing}"))?;
    // By its path: `cargo clippy` would look among the outer toolchain's commands first.
    let clippy = toolchain.cargo.with_file_name("cargo-clippy");
    process::run(
        toolchain
            .command(&clippy)
            .current_dir(workspace)
            .args(["clippy", "--quiet", "--locked", "-Zbuild-std=core"])
            .args(["--target", "bpfel-unknown-none"])
            .args(["--package", "gateway-ebpf", "--bin", "gateway", "--target-dir"])
            .arg(workspace.join("target/ebpf-lint"))
            .args(["--", "-D", "warnings"]),
    )
}

fn sources(workspace: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(workspace, &mut files)?;
    files.sort();
    let mut offences = Vec::new();
    for file in files {
        let path = file.strip_prefix(workspace)?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).with_context(|| path.clone())?;
        offences.extend(judge(&path, &text).into_iter().map(|offence| format!("{path}{offence}")));
    }
    if offences.is_empty() { Ok(()) } else { anyhow::bail!("{}", offences.join("\n  ")) }
}

/// The Rust files below a directory; what is built or hidden is left out.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
        let path = entry?.path();
        let name =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// What offends in one file, each as `:LINE: reason` or `: reason`.
fn judge(path: &str, text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        offences.push(format!(": {lines} lines, more than {LONGEST_FILE}"));
    }
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    let is_banned_directory = path.split('/').any(|part| BANNED_FILES.contains(&part));
    if BANNED_FILES.contains(&stem) || is_banned_directory {
        offences.push(": name the module after what it is".to_owned());
    }
    let code = source::code(text);
    let promise = promise_of(path);
    if is_crate_root(path) && !code.contains(promise) {
        offences.push(format!(": a crate's root without {promise}"));
    }
    for (number, line) in code.lines().enumerate() {
        let mut offend = |reason: &str| offences.push(format!(":{}: {reason}", number + 1));
        for (text, reason) in BANNED {
            if line.contains(text) {
                offend(&format!("`{text}`: {reason}"));
            }
        }
        let (suffix, reason) = BANNED_SUFFIX;
        if line.split(suffix).skip(1).any(|rest| !rest.starts_with(is_of_a_name)) {
            offend(&format!("`{suffix}`: {reason}"));
        }
        let names_a_symbol =
            path.starts_with("gateway-ebpf/src/") && line.trim_start().starts_with("#[unsafe(");
        if source::has_word(line, "unsafe") && !UNSAFE_FILES.contains(&path) && !names_a_symbol {
            offend("`unsafe` outside its files");
        }
        if is_of_shipped(path) && !SPAWNING_FILES.contains(&path) && starts_a_program(line) {
            offend("a shipped crate starts another program");
        }
    }
    offences
}

fn is_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A file that cargo compiles as a crate by itself, where `unsafe` has no place at all.
fn is_crate_root(path: &str) -> bool {
    if path.starts_with("gateway-ebpf/") {
        return false;
    }
    let Some((_, inside)) = path.split_once('/') else { return false };
    let is_bin = inside
        .strip_prefix("src/bin/")
        .is_some_and(|name| !name.contains('/') || name.ends_with("/main.rs"));
    ["src/lib.rs", "src/main.rs", "build.rs"].contains(&inside) || is_bin
}

/// What a crate's root says about `unsafe`. `forbid` allows no exception, which a library with one of
/// [`UNSAFE_FILES`] needs for that module.
fn promise_of(path: &str) -> &'static str {
    let has_exception = path
        .strip_suffix("lib.rs")
        .is_some_and(|source| UNSAFE_FILES.iter().any(|file| file.starts_with(source)));
    if has_exception { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" }
}

fn is_of_shipped(path: &str) -> bool {
    SHIPPED.iter().any(|name| path.strip_prefix(name).is_some_and(|rest| rest.starts_with("/src/")))
}

fn starts_a_program(line: &str) -> bool {
    line.match_indices("process::").any(|(at, found)| {
        let rest = &line[at + found.len()..];
        let imported = rest.strip_prefix('{').map(|list| list.split('}').next().unwrap_or(list));
        source::has_word(
            imported.unwrap_or_else(|| rest.split([';', ':', '(']).next().unwrap_or(rest)),
            "Command",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "#![forbid(unsafe_code)]\n";

    fn offends(path: &str, text: &str) -> bool {
        !judge(path, text).is_empty()
    }

    #[test]
    fn unsafe_stands_in_its_files_alone() {
        let text = "fn f() { unsafe { g() } }\n";
        assert_eq!(judge("gateway-common/src/a.rs", text), [":1: `unsafe` outside its files"]);
        assert!(!offends("gateway-ebpf/src/frame.rs", text));
        assert!(offends("gateway-ebpf/src/other.rs", text));
        assert!(!offends("gateway-ebpf/src/other.rs", "#[unsafe(no_mangle)]\n"));
        assert!(offends("gateway-common/src/a.rs", "#[unsafe(no_mangle)]\n"));
        assert!(!offends("gateway-common/src/a.rs", "// unsafe\nfn f() { g(\"unsafe\") }\n"));
    }

    #[test]
    fn crate_roots_forbid_it() {
        for path in
            ["a/src/lib.rs", "a/src/main.rs", "a/src/bin/b.rs", "a/src/bin/b/main.rs", "a/build.rs"]
        {
            assert!(offends(path, "//! unsafe\n"), "{path}");
            assert!(!offends(path, ROOT), "{path}");
        }
        assert!(offends("gateway-dataplane/src/lib.rs", ""));
        assert!(!offends("gateway-dataplane/src/lib.rs", "#![deny(unsafe_code)]\n"));
        assert!(!offends("a/src/module.rs", "") && !offends("gateway-ebpf/src/lib.rs", ""));
    }

    #[test]
    fn files_stay_short() {
        assert!(!offends("a/src/b.rs", &"\n".repeat(600)));
        assert!(offends("a/src/b.rs", &"\n".repeat(601)));
    }

    #[test]
    fn banned_words_are_found_in_code_alone() {
        for code in
            ["todo!()", "unimplemented!()", "dbg!(x)", "fn get_x() {}", "struct LinkManager;"]
        {
            assert!(offends("a/src/b.rs", code), "{code}");
            assert!(!offends("a/src/b.rs", &format!("// {code}")), "{code}");
        }
        assert!(offends("a/src/util.rs", "") && offends("a/src/helpers/mod.rs", ""));
    }

    #[test]
    fn only_the_end_of_a_name_is_banned() {
        for code in ["type Manager = ();", "fn f() -> LinkManager", "ManagerName, LinkManager"] {
            assert!(offends("a/src/b.rs", code), "{code}");
        }
        assert!(!offends("a/src/b.rs", "struct Managers(BTreeMap<Field, ManagerName>);"));
    }

    #[test]
    fn shipped_crates_start_no_program() {
        for code in [
            "use std::process::Command;",
            "use std::process::{Child, Command};",
            "use tokio::process::Command as C;",
            "std::process::Command::new(x)",
        ] {
            assert!(offends("gateway-daemon/src/a.rs", code), "{code}");
            assert!(!offends("gateway-daemon/tests/a.rs", code), "{code}");
            assert!(!offends("vm-tests/src/a.rs", code), "{code}");
        }
        for code in ["use std::process::ExitCode;", "enum Command {}", "process::exit(Command)"] {
            assert!(!offends("gateway-daemon/src/a.rs", code), "{code}");
        }
    }
}
