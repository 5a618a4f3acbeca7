//! What waits: by priority, then by position.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::{
    changes::{Changes, Kept},
    contents::Entry,
    sequence::Sequence,
    shelf::Shelf,
    stored::Stored,
    tail::{Past, Source, Tail},
};
use crate::model::{Position, Ranges};

/// What waits right behind the head lies unpacked: so many pieces of a [`Sequence`], or octets.
const HEAD_PIECES: usize = 8;
const HEAD_OCTETS: usize = if cfg!(test) { 1000 } else { 1024 * 1024 };

/// The ready messages. The head is the oldest of the highest priority.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// One per priority that was seen, lowest first.
    levels: Vec<Level>,
    /// The highest level with a message; 0 when there is none.
    top: usize,
    count: u64,
    octets: u64,
    /// The highest level that the queue knows.
    highest: u8,
    shelf: Option<Shelf>,
    past: Box<Past>,
}

impl Ready {
    pub(super) fn with_levels(highest: u8) -> Self {
        Self { highest, ..Self::default() }
    }

    /// Where messages go that leave memory.
    pub(super) fn keep_on(&mut self, shelf: Shelf) {
        self.shelf = Some(shelf);
    }

    pub(super) fn shelf(&self) -> Option<&Shelf> {
        self.shelf.as_ref()
    }

    /// Adds a message that is newer than all others.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        let level = self.level_for(&entry);
        if level.tail.is_empty() && level.has_room_at_head() {
            level.arrivals.push_back(entry);
        } else {
            level.tail.push(&entry);
        }
    }

    /// Adds a message that was here before, at its place.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.level_for(&entry).put_back(entry);
    }

    /// Takes the head.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let level = self.levels.get_mut(self.top)?;
        let entry = level.pop()?;
        self.count -= 1;
        self.octets = self.octets.saturating_sub(entry.message.body().len() as u64);
        if level.needs_filling() {
            self.fill();
        } else if level.is_empty() {
            self.lower_top();
        }
        Some(entry)
    }

    /// The message whose turn it is. None also when it cannot be read from disk.
    #[inline]
    pub(super) fn head(&self) -> Option<&Entry> {
        self.levels.get(self.top)?.head()
    }

    /// Has the head in memory, if there is one and it can be read.
    #[inline]
    pub(super) fn fill(&mut self) {
        while self.levels.get(self.top).is_some_and(Level::needs_filling) && self.refill() {}
    }

    /// Drops everything, and says how much it was.
    pub(super) fn clear(&mut self, changes: &mut Changes) -> u64 {
        let before = self.count;
        if self.levels.len() > 1 {
            // Between two messages of one level lie messages of others: each is named.
            while let Some(entry) = self.pop() {
                changes.leave(entry.kept, entry.position);
            }
        }
        for level in &mut self.levels {
            level.clear(changes);
        }
        (self.levels, self.top, self.count, self.octets) = (Vec::new(), 0, 0, 0);
        before
    }

    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The octets of the bodies. What a restart found on disk counts once it has been read, or
    /// measured.
    #[inline]
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Octets of the messages behind the heads that are in memory.
    pub(super) fn resident(&self) -> usize {
        self.levels.iter().map(|level| level.tail.resident()).sum()
    }

    /// Counts the octets of what a restart found on disk, and has not read yet.
    pub(super) fn measure(&mut self) {
        let Some(shelf) = &self.shelf else { return };
        let measured = self.levels.iter_mut().map(|level| level.tail.measure(shelf));
        self.octets += measured.sum::<u64>();
    }

    /// Messages below a position can be read from disk now.
    pub(super) fn moved(&mut self, kept: Kept, below: Position) {
        self.levels.iter_mut().for_each(|level| level.tail.moved(kept, below));
    }

    /// What the queue is to remember of messages that were here before a restart.
    pub(super) fn remember(&mut self, delivered: Position, returned: BTreeMap<Position, u32>) {
        *self.past = Past { delivered, returned };
    }

    /// The queue's knowledge of a durable message that was here before a restart.
    pub(super) fn recall(&self, position: Position, stored: Stored) -> Entry {
        let priority = stored.priority.min(self.highest);
        self.past.entry(position, stored, priority, Kept::Durable)
    }

    /// Takes over what was on disk when the node started, unread, in a queue with one level.
    pub(super) fn restore(&mut self, alive: Ranges) {
        self.count += alive.count();
        self.level(0).tail.restore(alive);
    }

    /// The level that `entry` joins, the sums already counting it.
    #[inline]
    fn level_for(&mut self, entry: &Entry) -> &mut Level {
        self.count += 1;
        self.octets += entry.message.body().len() as u64;
        let level = usize::from(entry.priority);
        self.top = self.top.max(level);
        self.level(level)
    }

    #[inline]
    fn level(&mut self, level: usize) -> &mut Level {
        if level >= self.levels.len() {
            self.levels.resize_with(level + 1, Level::default);
        }
        &mut self.levels[level]
    }

    fn lower_top(&mut self) {
        while self.top > 0 && self.levels[self.top].is_empty() {
            self.top -= 1;
        }
    }

    /// Has the top level read on. False: it cannot be read now.
    fn refill(&mut self) -> bool {
        let mut source = Source {
            level: u8::try_from(self.top).unwrap_or(u8::MAX),
            highest: self.highest,
            shelf: self.shelf.as_ref(),
            past: &self.past,
            arena: &mut BytesMut::new(),
        };
        let level = &mut self.levels[self.top];
        let Some(found) = level.tail.refill(&mut source, &mut level.arrivals) else { return false };
        self.octets += found.octets;
        self.count = self.count.saturating_sub(found.missing);
        self.lower_top();
        true
    }
}

