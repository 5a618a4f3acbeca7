//! The last messages that have passed.

use std::collections::VecDeque;

use super::{Entry, Kept};
use crate::model::{Message, Position};

/// So many messages, the oldest first.
#[derive(Debug)]
pub(in crate::broker::queue) struct Recent {
    limit: u64,
    entries: VecDeque<Entry>,
}

impl Recent {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, entries: VecDeque::new() }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Takes the oldest out if there are too many.
    pub(super) fn next_left(&mut self) -> Option<(Kept, Position)> {
        if self.entries.len() as u64 <= self.limit {
            return None;
        }
        self.entries.pop_front().map(|entry| (entry.kept, entry.position))
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().map(|entry| &entry.message)
    }
}
