//! Who may come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sha2::{Digest, Sha256};

use super::{
    facts::{self, Fact, Key},
    ports::Journal,
};
use crate::model::{Batch, LogPosition, ShortString};

/// The users of the node. They may change while clients come in.
#[derive(Debug, Default)]
pub struct Users {
    known: RwLock<BTreeMap<ShortString, User>>,
    /// May only connect from the machine that the broker runs on. A matter of the configuration,
    /// whoever exists.
    only_from_here: BTreeSet<Box<[u8]>>,
}

/// What is known of one user beside the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    password: PasswordHash,
    tags: Vec<ShortString>,
}

/// Four octets of salt, then the SHA-256 digest of salt and password: what RabbitMQ keeps
/// (`rabbit_password_hashing_sha256`).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash([u8; Self::LENGTH]);

impl Users {
    /// No user yet; those of the names given may only connect from this machine.
    pub fn new(only_from_here: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let only_from_here = only_from_here.into_iter().map(|name| name.as_ref().into()).collect();
        Self { known: RwLock::default(), only_from_here }
    }

    /// Whether this user, with this password, may connect from where it does.
    pub(super) fn admits(&self, name: &[u8], password: &[u8], from_here: bool) -> bool {
        // Hashing takes its time; nobody waits for it.
        let known = self.read().get(name).map(|user| user.password.clone());
        known.is_some_and(|known| known.is_of(password))
            && (from_here || !self.only_from_here.contains(name))
    }

    /// Whether there is such a user, who may connect from where he does. Somebody else has to have
    /// found out that it is he.
    pub(super) fn knows(&self, name: &[u8], from_here: bool) -> bool {
        self.read().contains_key(name) && (from_here || !self.only_from_here.contains(name))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Adds a user whose fact is written, or replaces the one of that name.
    pub(super) fn restore(&self, name: ShortString, user: User) {
        self.write().insert(name, user);
    }

    /// Adds a user, or replaces the one of that name.
    pub(super) fn put(
        &self,
        name: ShortString,
        user: User,
        journal: Option<&dyn Journal>,
    ) -> LogPosition {
        let mut batch = Batch::default();
        Fact::User(name.clone(), user.clone()).put(&mut batch);
        let mut known = self.write();
        known.insert(name, user);
        facts::append(journal, &mut batch)
    }

    /// Removes a user; none of that name counts as removed.
    pub(super) fn delete(&self, name: &[u8], journal: Option<&dyn Journal>) -> LogPosition {
        let mut batch = Batch::default();
        let mut known = self.write();
        if let Some((name, _)) = known.remove_entry(name) {
            Key::User(name).delete(&mut batch);
        }
        facts::append(journal, &mut batch)
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> BTreeMap<ShortString, User> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ShortString, User>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<ShortString, User>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    /// A user with a password. `salt` must be random, so that two users with one password do not
    /// look alike.
    pub fn new(password: &[u8], salt: [u8; 4], tags: Vec<ShortString>) -> Self {
        Self::with_hash(PasswordHash::new(password, salt), tags)
    }

    /// A user whose password is known to no one but him.
    pub fn with_hash(password: PasswordHash, tags: Vec<ShortString>) -> Self {
        Self { password, tags }
    }

    /// What the password is told by.
    pub fn password(&self) -> &PasswordHash {
        &self.password
    }

    /// What the user may do beside sending and receiving, in RabbitMQ's words: `administrator`.
    pub fn tags(&self) -> &[ShortString] {
        &self.tags
    }
}

impl PasswordHash {
    pub const LENGTH: usize = SALT + DIGEST;

    /// The hash of a password. `salt` must be random.
    pub fn new(password: &[u8], salt: [u8; SALT]) -> Self {
        let digest = Sha256::new().chain_update(salt).chain_update(password).finalize();
        let mut octets = [0; Self::LENGTH];
        octets[..SALT].copy_from_slice(&salt);
        octets[SALT..].copy_from_slice(&digest);
        Self(octets)
    }

    /// A hash that was made elsewhere.
    pub fn from_octets(octets: [u8; Self::LENGTH]) -> Self {
        Self(octets)
    }

    /// Salt and digest.
    pub fn octets(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    fn is_of(&self, password: &[u8]) -> bool {
        let [a, b, c, d, ..] = self.0;
        same_octets(&self.0, &Self::new(password, [a, b, c, d]).0)
    }
}

const SALT: usize = 4;
const DIGEST: usize = 32;

/// Kept out of logs: a short password can be guessed from its hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash")
    }
}

/// Compares in a time that tells nothing of where the two differ.
fn same_octets<const N: usize>(left: &[u8; N], right: &[u8; N]) -> bool {
    left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let users = Users::new(["guest"]);
        let user = |password| User::new(password, [1, 2, 3, 4], Vec::new());
        users.put(ShortString::from_static("guest"), user(b"guest"), None);
        users.put(ShortString::from_static("anna"), user(b"secret"), None);
        users
    }

    #[test]
    fn a_user_comes_in_with_the_right_password() {
        assert!(users().admits(b"anna", b"secret", false));
        assert!(!users().admits(b"anna", b"secre", false));
        assert!(!users().admits(b"anna", b"Secret", true));
        assert!(!users().admits(b"nobody", b"", true));
    }

    #[test]
    fn a_loopback_user_comes_in_from_this_machine_only() {
        assert!(users().admits(b"guest", b"guest", true));
        assert!(!users().admits(b"guest", b"guest", false));
    }

    #[test]
    fn who_needs_no_password_must_still_be_known_and_in_the_right_place() {
        assert!(users().knows(b"anna", false));
        assert!(users().knows(b"guest", true));
        assert!(!users().knows(b"guest", false));
        assert!(!users().knows(b"nobody", true));
    }

    #[test]
    fn a_user_who_was_changed_or_removed_is_no_longer_let_in_as_before() {
        let users = users();
        let other = User::new(b"other", [5, 6, 7, 8], Vec::new());
        users.put(ShortString::from_static("anna"), other, None);
        assert!(!users.admits(b"anna", b"secret", true));
        assert!(users.admits(b"anna", b"other", true));
        users.delete(b"anna", None);
        assert!(!users.admits(b"anna", b"other", true));
    }

    #[test]
    fn a_password_is_hashed_as_rabbitmq_does() {
        // The example of RabbitMQ's guide to passwords.
        let salt = [0x90, 0x8d, 0xc6, 0x0a];
        let hash = PasswordHash::new(b"test12", salt);
        let shown: String = hash.octets().iter().map(|octet| format!("{octet:02x}")).collect();
        let expected = "a5b924b3096b8897d65a3b5f80fa5db62a94b83122cdf4f8fead10d515d8f391";
        assert_eq!(shown, format!("908dc60a{expected}"));
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }
}
