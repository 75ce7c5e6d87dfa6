//! A share as octets.

use gateway_control::deployment::share::{MAX_LEN, Share, WireError};
use proptest::prelude::*;

#[test]
fn faults_name_the_field() {
    // A share of one item, the site's own, whose transit pool is no prefix: fields 1 of each message.
    let octets = [0x0a, 5, 0x0a, 3, 0x0a, 1, b'x'];
    let error = Share::decode(&octets).unwrap_err();
    assert!(
        matches!(&error, WireError::Value { field: "own.transit_pool", value, .. } if value == "x"),
        "{error}"
    );
    assert!(matches!(Share::decode(&[0xff]), Err(WireError::Message(_))));
    let long = vec![0; MAX_LEN + 1];
    assert_eq!(Share::decode(&long), Err(WireError::TooLong { length: MAX_LEN + 1 }));
    let many = [0x0a, 0].repeat((1 << 20) + 1);
    assert_eq!(Share::decode(&many), Err(WireError::TooMany));
    assert!(Share::decode(&many[2..]).is_ok());
    assert_eq!(Share::decode(&[]), Ok(Share::default()));
    // Field 9 of an item is of a later version.
    assert_eq!(Share::decode(&[0x0a, 2, 0x48, 1]), Ok(Share::default()));
}

proptest! {
    #[test]
    fn any_octets_are_a_share_or_a_fault(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(share) = Share::decode(&octets) {
            prop_assert_eq!(Share::decode(&share.encode()), Ok(share));
        }
    }
}
