//! Sealed files: any octets, as a value, as a wrapped key, and as a wrapped key whose checksum is right.

use gateway_control::sealed::{
    KEY_LEN, PassphraseCost, SealedValue, TAG_LEN, WRAPPED_KEY_LEN, WrappedKey, Wrapping,
};

/// Reads `data` as a sealed value and as a wrapped key.
///
/// # Panics
///
/// If what is read does not come to the same octets again, or takes more to open than is bounded.
pub fn sealed(data: &[u8]) {
    if let Ok(value) = SealedValue::parse(data) {
        assert_eq!(value.encode(), data, "a value comes to other octets");
        assert!(value.content.len() >= TAG_LEN, "a value without a tag");
        assert!(WrappedKey::parse(data).is_err(), "a value is a key as well");
    }
    wrapped_key(data);
    // A checksum is not found by chance, and would keep everything behind it from being reached.
    let checked = WRAPPED_KEY_LEN - WrappedKey::checksum(&[]).len();
    if let Some(octets) = data.get(..checked) {
        wrapped_key(&[octets, &WrappedKey::checksum(octets)].concat());
    }
}

fn wrapped_key(octets: &[u8]) {
    let Ok(key) = WrappedKey::parse(octets) else { return };
    assert_eq!(key.encode(), octets, "a wrapped key comes to other octets");
    assert_eq!(key.content.len(), KEY_LEN + TAG_LEN);
    if let Wrapping::Passphrase(cost) = key.wrapping {
        assert!(cost.memory() <= 1 << 20, "more than 1 GiB to derive a key");
        let again = PassphraseCost::new(cost.memory(), cost.passes(), cost.lanes());
        assert_eq!(again, Ok(cost), "a cost that cannot be written");
    }
}
