//! Randomness from the operating system, for what must not be guessed or repeated.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 128 bits that nobody can foresee: two hashes under keys that the system's randomness made.
pub(super) fn draw() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}
