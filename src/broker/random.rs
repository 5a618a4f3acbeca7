//! Numbers for tests, the same from the same seed.

/// A small generator (xorshift): good enough to choose cases, and nothing else.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Up to `most` words, joined by dots.
    pub(crate) fn words(&mut self, choices: &[&str], most: usize) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| *self.one_of(choices)).collect::<Vec<_>>().join(".")
    }
}
