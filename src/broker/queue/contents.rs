//! What is in the queue: the facts, applied without deciding anything.

use super::{
    ready::Ready,
    unacked::{Holder, Out, Unacked},
};
use crate::model::{Message, Moment, Position};

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
}

/// One change of what is in a queue: with all of them, in order, another copy is made.
///
/// A fact names its message by position, so that it can be applied twice without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A message was accepted.
    Arrived(Entry),
    /// A message came back after it was handed out, for the `delivery_count`th time on a quorum
    /// queue.
    Returned { position: Position, delivery_count: u32 },
    /// A message left: settled, dead, or dropped.
    Left(Position),
}

/// The messages of a queue, ready or out, and the next position.
///
/// Who holds a message that is out is remembered beside it, but is no fact: after a restart or on
/// another node nobody holds anything.
#[derive(Debug, Default)]
pub struct Contents {
    next: u64,
    ready: Ready,
    unacked: Unacked,
}

impl Contents {
    /// Makes a recorded change again. A position that is not here is ignored.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Arrived(entry) if entry.position.0 < self.next => {}
            Fact::Arrived(entry) => {
                self.next = entry.position.0 + 1;
                self.ready.push(entry);
            }
            Fact::Returned { position, delivery_count } => {
                if let Some(entry) = self.remove(position) {
                    self.ready.put_back(Entry { redelivered: true, delivery_count, ..entry });
                }
            }
            Fact::Left(position) => {
                self.remove(position);
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
    pub(super) fn clear_ready(&mut self) -> u64 {
        let count = self.ready.count();
        self.ready = Ready::default();
        count
    }

    /// The message whose turn it is.
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

    pub(super) fn unacked_count(&self) -> u64 {
        self.unacked.count()
    }

    fn remove(&mut self, position: Position) -> Option<Entry> {
        let out = self.unacked.remove(position).map(|out| out.entry);
        out.or_else(|| self.ready.remove(position))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn arrived(position: u64) -> Fact {
        Fact::Arrived(Entry {
            position: Position(position),
            message: Message::new(b"", b"q", &[0, 0], Bytes::from_static(b"body")),
            deadline: None,
            priority: 0,
            redelivered: false,
            delivery_count: 0,
        })
    }

    #[test]
    fn facts_make_the_contents_again() {
        let mut contents = Contents::default();
        for position in 0..4 {
            contents.apply(arrived(position));
        }
        contents.apply(Fact::Left(Position(0)));
        contents.apply(Fact::Left(Position(2)));
        contents.apply(Fact::Returned { position: Position(1), delivery_count: 1 });

        assert_eq!((contents.ready_count(), contents.ready_octets()), (2, 8));
        let first = contents.take_head().unwrap();
        assert_eq!((first.position.0, first.redelivered, first.delivery_count), (1, true, 1));
        let second = contents.take_head().unwrap();
        assert_eq!((second.position.0, second.redelivered, second.delivery_count), (3, false, 0));
        assert_eq!(contents.next_position(), Position(4));
    }

    #[test]
    fn a_fact_applied_twice_does_no_harm() {
        let mut contents = Contents::default();
        for fact in [arrived(0), arrived(0), Fact::Left(Position(0)), Fact::Left(Position(0))] {
            contents.apply(fact);
        }
        contents.apply(arrived(0));
        assert_eq!(contents.ready_count(), 0);
    }
}
