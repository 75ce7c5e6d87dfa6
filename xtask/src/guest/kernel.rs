//! A guest's kernel: resolved, downloaded, checked and unpacked from Debian's archive.
//!
//! What is recorded in `kernels.toml` is what runs. When the archive has moved on to a newer point
//! release, which removes the old one, the newer runs only if the table allows it, under the digest
//! of apt's signed index, and a line says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::table::Kernel;
use crate::process;

/// A kernel that is ready to boot.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) image: PathBuf,
    /// Module files in an order in which each finds what it depends on.
    pub(crate) modules: Vec<PathBuf>,
}

/// Gives the kernel from `cache`, filling that first where needed.
pub(crate) fn unpack(kernel: &Kernel, cache: &Path) -> Result<Unpacked> {
    fs::create_dir_all(cache)?;
    let package = cache.join("kernel.deb");
    if digest(&package)?.as_deref() != Some(&kernel.sha256) {
        download(kernel, cache, &package)?;
    }
    let found = digest(&package)?.context("the kernel's package vanished")?;

    let root = cache.join("root");
    let mark = cache.join("unpacked");
    if fs::read_to_string(&mark).ok().as_deref() != Some(&found) {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        process::run(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
        decompress(&root)?;
        process::run(program("depmod").arg("-b").arg(&root).arg(release(&root)?))?;
        fs::write(&mark, &found)?;
    }

    let release = release(&root)?;
    let modules = root.join("lib/modules").join(&release);
    let dependencies = fs::read_to_string(modules.join("modules.dep"))?;
    let built_in = fs::read_to_string(modules.join("modules.builtin"))?;
    let order = load_order(&dependencies, &built_in, &kernel.modules)
        .with_context(|| format!("kernel {}", kernel.name))?;
    Ok(Unpacked {
        image: root.join("boot").join(format!("vmlinuz-{release}")),
        modules: order.into_iter().map(|module| modules.join(module)).collect(),
    })
}

/// What the archive has now.
#[derive(Debug)]
struct Candidate {
    package: String,
    version: String,
    sha256: String,
}

fn download(kernel: &Kernel, cache: &Path, package: &Path) -> Result<()> {
    let candidate = match candidate(kernel) {
        Ok(candidate) => candidate,
        Err(_) => {
            process::run(Command::new("apt-get").args(["-qq", "update"]))?;
            candidate(kernel)?
        }
    };
    let expected = expected_digest(kernel, &candidate)?;
    if digest(package)?.as_deref() == Some(expected) {
        return Ok(());
    }
    let fresh = cache.join("download");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let wanted = format!("{}={}", candidate.package, candidate.version);
    process::run(
        Command::new("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", &wanted])
            .current_dir(&fresh),
    )?;
    let file = fs::read_dir(&fresh)?.next().context("apt-get downloaded nothing")??.path();
    let found = digest(&file)?.context("the kernel's package vanished")?;
    if found != expected {
        bail!("{wanted} has the SHA-256 {found}, not {expected} as recorded: do not use it");
    }
    fs::rename(&file, package)?;
    fs::remove_dir_all(&fresh)?;
    Ok(())
}

fn candidate(kernel: &Kernel) -> Result<Candidate> {
    let show = |package: &str| {
        process::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
    };
    let meta = show(&kernel.metapackage)?;
    let depends = field(&meta, "Depends").with_context(|| {
        format!("{} depends on nothing: it is not a kernel metapackage", kernel.metapackage)
    })?;
    let package = depends
        .split([' ', ',', '('])
        .find(|word| word.starts_with("linux-image-"))
        .with_context(|| format!("{} depends on no kernel: {depends}", kernel.metapackage))?;
    let image = show(package)?;
    let of = |name: &str| {
        field(&image, name).map(str::to_owned).with_context(|| format!("{package} has no {name}"))
    };
    Ok(Candidate { package: package.to_owned(), version: of("Version")?, sha256: of("SHA256")? })
}

fn expected_digest<'a>(kernel: &'a Kernel, candidate: &'a Candidate) -> Result<&'a str> {
    if candidate.version == kernel.version {
        return Ok(&kernel.sha256);
    }
    let newer = process::status(Command::new("dpkg").args([
        "--compare-versions",
        &candidate.version,
        "gt",
        &kernel.version,
    ]))?
    .success();
    let advice = "record its version and SHA-256 in vm-tests/kernels.toml";
    if !newer {
        bail!(
            "kernel {}: the archive has {}, older than the recorded {}; `apt-get update`, or {advice}",
            kernel.name,
            candidate.version,
            kernel.version
        );
    }
    if !kernel.any_newer {
        bail!(
            "kernel {}: the archive moved from the recorded {} to {}; {advice}",
            kernel.name,
            kernel.version,
            candidate.version
        );
    }
    println!(
        "note: kernel {}: the archive moved from the recorded {} to {}, which runs instead; {advice}",
        kernel.name, kernel.version, candidate.version
    );
    Ok(&candidate.sha256)
}

