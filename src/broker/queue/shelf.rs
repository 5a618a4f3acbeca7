//! Where a queue's messages are that have left memory.

use std::sync::Arc;

use bytes::Bytes;

use super::changes::Kept;
use crate::{
    broker::ports::Journal,
    model::{Position, PositionRange, QueueId},
};

/// One queue's part of the disk.
#[derive(Clone, Debug)]
pub struct Shelf {
    journal: Arc<dyn Journal>,
    queue: QueueId,
}

/// A message that was read back.
pub(super) struct Shelved {
    pub(super) position: Position,
    pub(super) octets: Bytes,
    pub(super) kept: Kept,
}

impl Shelf {
    pub fn new(journal: Arc<dyn Journal>, queue: QueueId) -> Self {
        Self { journal, queue }
    }

    /// Some of the messages from `from` on, in order, and none when there are no more; they may be
    /// on disk for both reasons, unless `spilled` says that there are none but durable ones. `None`
    /// when they cannot be read.
    pub(super) fn read(&self, from: Position, spilled: bool) -> Option<Vec<Shelved>> {
        let durable = self.read_kept(Kept::Durable, from)?;
        if !spilled {
            return Some(durable);
        }
        let spilled = self.read_kept(Kept::Spilled, from)?;
        // What lies beyond the end of either list may be missing from it.
        let ends = [&durable, &spilled].map(|list| list.last().map(|shelved| shelved.position));
        let end = ends.into_iter().flatten().min();
        let mut both: Vec<_> = durable.into_iter().chain(spilled).collect();
        both.sort_by_key(|shelved| shelved.position);
        if ends.iter().all(Option::is_some) {
            both.retain(|shelved| Some(shelved.position) <= end);
        }
        Some(both)
    }

    /// The durable messages of a range; none when they cannot be read.
    pub(super) fn read_range(&self, range: PositionRange) -> Vec<(Position, Bytes)> {
        self.journal.read_range(self.queue, range).unwrap_or_default()
    }

    fn read_kept(&self, kept: Kept, from: Position) -> Option<Vec<Shelved>> {
        let queue = match kept {
            Kept::Spilled => self.queue.spilled(),
            Kept::Durable | Kept::InMemory => self.queue,
        };
        let read = self.journal.read(queue, from)?;
        let shelved = |(position, octets)| Shelved { position, octets, kept };
        Some(read.into_iter().map(shelved).collect())
    }
}
