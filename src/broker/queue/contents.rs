//! What is in the queue, ready or out.

use bytes::BytesMut;

use super::{
    changes::{Changes, Kept},
    ready::Ready,
    restored::Restored,
    shelf::Shelf,
    stored::Stored,
    unacked::{Holder, Out, Unacked},
};
use crate::model::{Message, Moment, Position, Ranges};

/// A message in its queue, and what the queue knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub message: Message,
    /// When it may no longer be handed out; fixed on arrival.
    pub deadline: Option<Moment>,
    /// Its level in the queue: 0 in a queue without priorities.
    pub priority: u8,
    /// It has been handed out before.
    pub redelivered: bool,
    /// How often it came back, on a quorum queue.
    pub delivery_count: u32,
    pub kept: Kept,
}

impl Entry {
    /// A message that has just arrived, in memory, with nothing special about it.
    pub fn new(position: Position, message: Message) -> Self {
        Self {
            position,
            message,
            deadline: None,
            priority: 0,
            redelivered: false,
            delivery_count: 0,
            kept: Kept::InMemory,
        }
    }
}

/// The messages of a queue, ready or out, and the next position.
///
/// Who holds a message that is out is remembered beside it, but is never written: after a restart
/// or on another node nobody holds anything.
#[derive(Debug, Default)]
pub(super) struct Contents {
    next: u64,
    ready: Ready,
    unacked: Unacked,
}

impl Contents {
    /// Nothing, in a queue with so many levels of priority above the lowest.
    pub(super) fn with_levels(highest: u8) -> Self {
        Self { ready: Ready::with_levels(highest), ..Self::default() }
    }

    /// Where messages go that leave memory.
    pub(super) fn keep_on(&mut self, shelf: Shelf) {
        self.ready.keep_on(shelf);
    }

    /// Whether messages may be written at all.
    pub(super) fn has_shelf(&self) -> bool {
        self.ready.shelf().is_some()
    }

    /// Takes over what was here before a restart. With `unread`, what is in segments is left there.
    /// Whatever is read is shown to `seen`, which may keep it for itself.
    pub(super) fn restore(
        &mut self,
        restored: Restored,
        unread: bool,
        seen: &mut dyn FnMut(Entry) -> Option<Entry>,
    ) {
        let Restored { next, delivered, returned, stored, arrivals } = restored;
        // Transient messages are gone, and those that were handed out had marks above them: what
        // takes their places would seem to have been handed out, too.
        self.next = next.max(delivered).0;
        self.ready.remember(delivered, returned);
        if unread {
            self.ready.restore(stored);
        } else {
            self.read_all(&stored, seen);
        }
        let mut arena = BytesMut::new();
        for (position, octets) in arrivals {
            let again = self.recalled(position, &octets, &mut arena).and_then(&mut *seen);
            again.into_iter().for_each(|entry| self.ready.push(entry));
        }
    }

    /// Takes messages out of what is to be restored that are out already.
    pub(super) fn restore_out(
        &mut self,
        restored: &mut Restored,
        held: &Ranges,
        mut holder: impl FnMut(Position) -> Holder,
    ) {
        self.ready.remember(restored.delivered, restored.returned.clone());
        let mut arena = BytesMut::new();
        let (out, rest) = std::mem::take(&mut restored.arrivals)
            .into_iter()
            .partition(|(position, _)| held.contains(*position));
        restored.arrivals = rest;
        let mut out: Vec<_> = out;
        for range in held.iter() {
            let stored: Vec<_> = restored.stored.within(range).collect();
            for range in stored {
                restored.stored.remove(range);
                out.extend(
                    self.ready.shelf().map(|shelf| shelf.read_range(range)).unwrap_or_default(),
                );
            }
        }
        for (position, octets) in out {
            if let Some(entry) = self.recalled(position, &octets, &mut arena) {
                self.hold(entry, holder(position));
            }
        }
    }

    /// The place of the next message to arrive.
    #[inline]
    pub(super) fn next_position(&mut self) -> Position {
        let position = Position(self.next);
        self.next += 1;
        position
    }

    /// The lowest position that no message has had.
    #[inline]
    pub(super) fn end(&self) -> Position {
        Position(self.next)
    }

    /// A new message waits.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.ready.push(entry);
    }

    /// A message that was handed out waits again, at its place.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.ready.put_back(entry);
    }

    /// Takes the message whose turn it is out of the ready ones.
    #[inline]
    pub(super) fn take_head(&mut self) -> Option<Entry> {
        self.ready.pop()
    }

    /// A message is out, until it is settled.
    #[inline]
    pub(super) fn hold(&mut self, entry: Entry, holder: Holder) {
        self.unacked.insert(Out { entry, holder });
    }

    /// Takes a message out of those that are out.
    #[inline]
    pub(super) fn release(&mut self, position: Position) -> Option<Out> {
        self.unacked.remove(position)
    }

    /// Drops what is ready, and says how much it was.
    pub(super) fn clear_ready(&mut self, changes: &mut Changes) -> u64 {
        self.ready.clear(changes)
    }

    /// Has the octets of all that is ready counted.
    pub(super) fn measure(&mut self) {
        self.ready.measure();
    }

    /// Messages below a position can be read from disk now.
    pub(super) fn moved(&mut self, kept: Kept, below: Position) {
        self.ready.moved(kept, below);
    }

    /// Has the message whose turn it is in memory.
    #[inline]
    pub(super) fn fill(&mut self) {
        self.ready.fill();
    }

    /// The message whose turn it is. None also when it cannot be read from disk.
    #[inline]
    pub(super) fn head(&self) -> Option<&Entry> {
        self.ready.head()
    }

    #[inline]
    pub(super) fn ready_count(&self) -> u64 {
        self.ready.count()
    }

    #[inline]
    pub(super) fn ready_octets(&self) -> u64 {
        self.ready.octets()
    }

    /// Octets in memory of what waits behind the head.
    pub(super) fn resident(&self) -> usize {
        self.ready.resident()
    }

    /// The positions of what somebody holds, in order.
    pub(super) fn held_by(&self, holder: Holder) -> Vec<Position> {
        self.unacked.held_by(holder)
    }

    pub(super) fn is_out(&self, position: Position) -> bool {
        self.unacked.contains(position)
    }

    pub(super) fn unacked_count(&self) -> u64 {
        self.unacked.count()
    }

    pub(super) fn unacked_octets(&self) -> u64 {
        self.unacked.octets()
    }

    /// Reads what is in segments, since its sums must be known, and leaves it there again.
    fn read_all(&mut self, stored: &Ranges, seen: &mut dyn FnMut(Entry) -> Option<Entry>) {
        let Some(shelf) = self.ready.shelf().cloned() else { return };
        let mut arena = BytesMut::new();
        let mut from = Position(0);
        while let Some(read) = shelf.read(from, false)
            && let Some(last) = read.last().map(|shelved| shelved.position)
        {
            from = Position(last.0 + 1);
            self.ready.moved(Kept::Durable, from);
            let alive = read.iter().filter(|shelved| stored.contains(shelved.position));
            for shelved in alive {
                let again = self.recalled(shelved.position, &shelved.octets, &mut arena);
                let again = again.and_then(&mut *seen);
                again.into_iter().for_each(|entry| self.ready.push(entry));
            }
        }
    }

    fn recalled(&self, position: Position, octets: &[u8], arena: &mut BytesMut) -> Option<Entry> {
        Some(self.ready.recall(position, Stored::read(octets, arena)?))
    }
}
