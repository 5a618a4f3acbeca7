//! What operators do: users, permissions, virtual hosts, and what there is to be seen.

use std::{ops::Add, sync::Arc};

use dashmap::Entry;
use thiserror::Error;

use super::{
    Authority, Broker, Permission, TopicPermission, User,
    agreement::Registration,
    facts::{self, Fact, Key},
    hosted::Counts,
    presence::Present,
    routing::Binding,
    topology::{Change, ExchangeRecord, QueueRecord, Topology},
    virtual_host::VirtualHost,
};
use crate::model::{
    Batch, ConnectionId, ExchangeName, FieldValue, LogPosition, Moment, ShortString,
    VirtualHostName, VirtualHostOptions,
};

/// What an operator named and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Missing {
    #[error("there is no user '{0}'")]
    User(ShortString),
    #[error("there is no virtual host '{0}'")]
    VirtualHost(VirtualHostName),
}

/// A connection, as the broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    pub id: ConnectionId,
    pub user: ShortString,
    pub virtual_host: VirtualHostName,
    /// How many it has open.
    pub channels: u64,
}

/// A user's permission in a virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionView {
    pub user: ShortString,
    pub virtual_host: VirtualHostName,
    pub permission: Permission,
}

/// A user's permission for the routing keys of a topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissionView {
    pub user: ShortString,
    pub virtual_host: VirtualHostName,
    pub exchange: ExchangeName,
    pub permission: TopicPermission,
}

const CLUSTER_NAME: &[u8] = b"cluster_name";

/// How much there is in a virtual host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// With the default one.
    pub exchanges: u64,
    pub queues: u64,
    pub consumers: u64,
    /// Messages that wait.
    pub ready: u64,
    /// Messages that were delivered and are not settled.
    pub unacknowledged: u64,
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            exchanges: self.exchanges + other.exchanges,
            queues: self.queues + other.queues,
            consumers: self.consumers + other.consumers,
            ready: self.ready + other.ready,
            unacknowledged: self.unacknowledged + other.unacknowledged,
        }
    }
}

/// Whatever changes survives a restart once the position that is returned is durable. In a cluster
/// all nodes have agreed to it then; if they have not, the position is one that is never reached.
impl Broker {
    /// Who may come in and do what.
    pub fn authority(&self) -> &dyn Authority {
        &*self.authority
    }

