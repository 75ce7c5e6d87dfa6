//! The strongbox as its users see it: what opens and what does not, and what an operator is told.
#![allow(clippy::unwrap_used, reason = "a test may fail where a file cannot be read")]

mod command;
mod damage;
mod place;
mod sealers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use gateway_daemon::seal::{Purpose, Sealer, Strongbox};

const NAME: Purpose = Purpose::of("identity");
const CANARY: &[u8] = b"canary: a private key that must not be in clear on any disk";

/// A directory of its own, with a strongbox and a key file in it, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("presence-seal-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state().join(name)
    }

    fn key(&self) -> Sealer {
        Sealer::File(self.0.join("seal.key"))
    }

    fn other_key(&self) -> Sealer {
        Sealer::File(self.0.join("other.key"))
    }

    fn create(&self) -> Strongbox {
        Strongbox::create(&self.state(), &self.key()).unwrap()
    }

    fn open(&self) -> Strongbox {
        Strongbox::open(&self.state(), &self.key()).unwrap()
    }

    fn refused(&self, sealer: &Sealer) -> String {
        Strongbox::open(&self.state(), sealer).unwrap_err().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether any file below a directory has these octets.
fn is_in_clear(below: &Path, octets: &[u8]) -> bool {
    fs::read_dir(below).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => is_in_clear(&path, octets),
            false => fs::read(path).unwrap().windows(octets.len()).any(|part| part == octets),
        }
    })
}

fn assert_told(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn a_strongbox_may_be_shared_among_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let scratch = Scratch::new();
    is_shared(&scratch.create());
}

#[test]
fn what_is_written_reads_back_after_a_restart() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    assert!(strongbox.read(&NAME).unwrap().is_none());
    strongbox.write(&NAME, b"first").unwrap();
    strongbox.write(&NAME, CANARY).unwrap();
    strongbox.write(&Purpose::of("empty"), b"").unwrap();
    drop(strongbox);
    let again = scratch.open();
    assert_eq!(**again.read(&NAME).unwrap().unwrap(), *CANARY);
    assert_eq!(**again.read(&Purpose::of("empty")).unwrap().unwrap(), *b"");
    assert_eq!(again.names().unwrap(), [Purpose::of("empty"), NAME]);
    again.remove(&NAME).unwrap();
    again.remove(&NAME).unwrap();
    assert!(again.read(&NAME).unwrap().is_none());
}

#[test]
fn nothing_is_in_clear() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    strongbox.write(&NAME, CANARY).unwrap();
    let elsewhere = strongbox.seal(&NAME, CANARY).unwrap();
    fs::write(scratch.0.join("elsewhere"), elsewhere).unwrap();
    assert!(!is_in_clear(&scratch.0, CANARY));
    let key = fs::read(scratch.0.join("seal.key")).unwrap();
    assert!(!is_in_clear(&scratch.state(), &key));
    // The search does find what is in clear.
    fs::write(scratch.file("clear"), CANARY).unwrap();
    assert!(is_in_clear(&scratch.0, CANARY));
}

#[test]
fn the_same_text_is_sealed_as_another_each_time() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    let sealed = |_| strongbox.seal(&NAME, CANARY).unwrap();
    let mut all: Vec<Vec<u8>> = (0..1000).map(sealed).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1000);
}

#[test]
fn a_value_kept_elsewhere_is_for_its_purpose() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    let sealed = strongbox.seal(&NAME, CANARY).unwrap();
    assert_eq!(**scratch.open().unseal(&NAME, &sealed).unwrap(), *CANARY);
    let refused = strongbox.unseal(&Purpose::of("other"), &sealed).unwrap_err().to_string();
    assert_told(&refused, &["sealed value other", "another was put in its place"]);
    let refused = strongbox.unseal(&NAME, b"clear").unwrap_err().to_string();
    assert_told(&refused, &["sealed value identity", "not a sealed file"]);
    let other = Scratch::new();
    let refused = other.create().unseal(&NAME, &sealed).unwrap_err().to_string();
    assert_told(&refused, &["sealed by strongbox", &strongbox.id().to_string()]);
}

#[test]
fn what_is_sealed_for_the_store_is_no_file_and_the_other_way_round() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    fs::write(strongbox.path(&NAME), strongbox.seal(&NAME, CANARY).unwrap()).unwrap();
    assert!(strongbox.read(&NAME).is_err());
    strongbox.write(&NAME, CANARY).unwrap();
    let file = fs::read(strongbox.path(&NAME)).unwrap();
    assert!(strongbox.unseal(&NAME, &file).is_err());
}

#[test]
fn debugging_tells_no_key() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    let told = format!("{strongbox:?}");
    assert_told(&told, &["Strongbox", &strongbox.id().to_string(), ".."]);
    assert!(!told.contains("data_key"), "{told}");
}
