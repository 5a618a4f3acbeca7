//! A mirrored queue's replica on this node: what its group has agreed on, leader or not.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::intake::{Producer, Producers, read_producer_key};
use crate::{
    broker::{ports::Journal, queue::Restored},
    model::{
        Batch, Entry, Meaningless, Position, PositionRange, QueueId, Ranges,
        compact::{Reader, put_varint},
        entries,
    },
};

/// The state that all replicas of a queue share, and where its messages are in this node's store.
///
/// It changes by commands that the group has agreed on, and by nothing else: replicas that have
/// applied the same commands are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    /// The number under which this node's store has the messages.
    pub(super) contents: QueueId,
    /// The last command that was applied.
    pub(super) applied: u64,
    /// The lowest position that no message has had.
    next: Position,
    /// Messages below it may have been handed out before.
    delivered: Position,
    /// How often messages came back; only those that did.
    returned: BTreeMap<Position, u32>,
    /// The messages that are alive and can be read from disk.
    stored: Ranges,
    /// Those that are in the journal alone, in order; those that have left meanwhile are empty.
    arrivals: VecDeque<(Position, Bytes)>,
    pub(super) producers: Producers,
}

impl Replica {
    /// One that has seen nothing.
    pub(super) fn new(contents: QueueId) -> Self {
        Self { contents, ..Self::default() }
    }

    /// As a restart finds it: `fact` is what [`Self::fact`] gave, `restored` what the store has.
    pub(super) fn again(fact: &[u8], restored: Restored) -> Option<Self> {
        let mut reader = Reader::new(fact);
        let contents = QueueId(reader.varint()?);
        let applied = reader.varint()?;
        // The store forgets the positions of what has left.
        let known = Position(reader.varint()?).max(restored.next);
        let producers = Producers::read(&mut reader)?;
        let Restored { delivered, returned, stored, arrivals, .. } = restored;
        let (next, arrivals) = (known, arrivals.into());
        Some(Self { contents, applied, next, delivered, returned, stored, arrivals, producers })
    }

    /// What must be written beside the messages.
    pub(super) fn fact(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        put_varint(&mut octets, self.contents.0);
        put_varint(&mut octets, self.applied);
        put_varint(&mut octets, self.next.0);
        self.producers.put(&mut octets);
        octets
    }

    /// What another node needs to have the same.
    pub(super) fn copy(&self) -> Copy {
        let mut head = Vec::new();
        for number in [self.applied, self.next.0, self.delivered.0] {
            put_varint(&mut head, number);
        }
        self.producers.put(&mut head);
        put_varint(&mut head, self.returned.len() as u64);
        for (position, count) in &self.returned {
            put_varint(&mut head, position.0);
            put_varint(&mut head, u64::from(*count));
        }
        let alive = self.arrivals.iter().filter(|(_, octets)| !octets.is_empty());
        let (contents, stored) = (self.contents, self.stored.clone());
        Copy { head, contents, stored, arrivals: alive.cloned().collect() }
    }

    /// Takes messages of a copy, in order.
    pub(super) fn take(&mut self, messages: &[(Position, Bytes)], batch: &mut Batch) {
        for (position, octets) in messages {
            self.arrive(*position, octets.clone());
            batch.enqueue(&[(self.contents, *position)], &[octets]);
        }
    }

    /// The copy with what its head says; `None` when that makes no sense.
    pub(super) fn completed(mut self, head: &[u8], batch: &mut Batch) -> Option<Self> {
        let mut reader = Reader::new(head);
        self.applied = reader.varint()?;
        self.next = Position(reader.varint()?);
        self.delivered = Position(reader.varint()?);
        self.producers = Producers::read(&mut reader)?;
        batch.delivered(self.contents, self.delivered);
        for _ in 0..reader.varint()? {
            let position = Position(reader.varint()?);
            let count = u32::try_from(reader.varint()?).ok()?;
            self.returned.insert(position, count);
            batch.put_back(self.contents, &[position.into()], count);
        }
        Some(self)
    }

    /// Applies a command, and adds to `batch` what must be written of it.
    pub(super) fn apply(
        &mut self,
        index: u64,
        command: &Bytes,
        batch: &mut Batch,
    ) -> Result<(), Meaningless> {
        debug_assert!(index > self.applied, "commands come once and in order");
        self.applied = index;
        for entry in entries(command) {
            self.apply_entry(&entry?, command, batch)?;
        }
        Ok(())
    }

