//! Who may use the directory, and that a file is replaced in one step.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::AtomicBool;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn change_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn all_of_it_is_for_its_owner_alone() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    strongbox.write(&NAME, CANARY).unwrap();
    assert_eq!(mode(&scratch.state()), 0o700);
    for path in [scratch.file("strongbox"), strongbox.path(&NAME), scratch.0.join("seal.key")] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_wider_directory_is_refused() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    for wide in [0o701, 0o710, 0o750, 0o755, 0o777, 0o1777] {
        change_mode(&scratch.state(), wide);
        let error = scratch.refused(&scratch.key());
        assert_told(&error, &["directory of sealed files", &format!("{wide:04o}"), "chmod 700"]);
        let error = strongbox.write(&NAME, CANARY).unwrap_err().to_string();
        assert_told(&error, &["chmod 700"]);
    }
    change_mode(&scratch.state(), 0o700);
    scratch.open();
}

#[test]
fn a_link_or_a_file_is_no_directory() {
    let scratch = Scratch::new();
    scratch.create();
    let (link, file) = (scratch.0.join("link"), scratch.0.join("file"));
    symlink(scratch.state(), &link).unwrap();
    fs::write(&file, "").unwrap();
    for path in [&link, &file] {
        let error = Strongbox::open(path, &scratch.key()).unwrap_err().to_string();
        assert_told(&error, &["directory of sealed files", "cannot open it", "no link"]);
    }
}

#[test]
fn a_key_file_for_others_is_refused() {
    let scratch = Scratch::new();
    scratch.create();
    let key = scratch.0.join("seal.key");
    for wide in [0o640, 0o604, 0o666] {
        change_mode(&key, wide);
        let error = scratch.refused(&scratch.key());
        assert_told(&error, &["seal.key", "others than root", &format!("{wide:04o}"), "rewrap"]);
    }
}

#[test]
fn a_file_that_is_a_link_or_a_pipe_is_not_read() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    let outside = scratch.0.join("outside");
    strongbox.write(&NAME, CANARY).unwrap();
    fs::rename(strongbox.path(&NAME), &outside).unwrap();
    symlink(&outside, strongbox.path(&NAME)).unwrap();
    assert!(strongbox.read(&NAME).is_err(), "a link out of the directory is followed");
    fs::remove_file(strongbox.path(&NAME)).unwrap();
    nix::unistd::mkfifo(&strongbox.path(&NAME), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = strongbox.read(&NAME).unwrap_err().to_string();
    assert_told(&error, &["not a regular file"]);
}

/// Whoever reads while others write sees one of the texts, whole, and nothing is left over.
#[test]
fn a_file_is_replaced_in_one_step() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    let texts = [vec![b'a'; 3], vec![b'b'; 100_000]];
    strongbox.write(&NAME, &texts[0]).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = texts
            .iter()
            .map(|text| {
                let again = scratch.open();
                scope.spawn(move || (0..100).for_each(|_| again.write(&NAME, text).unwrap()))
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut read = 0;
            while !ended.load(Ordering::Relaxed) {
                let text = strongbox.read(&NAME).unwrap().unwrap();
                assert!(texts.contains(&text), "{} octets", text.len());
                read += 1;
            }
            read
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        ended.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    let mut left: Vec<_> =
        fs::read_dir(scratch.state()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["identity.sealed", "strongbox"]);
}

/// What a crash left of a file that was being written is neither read nor in the way.
#[test]
fn what_a_crash_left_is_removed() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    strongbox.write(&NAME, b"before").unwrap();
    fs::write(scratch.file("identity.sealed.new"), b"half of").unwrap();
    assert_eq!(**scratch.open().read(&NAME).unwrap().unwrap(), *b"before");
    strongbox.write(&NAME, b"after").unwrap();
    assert_eq!(**strongbox.read(&NAME).unwrap().unwrap(), *b"after");
    assert!(!scratch.file("identity.sealed.new").exists());
}
