//! What a route depends on that is neither in the message nor in the topology.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bytes::Bytes;

use crate::model::QueueId;

/// Chance, and what exchanges remember: below `net`, both are arguments.
pub trait Circumstances {
    /// The next random number.
    fn draw(&mut self) -> u64;

    /// Whether an exchange with this annex sees the key for the first time. It remembers it then.
    fn is_first(&mut self, annex: QueueId, claim: Claim) -> bool;
}

/// The key of a message, of which an exchange lets the first one pass alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub key: Bytes,
    /// How long the key counts, if the message says so.
    pub time_to_live: Option<Duration>,
}

/// Random numbers, the same from the same seed (splitmix64); nobody's secret.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers that give nothing away of the secret that they come from.
    pub fn of_secret(secret: u128) -> Self {
        let mut hasher = DefaultHasher::new();
        ("draws", secret).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        share(self.draw(), limit)
    }
}

/// Every key is the first: for who routes to find out where, and not for good.
impl Circumstances for Draws {
    fn draw(&mut self) -> u64 {
        Self::draw(self)
    }

    fn is_first(&mut self, _: QueueId, _: Claim) -> bool {
        true
    }
}

/// One of `limit` places, each equally likely if `number` is random.
pub(super) fn share(number: u64, limit: usize) -> usize {
    ((u128::from(number) * limit as u128) >> 64) as usize
}

/// The number with its bits well spread.
pub(super) fn mixed(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
