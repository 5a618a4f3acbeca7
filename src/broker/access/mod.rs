//! Who may come in, and what they may do there.

mod grants;
mod password;
mod permission;
#[cfg(test)]
mod tests;
mod user;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

pub(super) use self::{grants::Grants, permission::as_permitted};
pub use self::{
    password::{Hashing, PasswordHash},
    permission::{Permission, TopicPermission},
    user::User,
};
use super::{
    facts::{self, Fact, Key},
    ports::Journal,
};
use crate::model::{
    Batch, ExchangeName, Limit, LogPosition, Resource, Right, ShortString, VirtualHostName,
};

/// Says who a client is, and what it may do: the [`Directory`], or what asks elsewhere.
///
/// It is asked when a client comes in, opens a virtual host, or does for the first time what needs
/// a right; what was granted is remembered until [`Self::version`] changes. It may block.
pub trait Authority: fmt::Debug + Send + Sync {
    /// Whether this is a user, who knows the password. Without one the way here has proven who the
    /// client is, as a certificate does.
    fn admits(&self, user: &[u8], password: Option<&[u8]>) -> bool;

    /// Whether the user may open the virtual host.
    fn may_enter(&self, user: &ShortString, virtual_host: &VirtualHostName) -> bool;

    /// Whether the user has a right to an exchange or a queue. The default exchange has the name
    /// `amq.default` here.
    fn permits(&self, user: &ShortString, right: Right, resource: &Resource) -> bool;

    /// Whether the user may publish with a routing key to a topic exchange ([`Right::Write`]), or
    /// bind with it ([`Right::Read`]).
    fn permits_key(
        &self,
        user: &ShortString,
        right: Right,
        exchange: &Resource,
        key: &[u8],
    ) -> bool;

    /// Whether the user may set another's name as the `user_id` of a message.
    fn may_impersonate(&self, user: &ShortString) -> bool;

    /// How much is allowed to a user, if it is limited.
    fn limit(&self, user: &ShortString, limit: Limit) -> Option<u64>;

    /// Another one whenever an answer may be another.
    fn version(&self) -> u64;
}

/// The broker's own users and their permissions. They may change at any time.
#[derive(Debug, Default)]
pub struct Directory {
    known: RwLock<Known>,
    version: AtomicU64,
    /// May only connect from the machine that the broker runs on. A matter of the configuration,
    /// whoever exists.
    only_from_here: BTreeSet<Box<[u8]>>,
}

/// A user and a virtual host.
type Place = (ShortString, VirtualHostName);

#[derive(Debug, Default)]
struct Known {
    users: BTreeMap<ShortString, User>,
    permissions: BTreeMap<Place, Permission>,
    topics: BTreeMap<(Place, ExchangeName), TopicPermission>,
}

impl Directory {
    /// Nobody yet; users of the names given may only connect from this machine.
    pub fn new(only_from_here: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let only_from_here = only_from_here.into_iter().map(|name| name.as_ref().into()).collect();
        Self { only_from_here, ..Self::default() }
    }

    /// Whether the user may connect although he is elsewhere.
    pub(super) fn may_be_elsewhere(&self, user: &[u8]) -> bool {
        !self.only_from_here.contains(user)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read().users.is_empty()
    }

    /// All users, by name.
    pub(super) fn users(&self) -> Vec<(ShortString, User)> {
        self.read().users.iter().map(|(name, user)| (name.clone(), user.clone())).collect()
    }

    pub(super) fn user(&self, name: &[u8]) -> Option<User> {
        self.read().users.get(name).cloned()
    }

    /// All permissions, by user and virtual host.
    pub(super) fn permissions(&self) -> Vec<(Place, Permission)> {
        let known = self.read();
        known.permissions.iter().map(|(place, held)| (place.clone(), held.clone())).collect()
    }

    /// All topic permissions, by user, virtual host and exchange.
    pub(super) fn topic_permissions(&self) -> Vec<((Place, ExchangeName), TopicPermission)> {
        self.read().topics.iter().map(|(place, held)| (place.clone(), held.clone())).collect()
    }

    /// Takes up a fact that is written already; one of another kind is passed over.
    pub(super) fn restore(&self, fact: Fact) {
        self.write().put(fact);
        self.changed();
    }

    /// Takes up a fact and writes it. A permission of a user who is not there is refused with the
    /// user's name.
    pub(super) fn put(
        &self,
        fact: Fact,
        journal: Option<&dyn Journal>,
    ) -> Result<LogPosition, ShortString> {
        let mut known = self.write();
        if let Some(missing) = known.lacks_user_of(&fact) {
            return Err(missing.clone());
        }
        let mut batch = Batch::default();
        fact.put(&mut batch);
        let position = facts::append(journal, &mut batch);
        known.put(fact);
        drop(known);
        self.changed();
        Ok(position)
    }

    /// Whether the user is there whom the fact is about; else his name.
    pub(super) fn check(&self, fact: &Fact) -> Result<(), ShortString> {
        self.read().lacks_user_of(fact).map_or(Ok(()), |missing| Err(missing.clone()))
    }

