//! A small seeded generator: the same seed gives the same run.

#![expect(clippy::print_stdout, reason = "a failing run names its seed")]

use std::{
    env,
    hash::{BuildHasher, RandomState},
};

/// The splitmix64 generator.
pub struct Dice(pub u64);

impl Dice {
    /// `LEVERET_SEED` when set, so that a failure can be seen again.
    pub fn seed() -> u64 {
        let seed = match env::var("LEVERET_SEED") {
            Ok(seed) => seed.parse().expect("LEVERET_SEED is a number"),
            Err(_) => RandomState::new().hash_one(0),
        };
        println!("LEVERET_SEED={seed}");
        seed
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Up to so many octets.
    pub fn octets(&mut self, limit: u64) -> Vec<u8> {
        (0..self.below(limit)).map(|_| self.below(256) as u8).collect()
    }
}