/// The messages of one priority.
#[derive(Debug, Default)]
struct Level {
    /// Ascending: those that never left, behind returned ones that found their place at the front.
    arrivals: Sequence,
    /// Returned ones whose place is not at the front of `arrivals`. They are older than any that
    /// never left, since those leave from the front alone.
    returned: BTreeMap<Position, Entry>,
    /// Those that never left, behind the ones in `arrivals`.
    tail: Tail,
}

impl Level {
    fn put_back(&mut self, entry: Entry) {
        if self.arrivals.front().is_none_or(|first| entry.position < first.position) {
            self.arrivals.push_front(entry);
        } else {
            self.returned.insert(entry.position, entry);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Entry> {
        if self.is_returned_first() {
            return self.returned.pop_first().map(|(_, entry)| entry);
        }
        self.arrivals.pop_front()
    }

    fn clear(&mut self, changes: &mut Changes) {
        for entry in self.arrivals.drain().chain(std::mem::take(&mut self.returned).into_values()) {
            changes.leave(entry.kept, entry.position);
        }
        self.tail.clear(changes);
    }

    #[inline]
    fn head(&self) -> Option<&Entry> {
        if self.is_returned_first() {
            return self.returned.first_key_value().map(|(_, entry)| entry);
        }
        self.arrivals.front()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.arrivals.front().is_none() && self.returned.is_empty() && self.tail.is_empty()
    }

    #[inline]
    fn has_room_at_head(&self) -> bool {
        !self.arrivals.reaches(HEAD_PIECES) && self.arrivals.octets() < HEAD_OCTETS
    }

    /// Whether the next message is in the tail.
    #[inline]
    fn needs_filling(&self) -> bool {
        self.arrivals.front().is_none() && self.returned.is_empty() && !self.tail.is_empty()
    }

    #[inline]
    fn is_returned_first(&self) -> bool {
        let Some((returned, _)) = self.returned.first_key_value() else { return false };
        self.arrivals.front().is_none_or(|first| *returned < first.position)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::Message;

    fn entry(position: u64, priority: u8) -> Entry {
        let message = Message::new(b"", b"q", &[0, 0], Bytes::from_static(b"body"));
        Entry { priority, ..Entry::new(Position(position), message) }
    }

    fn drain(ready: &mut Ready) -> Vec<u64> {
        std::iter::from_fn(|| ready.pop()).map(|entry| entry.position.0).collect()
    }

    #[test]
    fn a_long_queue_keeps_its_order_and_its_sums() {
        let mut ready = Ready::default();
        (0..10_000).for_each(|position| ready.push(entry(position, 0)));
        assert_eq!((ready.count(), ready.octets()), (10_000, 40_000));
        assert_eq!(drain(&mut ready), (0..10_000).collect::<Vec<_>>());
        assert_eq!((ready.count(), ready.octets(), ready.resident()), (0, 0, 0));
    }

    #[test]
    fn what_comes_back_finds_its_place_in_any_order() {
        let mut ready = Ready::default();
        (0..4000).for_each(|position| ready.push(entry(position, 0)));
        let taken: Vec<_> = std::iter::from_fn(|| ready.pop()).take(3000).collect();
        let (even, odd): (Vec<_>, Vec<_>) = taken.into_iter().partition(|e| e.position.0 % 2 == 0);
        even.into_iter().rev().for_each(|entry| ready.put_back(entry));
        odd.into_iter().for_each(|entry| ready.put_back(entry));
        assert_eq!(drain(&mut ready), (0..4000).collect::<Vec<_>>());
    }

    #[test]
    fn the_head_is_the_oldest_of_the_highest_priority() {
        let mut ready = Ready::with_levels(5);
        for (position, priority) in [(0, 1), (1, 5), (2, 1), (3, 5), (4, 0)] {
            ready.push(entry(position, priority));
        }
        assert_eq!(drain(&mut ready), [1, 3, 0, 2, 4]);
    }

    #[test]
    fn large_bodies_wait_unpacked_and_come_back_the_same() {
        let mut ready = Ready::default();
        let bodies = |position: u64| vec![position as u8; 1 + 100 * position as usize];
        for position in 0..300 {
            let message = Message::new(b"x", b"key", &[0, 0], bodies(position).into());
            ready.push(Entry::new(Position(position), message));
        }
        for position in 0..300 {
            let entry = ready.pop().unwrap();
            assert_eq!(entry.message.body(), &bodies(position));
            assert_eq!((entry.message.exchange(), entry.position.0), (&b"x"[..], position));
        }
    }
}
