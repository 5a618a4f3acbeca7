//! All that was agreed on, as octets, and a node brought to it.
//!
//! The first octet is the version, 1; then come facts by key: key and value, each behind its
//! length.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Cluster,
    command::{Unreadable, VERSION, meant},
};
use crate::{
    broker::{
        Broker,
        facts::{self, Fact, Key, Mark, Rebuilt},
        hosted::Configuration,
        origins::RestoredQueue,
        queue::Restored,
        topology::{QueueRecord, Reconfigured, Topology},
        virtual_host::VirtualHost,
    },
    model::{
        Batch, Moment, QueueId, ShortString, VirtualHostName,
        compact::{Reader, put_octets},
    },
};

type Octets = BTreeMap<Bytes, Bytes>;

impl Broker {
    /// All that was agreed on, as of [`Self::agreed_index`]: the same octets on every node. To be
    /// called by the thread that applies.
    pub fn agreed_state(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        for (key, value) in self.agreed_facts() {
            put_octets(&mut octets, &key);
            put_octets(&mut octets, &value);
        }
        octets
    }

    /// Brings this node to what another one had agreed on at `index`: what is not in it is removed;
    /// queues of the same number stay as they are. To be called by the thread that applies.
    ///
    /// # Errors
    /// When the state makes no sense. Nothing has been done then.
    pub fn install_agreed(&self, index: u64, state: &[u8], now: Moment) -> Result<(), Unreadable> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let facts = decode(state)?;
        let rebuilt = Rebuilt::from_facts(&facts)?;
        self.write_difference(index, &facts, &rebuilt);
        self.restore_marks(&rebuilt.marks);
        self.restore_nodes(rebuilt.nodes.clone());
        cluster.marks().index = index;
        let agreed = rebuilt.agreed();
        let Rebuilt { topologies, others, .. } = rebuilt;
        let gone = self.homes().into_iter().filter(|home| !topologies.contains_key(&home.name));
        gone.for_each(|home| self.end_home(&home, now));
        for (name, topology) in topologies {
            let index = agreed.get(&name).copied().unwrap_or_default();
            self.bring_home((name, index), topology, now);
        }
        self.replace_registered(others);
        Ok(())
    }

    fn agreed_facts(&self) -> Octets {
        let mut facts = self.directory.facts();
        let parameters = self.parameters.all().into_iter();
        facts.extend(parameters.map(|(name, value)| Fact::GlobalParameter(name, value)));
        for home in self.homes() {
            facts.extend(home.topology().facts());
            facts.extend(reached(Mark::Home(home.name.clone()), home.agreed()));
        }
        facts.extend(self.cluster.iter().flat_map(Cluster::registered_marks));
        let nodes = self.nodes_agreed().into_iter();
        facts.extend(nodes.map(|(number, node)| Fact::Node(number, node)));
        facts.iter().map(|fact| (fact.key().octets().into(), fact.value().into())).collect()
    }

    /// Writes, as one record, what makes these facts of those that hold now.
    fn write_difference(&self, index: u64, facts: &Octets, rebuilt: &Rebuilt) {
        let mut batch = Batch::default();
        let known = self.agreed_facts();
        for home in self.homes() {
            let stays = rebuilt.topologies.get(&home.name);
            for id in kept(&home.topology()).filter(|id| stays.is_none_or(|it| !has(it, *id))) {
                batch.forget(id);
            }
        }
        known.keys().filter(|key| !facts.contains_key(*key)).for_each(|key| batch.delete(key));
        for (key, value) in facts {
            if known.get(key) != Some(value) {
                batch.put(key, value);
            }
        }
        Fact::Mark(Mark::Index, index).put(&mut batch);
        facts::append(self.journal.as_deref(), &mut batch);
    }

    fn end_home(&self, home: &VirtualHost, now: Moment) {
        self.virtual_hosts.remove(&home.name);
        // What there was to write of it is written.
        home.close(&mut Batch::default());
        self.vacate(home);
        let queues: Vec<_> = home.topology().queues().cloned().collect();
        queues.iter().for_each(|record| self.displace(record, now));
    }

    /// Makes a virtual host, or changes the one there is, to be of this topology.
    fn bring_home(&self, (name, index): (VirtualHostName, u64), topology: Topology, now: Moment) {
        let Some(home) = self.virtual_host(&name) else {
            let queues = self.restore_virtual_host(name, topology, index);
            queues.into_iter().for_each(|it| self.place(it, Restored::default(), now));
            return;
        };
        let mut batch = Batch::default();
        let (gone, moved, reconfigured) = home.apply_agreed(index, &mut batch, |known, _| {
            let topology = topology.keeping_all(true).after(known);
            let gone: Vec<_> = records(known).filter(|it| !has(&topology, it.id)).collect();
            for record in records(&topology).filter(|it| !has(known, it.id)) {
                let configuration = Configuration::of(&record, &topology);
                let home = Arc::clone(&home);
                self.place(RestoredQueue { record, home, configuration }, Restored::default(), now);
            }
            let reconfigured = reconfigured(known, &topology);
            let moved: Vec<_> = moved(known, &topology).collect();
            *known = topology;
            (gone, moved, reconfigured)
        });
        moved.iter().for_each(|record| self.move_replica(record));
        for record in gone {
            match record.annex {
                Some(_) => self.close_annex(record.id),
                None => self.displace(&record, now),
            }
        }
        self.take_up(&reconfigured, now);
    }

    fn replace_registered(&self, others: Vec<Fact>) {
        let before = self.directory.users();
        let (parameters, of_users): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|fact| matches!(fact, Fact::GlobalParameter(..)));
        let parameters = parameters.into_iter().filter_map(parameter).collect();
        self.parameters.replace(parameters);
        self.directory.replace(of_users);
        let is_gone = |name: &ShortString| !self.directory.has(&Key::User(name.clone()));
        let gone = before.iter().map(|(name, _)| name).filter(|name| is_gone(name));
        gone.for_each(|name| self.dismiss(name));
    }
}

