//! Time taken at random, so that what began together does not go on together.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Up to `most`, at random.
pub(crate) fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) >> 32;
    most.mul_f64(random as f64 / f64::from(u32::MAX))
}
