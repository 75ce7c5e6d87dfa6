//! Certificates: what anybody may show in a handshake.

use gateway_control::identity::{Leaf, SpiffeId};

/// Reads `data` as the certificate of a leaf.
///
/// # Panics
///
/// If what is read says of itself what its own notation does not, or a refusal has no words.
pub fn leaf(data: &[u8]) {
    match Leaf::read(data) {
        Ok(leaf) => {
            let again: SpiffeId = leaf.id.to_string().parse().expect("an ID reads back");
            assert_eq!(again, leaf.id);
            assert_eq!(leaf.holds(leaf.not_before).is_ok(), leaf.not_before <= leaf.not_after);
            if leaf.not_before <= leaf.not_after {
                assert!((leaf.not_before..=leaf.not_after).contains(&leaf.renewal()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
