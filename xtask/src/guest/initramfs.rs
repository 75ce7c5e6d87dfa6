//! A guest's root file system: the tests, what they call, and the libraries these load.
//!
//! Programs are this machine's own, dynamically linked, so a guest needs no second tool chain. The
//! real `ip`, `tc` and `ping` lie in `/usr/bin`; BusyBox's applets of the same names lie in
//! `/busybox`, last in PATH.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use crate::process;

/// Where the guest's init looks; `vm-tests/src/bin/guest_init.rs` has the same paths.
const MODULES: &str = "presence/modules";
const TESTS: &str = "presence/tests";
const COMMAND: &str = "presence/command";

/// What goes into one guest.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) init: &'a Path,
    /// Module files in load order.
    pub(crate) modules: &'a [PathBuf],
    /// Name and file of each test binary, in the order in which they run.
    pub(crate) tests: &'a [(String, PathBuf)],
    /// A program in the guest with its arguments, run before the tests; nothing for none.
    pub(crate) command: &'a [&'a str],
    /// Name and file of each program of the workspace.
    pub(crate) programs: &'a [(String, PathBuf)],
    /// Names of this machine's programs.
    pub(crate) tools: &'a [String],
}

/// Writes the archive to a file, beside which the workspace's programs are put without what only a debugger reads: it is
/// most of them, and a guest has it all in memory.
pub(crate) fn write(contents: &Contents<'_>, file: &Path) -> Result<()> {
    let out = BufWriter::new(File::create(file)?);
    let stripped = file.with_extension("stripped");
    let mut image = Image { archive: Archive::new(out), placed: BTreeSet::new(), stripped };
    image.skeleton()?;
    image.own("init", contents.init)?;
    image.list(MODULES, contents.modules.iter().map(|path| file_name(path)))?;
    for module in contents.modules {
        image.copy(&format!("{MODULES}.d/{}", file_name(module)), 0o644, module)?;
    }
    image.list(TESTS, contents.tests.iter().map(|(name, _)| name.clone()))?;
    image.list(COMMAND, contents.command.iter().map(|word| (*word).to_owned()))?;
    for (name, file) in contents.tests {
        image.own(&format!("{TESTS}.d/{name}"), file)?;
    }
    for (name, file) in contents.programs {
        image.own(&format!("usr/bin/{name}"), file)?;
    }
    for tool in contents.tools {
        image.program(&format!("usr/bin/{tool}"), &find_tool(tool)?)?;
    }
    image.busybox(&find_tool("busybox")?)?;
    image.archive.finish()?;
    fs::remove_file(&image.stripped)
        .with_context(|| format!("cannot remove {}", image.stripped.display()))
}

struct Image<W> {
    archive: Archive<W>,
    placed: BTreeSet<String>,
    /// Where a program is put that lacks what only a debugger reads.
    stripped: PathBuf,
}

impl<W: Write> Image<W> {
    /// Debian's merged /usr, so that absolute paths of every tradition meet in one place.
    fn skeleton(&mut self) -> Result<()> {
        for directory in ["dev", "proc", "sys", "run", "tmp", "var/lib", "root", "etc", "usr/bin"] {
            self.archive.directory(directory)?;
        }
        for (link, target) in [
            ("bin", "usr/bin"),
            ("sbin", "usr/bin"),
            ("usr/sbin", "bin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
            ("var/run", "/run"),
            ("var/tmp", "/tmp"),
        ] {
            self.archive.symlink(link, target)?;
        }
        // Without it the kernel gives init no standard output: it mounts no devtmpfs by itself.
        self.archive.character_device("dev/console", 5, 1)?;
        for (path, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
            ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ] {
            self.archive.file(path, 0o644, text.as_bytes())?;
        }
        Ok(())
    }

    /// A program of the workspace.
    fn own(&mut self, path: &str, file: &Path) -> Result<()> {
        let mut strip = Command::new("strip");
        process::output(strip.arg("--strip-debug").arg("-o").arg(&self.stripped).arg(file))?;
        let stripped = self.stripped.clone();
        self.program(path, &stripped)
    }

    fn program(&mut self, path: &str, file: &Path) -> Result<()> {
        self.copy(path, 0o755, file)?;
        for library in libraries(file)? {
            let place =
                format!("usr/{}", library.trim_start_matches('/').trim_start_matches("usr/"));
            self.copy(&place, 0o755, Path::new(&library))?;
        }
        Ok(())
    }

    fn copy(&mut self, path: &str, permissions: u32, file: &Path) -> Result<()> {
        if self.placed.insert(path.to_owned()) {
            let content = fs::read(file).with_context(|| format!("{}", file.display()))?;
            self.archive.file(path, permissions, &content)?;
        }
        Ok(())
    }

    fn list(&mut self, path: &str, names: impl Iterator<Item = String>) -> Result<()> {
        let text: String = names.map(|name| name + "\n").collect();
        self.archive.file(path, 0o644, text.as_bytes())?;
        Ok(())
    }

    fn busybox(&mut self, file: &Path) -> Result<()> {
        self.program("busybox/busybox", file)?;
        let applets = process::output(Command::new(file).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            self.archive.symlink(&format!("busybox/{applet}"), "busybox")?;
        }
        // Scripts name their interpreter by this path.
        self.archive.symlink("usr/bin/sh", "/busybox/busybox")?;
        Ok(())
    }
}

/// The libraries, interpreter included, that the dynamic linker loads for a program.
fn libraries(program: &Path) -> Result<Vec<String>> {
    // `ldd` fails for a static program, which is no error here.
    let output = Command::new("ldd").arg(program).output().context("`ldd` does not start")?;
    linked(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("libraries of {}", program.display()))
}

fn linked(listing: &str) -> Result<Vec<String>> {
    let mut libraries = Vec::new();
    for line in listing.lines().map(str::trim) {
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        if place.starts_with("not found") {
            anyhow::bail!("not on this machine: {line}");
        }
        // Without a path it is the kernel's own virtual library, or the word "statically".
        if let Some((path, _)) = place.split_once(" (0x")
            && path.starts_with('/')
        {
            libraries.push(path.to_owned());
        }
    }
    Ok(libraries)
}

fn find_tool(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not installed; `cargo xtask setup` installs it"))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_listing() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            linked(listing).unwrap(),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
        assert_eq!(linked("\tstatically linked\n").unwrap(), Vec::<String>::new());
        assert!(linked("\tlibx.so => not found\n").is_err());
    }
}
