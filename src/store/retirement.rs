//! When a part of the journal may go: what is alive in it moves to a segment; sparse segments
//! merge.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::model::{Entry, Meaningless, Position, PositionRange, QueueId, Ranges, entries};

use super::{
    backlog::{Backlog, SegmentShare},
    checkpoint::Facts,
    disk::Disk,
    error::{Damage, Error},
    names::FileName,
    record_file, recovery,
    segment::{self, Mover, Segment, Written},
    writer::FullFile,
};

/// What the oldest part of the journal changes, with what later parts have already undone.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub movers: Vec<Mover>,
    pub buffer: Bytes,
    /// Messages that were settled, in this part or a later one.
    gone: BTreeMap<QueueId, Ranges>,
    /// Of each queue that was forgotten: how many movers came before that, and are gone with it.
    forgotten: BTreeMap<QueueId, usize>,
    next: BTreeMap<QueueId, Position>,
    delivered: BTreeMap<QueueId, Position>,
    returned: Vec<(QueueId, PositionRange, u32)>,
    /// Facts put, or deleted, in order.
    facts: Vec<(Bytes, Option<Bytes>)>,
}

/// Reads the oldest of these parts, and in the later ones what has become of its messages.
///
/// Only what is durable is read: a settlement that a crash could undo does not end a message.
pub(super) fn collect(
    disk: &dyn Disk,
    store: u64,
    parts: &[FullFile],
    lenient: bool,
    read_ahead: &mut ReadAhead,
) -> Result<Changes, Error> {
    let Some((oldest, later)) = parts.split_first() else { return Ok(Changes::default()) };
    let mut changes = match read_ahead.take(oldest) {
        Some(changes) => changes,
        None => read(disk, store, *oldest, lenient)?,
    };
    for part in later {
        let known = match read_ahead.take(part) {
            Some(known) => known,
            None => read(disk, store, *part, lenient)?,
        };
        changes.outlive(&known);
        read_ahead.keep(part, known);
    }
    changes.drop_dead();
    Ok(changes)
}

/// Reads what has become of messages in a part that is not to be retired.
pub(super) fn collect_later(
    disk: &dyn Disk,
    store: u64,
    part: FullFile,
    lenient: bool,
) -> Result<Changes, Error> {
    let mut changes = Changes::default();
    changes.outlive(&read(disk, store, part, lenient)?);
    Ok(changes)
}

/// A part that was read to learn what has become of an older one's messages. It is the next to be
/// retired, and need not be read again for that.
#[derive(Debug, Default)]
pub(super) struct ReadAhead(Option<(FullFile, Changes)>);

impl ReadAhead {
    fn take(&mut self, part: &FullFile) -> Option<Changes> {
        self.0.take_if(|(known, _)| known == part).map(|(_, changes)| changes)
    }

    fn keep(&mut self, part: &FullFile, changes: Changes) {
        if self.0.as_ref().is_none_or(|(known, _)| known.sequence > part.sequence) {
            self.0 = Some((*part, changes));
        }
    }
}

fn read(disk: &dyn Disk, store: u64, part: FullFile, lenient: bool) -> Result<Changes, Error> {
    let name = FileName::Journal(part.sequence).to_string();
    let octets = Bytes::from(record_file::read_whole(disk, &name)?);
    let mut changes = Changes { buffer: octets.clone(), ..Changes::default() };
    recovery::walk_part(&octets, store, (part, lenient), |header, payload| {
        let understood = entries(payload).try_for_each(|entry| {
            changes.add(&entry?);
            Ok(())
        });
        understood.map_err(|Meaningless| Error::damaged(&name, header.log, Damage::Meaningless))
    })?;
    Ok(changes)
}

