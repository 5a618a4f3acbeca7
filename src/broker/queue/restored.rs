//! What a restart finds of a queue's messages.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{Position, PositionRange, Ranges};

/// The durable messages of one queue, made by replaying what was written.
#[derive(Debug, Default)]
pub struct Restored {
    /// The lowest position that no message has had.
    pub next: Position,
    /// Messages below it may have been handed out before.
    pub delivered: Position,
    /// How often messages came back; only those that did.
    pub returned: BTreeMap<Position, u32>,
    /// The messages that are alive and can be read from disk.
    pub stored: Ranges,
    /// The messages that are alive and in the journal alone, in order.
    pub arrivals: Vec<(Position, Bytes)>,
}

impl Restored {
    /// A message joined the queue.
    pub fn arrive(&mut self, position: Position, octets: Bytes) {
        if position >= self.next {
            self.next = Position(position.0 + 1);
            self.arrivals.push((position, octets));
        }
    }

    /// Messages left the queue.
    pub fn leave(&mut self, range: PositionRange) {
        self.stored.remove(range);
        let from = self.arrivals.partition_point(|(position, _)| *position < range.first);
        for (position, octets) in &mut self.arrivals[from..] {
            if *position > range.last {
                break;
            }
            // The place is kept, so that a million settlements do not move a million messages.
            *octets = Bytes::new();
        }
    }

    /// Messages came back for the `count`th time.
    pub fn come_back(&mut self, range: PositionRange, count: u32) {
        let stored = self.stored.within(range).flat_map(|range| range.first.0..=range.last.0);
        let from = self.arrivals.partition_point(|(position, _)| *position < range.first);
        let arrivals = self.arrivals[from..].iter().map(|(position, _)| position.0);
        let arrivals = arrivals.take_while(|position| *position <= range.last.0);
        self.returned.extend(stored.chain(arrivals).map(|position| (Position(position), count)));
    }

    /// Messages below `position` may have been handed out, and no others have.
    pub fn deliver_below(&mut self, position: Position) {
        self.delivered = position;
    }

    /// Whether nothing was ever here.
    pub fn is_untouched(&self) -> bool {
        self.next == Position::default()
    }

    /// Drops what was kept for the replay's sake.
    pub(super) fn settle(mut self) -> Self {
        self.arrivals.retain(|(_, octets)| !octets.is_empty());
        let (stored, arrivals) = (&self.stored, &self.arrivals);
        self.returned.retain(|position, _| {
            let is_arrival = || arrivals.binary_search_by_key(position, |(at, _)| *at).is_ok();
            stored.contains(*position) || is_arrival()
        });
        self
    }
}