    /// Whether the user may connect although he is elsewhere: the configuration forbids it to some.
    pub fn may_be_elsewhere(&self, user: &[u8]) -> bool {
        self.directory.may_be_elsewhere(user)
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<(ShortString, User)> {
        self.directory.users()
    }

    pub fn user(&self, name: &[u8]) -> Option<User> {
        self.directory.user(name)
    }

    /// Adds a user, or replaces the one of that name; who is connected stays so.
    pub fn put_user(&self, name: ShortString, user: User) -> LogPosition {
        let put = self.put_for_user(Fact::User(name, user));
        put.expect("a user stands on nobody")
    }

    /// Removes a user with all permissions, and closes the user's connections.
    pub fn delete_user(&self, name: &ShortString) -> Option<LogPosition> {
        let position = self.forget(&Key::User(name.clone()))?;
        if self.cluster.is_none() {
            self.dismiss(name);
        }
        Some(position)
    }

    /// Closes the connections of a user who is deleted.
    pub(super) fn dismiss(&self, name: &ShortString) {
        let reason = format!("user '{name}' is deleted");
        self.presence.close(|present| present.user == *name, &reason);
    }

    /// All permissions, by user and virtual host.
    pub fn permissions(&self) -> Vec<PermissionView> {
        let all = self.directory.permissions().into_iter();
        let view =
            |((user, virtual_host), permission)| PermissionView { user, virtual_host, permission };
        all.map(view).collect()
    }

    /// # Errors
    /// When there is no such user or virtual host.
    pub fn set_permission(&self, held: PermissionView) -> Result<LogPosition, Missing> {
        let PermissionView { user, virtual_host, permission } = held;
        self.put_for_user(Fact::Permission(user, virtual_host, permission))
    }

    /// `None` when there was none.
    pub fn clear_permission(
        &self,
        user: &ShortString,
        virtual_host: &VirtualHostName,
    ) -> Option<LogPosition> {
        self.forget(&Key::Permission(user.clone(), virtual_host.clone()))
    }

    /// All topic permissions, by user, virtual host and exchange.
    pub fn topic_permissions(&self) -> Vec<TopicPermissionView> {
        let all = self.directory.topic_permissions().into_iter();
        let view = |(((user, virtual_host), exchange), permission)| TopicPermissionView {
            user,
            virtual_host,
            exchange,
            permission,
        };
        all.map(view).collect()
    }

    /// # Errors
    /// When there is no such user or virtual host.
    pub fn set_topic_permission(&self, held: TopicPermissionView) -> Result<LogPosition, Missing> {
        let TopicPermissionView { user, virtual_host, exchange, permission } = held;
        self.put_for_user(Fact::TopicPermission(user, virtual_host, exchange, permission))
    }

    /// `None` when there was none.
    pub fn clear_topic_permission(
        &self,
        user: &ShortString,
        virtual_host: &VirtualHostName,
        exchange: &ExchangeName,
    ) -> Option<LogPosition> {
        let (user, virtual_host) = (user.clone(), virtual_host.clone());
        self.forget(&Key::TopicPermission(user, virtual_host, exchange.clone()))
    }

    /// The names of all virtual hosts, in order.
    pub fn virtual_hosts(&self) -> Vec<VirtualHostName> {
        let mut names: Vec<_> = self.virtual_hosts.iter().map(|home| home.key().clone()).collect();
        names.sort_unstable();
        names
    }

    /// What an operator has said of a virtual host.
    pub fn virtual_host_options(&self, name: &VirtualHostName) -> Option<Arc<VirtualHostOptions>> {
        self.virtual_host(name).map(|home| Arc::clone(home.topology().options()))
    }

    /// Adds a virtual host with the exchanges that every one has; one that is there stays, with
    /// other options.
    pub fn put_virtual_host(
        &self,
        name: VirtualHostName,
        options: VirtualHostOptions,
    ) -> LogPosition {
        let options = Arc::new(options);
        if let Some(cluster) = &self.cluster {
            return self.agree_on_virtual_host(cluster, &name, &options);
        }
        match self.virtual_hosts.entry(name.clone()) {
            Entry::Occupied(home) => {
                let home = Arc::clone(home.get());
                let changed = home.change(|topology| {
                    let is_same = *topology.options() == options;
                    Ok(((), (!is_same).then_some(Change::Described(options)).into_iter().collect()))
                });
                changed.map(|((), position)| position).unwrap_or_default()
            }
            Entry::Vacant(place) => {
                let mut batch = Batch::default();
                Fact::VirtualHost(name.clone(), Arc::clone(&options)).put(&mut batch);
                let position = facts::append(self.journal.as_deref(), &mut batch);
                let mut topology = Topology::new(name);
                topology.apply(&Change::Described(options));
                place.insert(Arc::new(VirtualHost::new(topology, self.journal.clone())));
                position
            }
        }
    }

    /// Deletes a virtual host with all that is in it and all permissions for it, and closes its
    /// connections. `None` when there is none.
    pub fn delete_virtual_host(&self, name: &VirtualHostName, now: Moment) -> Option<LogPosition> {
        if let Some(cluster) = &self.cluster {
            return self.agree_on_end(cluster, &Key::VirtualHost(name.clone()));
        }
        let (_, home) = self.virtual_hosts.remove(name)?;
        let mut batch = Batch::default();
        self.directory.forget_virtual_host(name, &mut batch);
        home.close(&mut batch);
        let position = facts::append(self.journal.as_deref(), &mut batch);
        self.vacate(&home);
        let queues: Vec<_> = home.topology().queues().map(|queue| queue.id).collect();
        queues.into_iter().for_each(|queue| self.delete_queue(queue, now));
        Some(position)
    }

    /// Closes the connections of a virtual host that is deleted, and drops what its exchanges keep.
    pub(super) fn vacate(&self, home: &VirtualHost) {
        let reason = format!("vhost '{}' is deleted", home.name);
        self.presence.close(|present| present.home == home.name, &reason);
        let exchanges: Vec<_> = home.topology().exchanges().cloned().collect();
        let annexes = exchanges.iter().flat_map(|exchange| &exchange.annexes);
        annexes.for_each(|annex| self.close_annex(*annex));
    }

    /// The exchanges of a virtual host but the default one, by name.
    pub fn exchanges(&self, home: &VirtualHostName) -> Option<Vec<Arc<ExchangeRecord>>> {
        self.virtual_host(home).map(|home| home.topology().exchanges().cloned().collect())
    }

    /// The queues of a virtual host, the oldest first.
    pub fn queue_records(&self, home: &VirtualHostName) -> Option<Vec<Arc<QueueRecord>>> {
        self.virtual_host(home).map(|home| home.topology().queues().cloned().collect())
    }

    /// The bindings of a virtual host, by source; every queue's to the default exchange is not
    /// among them.
    pub fn bindings(&self, home: &VirtualHostName) -> Option<Vec<Arc<Binding>>> {
        self.virtual_host(home).map(|home| home.topology().bindings().cloned().collect())
    }

    /// The connections that have opened a virtual host, the oldest first.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let all = self.presence.all().into_iter();
        let view = |(id, Present { user, home: virtual_host, channels, .. })| ConnectionView {
            id,
            user,
            virtual_host,
            channels,
        };
        all.map(view).collect()
    }

