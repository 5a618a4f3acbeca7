//! What the segments hold: which messages of which queue are alive in them, and where.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Position, PositionRange, QueueId, Ranges};

/// Messages that outlived their part of the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog {
    pub(super) queues: BTreeMap<QueueId, QueueBacklog>,
    /// Slices by their queue and first position; those of a queue never overlap.
    pub(super) slices: BTreeMap<(QueueId, Position), Slice>,
    pub(super) segments: BTreeMap<u64, SegmentShare>,
    /// No queue has been seen whose number is as high.
    pub(super) queue_floor: u64,
}

/// One queue, as of the part of the journal that was retired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueBacklog {
    /// The lowest position that no message has had.
    pub next: Position,
    /// Messages below it may have been handed out before.
    pub delivered: Position,
    /// The messages that are alive in segments.
    pub live: Ranges,
    /// How often messages came back; only those that did.
    pub returned: BTreeMap<Position, u32>,
}

/// A run of messages of one queue in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub segment: u64,
    pub last: Position,
    pub offset: u64,
    pub length: u32,
    /// How many messages were written, and how many of them are alive.
    pub count: u32,
    pub live: u32,
}

/// How much of a segment is still of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentShare {
    pub octets: u64,
    pub count: u64,
    pub live: u64,
}

impl SegmentShare {
    pub(super) fn live_octets(&self) -> u64 {
        let share = u128::from(self.octets) * u128::from(self.live);
        u64::try_from(share / u128::from(self.count.max(1))).unwrap_or(u64::MAX)
    }
}

impl Backlog {
    /// Takes messages out: they were settled.
    pub(super) fn settle(&mut self, queue: QueueId, range: PositionRange) {
        let Some(state) = self.queues.get_mut(&queue) else { return };
        if state.live.remove(range) == 0 {
            return;
        }
        let returned = state.returned.range(range.first..=range.last);
        let returned: Vec<_> = returned.map(|(position, _)| *position).collect();
        for position in returned {
            state.returned.remove(&position);
        }
        let touched: Vec<_> = self.overlapping(queue, range).collect();
        for first in touched {
            self.recount(queue, first);
        }
    }

    /// Counts what is alive in a slice, and drops the slice when nothing is.
    pub(super) fn recount(&mut self, queue: QueueId, first: Position) {
        let Some(slice) = self.slices.get_mut(&(queue, first)) else { return };
        let range = PositionRange { first, last: slice.last };
        let live = self
            .queues
            .get(&queue)
            .map_or(0, |state| state.live.within(range).map(|range| range.span()).sum::<u64>());
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        if let Some(share) = self.segments.get_mut(&slice.segment) {
            share.live = share.live - u64::from(slice.live) + u64::from(live);
        }
        slice.live = live;
        if live == 0 {
            self.slices.remove(&(queue, first));
        }
    }

    /// Drops a queue and all that it has here.
    pub(super) fn forget(&mut self, queue: QueueId) {
        let every = PositionRange::new(0, u64::MAX);
        self.settle(queue, every);
        self.queues.remove(&queue);
    }

    /// Adds a slice all of whose messages are alive.
    pub(super) fn add(&mut self, queue: QueueId, first: Position, slice: Slice) {
        if let Some(share) = self.segments.get_mut(&slice.segment) {
            share.count += u64::from(slice.count);
            share.live += u64::from(slice.live);
        }
        self.slices.insert((queue, first), slice);
    }

    /// Whether no more messages are alive in a slice than were written.
    pub(super) fn is_sound(&self, queue: QueueId, first: Position) -> bool {
        self.slices.get(&(queue, first)).is_none_or(|slice| slice.live <= slice.count)
    }

    /// The positions for which a queue has slices.
    pub(super) fn held(&self, queue: QueueId) -> Ranges {
        let slices = self.slices.range((queue, Position(0))..=(queue, Position(u64::MAX)));
        slices
            .map(|((_, first), slice)| PositionRange { first: *first, last: slice.last })
            .collect()
    }

    /// The queue's state, made if need be.
    pub(super) fn queue_mut(&mut self, queue: QueueId) -> &mut QueueBacklog {
        self.queue_floor = self.queue_floor.max(queue.base().0 + 1);
        self.queues.entry(queue).or_default()
    }

    /// The first message alive at or behind `from`, and the slice that it should be in: the first
    /// position of it, and where it is. None: there is no such message.
    pub(super) fn find(
        &self,
        queue: QueueId,
        from: Position,
    ) -> Option<(Position, Position, Slice)> {
        let every = PositionRange { first: from, last: Position(u64::MAX) };
        let live = self.queues.get(&queue)?.live.within(every).next()?;
        let (key, slice) =
            self.slices.range((queue, Position(0))..=(queue, live.first)).next_back()?;
        Some((live.first, key.1, *slice))
    }

    /// Segments of which nothing is of use.
    pub(super) fn dead(&self) -> Vec<u64> {
        let dead = self.segments.iter().filter(|(_, share)| share.live == 0);
        dead.map(|(number, _)| *number).collect()
    }

    /// Segments that are worth merging: mostly dead, or small. None while they are few.
    ///
    /// So the segments hold at most twice what is alive, and a few of them more.
    pub(super) fn sparse(&self, segment_size: u64) -> BTreeSet<u64> {
        let mut chosen = BTreeSet::new();
        let mut octets = 0;
        for (number, share) in &self.segments {
            let live = share.live_octets();
            let sparse = live < share.octets / 2 || share.octets < segment_size / 4;
            if share.live > 0 && sparse && octets + live <= 2 * segment_size {
                octets += live;
                chosen.insert(*number);
            }
        }
        if chosen.len() < MERGE_AT_LEAST { BTreeSet::new() } else { chosen }
    }

    fn overlapping(
        &self,
        queue: QueueId,
        range: PositionRange,
    ) -> impl Iterator<Item = Position> + '_ {
        let before = self.slices.range((queue, Position(0))..(queue, range.first)).next_back();
        let before = before.filter(move |(_, slice)| slice.last >= range.first);
        let from = (queue, range.first)..=(queue, range.last);
        before.into_iter().chain(self.slices.range(from)).map(|(key, _)| key.1)
    }
}

/// Fewer sparse segments than this are left alone.
const MERGE_AT_LEAST: usize = 4;
