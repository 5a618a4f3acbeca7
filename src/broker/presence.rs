//! Who is connected: so many at most, and they can be sent away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ports::Outbox;
use crate::model::{ConnectionId, Refusal, ShortString, VirtualHostName};

/// The connections that have opened a virtual host.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    present: BTreeMap<ConnectionId, Present>,
    of_users: BTreeMap<ShortString, u64>,
    of_homes: BTreeMap<VirtualHostName, u64>,
}

/// One connection: whose it is, where it is, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) user: ShortString,
    pub(super) home: VirtualHostName,
    pub(super) outbox: Arc<dyn Outbox>,
}

impl Presence {
    /// Adds a connection, unless its virtual host or its user has as many as they may have, which
    /// are given in this order.
    pub(super) fn enter(
        &self,
        connection: ConnectionId,
        present: Present,
        limits: (Option<u64>, Option<u64>),
    ) -> Result<(), Refusal> {
        let mut register = self.lock();
        let Present { user, home, .. } = present.clone();
        let (in_home, of_user) = limits;
        if let Some(limit) = in_home
            && register.of_homes.get(&home).copied().unwrap_or(0) >= limit
        {
            return Err(Refusal::VirtualHostFull { virtual_host: home, user, limit });
        }
        if let Some(limit) = of_user
            && register.of_users.get(&user).copied().unwrap_or(0) >= limit
        {
            return Err(Refusal::TooManyConnections { user, limit });
        }
        *register.of_homes.entry(home).or_default() += 1;
        *register.of_users.entry(user).or_default() += 1;
        register.present.insert(connection, present);
        Ok(())
    }

    /// The connection is no more.
    pub(super) fn leave(&self, connection: ConnectionId) {
        let mut register = self.lock();
        let Some(Present { user, home, .. }) = register.present.remove(&connection) else { return };
        take_one(&mut register.of_homes, &home);
        take_one(&mut register.of_users, &user);
    }

    /// Tells connections to end, and why.
    pub(super) fn close(&self, is_meant: impl Fn(&Present) -> bool, reason: &str) {
        let register = self.lock();
        for present in register.present.values().filter(|present| is_meant(present)) {
            present.outbox.close(reason.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_one<Name: Ord>(counts: &mut BTreeMap<Name, u64>, name: &Name) {
    let Some(count) = counts.get_mut(name) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(name);
    }
}
