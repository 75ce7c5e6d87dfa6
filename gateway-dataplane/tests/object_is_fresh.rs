//! The object that is compiled in comes from the sources that lie here.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "the build script uses the rest")]
#[path = "../build/source_hash.rs"]
mod source_hash;

use std::fs;
use std::path::Path;

#[test]
fn the_object_is_of_these_sources() {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in a workspace");
    let now = source_hash::source_hash(workspace).expect("the sources can be read");
    assert_eq!(
        now,
        env!("GATEWAY_SOURCE_HASH"),
        "the kernel half was compiled from other sources than these"
    );
}

#[test]
fn the_object_is_a_bpf_object() {
    let object = fs::read(env!("GATEWAY_OBJECT")).expect("the build script left an object");
    assert_eq!(&object[..4], b"\x7fELF");
    // e_machine, EM_BPF
    assert_eq!(u16::from_le_bytes([object[18], object[19]]), 247);
}

#[test]
fn an_edit_changes_the_fingerprint() {
    let scratch = std::env::temp_dir().join(format!("presence-source-hash-{}", std::process::id()));
    for source in source_hash::SOURCES {
        fs::create_dir_all(scratch.join(source)).expect("a scratch directory");
        fs::write(scratch.join(source).join("lib.rs"), "one").expect("a scratch file");
    }
    let before = source_hash::source_hash(&scratch).expect("readable");
    fs::write(scratch.join("gateway-common/src/lib.rs"), "two").expect("a scratch file");
    let after = source_hash::source_hash(&scratch).expect("readable");
    fs::remove_dir_all(&scratch).expect("removable");
    assert_ne!(before, after);
}
