//! A fingerprint of the kernel half's sources.
//!
//! Included by `gateway-dataplane/build.rs`, which records it beside the object, and by
//! `gateway-dataplane/tests/object_is_fresh.rs`, which takes it again and compares. It is no defence
//! against forgery, only against a build that missed an edit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the object is compiled from, below the workspace's root.
pub(crate) const SOURCES: [&str; 2] = ["gateway-ebpf/src", "gateway-common/src"];

/// FNV-1a, 64 bits in hexadecimal, over every path and content below [`SOURCES`] in path order.
pub(crate) fn source_hash(workspace: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&workspace.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let content = fs::read(&file)?;
        let name = file.strip_prefix(workspace).unwrap_or(&file).to_string_lossy().into_owned();
        hash = fold(hash, name.as_bytes());
        hash = fold(hash, &(content.len() as u64).to_le_bytes());
        hash = fold(hash, &content);
    }
    Ok(format!("{hash:016x}"))
}

fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
