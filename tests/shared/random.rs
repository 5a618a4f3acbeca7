//! A small seeded generator: the same seed gives the same run.

use std::{
    env,
    hash::{BuildHasher, RandomState},
};

/// SplitMix64, which passes what tests like these ask of a generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// The seed to start from, printed: a new one for each run, so that runs add up, or `LEVERET_SEED`,
/// so that a failure can be seen again.
pub(crate) fn seed() -> u64 {
    let seed = match env::var("LEVERET_SEED") {
        Ok(seed) => seed.parse().expect("LEVERET_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("LEVERET_SEED={seed}");
    seed
}