    /// Whether there is such a thing.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.read().has(key)
    }

    /// Everything that is known.
    pub(super) fn facts(&self) -> Vec<Fact> {
        self.read().facts()
    }

    /// Forgets everything, and takes up these facts, which are written already.
    pub(super) fn replace(&self, facts: Vec<Fact>) {
        let mut known = Known::default();
        facts.into_iter().for_each(|fact| known.put(fact));
        *self.write() = known;
        self.changed();
    }

    /// Removes what the key names, and what stands on it, and writes that to `batch`.
    pub(super) fn forget(&self, key: &Key, batch: &mut Batch) {
        self.write().delete(key, batch);
        self.changed();
    }

    /// Removes what the key names, and what stands on it; `None` when there is no such thing.
    pub(super) fn delete(&self, key: &Key, journal: Option<&dyn Journal>) -> Option<LogPosition> {
        let mut known = self.write();
        let mut batch = Batch::default();
        known.delete(key, &mut batch);
        if batch.is_empty() {
            return None;
        }
        let position = facts::append(journal, &mut batch);
        drop(known);
        self.changed();
        Some(position)
    }

    /// Removes what anybody may do in a virtual host, and writes that to `batch`.
    pub(super) fn forget_virtual_host(&self, name: &VirtualHostName, batch: &mut Batch) {
        let mut known = self.write();
        known.forget_places(|(_, home)| home == name, batch);
        drop(known);
        self.changed();
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn lacks_user_of<'a>(&self, fact: &'a Fact) -> Option<&'a ShortString> {
        match fact {
            Fact::Permission(user, ..) | Fact::TopicPermission(user, ..) => {
                (!self.users.contains_key(user)).then_some(user)
            }
            _ => None,
        }
    }

    fn has(&self, key: &Key) -> bool {
        match key {
            Key::User(name) => self.users.contains_key(name),
            Key::Permission(user, home) => {
                self.permissions.contains_key(&(user.clone(), home.clone()))
            }
            Key::TopicPermission(user, home, exchange) => {
                let place = (user.clone(), home.clone());
                self.topics.contains_key(&(place, exchange.clone()))
            }
            _ => false,
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let users = self.users.iter();
        let users = users.map(|(name, user)| Fact::User(name.clone(), user.clone()));
        let permissions = self
            .permissions
            .iter()
            .map(|((user, home), held)| Fact::Permission(user.clone(), home.clone(), held.clone()));
        let topics = self.topics.iter().map(|(((user, home), exchange), held)| {
            Fact::TopicPermission(user.clone(), home.clone(), exchange.clone(), held.clone())
        });
        users.chain(permissions).chain(topics).collect()
    }

    fn put(&mut self, fact: Fact) {
        match fact {
            Fact::User(name, user) => {
                self.users.insert(name, user);
            }
            Fact::Permission(user, home, permission) => {
                self.permissions.insert((user, home), permission);
            }
            Fact::TopicPermission(user, home, exchange, permission) => {
                self.topics.insert(((user, home), exchange), permission);
            }
            _ => {}
        }
    }

    fn delete(&mut self, key: &Key, batch: &mut Batch) {
        let was_there = match key {
            Key::User(name) => self.users.remove(name).is_some(),
            Key::Permission(user, home) => {
                self.permissions.remove(&(user.clone(), home.clone())).is_some()
            }
            Key::TopicPermission(user, home, exchange) => {
                let place = (user.clone(), home.clone());
                self.topics.remove(&(place, exchange.clone())).is_some()
            }
            _ => false,
        };
        if was_there {
            key.delete(batch);
        }
        if let Key::User(name) = key {
            self.forget_places(|(user, _)| user == name, batch);
        }
    }

    fn forget_places(&mut self, is_meant: impl Fn(&Place) -> bool, batch: &mut Batch) {
        for (user, home) in self.permissions.keys().filter(|place| is_meant(place)) {
            Key::Permission(user.clone(), home.clone()).delete(batch);
        }
        for ((user, home), exchange) in self.topics.keys().filter(|(place, _)| is_meant(place)) {
            Key::TopicPermission(user.clone(), home.clone(), exchange.clone()).delete(batch);
        }
        self.permissions.retain(|place, _| !is_meant(place));
        self.topics.retain(|(place, _), _| !is_meant(place));
    }
}

impl Authority for Directory {
    fn admits(&self, user: &[u8], password: Option<&[u8]>) -> bool {
        let Some(password) = password else { return self.read().users.contains_key(user) };
        // Hashing takes its time; nobody waits for it. It takes it for unknown users, too, so that
        // nobody learns by the time which users there are.
        let known = self.read().users.get(user).and_then(|user| user.password.clone());
        known.unwrap_or_else(PasswordHash::of_nobody).is_of(password)
    }

    fn may_enter(&self, user: &ShortString, virtual_host: &VirtualHostName) -> bool {
        self.read().permissions.contains_key(&(user.clone(), virtual_host.clone()))
    }

    fn permits(&self, user: &ShortString, right: Right, resource: &Resource) -> bool {
        let known = self.read();
        let held = known.permissions.get(&(user.clone(), resource.virtual_host.clone()));
        held.is_some_and(|held| held.grants(right, &resource.name))
    }

    fn permits_key(
        &self,
        user: &ShortString,
        right: Right,
        exchange: &Resource,
        key: &[u8],
    ) -> bool {
        let known = self.read();
        let place = (user.clone(), exchange.virtual_host.clone());
        let held = known.topics.get(&(place, exchange.name.clone().into()));
        held.is_none_or(|held| held.grants(right, key))
    }

    fn may_impersonate(&self, user: &ShortString) -> bool {
        self.read().users.get(user).is_some_and(|user| user.has_tag("impersonator"))
    }

    fn limit(&self, user: &ShortString, limit: Limit) -> Option<u64> {
        self.read().users.get(user).and_then(|user| user.limits.most(limit))
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
