//! What of a queue is written down, and how it comes back.

use super::{
    Queue,
    changes::{Arrived, Changes, Kept},
    clearance::Clearance,
    command::Effect,
    contents::Entry,
    restored::Restored,
    shelf::Shelf,
};
use crate::model::{ConsumerId, Position, QueueOptions, Ranges};

/// Octets of messages behind the head above which transient messages are written, too.
pub(super) const SPILL_ABOVE: usize = 16 * 1024 * 1024;

impl Queue {
    /// The same queue, whose messages may be written: if it is durable, to survive.
    pub fn kept_on(mut self, shelf: Shelf, is_durable: bool) -> Self {
        self.contents.keep_on(shelf);
        self.is_durable = is_durable;
        self
    }

    /// The same queue with what a restart has found of it. It must be empty, and have its shelf.
    pub fn restored(mut self, restored: Restored) -> Self {
        self.clearance = Clearance::below(restored.delivered);
        // What is not read is counted, but not measured, nor told apart.
        let QueueOptions { max_length_bytes, max_priority, .. } = self.options;
        let needs_messages = self.annex.is_some() || self.duplicates.is_some();
        let unread = max_length_bytes.is_none() && max_priority.is_none() && !needs_messages;
        let Self { contents, annex, duplicates, .. } = &mut self;
        contents.restore(restored.settle(), unread, &mut |entry| {
            if let Some(annex) = annex {
                annex.restore(entry);
                return None;
            }
            duplicates.iter_mut().for_each(|duplicates| duplicates.note(&entry));
            Some(entry)
        });
        self
    }

    /// The same queue as one that several nodes keep: all its messages survive, and nobody sees one
    /// before it is safe.
    pub fn mirrored(mut self) -> Self {
        self.is_mirrored = true;
        self
    }

    /// Messages that are to be restored are with the queue's consumers already, since it was led
    /// elsewhere; [`ConsumerId::default`] stands for what `basic.get` took.
    pub fn hold_again(&mut self, restored: &mut Restored, held: &[(ConsumerId, Ranges)]) {
        self.clearance = Clearance::below(restored.delivered);
        for (consumer, held) in held {
            let Self { contents, consumers, .. } = self;
            contents.restore_out(restored, held, |_| consumers.hold_again(*consumer));
        }
    }

    /// What must be written since this was last asked. Empty for a queue without a shelf.
    pub fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// Messages below a position can be read from disk now, and leave memory.
    pub fn moved(&mut self, kept: Kept, below: Position) {
        self.contents.moved(kept, below);
    }

    /// Whether messages were written to save memory, at any time.
    pub fn has_spilled(&self) -> bool {
        self.has_spilled
    }

    /// Memory is short, or no longer: whether every message that must wait is to be written.
    pub fn save_memory(&mut self, is_short: bool) {
        self.spill_above = if is_short { 0 } else { SPILL_ABOVE };
    }

    /// It is durable that messages below this position may have been handed out: from the next
    /// command on they may be.
    pub fn clear(&mut self, below: Position) {
        self.clearance.grant(below);
    }

    /// Hands out a message that has just arrived. It is written only if it will be acknowledged.
    #[inline]
    pub(super) fn pass_on(&mut self, entry: Entry, turn: u32, effects: &mut Vec<Effect>) {
        let Entry { position, deadline, kept, .. } = entry;
        self.note_key(&entry);
        let acknowledges = self.hand_out(entry, turn, effects);
        if !acknowledges {
            self.forget_key(position);
        }
        if acknowledges && kept == Kept::Durable {
            self.changes.arrive(Arrived { position, deadline, kept });
            // Both are in one record: if the message survives, so does what is known of it.
            self.changes.deliver_below(self.clearance.pass(position));
        }
    }

    /// Lets a message that has just arrived wait.
    #[inline]
    pub(super) fn wait(&mut self, mut entry: Entry) {
        let must_spill = entry.kept == Kept::InMemory
            && self.contents.has_shelf()
            && self.contents.resident() > self.spill_above;
        if must_spill {
            entry.kept = Kept::Spilled;
            self.has_spilled = true;
        }
        let Entry { position, deadline, kept, .. } = entry;
        if kept != Kept::InMemory {
            self.changes.arrive(Arrived { position, deadline, kept });
        }
        self.note_key(&entry);
        self.contents.push(entry);
    }
}

#[cfg(test)]
mod tests;
