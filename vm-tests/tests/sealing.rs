//! Sealed files on disks of their own: a raw image has nothing of them in clear, and a disk that is full leaves what
//! was there.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use gateway_daemon::seal::{Purpose, SealError, Sealer, Strongbox};

const NAME: Purpose = Purpose::of("identity");
const CANARY: &[u8] = b"canary: a private key that must be nowhere on the disk in clear";
const OTHER_CANARY: &[u8] = b"canary: this one is there in clear, and the search finds it";

/// A file system of its own, unmounted and removed when dropped.
struct Disk {
    directory: PathBuf,
}

impl Disk {
    fn mounted(name: &str, words: &[&str]) -> Result<Self> {
        let directory =
            PathBuf::from(format!("/run/presence-sealing-{name}-{}", std::process::id()));
        fs::create_dir_all(directory.join("disk"))?;
        let disk = Self { directory };
        let words: Vec<String> =
            words.iter().map(|word| word.replace("IMAGE", &disk.at("image"))).collect();
        if words.contains(&"loop".to_owned()) {
            fs::File::create(disk.at("image"))?.set_len(16 << 20)?;
            run(Command::new("mkfs.ext4").args(["-q", &disk.at("image")]))?;
        }
        run(Command::new("mount").args(words).arg(disk.at("disk")))?;
        Ok(disk)
    }

    fn at(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn sealer(&self) -> Sealer {
        Sealer::File(self.at("seal.key").into())
    }

    fn strongbox(&self) -> PathBuf {
        self.at("disk/strongbox").into()
    }

    fn unmount(&self) -> Result<()> {
        run(Command::new("umount").arg(self.at("disk")))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that went well has unmounted it.
        let _ = Command::new("umount").arg("--quiet").arg(self.at("disk")).output();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn has(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|found| found == part)
}

#[test]
fn a_raw_image_has_no_key_in_clear() -> Result<()> {
    let disk = Disk::mounted("image", &["-o", "loop", "IMAGE"])?;
    let strongbox = Strongbox::create(&disk.strongbox(), &disk.sealer())?;
    // Written, written anew and removed: what a file system leaves behind is on the image too.
    for _ in 0..20 {
        strongbox.write(&NAME, CANARY)?;
    }
    let shares = Purpose::of("share");
    strongbox.write(&shares, &CANARY.repeat(10_000))?;
    strongbox.remove(&shares)?;
    strongbox.rewrap(&Sealer::File(disk.at("other.key").into()))?;
    fs::write(disk.at("disk/clear"), OTHER_CANARY)?;
    disk.unmount()?;
    let image = fs::read(disk.at("image"))?;
    ensure!(has(&image, OTHER_CANARY), "the search does not find what is there");
    ensure!(has(&image, b"identity.sealed"), "the sealed file is not on the image");
    ensure!(!has(&image, &CANARY[..16]), "the canary is on the image in clear");
    for key in ["seal.key", "other.key"] {
        ensure!(!has(&image, &fs::read(disk.at(key))?), "{key} is on the image");
    }
    Ok(())
}

#[test]
fn a_full_disk_leaves_what_was_there() -> Result<()> {
    let disk = Disk::mounted("full", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"])?;
    let strongbox = Strongbox::create(&disk.strongbox(), &disk.sealer())?;
    strongbox.write(&NAME, CANARY)?;
    let error = strongbox.write(&NAME, &[7; 100_000]).err().context("there was room")?;
    ensure!(matches!(error, SealError::File { .. }), "{error}");
    let told = error.to_string();
    ensure!(told.contains("free some space, what was there before is unchanged"), "{told}");
    ensure!(strongbox.read(&NAME)?.context("it is there")?.as_slice() == CANARY);
    let left = fs::read_dir(disk.strongbox())?.count();
    ensure!(left == 2, "{left} files are there instead of the key and the value");
    strongbox.write(&NAME, b"there is room again")?;
    fill(Path::new(&disk.at("disk/filler")))?;
    let error = strongbox.rewrap(&Sealer::File(disk.at("other.key").into()));
    ensure!(error.is_err(), "there was room");
    Strongbox::open(&disk.strongbox(), &disk.sealer())?;
    disk.unmount()
}

/// Writes until there is no room.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(path)?;
    while file.write(&[0; 512]).is_ok_and(|written| written > 0) {}
    Ok(())
}
