//! What a command has changed that must be written down.

use crate::model::{Batch, Moment, Position, PositionRange, QueueId};

/// Where a message is kept, beside the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// Nowhere.
    #[default]
    InMemory,
    /// On disk, to save memory: it ends with the node.
    Spilled,
    /// On disk, to survive.
    Durable,
}

/// A message that has just arrived and must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub position: Position,
    pub deadline: Option<Moment>,
    pub kept: Kept,
}

/// Changes of one queue since they were last taken. Only what is on disk is among them.
#[derive(Debug, Default)]
pub struct Changes {
    arrived: Option<Arrived>,
    left: Vec<PositionRange>,
    left_spilled: Vec<PositionRange>,
    /// Messages that came back, with how often they have.
    returned: Vec<(Position, u32)>,
    /// Messages below it may have been handed out.
    delivered: Option<Position>,
}

impl Changes {
    /// The message that the last command brought, if it must be written. It is taken after every
    /// such command.
    #[inline]
    pub fn take_arrived(&mut self) -> Option<Arrived> {
        self.arrived.take()
    }

    /// Writes all but the arrival, and forgets it. Gives the position below which messages may be
    /// handed out once the batch is durable, if that has changed.
    pub fn write(&mut self, queue: QueueId, batch: &mut Batch) -> Option<Position> {
        debug_assert!(self.arrived.is_none(), "an arrival is written by who brought it");
        for (queue, left) in [(queue, &mut self.left), (queue.spilled(), &mut self.left_spilled)] {
            if !left.is_empty() {
                batch.settle(queue, left);
                left.clear();
            }
        }
        for run in self.returned.chunk_by(|one, next| one.1 == next.1) {
            let ranges: Vec<_> = run.iter().map(|(position, _)| (*position).into()).collect();
            batch.put_back(queue, &ranges, run[0].1);
        }
        self.returned.clear();
        let delivered = self.delivered.take()?;
        batch.delivered(queue, delivered);
        Some(delivered)
    }

    #[inline]
    pub(super) fn arrive(&mut self, arrived: Arrived) {
        self.arrived = Some(arrived);
    }

    /// A message has left.
    #[inline]
    pub(super) fn leave(&mut self, kept: Kept, position: Position) {
        self.leave_all(kept, position.into());
    }

    /// The messages in a range have left. No other may have a position in it.
    #[inline]
    pub(super) fn leave_all(&mut self, kept: Kept, range: PositionRange) {
        let left = match kept {
            Kept::InMemory => return,
            Kept::Spilled => &mut self.left_spilled,
            Kept::Durable => &mut self.left,
        };
        match left.last_mut() {
            Some(last) if last.last.0 + 1 == range.first.0 => last.last = range.last,
            _ => left.push(range),
        }
    }

    pub(super) fn come_back(&mut self, position: Position, times: u32) {
        self.returned.push((position, times));
    }

    pub(super) fn deliver_below(&mut self, position: Position) {
        self.delivered = Some(position);
    }
}