impl Changes {
    fn add(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Enqueue { targets, message } => {
                let start = message.as_ptr() as usize - self.buffer.as_ptr() as usize;
                let start = u32::try_from(start).expect("journal files are below 4 GiB");
                let length = u32::try_from(message.len()).expect("payloads are limited");
                for (queue, position) in *targets {
                    let mover = Mover { queue, position, buffer: 0, start, length, shared_at: 0 };
                    self.movers.push(mover);
                }
            }
            Entry::Return { queue, ranges, count } => {
                self.returned.extend(ranges.map(|range| (*queue, range, *count)));
            }
            Entry::Delivered { queue, below } => {
                self.delivered.insert(*queue, *below);
            }
            Entry::Put { key, value } => {
                let value = self.buffer.slice_ref(value);
                self.facts.push((self.buffer.slice_ref(key), Some(value)));
            }
            Entry::Delete { key } => self.facts.push((self.buffer.slice_ref(key), None)),
            Entry::Settle { queue, ranges } => {
                let gone = self.gone.entry(*queue).or_default();
                ranges.for_each(|range| gone.insert(range));
            }
            Entry::Forget { queue } => {
                self.forgotten.insert(*queue, self.movers.len());
                self.gone.remove(queue);
            }
        }
    }

    /// Adds what a later part says of messages that are gone.
    fn outlive(&mut self, later: &Self) {
        for (queue, ranges) in &later.gone {
            let gone = self.gone.entry(*queue).or_default();
            ranges.iter().for_each(|range| gone.insert(range));
        }
        self.forgotten.extend(later.forgotten.keys().map(|queue| (*queue, usize::MAX)));
    }

    /// Leaves the messages that are alive, in the order of queues and positions.
    fn drop_dead(&mut self) {
        let (gone, forgotten, next) = (&self.gone, &self.forgotten, &mut self.next);
        let mut index = 0;
        self.movers.retain(|mover| {
            index += 1;
            if forgotten.get(&mover.queue).is_some_and(|before| index <= *before) {
                return false;
            }
            let next = next.entry(mover.queue).or_default();
            next.0 = next.0.max(mover.position.0.saturating_add(1));
            !gone.get(&mover.queue).is_some_and(|gone| gone.contains(mover.position))
        });
        self.movers.sort_unstable();
        self.movers.dedup_by_key(|mover| (mover.queue, mover.position));
    }

    /// Makes the changes in the topology.
    pub(super) fn apply_to_facts(&self, facts: &mut Facts) {
        for (key, value) in &self.facts {
            match value {
                // A copy, so that a small fact does not keep the whole part in memory.
                Some(value) => {
                    facts.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                }
                None => {
                    facts.remove(key);
                }
            }
        }
    }

    pub(super) fn changes_facts(&self) -> bool {
        !self.facts.is_empty()
    }

    /// Makes the changes in the backlog, `written` being the segment made of the movers.
    pub(super) fn apply(&self, backlog: &mut Backlog, written: Option<&NewSegment>) {
        // First: what came after may be of a queue of the same number.
        for queue in self.forgotten.keys() {
            backlog.queue_floor = backlog.queue_floor.max(queue.base().0 + 1);
            backlog.forget(*queue);
        }
        for (queue, next) in &self.next {
            let state = backlog.queue_mut(*queue);
            state.next = state.next.max(*next);
        }
        for (queue, delivered) in &self.delivered {
            if let Some(state) = backlog.queues.get_mut(queue) {
                state.delivered = *delivered;
            }
        }
        for (queue, gone) in &self.gone {
            gone.iter().for_each(|range| backlog.settle(*queue, range));
        }
        if let Some(written) = written {
            written.add_to(backlog, &self.movers);
        }
        for (queue, range, count) in &self.returned {
            put_back(backlog, *queue, *range, *count);
        }
    }
}

fn put_back(backlog: &mut Backlog, queue: QueueId, range: PositionRange, count: u32) {
    let Some(state) = backlog.queues.get_mut(&queue) else { return };
    let alive: Vec<_> = state.live.within(range).collect();
    for position in alive.iter().flat_map(|range| range.first.0..=range.last.0) {
        state.returned.insert(Position(position), count);
    }
}

/// A segment that was written and is not yet known to the backlog.
pub(super) struct NewSegment {
    pub number: u64,
    octets: u64,
    slices: Vec<Written>,
}

impl NewSegment {
    /// Writes what outlived its part of the journal.
    pub(super) fn of_movers(
        disk: &dyn Disk,
        (store, number): (u64, u64),
        changes: &mut Changes,
    ) -> Result<Option<Self>, Error> {
        if changes.movers.is_empty() {
            return Ok(None);
        }
        let buffers = [changes.buffer.clone()];
        let (slices, octets) =
            segment::write(disk, (store, number), &mut changes.movers, &buffers, |_, _| false)?;
        Ok(Some(Self { number, octets, slices }))
    }

