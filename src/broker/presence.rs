//! Who is connected: so many at most, and they can be sent away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{client::Meters, ports::Outbox};
use crate::model::{ConnectionId, Refusal, ShortString, VirtualHostName};

/// The connections that have opened a virtual host.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    present: BTreeMap<ConnectionId, Present>,
    of_users: BTreeMap<ShortString, Together>,
    of_homes: BTreeMap<VirtualHostName, Together>,
}

/// What the connections of one user, or of one virtual host, have together.
#[derive(Debug, Default)]
struct Together {
    connections: u64,
    channels: u64,
    meters: Arc<Meters>,
}

/// One connection: whose it is, where it is, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) user: ShortString,
    pub(super) home: VirtualHostName,
    pub(super) outbox: Arc<dyn Outbox>,
    /// How many it has open.
    pub(super) channels: u64,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) in_node: Option<u64>,
    pub(super) in_home: Option<u64>,
    pub(super) of_user: Option<u64>,
}

impl Presence {
    /// Adds a connection, unless there is no room for it. Returns the meters that it shares with
    /// the others of its user and of its virtual host.
    pub(super) fn enter(
        &self,
        connection: ConnectionId,
        present: Present,
        room: Room,
    ) -> Result<(Arc<Meters>, Arc<Meters>), Refusal> {
        let mut register = self.lock();
        let Present { user, home, .. } = present.clone();
        if let Some(limit) = room.in_node
            && register.present.len() as u64 >= limit
        {
            return Err(Refusal::NodeFull { limit });
        }
        if let Some(limit) = room.in_home
            && register.of_homes.get(&home).is_some_and(|open| open.connections >= limit)
        {
            return Err(Refusal::VirtualHostFull { virtual_host: home, user, limit });
        }
        if let Some(limit) = room.of_user
            && register.of_users.get(&user).is_some_and(|open| open.connections >= limit)
        {
            return Err(Refusal::TooManyConnections { user, limit });
        }
        let of_home = register.of_homes.entry(home).or_default().add();
        let of_user = register.of_users.entry(user).or_default().add();
        register.present.insert(connection, present);
        Ok((of_user, of_home))
    }

    /// The connection is no more.
    pub(super) fn leave(&self, connection: ConnectionId) {
        let mut register = self.lock();
        let Some(present) = register.present.remove(&connection) else { return };
        let Present { user, home, channels, .. } = present;
        take_from(&mut register.of_homes, &home, 0);
        take_from(&mut register.of_users, &user, channels);
    }

    /// Counts a new channel of a connection, unless its user has `limit` of them open.
    pub(super) fn open_channel(
        &self,
        connection: ConnectionId,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        let Register { present, of_users, .. } = &mut *self.lock();
        let Some(present) = present.get_mut(&connection) else { return Ok(()) };
        let together = of_users.entry(present.user.clone()).or_default();
        if let Some(limit) = limit
            && together.channels >= limit
        {
            return Err(Refusal::TooManyChannels { user: present.user.clone(), limit });
        }
        together.channels += 1;
        present.channels += 1;
        Ok(())
    }

    /// A channel that was counted is no more.
    pub(super) fn close_channel(&self, connection: ConnectionId) {
        let Register { present, of_users, .. } = &mut *self.lock();
        let Some(present) = present.get_mut(&connection) else { return };
        present.channels -= 1;
        if let Some(together) = of_users.get_mut(&present.user) {
            together.channels -= 1;
        }
    }

    /// All that are connected, the oldest first.
    pub(super) fn all(&self) -> Vec<(ConnectionId, Present)> {
        self.lock().present.iter().map(|(id, present)| (*id, present.clone())).collect()
    }

    /// Whether a connection is there.
    pub(super) fn is_here(&self, connection: ConnectionId) -> bool {
        self.lock().present.contains_key(&connection)
    }

    /// Tells connections to end, and why.
    pub(super) fn close(&self, is_meant: impl Fn(&Present) -> bool, reason: &str) {
        let register = self.lock();
        for present in register.present.values().filter(|present| is_meant(present)) {
            present.outbox.close(reason.to_owned());
        }
    }

    /// Tells one connection to end, and why; says whether it is there.
    pub(super) fn close_one(&self, connection: ConnectionId, reason: &str) -> bool {
        let register = self.lock();
        let present = register.present.get(&connection);
        present.inspect(|present| present.outbox.close(reason.to_owned())).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Together {
    fn add(&mut self) -> Arc<Meters> {
        self.connections += 1;
        Arc::clone(&self.meters)
    }
}

fn take_from<Name: Ord>(all: &mut BTreeMap<Name, Together>, name: &Name, channels: u64) {
    let Some(together) = all.get_mut(name) else { return };
    together.connections -= 1;
    together.channels -= channels;
    // Who comes back must not find the meters at zero.
    if together.connections == 0 && together.meters.are_unused() {
        all.remove(name);
    }
}