    /// Tells a connection to end for this reason; says whether it was there.
    pub fn close_connection(&self, connection: ConnectionId, reason: &str) -> bool {
        self.presence.close_one(connection, reason)
    }

    /// How much there is in a virtual host. Each queue is counted at a moment of its own.
    pub fn totals(&self, home: &VirtualHostName, now: Moment) -> Option<Totals> {
        let home = self.virtual_host(home)?;
        let topology = home.topology();
        let exchanges = topology.exchanges().count() as u64 + 1;
        let queues: Vec<_> = topology.queues().map(|queue| queue.id).collect();
        drop(topology);
        let mut totals = Totals { exchanges, queues: queues.len() as u64, ..Totals::default() };
        let mut add = |counts: Counts| {
            totals.consumers += counts.consumers;
            totals.ready += counts.ready;
            totals.unacknowledged += counts.unacknowledged;
        };
        for hosted in self.queues(&queues) {
            add(self.counts(&hosted, false, now).unwrap_or_default());
        }
        let far = queues.iter().filter(|id| self.queue(**id).is_none());
        let far: Vec<_> = far.filter_map(|id| self.remote(*id)).collect();
        self.all_counts(&far, now).into_iter().for_each(&mut add);
        Some(totals)
    }

    /// All global parameters, by name.
    pub fn global_parameters(&self) -> Vec<(ShortString, FieldValue)> {
        self.parameters.all()
    }

    pub fn global_parameter(&self, name: &[u8]) -> Option<FieldValue> {
        self.parameters.find(name)
    }

    /// The name that an operator has given the cluster, in place of the configured one. RabbitMQ
    /// keeps it in this parameter.
    pub fn chosen_cluster_name(&self) -> Option<String> {
        let name = self.global_parameter(CLUSTER_NAME)?;
        name.as_text().map(|name| name.text().into_owned())
    }

    /// Keeps something for the tools of the whole cluster, in place of what had that name.
    pub fn set_global_parameter(&self, name: ShortString, value: FieldValue) -> LogPosition {
        if let Some(cluster) = &self.cluster {
            return self.agree_on_parameter(cluster, name, value);
        }
        self.parameters.put(name, value, self.journal.as_deref())
    }

    /// `None` when there was none.
    pub fn clear_global_parameter(&self, name: &ShortString) -> Option<LogPosition> {
        if let Some(cluster) = &self.cluster {
            return self.agree_on_end(cluster, &Key::GlobalParameter(name.clone()));
        }
        self.parameters.delete(name, self.journal.as_deref())
    }

    fn put_for_user(&self, fact: Fact) -> Result<LogPosition, Missing> {
        if let Some(cluster) = &self.cluster {
            return self.agree_on_entries(cluster, || {
                self.check_home_of(&fact)?;
                self.directory.check(&fact).map_err(Missing::User)?;
                Ok(vec![Registration::Put(Box::new(fact.clone()))])
            });
        }
        self.check_home_of(&fact)?;
        self.directory.put(fact, self.journal.as_deref()).map_err(Missing::User)
    }

    fn forget(&self, key: &Key) -> Option<LogPosition> {
        if let Some(cluster) = &self.cluster {
            return self.agree_on_end(cluster, key);
        }
        self.directory.delete(key, self.journal.as_deref())
    }

    fn check_home_of(&self, fact: &Fact) -> Result<(), Missing> {
        match fact {
            Fact::Permission(_, home, _) | Fact::TopicPermission(_, home, ..)
                if self.virtual_host(home).is_none() =>
            {
                Err(Missing::VirtualHost(home.clone()))
            }
            _ => Ok(()),
        }
    }
}
