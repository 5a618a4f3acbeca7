//! What waits: by priority, then by position.

use std::collections::{BTreeMap, VecDeque};

use super::contents::Entry;
use crate::model::Position;

/// The ready messages. The head is the oldest of the highest priority.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// One per priority that was seen, lowest first.
    levels: Vec<Level>,
    /// The highest level with a message; 0 when there is none.
    top: usize,
    count: u64,
    octets: u64,
}

impl Ready {
    /// Adds a message that is newer than all others.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.level_for(&entry).arrivals.push_back(entry);
    }

    /// Adds a message that was here before, at its place.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.level_for(&entry).put_back(entry);
    }

    /// Takes the head.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.levels.get_mut(self.top)?.pop()?;
        self.forget(&entry);
        Some(entry)
    }

    /// Takes a message from wherever it is.
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        let entry = self.levels.iter_mut().find_map(|level| level.remove(position))?;
        self.forget(&entry);
        Some(entry)
    }

    #[inline]
    pub(super) fn head(&self) -> Option<&Entry> {
        self.levels.get(self.top)?.head()
    }

    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The octets of the bodies.
    #[inline]
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The level that `entry` joins, the sums already counting it.
    #[inline]
    fn level_for(&mut self, entry: &Entry) -> &mut Level {
        self.count += 1;
        self.octets += entry.message.body().len() as u64;
        let level = usize::from(entry.priority);
        if level >= self.levels.len() {
            self.levels.resize_with(level + 1, Level::default);
        }
        self.top = self.top.max(level);
        &mut self.levels[level]
    }

    #[inline]
    fn forget(&mut self, entry: &Entry) {
        self.count -= 1;
        self.octets -= entry.message.body().len() as u64;
        while self.top > 0 && self.levels[self.top].is_empty() {
            self.top -= 1;
        }
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

    fn remove(&mut self, position: Position) -> Option<Entry> {
        self.returned.remove(&position).or_else(|| self.arrivals.remove(position))
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
        self.arrivals.front().is_none() && self.returned.is_empty()
    }

    #[inline]
    fn is_returned_first(&self) -> bool {
        let Some((returned, _)) = self.returned.first_key_value() else { return false };
        self.arrivals.front().is_none_or(|first| *returned < first.position)
    }
}

/// How many messages a piece of a [`Sequence`] holds.
const PIECE: usize = 128;

/// Messages by ascending position, in pieces: a long queue neither moves when it grows, which would
/// hold everybody up, nor keeps its memory when it has become short.
#[derive(Debug, Default)]
struct Sequence {
    /// No piece is empty, except when it is the only one.
    pieces: VecDeque<VecDeque<Entry>>,
}

impl Sequence {
    #[inline]
    fn push_back(&mut self, entry: Entry) {
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_back(entry),
            Some(_) => self.add_piece(entry),
            None => self.pieces.push_back(VecDeque::from([entry])),
        }
    }

    fn push_front(&mut self, entry: Entry) {
        match self.pieces.front_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_front(entry),
            _ => self.pieces.push_front(VecDeque::from([entry])),
        }
    }

    #[inline]
    fn pop_front(&mut self) -> Option<Entry> {
        let piece = self.pieces.front_mut()?;
        let entry = piece.pop_front();
        if piece.is_empty() && self.pieces.len() > 1 {
            self.pieces.pop_front();
        }
        entry
    }

    fn remove(&mut self, position: Position) -> Option<Entry> {
        let after = self
            .pieces
            .partition_point(|piece| piece.front().is_some_and(|first| first.position <= position));
        let index = after.checked_sub(1)?;
        let piece = &mut self.pieces[index];
        let place = piece.binary_search_by_key(&position, |entry| entry.position).ok()?;
        let entry = piece.remove(place);
        if piece.is_empty() && self.pieces.len() > 1 {
            self.pieces.remove(index);
        }
        entry
    }

    #[inline]
    fn front(&self) -> Option<&Entry> {
        self.pieces.front()?.front()
    }

    #[cold]
    fn add_piece(&mut self, entry: Entry) {
        let mut piece = VecDeque::with_capacity(PIECE);
        piece.push_back(entry);
        self.pieces.push_back(piece);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::Message;

    fn entry(position: u64, priority: u8) -> Entry {
        Entry {
            position: Position(position),
            message: Message::new(b"", b"q", &[0, 0], Bytes::from_static(b"body")),
            deadline: None,
            priority,
            redelivered: false,
            delivery_count: 0,
        }
    }

    fn drain(ready: &mut Ready) -> Vec<u64> {
        std::iter::from_fn(|| ready.pop()).map(|entry| entry.position.0).collect()
    }

    #[test]
    fn a_long_queue_keeps_its_order_and_its_sums() {
        let mut ready = Ready::default();
        (0..1000).for_each(|position| ready.push(entry(position, 0)));
        assert_eq!((ready.count(), ready.octets()), (1000, 4000));
        assert_eq!(drain(&mut ready), (0..1000).collect::<Vec<_>>());
        assert_eq!((ready.count(), ready.octets()), (0, 0));
    }

    #[test]
    fn what_comes_back_finds_its_place_in_any_order() {
        let mut ready = Ready::default();
        (0..400).for_each(|position| ready.push(entry(position, 0)));
        let taken: Vec<_> = std::iter::from_fn(|| ready.pop()).take(300).collect();
        let (even, odd): (Vec<_>, Vec<_>) = taken.into_iter().partition(|e| e.position.0 % 2 == 0);
        even.into_iter().rev().for_each(|entry| ready.put_back(entry));
        odd.into_iter().for_each(|entry| ready.put_back(entry));
        assert_eq!(drain(&mut ready), (0..400).collect::<Vec<_>>());
    }

    #[test]
    fn the_head_is_the_oldest_of_the_highest_priority() {
        let mut ready = Ready::default();
        for (position, priority) in [(0, 1), (1, 5), (2, 1), (3, 5), (4, 0)] {
            ready.push(entry(position, priority));
        }
        assert_eq!(drain(&mut ready), [1, 3, 0, 2, 4]);
    }

    #[test]
    fn a_message_can_be_taken_from_the_middle() {
        let mut ready = Ready::default();
        (0..500).for_each(|position| ready.push(entry(position, 0)));
        for position in (0..500).filter(|position| position % 3 != 0) {
            assert_eq!(ready.remove(Position(position)).unwrap().position.0, position);
        }
        assert!(ready.remove(Position(1)).is_none());
        assert_eq!(drain(&mut ready), (0..500).step_by(3).collect::<Vec<_>>());
    }
}
