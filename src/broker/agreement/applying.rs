//! Applies what was agreed on, in its order, the same on every node.

use std::sync::Arc;

use super::{
    Cluster,
    command::{Command, Registration, Unreadable},
};
use crate::{
    broker::{
        Broker,
        annexes::Replay,
        facts::{self, Fact, Key, Mark},
        hosted::Configuration,
        origins::RestoredQueue,
        ports::{Agreed, Job},
        queue::Restored,
        topology::{Change, QueueRecord, Reconfigured, Topology},
        virtual_host::VirtualHost,
    },
    model::{
        Batch, ConnectionId, Moment, QueueId, ShortString, VirtualHostName, VirtualHostOptions,
    },
};

/// What is to be done once the topology is free again.
#[derive(Debug, Default)]
struct Consequences {
    declared: Vec<Arc<QueueRecord>>,
    deleted: Vec<Arc<QueueRecord>>,
    placed: Vec<QueueId>,
    replays: Vec<Replay>,
    reconfigured: Vec<Reconfigured>,
}

/// Whom to send away once what was registered is written.
#[derive(Debug, Default)]
struct Departures {
    homes: Vec<Arc<VirtualHost>>,
    users: Vec<ShortString>,
}

impl Broker {
    /// Applies a command that the nodes have agreed on. To be called on every node, by one thread,
    /// in the order of the indexes; what has been applied already is passed over as void. What
    /// survives of it is written together with its index.
    ///
    /// # Errors
    /// When the command makes no sense, or is a later program's: the node cannot go on.
    pub fn apply_agreed(
        &self,
        index: u64,
        command: &[u8],
        now: Moment,
    ) -> Result<Agreed, Unreadable> {
        let Some(cluster) = &self.cluster else { return Ok(Agreed::Void) };
        if index <= self.agreed_index() {
            return Ok(Agreed::Void);
        }
        let is_done = match Command::decode(command)? {
            Command::Change { home, seen, by, changes } => {
                let home = self.virtual_host(&home);
                let home = home.filter(|home| {
                    seen >= home.agreed() || home.topology().still_holds(&changes, by)
                });
                home.inspect(|home| self.apply_changes((cluster, index), home, &changes, now))
                    .is_some()
            }
            Command::Register { seen, entries } => {
                let is_valid = seen >= cluster.marks().registry && !self.has_any_home_of(&entries);
                if is_valid {
                    self.apply_entries((cluster, index), entries, now);
                }
                is_valid
            }
        };
        if is_done {
            return Ok(Agreed::Done);
        }
        let mut batch = Batch::default();
        cluster.advance(index, &mut batch);
        facts::append(self.journal.as_deref(), &mut batch);
        Ok(Agreed::Void)
    }

    fn apply_changes(
        &self,
        (cluster, index): (&Cluster, u64),
        home: &Arc<VirtualHost>,
        changes: &[Change],
        now: Moment,
    ) {
        let mut batch = Batch::default();
        cluster.advance(index, &mut batch);
        cluster.note_numbers(changes, &mut batch);
        Fact::Mark(Mark::Home(home.name.clone()), index).put(&mut batch);
        let consequences = home.apply_agreed(index, &mut batch, |topology, batch| {
            let mut consequences = Consequences::default();
            for change in changes {
                topology.record(change, batch);
                self.make_ready(home, (topology, change), &mut consequences, now);
                consequences.reconfigured.extend(applied(topology, change));
            }
            consequences
        });
        self.follow(home, consequences, now);
    }

    /// What must be there, or be gone, when the change shows. The topology is locked.
    fn make_ready(
        &self,
        home: &Arc<VirtualHost>,
        (topology, change): (&Topology, &Change),
        consequences: &mut Consequences,
        now: Moment,
    ) {
        match change {
            Change::QueueDeclared(record) => {
                let configuration = Configuration::of(record, topology);
                let (record, home) = (Arc::clone(record), Arc::clone(home));
                consequences.declared.push(Arc::clone(&record));
                self.place(RestoredQueue { record, home, configuration }, Restored::default(), now);
            }
            Change::QueueDeleted(id) => consequences.deleted.extend(topology.queue(*id).cloned()),
            Change::ExchangeDeclared(record) => self.host_annexes(home, record),
            Change::ExchangeDeleted(name) => self.close_annexes(topology, name),
            Change::Bound(binding) => {
                consequences.replays.push(self.replay(topology, binding, now));
            }
            Change::QueuePlaced(id, _) => consequences.placed.push(*id),
            Change::Unbound(_) | Change::Described(_) => {}
            Change::PolicySet(..) | Change::PolicyCleared(..) => {}
        }
    }

