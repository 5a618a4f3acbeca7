//! Names that the server draws: unlikely to be met twice, from entropy that the shell has given.

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::{ConsumerTag, QueueName};

/// The letters of base64 that are safe in a URL (RFC 4648 §5).
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Letters of 6 bits each that 128 bits take.
const LENGTH: usize = 22;

/// Draws one name after another; no two of a session are the same.
#[derive(Debug)]
pub(super) struct Names {
    high: u64,
    low: u64,
}

impl Names {
    pub(super) fn new(entropy: u128) -> Self {
        let (high, low) = ((entropy >> 64) as u64, entropy as u64);
        Self { high, low }
    }

    /// A name for a queue whose client gave none.
    pub(super) fn queue(&mut self) -> QueueName {
        QueueName::new(self.draw(b"amq.gen-")).expect("30 octets are a short string")
    }

    /// A tag for a consumer whose client gave none.
    pub(super) fn consumer_tag(&mut self) -> ConsumerTag {
        ConsumerTag::new(self.draw(b"amq.ctag-")).expect("31 octets are a short string")
    }

    fn draw(&mut self, prefix: &[u8]) -> Bytes {
        let bits = (u128::from(next(&mut self.high)) << 64) | u128::from(next(&mut self.low));
        let mut name = BytesMut::with_capacity(prefix.len() + LENGTH);
        name.put_slice(prefix);
        for index in 0..LENGTH {
            name.put_u8(LETTERS[(bits >> (6 * index)) as usize & 63]);
        }
        name.freeze()
    }
}

/// SplitMix64: a bijection of a counter, so that it repeats only after 2^64 steps.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_22_letters_and_differ() {
        let mut names = Names::new(7);
        let (first, second) = (names.queue(), names.queue());
        assert_eq!(first.len(), 30);
        assert!(first.starts_with(b"amq.gen-"));
        assert!(first[8..].iter().all(|letter| LETTERS.contains(letter)));
        assert_ne!(first, second);
        assert_eq!(names.consumer_tag().len(), 31);
    }
}
