//! Passwords, kept as RabbitMQ keeps them: four octets of salt, then the digest of salt and
//! password.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashing {
    #[default]
    Sha256,
    Sha512,
    /// Of users that were imported from RabbitMQ before 3.6. It is weak: no password is hashed so
    /// any more.
    Md5,
}

/// What a password is told by. It may have come from elsewhere and fit no password at all.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    hashing: Hashing,
    octets: Box<[u8]>,
}

const SALT: usize = 4;

impl Hashing {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Md5];

    /// RabbitMQ's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The one of that name.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|hashing| hashing.as_str().as_bytes() == name)
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        fn of<Hasher: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
            Hasher::new().chain_update(salt).chain_update(password).finalize().to_vec()
        }
        match self {
            Self::Sha256 => of::<Sha256>(salt, password),
            Self::Sha512 => of::<Sha512>(salt, password),
            Self::Md5 => of::<Md5>(salt, password),
        }
    }
}

impl PasswordHash {
    /// The hash of a password. `salt` must be random, so that two users with one password do not
    /// look alike.
    pub fn new(hashing: Hashing, password: &[u8], salt: [u8; SALT]) -> Self {
        let octets = [&salt[..], &hashing.digest(&salt, password)].concat();
        Self { hashing, octets: octets.into() }
    }

    /// A hash that was made elsewhere.
    pub fn from_octets(hashing: Hashing, octets: &[u8]) -> Self {
        Self { hashing, octets: octets.into() }
    }

    /// A hash that no password has.
    pub(super) fn of_nobody() -> Self {
        Self { hashing: Hashing::default(), octets: [0; SALT].into() }
    }

    pub fn hashing(&self) -> Hashing {
        self.hashing
    }

    /// Salt and digest.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether it is the hash of this password; an empty one opens nothing (RabbitMQ 3.10). How
    /// long that takes tells nothing of where the two differ.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let Some((salt, digest)) = self.octets.split_at_checked(SALT) else { return false };
        let is_same = self.hashing.digest(salt, password).ct_eq(digest);
        bool::from(is_same) && !password.is_empty()
    }
}

/// Kept out of logs: a short password can be guessed from its hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn a_password_is_hashed_as_rabbitmq_does() {
        // The example of RabbitMQ's guide to passwords.
        let hash = PasswordHash::new(Hashing::Sha256, b"test12", [0x90, 0x8d, 0xc6, 0x0a]);
        let expected = "a5b924b3096b8897d65a3b5f80fa5db62a94b83122cdf4f8fead10d515d8f391";
        assert_eq!(hex(hash.octets()), format!("908dc60a{expected}"));
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }

    #[test]
    fn a_hash_tells_its_password_whatever_the_hashing() {
        for hashing in Hashing::ALL {
            let hash = PasswordHash::new(hashing, b"secret", [1, 2, 3, 4]);
            assert!(hash.is_of(b"secret") && !hash.is_of(b"secre") && !hash.is_of(b"Secret"));
            assert_eq!(Hashing::parse(hashing.as_str().as_bytes()), Some(hashing));
        }
    }

    #[test]
    fn nothing_opens_a_hash_that_is_none_and_nobody_comes_in_without_a_password() {
        let empty = PasswordHash::new(Hashing::Sha256, b"", [1, 2, 3, 4]);
        assert!(!empty.is_of(b""));
        assert!(!PasswordHash::of_nobody().is_of(b"secret"));
        for length in 0..40 {
            assert!(!PasswordHash::from_octets(Hashing::Sha256, &vec![0; length]).is_of(b"secret"));
        }
    }
}
