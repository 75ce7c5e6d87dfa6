//! A directory for one test, shared by the tests of this crate and by `vm-tests/tests/store_etcd.rs`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

/// Gone with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("presence-test-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a directory of this number is new");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that fails has more important things to say.
        let _ = fs::remove_dir_all(&self.0);
    }
}