    fn apply_entry(
        &mut self,
        entry: &Entry<'_>,
        command: &Bytes,
        batch: &mut Batch,
    ) -> Result<(), Meaningless> {
        match entry {
            Entry::Enqueue { targets, message } => {
                for (_, position) in *targets {
                    self.arrive(position, command.slice_ref(message));
                    batch.enqueue(&[(self.contents, position)], &[message]);
                }
            }
            Entry::Settle { ranges, .. } => {
                let ranges: Vec<_> = ranges.collect();
                ranges.iter().for_each(|range| self.leave(*range));
                batch.settle(self.contents, &ranges);
            }
            Entry::Return { ranges, count, .. } => {
                let ranges: Vec<_> = ranges.collect();
                ranges.iter().for_each(|range| self.come_back(*range, *count));
                batch.put_back(self.contents, &ranges, *count);
            }
            Entry::Delivered { below, .. } => {
                self.delivered = *below;
                batch.delivered(self.contents, *below);
            }
            Entry::Put { key, value } => {
                let node = read_producer_key(key).ok_or(Meaningless)?;
                let producer = Producer::read(&mut Reader::new(value)).ok_or(Meaningless)?;
                self.producers.set(node, producer);
            }
            Entry::Forget { .. } | Entry::Delete { .. } => return Err(Meaningless),
        }
        Ok(())
    }

    /// Messages below a position can be read from disk now.
    pub(super) fn moved(&mut self, below: Position) {
        while let Some((position, _)) = self.arrivals.front()
            && *position < below
            && let Some((position, octets)) = self.arrivals.pop_front()
        {
            if !octets.is_empty() {
                self.stored.insert(position.into());
            }
        }
    }

    /// What a leader makes a queue of.
    pub(super) fn restored(&self) -> Restored {
        let alive = self.arrivals.iter().filter(|(_, octets)| !octets.is_empty());
        Restored {
            next: self.next,
            delivered: self.delivered,
            returned: self.returned.clone(),
            stored: self.stored.clone(),
            arrivals: alive.cloned().collect(),
        }
    }

    fn arrive(&mut self, position: Position, octets: Bytes) {
        if position >= self.next {
            self.next = Position(position.0 + 1);
            self.arrivals.push_back((position, octets));
        }
    }

    fn leave(&mut self, range: PositionRange) {
        self.stored.remove(range);
        if !self.returned.is_empty() {
            let gone: Vec<_> = self
                .returned
                .range(range.first..=range.last)
                .map(|(position, _)| *position)
                .collect();
            for position in &gone {
                self.returned.remove(position);
            }
        }
        let from = self.arrivals.partition_point(|(position, _)| *position < range.first);
        for (position, octets) in self.arrivals.iter_mut().skip(from) {
            if *position > range.last {
                break;
            }
            *octets = Bytes::new();
        }
        while self.arrivals.front().is_some_and(|(_, octets)| octets.is_empty()) {
            self.arrivals.pop_front();
        }
    }

    fn come_back(&mut self, range: PositionRange, count: u32) {
        let stored = self.stored.within(range).flat_map(|range| range.first.0..=range.last.0);
        let from = self.arrivals.partition_point(|(position, _)| *position < range.first);
        let arrivals = self.arrivals.iter().skip(from);
        let arrivals = arrivals.take_while(|(position, _)| *position <= range.last);
        let alive = arrivals.filter(|(_, octets)| !octets.is_empty()).map(|(at, _)| at.0);
        let back: Vec<_> = stored.chain(alive).collect();
        self.returned.extend(back.into_iter().map(|position| (Position(position), count)));
    }
}

/// A replica at one moment, for another node.
#[derive(Debug)]
pub(in crate::broker) struct Copy {
    /// All but the messages.
    pub(in crate::broker) head: Vec<u8>,
    /// Where the store has them.
    contents: QueueId,
    stored: Ranges,
    arrivals: Vec<(Position, Bytes)>,
}

impl Copy {
    /// The messages in order, in parts of about so many octets. One that has left the queue since
    /// may be missing: the log says so behind the copy.
    pub(in crate::broker) fn for_each_part(
        self,
        journal: &dyn Journal,
        octets: usize,
        mut send: impl FnMut(Vec<(Position, Bytes)>) -> bool,
    ) -> bool {
        let mut part: Vec<(Position, Bytes)> = Vec::new();
        let mut size = 0;
        let mut add = |message: (Position, Bytes)| {
            size += message.1.len() + 16;
            part.push(message);
            if size < octets {
                return true;
            }
            size = 0;
            send(std::mem::take(&mut part))
        };
        let stored = self.stored.iter().all(|range| {
            let read = journal.read_range(self.contents, range);
            read.is_some_and(|messages| messages.into_iter().all(&mut add))
        });
        stored && self.arrivals.into_iter().all(&mut add) && send(part)
    }
}

/// Where the node's store has the messages of the replica that a fact is of.
pub(in crate::broker) fn contents_of(fact: &[u8]) -> Option<QueueId> {
    Reader::new(fact).varint().map(QueueId)
}
