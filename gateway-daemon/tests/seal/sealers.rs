//! Each sealer, and changing from any to any.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use gateway_daemon::seal::PassphraseSource;

use super::*;

fn private(path: &Path, text: &[u8]) {
    let options =
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).clone();
    options.open(path).unwrap().write_all(text).unwrap();
}

fn passphrase(scratch: &Scratch, text: &[u8]) -> Sealer {
    let path = scratch.0.join("passphrase");
    private(&path, text);
    Sealer::Passphrase(PassphraseSource::File(path))
}

#[test]
fn a_passphrase_opens_it_and_another_does_not() {
    let scratch = Scratch::new();
    let right = passphrase(&scratch, b"correct horse battery\n");
    Strongbox::create(&scratch.state(), &right).unwrap().write(&NAME, CANARY).unwrap();
    let opened = Strongbox::open(&scratch.state(), &right).unwrap();
    assert_eq!(**opened.read(&NAME).unwrap().unwrap(), *CANARY);
    // The end of the line is no part of it, and what follows is none.
    let same = passphrase(&scratch, b"correct horse battery\r\nand more");
    Strongbox::open(&scratch.state(), &same).unwrap();
    let error = scratch.refused(&passphrase(&scratch, b"correct horse batterx\n"));
    assert_told(&error, &["the passphrase in", "is not the one"]);
    for short in [&b"seven77\n"[..], b"", b"\nlong enough on the second line"] {
        let error = scratch.refused(&passphrase(&scratch, short));
        assert_told(&error, &["octets; a passphrase has 8 to 1024"]);
    }
    let error = scratch.refused(&passphrase(&scratch, &[b'x'; 1025]));
    assert_told(&error, &["1025 octets"]);
}

#[test]
fn a_passphrase_comes_by_a_descriptor() {
    let scratch = Scratch::new();
    let by_pipe = |text: &[u8]| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(text).unwrap();
        let number = u16::try_from(reader.as_raw_fd()).unwrap();
        (reader, Sealer::Passphrase(PassphraseSource::Descriptor(number)))
    };
    let (_open, sealer) = by_pipe(b"correct horse battery\n");
    Strongbox::create(&scratch.state(), &sealer).unwrap();
    let (_open, sealer) = by_pipe(b"correct horse battery");
    Strongbox::open(&scratch.state(), &sealer).unwrap();
    let none = Sealer::Passphrase(PassphraseSource::Descriptor(60_000));
    assert_told(
        &scratch.refused(&none),
        &["descriptor 60000", "cannot read it", "seal.descriptor"],
    );
}

#[test]
fn a_key_file_is_made_once_and_its_length_is_checked() {
    let scratch = Scratch::new();
    scratch.create();
    let key = fs::read(scratch.0.join("seal.key")).unwrap();
    assert_eq!(key.len(), 32);
    let again = Strongbox::create(&scratch.0.join("second"), &scratch.key()).unwrap();
    assert_eq!(fs::read(scratch.0.join("seal.key")).unwrap(), key, "a key file is not replaced");
    drop(again);
    for (len, ok) in [(0, false), (31, false), (32, true), (4096, true), (4097, false)] {
        private(&scratch.0.join("other.key"), &vec![7; len]);
        let made = Strongbox::create(&scratch.0.join(len.to_string()), &scratch.other_key());
        assert_eq!(made.is_ok(), ok, "{len}");
        if let Err(error) = made {
            assert_told(&error.to_string(), &["other.key: it has", "32 to 4096", "/dev/urandom"]);
        }
    }
}

#[test]
fn a_kind_that_is_not_configured_is_named() {
    let scratch = Scratch::new();
    scratch.create();
    let error = scratch.refused(&passphrase(&scratch, b"correct horse battery"));
    assert_told(&error, &["sealed with a key file", "the passphrase in", "seal.kind", "rewrap"]);
}

#[test]
fn another_sealer_takes_over_and_the_earlier_one_is_of_no_use() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    strongbox.write(&NAME, CANARY).unwrap();
    let elsewhere = strongbox.seal(&NAME, CANARY).unwrap();
    let passphrase = passphrase(&scratch, b"correct horse battery");
    let ways = [(scratch.key(), passphrase.clone()), (passphrase, scratch.other_key())];
    for (before, after) in ways {
        Strongbox::open(&scratch.state(), &before).unwrap().rewrap(&after).unwrap();
        assert!(Strongbox::open(&scratch.state(), &before).is_err(), "{before} still opens it");
        let opened = Strongbox::open(&scratch.state(), &after).unwrap();
        assert_eq!(**opened.read(&NAME).unwrap().unwrap(), *CANARY);
        assert_eq!(**opened.unseal(&NAME, &elsewhere).unwrap(), *CANARY);
    }
    // One that was open before goes on.
    strongbox.write(&NAME, b"more").unwrap();
    let opened = Strongbox::open(&scratch.state(), &scratch.other_key()).unwrap();
    assert_eq!(**opened.read(&NAME).unwrap().unwrap(), *b"more");
}

#[test]
fn a_new_secret_that_is_of_no_use_changes_nothing() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    assert!(strongbox.rewrap(&passphrase(&scratch, b"short")).is_err());
    scratch.open();
}

/// What the disk of a host tells whoever has it without the key file.
#[test]
fn a_disk_without_its_key_tells_nothing() {
    let scratch = Scratch::new();
    scratch.create().write(&NAME, CANARY).unwrap();
    fs::remove_file(scratch.0.join("seal.key")).unwrap();
    assert!(Strongbox::open(&scratch.state(), &scratch.key()).is_err());
    assert!(Strongbox::establish(&scratch.state(), &scratch.key()).is_err());
    assert!(!scratch.0.join("seal.key").exists(), "a new key was made for an old strongbox");
    assert!(!is_in_clear(&scratch.0, &CANARY[..16]));
}

#[test]
fn a_credential_needs_a_service_manager() {
    let scratch = Scratch::new();
    let credential = Sealer::Credential("presence.key".parse().unwrap());
    let error = Strongbox::create(&scratch.state(), &credential).unwrap_err().to_string();
    assert_told(&error, &["credential presence.key", "LoadCredentialEncrypted=presence.key"]);
    for wrong in ["", ".hidden", "a/b", "a b"] {
        let name: Result<gateway_daemon::seal::CredentialName, _> = wrong.parse();
        assert!(name.is_err(), "{wrong:?}");
    }
}

#[test]
fn a_passphrase_file_for_others_is_refused() {
    let scratch = Scratch::new();
    let sealer = passphrase(&scratch, b"correct horse battery");
    Strongbox::create(&scratch.state(), &sealer).unwrap();
    let path = scratch.0.join("passphrase");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_told(&scratch.refused(&sealer), &["the passphrase in", "others than root", "0644"]);
}
