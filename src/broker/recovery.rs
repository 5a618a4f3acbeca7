//! The way back: what a crash has left, made into a broker again.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use bytes::Bytes;

use super::{
    BadFact, Broker,
    origins::RestoredQueue,
    queue::{Command, Restored},
    remote,
    routing::AnnexPlan,
};
use crate::model::{Batch, Entry, Moment, NodeNumber, Position, QueueId, Ranges};

/// The first octet of the keys of facts that the broker does not know.
const NONE_OF_THE_BROKERS: u8 = 40;

/// What survived, gathered in the order in which it was written.
#[derive(Debug, Default)]
pub struct Restoring {
    facts: BTreeMap<Bytes, Bytes>,
    queues: BTreeMap<QueueId, Restored>,
    /// No queue of a node that was forgotten had this number or a higher one.
    above_forgotten: BTreeMap<NodeNumber, u64>,
}

/// A queue's messages outside of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The lowest position that no message has had.
    pub next: Position,
    /// Messages below it may have been handed out before.
    pub delivered: Position,
    /// The messages that are alive.
    pub live: Ranges,
    /// How often messages came back; only those that did.
    pub returned: BTreeMap<Position, u32>,
}

impl Restoring {
    pub fn new() -> Self {
        Self::default()
    }

    /// A fact of the topology, as of the checkpoint.
    pub fn fact(&mut self, key: &[u8], value: &[u8]) {
        // Copied, so that a small fact does not keep a part of the journal in memory.
        self.facts.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }

    /// What a queue has outside of the journal, as of the checkpoint.
    pub fn backlog(&mut self, queue: QueueId, backlog: Backlog) {
        let Backlog { next, delivered, live: stored, returned } = backlog;
        let restored = Restored { next, delivered, returned, stored, arrivals: Vec::new() };
        self.queues.insert(queue, restored);
    }

    /// What the journal says has happened since. `share` shares octets of the entry.
    pub fn apply(&mut self, entry: &Entry<'_>, share: impl Fn(&[u8]) -> Bytes) {
        match entry {
            Entry::Enqueue { targets, message } => {
                for (queue, position) in *targets {
                    self.queue(queue).arrive(position, share(message));
                }
            }
            Entry::Settle { queue, ranges } => {
                let queue = self.queue(*queue);
                ranges.for_each(|range| queue.leave(range));
            }
            Entry::Return { queue, ranges, count } => {
                let queue = self.queue(*queue);
                ranges.for_each(|range| queue.come_back(range, *count));
            }
            Entry::Delivered { queue, below } => self.queue(*queue).deliver_below(*below),
            Entry::Forget { queue } => {
                self.queues.remove(queue);
                let above = self.above_forgotten.entry(queue.node()).or_default();
                *above = (*above).max(queue.base().0 + 1);
            }
            Entry::Put { key, value } => self.fact(key, value),
            Entry::Delete { key } => drop(self.facts.remove(*key)),
        }
    }

    /// Whether nothing survived.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.queues.is_empty()
    }

    /// Takes out what is none of the broker's: facts of other kinds than it knows, and the queues
    /// that `is_other` names.
    pub fn split_off(
        &mut self,
        is_other: impl Fn(QueueId) -> bool,
    ) -> (BTreeMap<Bytes, Bytes>, BTreeMap<QueueId, Restored>) {
        let other: Vec<_> = self.queues.keys().copied().filter(|id| is_other(*id)).collect();
        let queues = other.into_iter().filter_map(|id| Some((id, self.queues.remove(&id)?)));
        (self.facts.split_off(&[NONE_OF_THE_BROKERS][..]), queues.collect())
    }

    /// The facts of replicas, by group.
    fn take_replicas(&mut self) -> BTreeMap<QueueId, Bytes> {
        let facts = std::mem::take(&mut self.facts);
        let mut replicas = BTreeMap::new();
        for (key, value) in facts {
            match remote::read_replica_key(&key) {
                Some(group) => drop(replicas.insert(group, value)),
                None => drop(self.facts.insert(key, value)),
            }
        }
        replicas
    }

    fn queue(&mut self, id: QueueId) -> &mut Restored {
        self.queues.entry(id).or_default()
    }
}

impl Broker {
    /// Makes the topology and its queues again. No queue is given a number below `queue_floor`, nor
    /// one that occurred in what is restored.
    ///
    /// What was written to save memory only is forgotten, and so is what belongs to no queue: those
    /// of which a restart says nothing were transient.
    ///
    /// # Errors
    /// When a fact says nothing that this program knows. Nothing may be done with the broker then.
    pub fn restore(
        &self,
        mut restoring: Restoring,
        queue_floor: u64,
        now: Moment,
    ) -> Result<(), BadFact> {
        let replicas = restoring.take_replicas();
        let Restoring { facts, mut queues, above_forgotten } = restoring;
        let restored = self.restore_topology(&facts)?;
        let known = restored.iter().map(|queue| queue.record.id).chain(queues.keys().copied());
        let own = known.filter(|queue| queue.node() == self.node());
        let above = own.map(|queue| queue.base().0 + 1).max().unwrap_or(0);
        let above_forgotten = above_forgotten.get(&self.node()).copied().unwrap_or(0);
        // In a cluster it may be another node's: what was agreed on says more then.
        let floor = if QueueId(queue_floor).node() == self.node() { queue_floor } else { 0 };
        let first = above.max(above_forgotten).max(floor);
        self.next_queue.fetch_max(first, Ordering::Relaxed);
        let mut timed = Vec::new();
        for queue in restored {
            let fact = replicas.get(&queue.record.id).cloned();
            let contents = fact.as_deref().and_then(remote::contents_of);
            let contents = contents.unwrap_or(queue.record.id);
            let contents = queues.remove(&contents).unwrap_or_default();
            timed.extend(is_timed(&queue).then_some(queue.record.id));
            self.place_again(queue, contents, fact, now);
        }
        if let Some(journal) = &self.journal {
            let mut batch = Batch::default();
            queues.keys().for_each(|queue| batch.forget(*queue));
            if !batch.is_empty() {
                journal.append(&mut batch);
            }
        }
        // Only when all queues are there: what has expired meanwhile goes on to others.
        timed.into_iter().for_each(|id| self.command(id, Command::Touch, now));
        Ok(())
    }
}

/// Whether time works on the queue, so that it has to look at its head, and read it for that.
fn is_timed(queue: &RestoredQueue) -> bool {
    if let Some(annex) = &queue.record.annex {
        return annex.plan == AnnexPlan::Delays;
    }
    let options = &queue.configuration.options;
    options.expires.is_some() || options.message_ttl.is_some() || options.dead_letter.is_some()
}
