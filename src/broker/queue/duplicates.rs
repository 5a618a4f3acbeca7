//! Messages that a queue drops because one with the same key is in it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Queue, contents::Entry};
use crate::{
    broker::routing::deduplication_key,
    model::{Message, Position},
};

/// The keys of the messages that are in the queue, ready or out (`x-message-deduplication`).
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    keys: BTreeSet<Bytes>,
    by_position: BTreeMap<Position, Bytes>,
}

impl Duplicates {
    /// Notes a message that is in the queue.
    pub(super) fn note(&mut self, entry: &Entry) {
        if let Some(key) = deduplication_key(&entry.message) {
            self.keys.insert(key.clone());
            self.by_position.insert(entry.position, key);
        }
    }

    fn knows(&self, message: &Message) -> bool {
        !self.keys.is_empty()
            && deduplication_key(message).is_some_and(|key| self.keys.contains(&key))
    }

    fn forget(&mut self, position: Position) {
        if let Some(key) = self.by_position.remove(&position) {
            self.keys.remove(&key);
        }
    }
}

impl Queue {
    /// Whether the message is to be dropped.
    #[inline]
    pub(super) fn is_duplicate(&self, message: &Message) -> bool {
        self.duplicates.as_ref().is_some_and(|duplicates| duplicates.knows(message))
    }

    /// A message has come to stay, perhaps for a moment.
    #[inline]
    pub(super) fn note_key(&mut self, entry: &Entry) {
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.note(entry);
        }
    }

    /// A message has left the queue.
    #[inline]
    pub(super) fn forget_key(&mut self, position: Position) {
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.forget(position);
        }
    }

    /// All messages but those that are out have left.
    pub(super) fn forget_ready_keys(&mut self) {
        let Some(duplicates) = &mut self.duplicates else { return };
        let contents = &self.contents;
        let gone: Vec<_> = duplicates
            .by_position
            .keys()
            .filter(|position| !contents.is_out(**position))
            .copied()
            .collect();
        gone.into_iter().for_each(|position| duplicates.forget(position));
    }
}
