//! A share by what it differs from another.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_control::deployment::share::Share;
use gateway_control::session::{Digest, Edition, Holding, Patch, PatchEdit, PatchError, Told};
use proptest::prelude::*;

use crate::{links, share};

fn holding(share: &Share) -> Holding {
    Holding::new(Some(1), share.encode()).unwrap()
}

fn by_difference(told: Told) -> Patch {
    match told {
        Told::Delta(patch) => patch,
        other => panic!("no difference: {other:?}"),
    }
}

#[test]
fn a_difference_is_as_long_as_what_changed() {
    let before = Arc::new(Edition::new(share(&links(1000))));
    let mut changed = links(1000);
    changed.insert(500, 9);
    changed.remove(&0);
    changed.insert(5000, 1);
    let after = before.next(share(&changed));
    let patch = by_difference(after.told(Some(before.digest())));
    assert_eq!(patch.edits.iter().map(|edit| edit.insert.len()).sum::<usize>(), 2);
    assert_eq!(patch.edits.iter().map(|edit| edit.drop).sum::<u32>(), 2);
    let patched = holding(before.share()).patched(Some(2), &patch).unwrap();
    assert_eq!(patched.share(), after.share());
    assert_eq!(patched.revision(), Some(2));
    // The same again is told by nothing, whoever the controller is by now.
    let anew = Edition::new(share(&changed));
    assert_eq!(by_difference(anew.told(Some(after.digest()))).edits, []);
    assert!(Arc::ptr_eq(&after, &after.next(share(&changed))));
    // And what is not known is told whole.
    assert!(matches!(anew.told(Some(before.digest())), Told::Snapshot { .. }));
    assert!(matches!(after.told(None), Told::Snapshot { .. }));
}

#[test]
fn a_difference_that_is_longer_than_the_share_is_not_told() {
    let before = Arc::new(Edition::new(share(&links(10))));
    let all: BTreeMap<u16, u8> = (0..10).map(|site| (site, 2)).collect();
    let after = before.next(share(&all));
    assert!(matches!(after.told(Some(before.digest())), Told::Snapshot { .. }));
}

/// What is remembered is bounded by the share's own size, and by a number of changes.
#[test]
fn old_changes_are_forgotten() {
    let first = Arc::new(Edition::new(share(&links(1000))));
    let mut edition = Arc::clone(&first);
    let mut before = Vec::new();
    for n in 0..200 {
        let mut now = links(1000);
        now.insert(n, 2);
        before.push(edition.digest());
        edition = edition.next(share(&now));
    }
    let known = before.iter().filter(|it| matches!(edition.told(Some(**it)), Told::Delta(_)));
    assert_eq!(known.count(), 64);
    // Two changes of more than half of the share each.
    let changed = |key| (0..1000).map(|site| (site, if site < 600 { key } else { 1 })).collect();
    let one = first.next(share(&changed(2)));
    let two = one.next(share(&changed(3)));
    assert!(matches!(two.told(Some(one.digest())), Told::Delta(_)));
    assert!(matches!(two.told(Some(first.digest())), Told::Snapshot { .. }));
}

#[test]
fn what_does_not_lead_to_the_share_is_not_taken() {
    let before = Arc::new(Edition::new(share(&links(100))));
    let mut changed = links(100);
    changed.remove(&3);
    let after = before.next(share(&changed));
    let right = by_difference(after.told(Some(before.digest())));
    let held = holding(before.share());
    let other = holding(&share(&links(99)));
    assert!(matches!(other.patched(None, &right), Err(PatchError::Base { .. })));
    let digest = Digest::of(b"something else");
    let wrong = Patch { digest, ..right.clone() };
    assert!(matches!(held.patched(None, &wrong), Err(PatchError::Digest { .. })));
    for (keep, drop) in [(101, 0), (100, 1), (u32::MAX, u32::MAX)] {
        let edits = vec![PatchEdit { keep, drop, insert: Vec::new() }];
        let wrong = Patch { edits, ..right.clone() };
        assert_eq!(held.patched(None, &wrong), Err(PatchError::Items));
    }
    // Nothing changes, and another share is to come of it.
    let wrong = Patch { edits: Vec::new(), ..right };
    assert!(matches!(held.patched(None, &wrong), Err(PatchError::Digest { .. })));
}

/// An item that a later version of the controller sends is counted and kept, though it means nothing here.
#[test]
fn items_of_a_later_version_stay_where_they_are() {
    // An item of one field, 9; it is no part of the share, and it is of the encoded one.
    let later = [0x0a, 2, 0x48, 1];
    let encoded = |links: &BTreeMap<u16, u8>| [share(links).encode(), later.to_vec()].concat();
    let before = Holding::new(None, encoded(&links(2))).unwrap();
    let after = Holding::new(None, encoded(&links(1))).unwrap();
    assert_eq!(before.share(), &share(&links(2)));
    let edits = vec![PatchEdit { keep: 1, drop: 1, insert: Vec::new() }];
    let patch = Patch { base: before.held().digest, edits, digest: after.held().digest };
    let patched = before.patched(None, &patch).unwrap();
    assert_eq!((patched.octets(), patched.share()), (after.octets(), after.share()));
}

proptest! {
    /// From any share before it to the last, whatever came between.
    #[test]
    fn every_difference_leads_to_the_share(
        history in proptest::collection::vec(
            proptest::collection::btree_map(0..40u16, 0..3u8, 0..40), 1..12,
        ),
    ) {
        let mut edition = Arc::new(Edition::new(share(&history[0])));
        for links in &history[1..] {
            edition = edition.next(share(links));
        }
        for links in &history {
            let before = share(links);
            let held = holding(&before);
            match edition.told(Some(held.held().digest)) {
                Told::Delta(patch) => {
                    let patched = held.patched(None, &patch).unwrap();
                    prop_assert_eq!(patched.share(), edition.share());
                }
                Told::Snapshot { octets, digest } => {
                    prop_assert_eq!(Digest::of(&octets), digest);
                    prop_assert_eq!(&Share::decode(&octets).unwrap(), &**edition.share());
                }
                Told::Nothing(why) => prop_assert!(false, "{}", why),
            }
        }
    }
}