    /// Writes what is alive in the segments `from`.
    pub(super) fn of_segments(
        disk: &dyn Disk,
        (store, number): (u64, u64),
        from: &BTreeSet<u64>,
        backlog: &Backlog,
    ) -> Result<Self, Error> {
        let (mut movers, buffers) = read_alive(disk, from, backlog)?;
        let stays = |key: &(QueueId, Position)| {
            backlog.slices.get(key).is_some_and(|slice| !from.contains(&slice.segment))
        };
        let parted = |one: &Mover, next: &Mover| {
            let between = (one.queue, one.position)..(next.queue, next.position);
            one.position.0.checked_add(1) != Some(next.position.0)
                && backlog.slices.range(between).any(|(key, _)| stays(key))
        };
        let (slices, octets) =
            segment::write(disk, (store, number), &mut movers, &buffers, parted)?;
        Ok(Self { number, octets, slices })
    }

    /// The backlog knows the segment, and that its messages are alive.
    pub(super) fn add_to(&self, backlog: &mut Backlog, movers: &[Mover]) {
        let share = SegmentShare { octets: self.octets, ..SegmentShare::default() };
        backlog.segments.insert(self.number, share);
        for run in movers.chunk_by(|a, b| a.queue == b.queue && a.position.0 + 1 == b.position.0) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let range = PositionRange { first: first.position, last: last.position };
            backlog.queue_mut(first.queue).live.insert(range);
        }
        for (queue, first, slice) in &self.slices {
            backlog.add(*queue, *first, *slice);
        }
    }

    /// Takes the place of the segments it was made of. What was settled meanwhile is counted again.
    pub(super) fn replace(&self, backlog: &mut Backlog, from: &BTreeSet<u64>) {
        backlog.slices.retain(|_, slice| !from.contains(&slice.segment));
        from.iter().for_each(|number| {
            backlog.segments.remove(number);
        });
        let share = SegmentShare { octets: self.octets, ..SegmentShare::default() };
        backlog.segments.insert(self.number, share);
        for (queue, first, slice) in &self.slices {
            backlog.add(*queue, *first, *slice);
            backlog.recount(*queue, *first);
        }
    }

    /// Each queue that has messages in it, and the position behind its last.
    pub(super) fn queues(&self) -> impl Iterator<Item = (QueueId, Position)> + '_ {
        self.slices
            .chunk_by(|a, b| a.0 == b.0)
            .filter_map(|run| run.last())
            .map(|(queue, _, slice)| (*queue, Position(slice.last.0.saturating_add(1))))
    }
}

/// The messages alive in some segments, with the buffers that hold their octets.
fn read_alive(
    disk: &dyn Disk,
    from: &BTreeSet<u64>,
    backlog: &Backlog,
) -> Result<(Vec<Mover>, Vec<Bytes>), Error> {
    let (mut movers, mut buffers) = (Vec::new(), Vec::<Bytes>::new());
    let mut open = BTreeMap::new();
    for number in from {
        open.insert(*number, Segment::open(disk, *number)?);
    }
    let mut places = BTreeMap::new();
    for ((queue, first), slice) in &backlog.slices {
        let Some(segment) = open.get_mut(&slice.segment) else { continue };
        let Some(state) = backlog.queues.get(queue) else { continue };
        for (position, octets) in segment.messages(*first, slice)? {
            if !state.live.contains(position) {
                continue;
            }
            let length = u32::try_from(octets.len()).expect("payloads are limited");
            // Shared octets keep one place, by which they are found to be shared again.
            let place = places.entry((octets.as_ptr() as usize, length)).or_insert_with(|| {
                buffers.push(octets);
                buffers.len() - 1
            });
            let buffer = u32::try_from(*place).expect("a segment holds fewer messages");
            let (queue, shared_at) = (*queue, 0);
            movers.push(Mover { queue, position, buffer, start: 0, length, shared_at });
        }
    }
    movers.sort_unstable();
    Ok((movers, buffers))
}
