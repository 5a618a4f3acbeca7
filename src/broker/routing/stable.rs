//! A hash that is the same on every node and in every run: places that were found by it stay.

use super::{binding::Destination, circumstances::mixed};

/// FNV-1a over octets, its bits then well spread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stable(u64);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Stable {
    pub(super) fn new() -> Self {
        Self(OFFSET)
    }

    /// The hash that a destination has by its kind and its name.
    pub(super) fn of_destination(destination: &Destination) -> u64 {
        let (kind, name) = match destination {
            Destination::Queue(name) => (1, &***name),
            Destination::Exchange(name) => (2, &***name),
        };
        Self::new().with(&[kind]).with(name).finish()
    }

    pub(super) fn with(mut self, octets: &[u8]) -> Self {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(PRIME);
        }
        self
    }

    pub(super) fn finish(self) -> u64 {
        mixed(self.0)
    }
}