impl Cluster {
    /// The marks that are the same on every node.
    fn registered_marks(&self) -> Vec<Fact> {
        let marks = self.marks();
        let numbers = marks.numbers.iter();
        let numbers = numbers.map(|(node, number)| Fact::Mark(Mark::Numbers(*node), *number));
        numbers.chain(reached(Mark::Registry, marks.registry)).collect()
    }
}

/// Before anything was agreed on, nothing says so.
fn reached(mark: Mark, index: u64) -> Option<Fact> {
    (index > 0).then(|| Fact::Mark(mark, index))
}

fn decode(state: &[u8]) -> Result<Octets, Unreadable> {
    let mut reader = Reader::new(state);
    match meant(reader.u8())? {
        VERSION => {}
        other => return Err(Unreadable::Version(other)),
    }
    let mut facts = Octets::new();
    while !reader.is_empty() {
        let key = Bytes::copy_from_slice(meant(reader.octets())?);
        let value = Bytes::copy_from_slice(meant(reader.octets())?);
        let is_next = facts.last_key_value().is_none_or(|(last, _)| *last < key);
        if !is_next || key.is_empty() {
            return Err(Unreadable::Meaningless);
        }
        facts.insert(key, value);
    }
    Ok(facts)
}

fn parameter(fact: Fact) -> Option<(ShortString, crate::model::FieldValue)> {
    match fact {
        Fact::GlobalParameter(name, value) => Some((name, value)),
        _ => None,
    }
}

/// Queues, and what exchanges keep.
fn records(topology: &Topology) -> impl Iterator<Item = Arc<QueueRecord>> {
    let annexes = topology.exchanges().flat_map(|exchange| exchange.annex_records());
    topology.queues().cloned().chain(annexes)
}

/// The numbers under which something is written.
fn kept(topology: &Topology) -> impl Iterator<Item = QueueId> {
    let annexes = topology.exchanges().filter(|exchange| exchange.durable);
    let annexes = annexes.flat_map(|exchange| exchange.annexes.iter().copied());
    topology.queues().filter(|queue| queue.durable).map(|queue| queue.id).chain(annexes)
}

fn has(topology: &Topology, id: QueueId) -> bool {
    let mut exchanges = topology.exchanges();
    topology.queue(id).is_some() || exchanges.any(|exchange| exchange.annexes.contains(&id))
}

/// Those queues that are to be elsewhere now.
fn moved(known: &Topology, topology: &Topology) -> impl Iterator<Item = Arc<QueueRecord>> {
    let is_moved = |queue: &&Arc<QueueRecord>| {
        known.queue(queue.id).is_some_and(|before| before.placement != queue.placement)
    };
    topology.queues().filter(is_moved).cloned()
}

/// The options of those queues for which others hold now.
fn reconfigured(known: &Topology, topology: &Topology) -> Reconfigured {
    let changed = topology.queues().filter_map(|queue| {
        let before = known.options_of(known.queue(queue.id)?);
        let options = topology.options_of(queue);
        (before != options).then_some((queue.id, options))
    });
    Reconfigured { version: topology.version(), queues: changed.collect() }
}
