//! A quick hash for short names, seeded so that no client can choose names that collide.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers from one secret. The standard library's hash resists more than look-ups of names
/// need, and takes half the time of a route.
#[derive(Clone, Debug)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0_u64))
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

/// Multiplies eight octets at a time into the state, and folds the product's halves together.
#[derive(Debug)]
pub(super) struct Folding(u64);

/// Odd, with its bits well spread: the golden ratio's fraction.
const MULTIPLIER: u128 = 0x9e37_79b9_7f4a_7c15;

impl Folding {
    #[inline]
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * MULTIPLIER;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Folding {
    #[inline]
    fn write(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = rest.iter().fold(0, |word, octet| word << 8 | u64::from(*octet));
            self.fold(last);
        }
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.fold(0);
        last.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_that_differ_little_spread_over_the_table() {
        let seeded = Seeded::default();
        let names = (0..4096).map(|number| format!("queue.{number}"));
        let hashes: BTreeSet<_> = names.map(|name| seeded.hash_one(name.as_bytes())).collect();
        assert_eq!(hashes.len(), 4096);
        let low: BTreeSet<_> = hashes.iter().map(|hash| hash % 4096).collect();
        let high: BTreeSet<_> = hashes.iter().map(|hash| hash >> 52).collect();
        // Of 4,096 random numbers 2,589 would be distinct.
        assert!(low.len() > 2300 && high.len() > 2300, "{} and {}", low.len(), high.len());
    }
}
