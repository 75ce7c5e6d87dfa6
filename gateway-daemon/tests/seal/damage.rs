//! Wrong key, damage, absence and exchange are told apart, and none of them opens anything.

use super::*;

#[test]
fn a_file_with_any_bit_changed_does_not_open() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    strongbox.write(&NAME, b"secret").unwrap();
    let path = strongbox.path(&NAME);
    let octets = fs::read(&path).unwrap();
    for bit in 0..octets.len() * 8 {
        let mut damaged = octets.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, damaged).unwrap();
        let error = strongbox.read(&NAME).unwrap_err().to_string();
        assert_told(&error, &["identity.sealed"]);
    }
    for len in 0..octets.len() {
        fs::write(&path, &octets[..len]).unwrap();
        assert!(strongbox.read(&NAME).is_err(), "cut at {len}");
    }
    fs::write(&path, octets).unwrap();
    assert!(strongbox.read(&NAME).is_ok());
}

#[test]
fn a_wrapped_key_with_any_bit_changed_does_not_open() {
    let scratch = Scratch::new();
    scratch.create();
    let octets = fs::read(scratch.file("strongbox")).unwrap();
    for bit in 0..octets.len() * 8 {
        let mut damaged = octets.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(scratch.file("strongbox"), damaged).unwrap();
        assert_told(&scratch.refused(&scratch.key()), &["state/strongbox: it"]);
    }
    fs::write(scratch.file("strongbox"), octets).unwrap();
    scratch.open();
}

#[test]
fn files_that_were_exchanged_do_not_open() {
    let scratch = Scratch::new();
    let strongbox = scratch.create();
    let other = Purpose::of("ca");
    strongbox.write(&NAME, b"of the gateway").unwrap();
    strongbox.write(&other, b"of the authority").unwrap();
    fs::rename(strongbox.path(&other), strongbox.path(&NAME)).unwrap();
    let error = strongbox.read(&NAME).unwrap_err().to_string();
    assert_told(&error, &["identity.sealed", "another file was put in its place", "backup"]);
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let scratch = Scratch::new();
    scratch.create();
    fs::copy(scratch.0.join("seal.key"), scratch.0.join("right.key")).unwrap();
    let other = Scratch::new();
    other.create();
    fs::copy(other.0.join("seal.key"), scratch.0.join("seal.key")).unwrap();
    let error = scratch.refused(&scratch.key());
    assert_told(&error, &["key file", "seal.key is not the one", "nothing was changed"]);
    let error = scratch.refused(&Sealer::File(scratch.0.join("gone.key")));
    assert_told(&error, &["gone.key: cannot read it", "put it back from where it is kept"]);
    Strongbox::open(&scratch.state(), &Sealer::File(scratch.0.join("right.key"))).unwrap();
}

#[test]
fn files_of_two_strongboxes_are_told_apart() {
    let (a, b) = (Scratch::new(), Scratch::new());
    let (of_a, of_b) = (a.create(), b.create());
    of_a.write(&NAME, CANARY).unwrap();
    fs::copy(of_a.path(&NAME), of_b.path(&NAME)).unwrap();
    let error = of_b.read(&NAME).unwrap_err().to_string();
    let (a, b) = (of_a.id().to_string(), of_b.id().to_string());
    assert_told(&error, &[&format!("sealed by strongbox {a}"), &format!("this one is {b}")]);
}

#[test]
fn without_its_key_nothing_is_begun_anew() {
    let scratch = Scratch::new();
    scratch.create().write(&NAME, CANARY).unwrap();
    fs::remove_file(scratch.file("strongbox")).unwrap();
    for opened in [
        Strongbox::open(&scratch.state(), &scratch.key()),
        Strongbox::create(&scratch.state(), &scratch.key()),
        Strongbox::establish(&scratch.state(), &scratch.key()),
    ] {
        let error = opened.unwrap_err().to_string();
        assert_told(&error, &["identity.sealed", "whose key", "is gone", "backup"]);
    }
    assert!(!scratch.file("strongbox").exists());
}

#[test]
fn a_strongbox_is_not_made_twice() {
    let scratch = Scratch::new();
    let missing = Strongbox::open(&scratch.state(), &scratch.key()).unwrap_err().to_string();
    assert_told(&missing, &["directory of sealed files", "there is none"]);
    let strongbox = scratch.create();
    let error = Strongbox::create(&scratch.state(), &scratch.key()).unwrap_err().to_string();
    assert_told(&error, &["there is a strongbox already"]);
    assert_eq!(
        Strongbox::establish(&scratch.state(), &scratch.key()).unwrap().id(),
        strongbox.id()
    );
    fs::remove_file(scratch.file("strongbox")).unwrap();
    assert_told(&scratch.refused(&scratch.key()), &["there is no strongbox"]);
}

/// A strongbox that several begin at the same time is one.
#[test]
fn those_who_begin_together_have_the_same() {
    let scratch = Scratch::new();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let establish = || Strongbox::establish(&scratch.state(), &scratch.key()).unwrap().id();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(establish)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
