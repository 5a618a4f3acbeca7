//! Names that the server draws: none is met twice, and none tells another.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{BufMut, Bytes, BytesMut};

use super::ShortString;

/// The letters of base64 that are safe in a URL (RFC 4648 §5).
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Letters of 6 bits each that 128 bits take.
const LENGTH: usize = 22;

/// Draws one name after another, from a secret that the shell has given: who sees a name can
/// foresee no other, as the requesters of direct replies need it.
#[derive(Debug)]
pub struct Names {
    secret: u128,
    drawn: u64,
}

impl Names {
    pub fn new(secret: u128) -> Self {
        Self { secret, drawn: 0 }
    }

    /// The next name: 22 letters behind `prefix`.
    ///
    /// # Panics
    /// When `prefix` is so long that the name is no short string.
    pub fn draw(&mut self, prefix: &str) -> ShortString {
        self.drawn += 1;
        let bits = u128::from(self.half(0)) << 64 | u128::from(self.half(1));
        let mut name = BytesMut::with_capacity(prefix.len() + LENGTH);
        name.put_slice(prefix.as_bytes());
        for index in 0..LENGTH {
            name.put_u8(LETTERS[(bits >> (6 * index)) as usize & 63]);
        }
        ShortString::new(Bytes::from(name)).expect("a prefix of a few words and 22 letters")
    }

    /// The hasher is SipHash: what it gives away of the secret is of no use.
    fn half(&self, half: u8) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret, self.drawn, half).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_prefix_and_22_letters_and_differ() {
        let (mut names, mut others) = (Names::new(7), Names::new(8));
        let drawn = [names.draw("amq.gen-"), names.draw("amq.gen-"), others.draw("amq.gen-")];
        for name in &drawn {
            assert_eq!(name.len(), 30);
            assert!(name.starts_with(b"amq.gen-"));
            assert!(name[8..].iter().all(|letter| LETTERS.contains(letter)));
        }
        assert!(drawn[0] != drawn[1] && drawn[0] != drawn[2]);
    }
}
