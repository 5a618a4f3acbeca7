//! What records say, applied to maps: what must be there after a crash that left so many of them.

use std::collections::BTreeMap;

use leveret::model::{Entry, LogPosition, entries};

use super::universe::number;

/// One queue, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shelf {
    /// The number of the message at each position.
    pub(super) alive: BTreeMap<u64, u64>,
    pub(super) next: u64,
    pub(super) delivered: u64,
    pub(super) returned: BTreeMap<u64, u32>,
}

/// All queues' messages, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) queues: BTreeMap<u64, Shelf>,
}

/// Records in the order in which they were appended.
pub(super) type Records = Vec<(LogPosition, Vec<u8>)>;

impl Written {
    /// The same with all records up to `last`.
    pub(super) fn after(mut self, records: &Records, last: LogPosition) -> Self {
        let reached = records.iter().take_while(|(position, _)| *position <= last);
        reached.for_each(|(_, octets)| self.apply_all(octets));
        self
    }

    pub(super) fn apply_all(&mut self, octets: &[u8]) {
        entries(octets).for_each(|entry| self.apply(&entry.unwrap()));
    }

    pub(super) fn has(&self, place: (u64, u64)) -> bool {
        self.queues.get(&place.0).is_some_and(|shelf| shelf.alive.contains_key(&place.1))
    }

    /// Whether it is written that the message may have been handed out.
    pub(super) fn is_marked(&self, place: (u64, u64)) -> bool {
        self.queues
            .get(&place.0)
            .is_some_and(|shelf| place.1 < shelf.delivered || shelf.returned.contains_key(&place.1))
    }

    /// How often it is written that the message came back.
    pub(super) fn times(&self, place: (u64, u64)) -> u32 {
        let shelf = self.queues.get(&place.0);
        shelf.and_then(|shelf| shelf.returned.get(&place.1)).copied().unwrap_or(0)
    }

    fn apply(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Enqueue { targets, message } => {
                for (queue, position) in *targets {
                    let shelf = self.queues.entry(queue.0).or_default();
                    assert!(position.0 >= shelf.next, "{position} of {queue} is out of order");
                    shelf.next = position.0 + 1;
                    shelf.alive.insert(position.0, number(message));
                }
            }
            Entry::Settle { queue, ranges } => {
                let shelf = self.queues.entry(queue.0).or_default();
                for range in *ranges {
                    let is_left = |at: &u64| (range.first.0..=range.last.0).contains(at);
                    shelf.alive.retain(|at, _| !is_left(at));
                    shelf.returned.retain(|at, _| !is_left(at));
                }
            }
            Entry::Return { queue, ranges, count } => {
                let shelf = self.queues.entry(queue.0).or_default();
                for range in *ranges {
                    let span = range.first.0..=range.last.0;
                    let back: Vec<_> = shelf.alive.range(span).map(|(at, _)| *at).collect();
                    shelf.returned.extend(back.into_iter().map(|position| (position, *count)));
                }
            }
            Entry::Delivered { queue, below } => {
                let shelf = self.queues.entry(queue.0).or_default();
                shelf.delivered = below.0;
            }
            Entry::Forget { queue } => drop(self.queues.remove(&queue.0)),
            Entry::Put { .. } | Entry::Delete { .. } => {}
        }
    }
}
