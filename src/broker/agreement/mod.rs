//! What all nodes of a cluster must know: decided on one of them, agreed on, and applied on each in
//! the same order.
//!
//! ```text
//! a client's request ──► decide ──► command ──► Agreement::agree ──► apply_agreed, on every node
//!                          ▲                                             │
//!                          └────────── void: it has changed since ◄──────┘
//! ```
//!
//! Applying decides nothing but whether a command is void, and that alike on every node: by the
//! index of the last change, which is kept with what was changed.

mod applying;
mod command;
mod deciding;
mod membership;
mod moving;
mod registering;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) use self::command::Registration;
pub use self::{command::Unreadable, membership::NotAdmitted, moving::NotMoved};

use super::{
    Broker,
    facts::{Fact, Mark},
    ports::Agreement,
    topology::Change,
};
use crate::model::{Batch, NodeNumber, NodeRecord, QueueId};

/// What makes a node one of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    node: NodeNumber,
    agreement: Arc<dyn Agreement>,
    marks: Mutex<Marks>,
}

/// How far everything agreed on has come here. Under its lock nothing else is touched.
#[derive(Clone, Debug, Default)]
struct Marks {
    index: u64,
    /// The index of the last change of users, permissions, parameters, or virtual hosts.
    registry: u64,
    /// The greatest number of a queue that each node has given: a number is never given again.
    numbers: BTreeMap<NodeNumber, u64>,
    /// Every node that the cluster has, or has had.
    nodes: BTreeMap<NodeNumber, NodeRecord>,
}

/// So many numbers are left out when a node starts again: some may have been given and not be
/// agreed on yet.
const GIVEN_AWAY: u64 = 1 << 20;

impl Broker {
    /// The same broker as a node of a cluster: whatever all nodes must know is agreed on. To be
    /// said before anything is restored.
    #[must_use]
    pub fn in_cluster(self, node: NodeNumber, agreement: Arc<dyn Agreement>) -> Self {
        let cluster = Cluster { node, agreement, marks: Mutex::default() };
        let broker = Self { cluster: Some(cluster), ..self };
        broker.begin_queues_above(QueueId(node.base()));
        broker
    }

    /// The number of this node; 0 without a cluster.
    pub fn node(&self) -> NodeNumber {
        self.cluster.as_ref().map(|cluster| cluster.node).unwrap_or_default()
    }

    /// Everything that was agreed on up to this index has been applied here.
    pub fn agreed_index(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.marks().index)
    }

    /// Takes up how far the nodes had agreed when this one was stopped, or another one was.
    pub(super) fn restore_marks(&self, restored: &[(Mark, u64)]) {
        let Some(cluster) = &self.cluster else { return };
        let mut marks = Marks::default();
        for (mark, number) in restored {
            match mark {
                Mark::Index => marks.index = *number,
                Mark::Registry => marks.registry = *number,
                Mark::Home(_) => {}
                Mark::Numbers(node) => drop(marks.numbers.insert(*node, *number)),
            }
        }
        let last = marks.numbers.get(&cluster.node).copied();
        let last = last.unwrap_or_else(|| cluster.node.base());
        self.begin_queues_above(QueueId(last + GIVEN_AWAY));
        let mut known = cluster.marks();
        marks.nodes = std::mem::take(&mut known.nodes);
        *known = marks;
    }
}

impl Cluster {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all up to `index` is applied, and writes it.
    fn advance(&self, index: u64, batch: &mut Batch) {
        Fact::Mark(Mark::Index, index).put(batch);
        self.marks().index = index;
    }

    /// Notes the numbers of what is declared, and writes the greatest of each node.
    fn note_numbers(&self, changes: &[Change], batch: &mut Batch) {
        let mut marks = self.marks();
        for id in changes.iter().flat_map(numbers) {
            let greatest = marks.numbers.entry(id.node()).or_default();
            if id.0 > *greatest {
                *greatest = id.0;
                Fact::Mark(Mark::Numbers(id.node()), id.0).put(batch);
            }
        }
    }
}

/// The numbers that a change gives to queues.
fn numbers(change: &Change) -> Vec<QueueId> {
    match change {
        Change::QueueDeclared(queue) => vec![queue.id],
        Change::ExchangeDeclared(exchange) => exchange.annexes.clone(),
        Change::ExchangeDeleted(_) | Change::QueueDeleted(_) => Vec::new(),
        Change::QueuePlaced(..) => Vec::new(),
        Change::Bound(_) | Change::Unbound(_) | Change::Described(_) => Vec::new(),
        Change::PolicySet(..) | Change::PolicyCleared(..) => Vec::new(),
    }
}