/// The SHA-256 of a file, `None` if there is no such file.
fn digest(path: &Path) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let line = process::output(Command::new("sha256sum").arg(path))?;
    Ok(line.split_whitespace().next().map(str::to_owned))
}

fn field<'a>(control: &'a str, name: &str) -> Option<&'a str> {
    control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Unpacks the modules that the package has compressed: what loads them in a guest need not know how.
fn decompress(root: &Path) -> Result<()> {
    let mut compressed = Vec::new();
    let mut directories = vec![root.join("lib/modules")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "xz") {
                compressed.push(path);
            }
        }
    }
    if compressed.is_empty() {
        return Ok(());
    }
    process::run(Command::new("xz").arg("--decompress").args(compressed))
}

fn release(root: &Path) -> Result<String> {
    let mut releases = fs::read_dir(root.join("lib/modules"))?;
    let release = releases.next().context("the kernel's package holds no modules")??;
    Ok(release.file_name().to_string_lossy().into_owned())
}

/// A system program that an ordinary user's PATH may not reach.
fn program(name: &str) -> Command {
    let place = Path::new("/usr/sbin").join(name);
    Command::new(if place.exists() { place } else { PathBuf::from(name) })
}

/// The modules and all they depend on, dependencies first, each once; those built in are left out.
fn load_order(dependencies: &str, built_in: &str, wanted: &[String]) -> Result<Vec<String>> {
    let lines: BTreeMap<String, (&str, Vec<&str>)> = dependencies
        .lines()
        .filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            Some((module_name(path), (path, needs.split_whitespace().collect())))
        })
        .collect();
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        if built_in.lines().any(|path| module_name(path) == *name) {
            continue;
        }
        let (path, needs) =
            lines.get(name).with_context(|| format!("no module {name} in the kernel's package"))?;
        // depmod lists what is needed last first.
        for module in needs.iter().rev().chain([path]) {
            if !order.iter().any(|loaded| loaded == module) {
                order.push((*module).to_owned());
            }
        }
    }
    Ok(order)
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "\
kernel/net/veth.ko:
kernel/net/wireguard.ko: kernel/net/udp-tunnel.ko kernel/crypto/curve.ko kernel/crypto/lib.ko
kernel/net/udp-tunnel.ko:
kernel/crypto/curve.ko: kernel/crypto/lib.ko
kernel/crypto/lib.ko:
";

    fn order(wanted: &[&str]) -> Result<Vec<String>> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        load_order(DEPENDENCIES, "kernel/drivers/tun-old.ko\n", &wanted)
    }

    #[test]
    fn dependencies_load_first_and_once() {
        assert_eq!(
            order(&["udp_tunnel", "wireguard", "veth"]).unwrap(),
            [
                "kernel/net/udp-tunnel.ko",
                "kernel/crypto/lib.ko",
                "kernel/crypto/curve.ko",
                "kernel/net/wireguard.ko",
                "kernel/net/veth.ko"
            ]
        );
    }

    #[test]
    fn a_module_built_in_is_not_loaded_and_an_unknown_one_is_an_error() {
        assert_eq!(order(&["tun_old"]).unwrap(), Vec::<String>::new());
        assert!(order(&["nosuch"]).unwrap_err().to_string().contains("nosuch"));
    }

    #[test]
    fn a_moved_archive_is_accepted_only_where_the_table_allows_it() {
        let kernel = |any_newer| Kernel {
            name: "k".to_owned(),
            metapackage: "m".to_owned(),
            version: "6.1.10-1".to_owned(),
            sha256: "recorded".to_owned(),
            any_newer,
            modules: vec![],
            memory_mib: 1,
            minutes: 1,
            tests: vec![],
        };
        let candidate = |version: &str| Candidate {
            package: "p".to_owned(),
            version: version.to_owned(),
            sha256: "archive".to_owned(),
        };
        assert_eq!(expected_digest(&kernel(false), &candidate("6.1.10-1")).unwrap(), "recorded");
        assert_eq!(expected_digest(&kernel(true), &candidate("6.1.11-1")).unwrap(), "archive");
        assert!(expected_digest(&kernel(false), &candidate("6.1.11-1")).is_err());
        assert!(expected_digest(&kernel(true), &candidate("6.1.9-1")).is_err());
    }

    #[test]
    fn control_fields_are_read() {
        let control = "Package: a\nDepends: linux-image-6.1 (= 6.1.1)\nSHA256: 00ff\n";
        assert_eq!(field(control, "SHA256"), Some("00ff"));
        assert_eq!(field(control, "Version"), None);
    }
}
