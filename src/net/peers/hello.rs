//! How nodes introduce themselves: the octets of a hello, and the proof that the secret is known.
//!
//! ```text
//! purpose u8 | versions u16 u16 | cluster u128 | node u32 | wanted u32 | incarnation u64
//! nonce [32] | has a secret u8 | length of name u8 | name | what later versions add
//! ```
//! All integers are little-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Class, Introduction, Secret, refusal::Refusal};
use crate::cluster::NodeNumber;

/// What every connection between nodes begins with, in both directions.
pub(super) const MAGIC: [u8; 8] = *b"LEVERET\n";

/// Octets that nobody uses twice.
pub(super) type Nonce = [u8; 32];

/// Octets up to the name.
const FIXED: usize = 1 + 4 + 16 + 4 + 4 + 8 + 32 + 1 + 1;
const NO_CLASS: u8 = 255;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Frames(Class),
    /// One question and one answer, from whoever knows the secret.
    Question,
}

/// What one side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    pub(super) who: Introduction,
    /// Whom the sender believes to be talking to; 0 is whoever is there.
    pub(super) wanted: NodeNumber,
    pub(super) nonce: Nonce,
    pub(super) has_secret: bool,
}

impl Hello {
    pub(super) fn encode(&self) -> Bytes {
        let mut octets = BytesMut::with_capacity(FIXED + self.who.name.len());
        octets.put_u8(match self.purpose {
            Purpose::Frames(class) => class.octet(),
            Purpose::Question => NO_CLASS,
        });
        octets.put_u16_le(self.who.versions.0);
        octets.put_u16_le(self.who.versions.1);
        octets.put_u128_le(self.who.cluster);
        octets.put_u32_le(self.who.node.0);
        octets.put_u32_le(self.wanted.0);
        octets.put_u64_le(self.who.incarnation);
        octets.put_slice(&self.nonce);
        octets.put_u8(u8::from(self.has_secret));
        let name = &self.who.name.as_bytes()[..self.who.name.len().min(255)];
        octets.put_u8(name.len() as u8);
        octets.put_slice(name);
        octets.freeze()
    }

    pub(super) fn decode(mut octets: &[u8]) -> Result<Self, Refusal> {
        if octets.len() < FIXED {
            return Err(Refusal::NotSpoken);
        }
        let purpose = match octets.get_u8() {
            NO_CLASS => Purpose::Question,
            class => Purpose::Frames(Class::of(class).ok_or(Refusal::NotSpoken)?),
        };
        let versions = (octets.get_u16_le(), octets.get_u16_le());
        let cluster = octets.get_u128_le();
        let node = NodeNumber(octets.get_u32_le());
        let wanted = NodeNumber(octets.get_u32_le());
        let incarnation = octets.get_u64_le();
        let mut nonce = Nonce::default();
        octets.copy_to_slice(&mut nonce);
        let has_secret = octets.get_u8() != 0;
        let length = usize::from(octets.get_u8());
        let name = octets.get(..length).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or(Refusal::NotSpoken)?.to_owned();
        let who = Introduction { cluster, node, name, incarnation, versions };
        Ok(Self { purpose, who, wanted, nonce, has_secret })
    }
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::Data, Self::Bulk];

    const fn octet(self) -> u8 {
        self as u8
    }

    fn of(octet: u8) -> Option<Self> {
        Self::ALL.get(usize::from(octet)).copied()
    }
}

/// Who proves something: a proof of one side is none of the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

/// All that was said before the proofs, and what binds it to this connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transcript<'a> {
    pub(super) dialler: &'a [u8],
    pub(super) acceptor: &'a [u8],
    /// Of TLS: the same at both ends of a connection, and at those of no other. Else empty.
    pub(super) exporter: &'a [u8],
}

impl Transcript<'_> {
    /// What `side` sends to prove that it knows the secret.
    pub(super) fn proof(&self, secret: &Secret, side: Side) -> [u8; 32] {
        self.mac(secret, side).finalize().into_bytes().into()
    }

    /// Whether `side` knows the secret. Takes the same time whatever is wrong.
    pub(super) fn is_proven(&self, secret: &Secret, side: Side, proof: &[u8]) -> bool {
        self.mac(secret, side).verify_slice(proof).is_ok()
    }

    fn mac(&self, secret: &Secret, side: Side) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(secret.octets());
        let mut mac = mac.expect("a key of HMAC may have any length");
        mac.update(match side {
            Side::Dialler => b"leveret nodes 1, dialler ",
            Side::Acceptor => b"leveret nodes 1, acceptor",
        });
        for part in [self.exporter, self.dialler, self.acceptor] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

/// The highest version that both speak.
pub(super) fn common_version(ours: (u16, u16), theirs: (u16, u16)) -> Result<u16, Refusal> {
    let highest = ours.1.min(theirs.1);
    if highest < ours.0.max(theirs.0) {
        return Err(Refusal::Version { theirs, ours });
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let name = "rabbit@b.example".to_owned();
        let who = Introduction {
            cluster: u128::MAX - 5,
            node: NodeNumber(2),
            name,
            incarnation: 77,
            versions: (1, 3),
        };
        let purpose = Purpose::Frames(Class::Bulk);
        Hello { purpose, who, wanted: NodeNumber(9), nonce: [7; 32], has_secret: true }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written_and_no_part_of_it_is() {
        for purpose in Class::ALL.map(Purpose::Frames).into_iter().chain([Purpose::Question]) {
            let hello = Hello { purpose, ..hello() };
            let octets = hello.encode();
            assert_eq!(Hello::decode(&octets).unwrap(), hello);
            for length in 0..octets.len() {
                assert!(Hello::decode(&octets[..length]).is_err());
            }
            let longer = [&octets[..], b"later"].concat();
            assert_eq!(Hello::decode(&longer).unwrap(), hello, "later versions may add to it");
        }
    }

    #[test]
    fn a_hello_of_any_octets_is_judged_without_harm() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for length in 0..2000 {
            let mut octets = vec![0; length % 400];
            for octet in &mut octets {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *octet = state as u8;
            }
            // What is understood can be said again.
            if let Ok(hello) = Hello::decode(&octets) {
                assert_eq!(Hello::decode(&hello.encode()).unwrap(), hello);
            }
        }
    }

    #[test]
    fn a_proof_holds_for_one_side_one_conversation_and_one_secret() {
        let (secret, other) = (Secret::new(b"s3cret"), Secret::new(b"s3cres"));
        let talk = Transcript { dialler: b"ab", acceptor: b"c", exporter: b"" };
        let proof = talk.proof(&secret, Side::Dialler);
        assert!(talk.is_proven(&secret, Side::Dialler, &proof));
        assert!(!talk.is_proven(&secret, Side::Acceptor, &proof), "it cannot be reflected");
        assert!(!talk.is_proven(&other, Side::Dialler, &proof));
        assert!(!talk.is_proven(&secret, Side::Dialler, &proof[..31]));
        assert!(!talk.is_proven(&secret, Side::Dialler, &[]));
        let shifted = Transcript { dialler: b"a", acceptor: b"bc", ..talk };
        assert!(!shifted.is_proven(&secret, Side::Dialler, &proof));
        let elsewhere = Transcript { exporter: b"x", ..talk };
        assert!(!elsewhere.is_proven(&secret, Side::Dialler, &proof));
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(common_version((1, 3), (2, 5)).unwrap(), 3);
        assert_eq!(common_version((1, 1), (1, 1)).unwrap(), 1);
        assert!(common_version((1, 1), (2, 3)).is_err());
        assert!(common_version((4, 5), (2, 3)).is_err());
    }
}