    fn follow(&self, home: &VirtualHost, consequences: Consequences, now: Moment) {
        let Consequences { declared, deleted, placed, replays, reconfigured } = consequences;
        deleted.iter().for_each(|record| self.displace(record, now));
        for id in placed {
            let record = home.topology().queue(id).cloned();
            record.iter().for_each(|record| self.move_replica(record));
        }
        for replay in replays {
            self.finish_replay(replay, now);
        }
        reconfigured.iter().for_each(|reconfigured| self.take_up(reconfigured, now));
        declared.iter().for_each(|record| self.expect_owner(home, record));
    }

    /// An exclusive queue ends with its connection, which may be gone before all have agreed to the
    /// queue. Asked after the queue is there: a connection that leaves looks for its queues.
    fn expect_owner(&self, home: &VirtualHost, record: &QueueRecord) {
        let Some(cluster) = &self.cluster else { return };
        let is_from_here = |owner: &ConnectionId| owner.node() == cluster.node;
        if let Some(owner) = record.owner.filter(is_from_here)
            && !self.presence.is_here(owner)
        {
            let job = Job::RemoveQueue { home: home.name.clone(), id: record.id };
            cluster.agreement.later(job);
        }
    }

    /// Whether any virtual host is there that the entries make.
    fn has_any_home_of(&self, entries: &[Registration]) -> bool {
        entries.iter().any(|entry| match entry {
            Registration::Put(fact) => match &**fact {
                Fact::VirtualHost(name, _) => self.virtual_host(name).is_some(),
                _ => false,
            },
            Registration::Delete(_) => false,
        })
    }

    fn apply_entries(
        &self,
        (cluster, index): (&Cluster, u64),
        entries: Vec<Registration>,
        now: Moment,
    ) {
        let mut batch = Batch::default();
        let mut departures = Departures::default();
        for entry in entries {
            match entry {
                Registration::Put(fact) => self.register(*fact, index, &mut batch),
                Registration::Delete(key) => self.unregister(&key, &mut batch, &mut departures),
            }
        }
        Fact::Mark(Mark::Registry, index).put(&mut batch);
        cluster.advance(index, &mut batch);
        facts::append(self.journal.as_deref(), &mut batch);
        cluster.marks().registry = index;
        self.send_away(departures, now);
    }

    fn register(&self, fact: Fact, index: u64, batch: &mut Batch) {
        fact.put(batch);
        match fact {
            Fact::VirtualHost(name, options) => {
                Fact::Mark(Mark::Home(name.clone()), index).put(batch);
                self.make_home(name, options, index);
            }
            Fact::GlobalParameter(name, value) => self.parameters.restore(name, value),
            Fact::Node(number, node) => self.note_node(number, node),
            of_a_user => self.directory.restore(of_a_user),
        }
    }

    fn make_home(&self, name: VirtualHostName, options: Arc<VirtualHostOptions>, index: u64) {
        let mut topology = Topology::new(name.clone()).keeping_all(true);
        topology.apply(&Change::Described(options));
        let home = VirtualHost::new(topology, self.journal.clone()).agreed_at(index);
        self.virtual_hosts.insert(name, Arc::new(home));
    }

    fn unregister(&self, key: &Key, batch: &mut Batch, departures: &mut Departures) {
        match key {
            Key::VirtualHost(name) => {
                let Some((_, home)) = self.virtual_hosts.remove(name) else { return };
                self.directory.forget_virtual_host(name, batch);
                home.close(batch);
                Key::Mark(Mark::Home(name.clone())).delete(batch);
                departures.homes.push(home);
            }
            Key::GlobalParameter(name) => self.parameters.forget(name, batch),
            of_a_user => {
                self.directory.forget(of_a_user, batch);
                if let Key::User(name) = of_a_user {
                    departures.users.push(name.clone());
                }
            }
        }
    }

    fn send_away(&self, departures: Departures, now: Moment) {
        for home in &departures.homes {
            self.vacate(home);
            let queues: Vec<_> = home.topology().queues().cloned().collect();
            queues.iter().for_each(|record| self.displace(record, now));
        }
        departures.users.iter().for_each(|name| self.dismiss(name));
    }
}

/// Applies a change, and says what it has changed for queues if it is one of policies.
fn applied(topology: &mut Topology, change: &Change) -> Option<Reconfigured> {
    if let Change::PolicySet(..) | Change::PolicyCleared(..) = change {
        return Some(topology.apply_policy(change));
    }
    topology.apply(change);
    None
}
