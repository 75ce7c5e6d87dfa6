//! Replays every corpus through its target.
#![allow(clippy::unwrap_used, reason = "a test may fail where a file cannot be read")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Every target by the name of its corpus.
const TARGETS: [(&str, Target); 8] = [
    ("apply", fuzz::apply),
    ("frame", fuzz::frame),
    ("joining", fuzz::joining),
    ("leaf", fuzz::leaf),
    ("resources", fuzz::resources),
    ("sealed", fuzz::sealed),
    ("session", fuzz::session),
    ("site_file", fuzz::site_file),
];

type Target = fn(&[u8]);

fn corpora() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn corpora_are_replayed() {
    for (name, target) in TARGETS {
        let mut replayed = 0;
        for entry in fs::read_dir(corpora().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            assert!(catch_unwind(|| target(&data)).is_ok(), "{} fails", path.display());
            replayed += 1;
        }
        assert!(replayed > 0, "the corpus of {name} is empty");
    }
}

#[test]
fn every_corpus_has_a_target() {
    for entry in fs::read_dir(corpora()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == *target), "{name:?} has no target");
    }
}

/// The corpus reaches both sides of the target: files that are read and files that are refused.
#[test]
fn site_files_of_both_kinds_are_there() {
    let (mut read, mut refused) = (0, 0);
    for entry in fs::read_dir(corpora().join("site_file")).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        match std::str::from_utf8(&data).map(gateway_control::site_file::parse) {
            Ok(Ok(_)) => read += 1,
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    }
    assert!(read >= 5 && refused >= 10, "{read} read, {refused} refused");
}

#[test]
fn resources_of_both_kinds_are_there() {
    let (mut read, mut refused) = (0, 0);
    for entry in fs::read_dir(corpora().join("resources")).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        match std::str::from_utf8(&data).map(gateway_control::resource::read) {
            Ok(Ok(_)) => read += 1,
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    }
    assert!(read >= 8 && refused >= 10, "{read} read, {refused} refused");
}

#[test]
fn certificates_and_tokens_of_both_kinds_are_there() {
    use gateway_control::identity::{JoinToken, Joined, Joining, Leaf};
    let all = |corpus: &str| {
        let files = fs::read_dir(corpora().join(corpus)).unwrap();
        files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect::<Vec<_>>()
    };
    let leaves = all("leaf");
    let read = leaves.iter().filter(|it| Leaf::read(it).is_ok()).count();
    assert!(read >= 1 && leaves.len() - read >= 8, "{read} of {} read", leaves.len());
    let joining = all("joining");
    let text = |it: &[u8]| std::str::from_utf8(it).ok().and_then(|it| it.parse::<JoinToken>().ok());
    assert!(joining.iter().any(|it| text(it).is_some()));
    assert!(joining.iter().any(|it| Joining::decode(it).is_ok()));
    assert!(joining.iter().any(|it| matches!(Joined::decode_answer(it), Ok(Ok(_)))));
}

#[test]
fn sealed_files_of_all_kinds_are_there() {
    use gateway_control::sealed::{SealedValue, WrappedKey};
    let (mut values, mut keys, mut refused) = (0, 0, 0);
    for entry in fs::read_dir(corpora().join("sealed")).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        match (SealedValue::parse(&data), WrappedKey::parse(&data)) {
            (Ok(_), _) => values += 1,
            (_, Ok(_)) => keys += 1,
            (Err(_), Err(_)) => refused += 1,
        }
    }
    assert!(values >= 2 && keys >= 3 && refused >= 10, "{values}, {keys}, {refused}");
}

/// The fuzzer's package is outside the workspace, so nothing else would notice that it lacks a
/// target.
#[test]
fn every_target_has_a_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("libfuzzer/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"../fuzz_targets/{name}.rs\"")), "{name}");
        let source = fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("fuzz::{name}(data)")), "{name}");
    }
}
