//! Segments: messages sorted by queue and position, written once, read slice by slice.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{
    Position, PositionRange, QueueId, Ranges,
    compact::{Reader, put_varint},
};

use super::{
    backlog::{Backlog, QueueBacklog, SegmentShare, Slice},
    disk::Disk,
    error::{Damage, Error},
    names::{CHECKPOINT, FileName},
    record::{HEADER, Identity, Kind},
    record_file::{RecordFile, RecordFileWriter, Sort},
};

/// Octets of messages in a slice, more or less: what is read at once.
pub(super) const SLICE_SIZE: usize = 256 * 1024;

/// Octets of a message in a slice: a distance and a length.
const SHORTEST_MESSAGE: u64 = 2;

/// Messages that several queues of a segment share are written once if they are longer than this.
const SHARED_FROM: usize = 64;

/// A message on its way into a segment, its octets in one of several buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mover {
    pub queue: QueueId,
    pub position: Position,
    pub buffer: u32,
    pub start: u32,
    pub length: u32,
    /// Where the octets stand in the new segment, once they were written for several queues.
    pub shared_at: u64,
}

/// A slice as it was written.
pub(super) type Written = (QueueId, Position, Slice);

/// Writes segment `number` with `movers`, sorted by queue and position, and makes it durable, but
/// not yet its name. `parted` says that two messages in a row may not be in one slice.
pub(super) fn write(
    disk: &dyn Disk,
    (store, number): (u64, u64),
    movers: &mut [Mover],
    buffers: &[Bytes],
    parted: impl Fn(&Mover, &Mover) -> bool,
) -> Result<(Vec<Written>, u64), Error> {
    let name = FileName::Segment(number).to_string();
    let mut file = RecordFileWriter::create(disk, &name, Sort::Segment, store, number)?;
    write_shared(&mut file, movers, buffers)?;
    let mut written: Vec<Written> = Vec::new();
    let mut payload = Vec::new();
    let mut start = 0;
    for at in 0..movers.len() {
        let mover = movers[at];
        let previous = if at == start { mover } else { movers[at - 1] };
        encode_message(&mut payload, &mover, previous.position, buffers);
        let more = movers.get(at + 1).is_some_and(|next| {
            payload.len() < SLICE_SIZE && next.queue == mover.queue && !parted(&mover, next)
        });
        if more {
            continue;
        }
        let first = movers[start];
        let identity = Identity { group: first.queue.0, index: first.position.0, term: 0 };
        let offset = file.append(Kind::Slice, identity, &payload)?;
        let count = u32::try_from(at + 1 - start).unwrap_or(u32::MAX);
        let length = u32::try_from(payload.len()).expect("payloads are limited");
        let (segment, last) = (number, mover.position);
        let slice = Slice { segment, last, offset, length, count, live: count };
        written.push((first.queue, first.position, slice));
        payload.clear();
        start = at + 1;
    }
    let octets = file.finish(Kind::Index, &encode_index(&written))?;
    Ok((written, octets))
}

/// Octets that stand in several queues are written once, ahead of the slices.
fn write_shared(
    file: &mut RecordFileWriter,
    movers: &mut [Mover],
    buffers: &[Bytes],
) -> Result<(), Error> {
    let mut by_place: Vec<usize> = (0..movers.len()).collect();
    by_place.retain(|at| movers[*at].length as usize > SHARED_FROM);
    by_place.sort_by_key(|at| (movers[*at].buffer, movers[*at].start));
    let same_place = |a: &usize, b: &usize| {
        (movers[*a].buffer, movers[*a].start) == (movers[*b].buffer, movers[*b].start)
    };
    let runs: Vec<Vec<usize>> =
        by_place.chunk_by(same_place).filter(|run| run.len() > 1).map(<[usize]>::to_vec).collect();
    for run in runs {
        let octets = octets_of(&movers[run[0]], buffers);
        let offset = file.append(Kind::Shared, Identity::default(), octets)?;
        run.iter().for_each(|at| movers[*at].shared_at = offset);
    }
    Ok(())
}

fn octets_of<'a>(mover: &Mover, buffers: &'a [Bytes]) -> &'a [u8] {
    let start = mover.start as usize;
    &buffers[mover.buffer as usize][start..start + mover.length as usize]
}

/// The distance to the message before; then either zero and where the octets are shared, or one
/// more than their length and the octets.
fn encode_message(payload: &mut Vec<u8>, mover: &Mover, previous: Position, buffers: &[Bytes]) {
    put_varint(payload, mover.position.0 - previous.0);
    if mover.shared_at > 0 {
        put_varint(payload, 0);
        put_varint(payload, mover.shared_at);
        return;
    }
    put_varint(payload, u64::from(mover.length) + 1);
    payload.extend_from_slice(octets_of(mover, buffers));
}

/// The octets of a message in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Octets<'a> {
    Here(&'a [u8]),
    Shared(u64),
}

/// Gives every message of a slice to `each`; none if the payload means nothing.
pub(super) fn decode_slice<'a>(
    first: Position,
    payload: &'a [u8],
    mut each: impl FnMut(Position, Octets<'a>),
) -> Option<()> {
    let mut reader = Reader::new(payload);
    let mut position = first.0;
    while !reader.is_empty() {
        position = position.checked_add(reader.varint()?)?;
        let octets = match reader.varint()? {
            0 => Octets::Shared(reader.varint()?),
            more => Octets::Here(reader.take(usize::try_from(more - 1).ok()?)?),
        };
        each(Position(position), octets);
    }
    Some(())
}

fn encode_index(written: &[Written]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (queue, first, slice) in written {
        put_varint(&mut octets, queue.0);
        put_varint(&mut octets, first.0);
        put_varint(&mut octets, slice.last.0 - first.0);
        put_varint(&mut octets, slice.offset);
        put_varint(&mut octets, u64::from(slice.length));
        put_varint(&mut octets, u64::from(slice.count));
    }
    octets
}

fn decode_index(segment: u64, payload: &[u8]) -> Option<Vec<Written>> {
    let mut reader = Reader::new(payload);
    let mut written = Vec::new();
    while !reader.is_empty() {
        let queue = QueueId(reader.varint()?);
        let first = Position(reader.varint()?);
        let last = Position(first.0.checked_add(reader.varint()?)?);
        let offset = reader.varint()?;
        let length = u32::try_from(reader.varint()?).ok()?;
        let count = u32::try_from(reader.varint()?).ok()?;
        written.push((queue, first, Slice { segment, last, offset, length, count, live: 0 }));
    }
    Some(written)
}

/// An open segment.
pub(super) struct Segment {
    name: String,
    number: u64,
    file: RecordFile,
    /// Shared octets that were read, so that who asks again shares them.
    shared: BTreeMap<u64, Bytes>,
}

impl Segment {
    pub(super) fn open(disk: &dyn Disk, number: u64) -> Result<Self, Error> {
        let name = FileName::Segment(number).to_string();
        let file = RecordFile::open(disk, &name, Sort::Segment)?;
        match file.number == number {
            true => Ok(Self { name, number, file, shared: BTreeMap::new() }),
            false => Err(Error::damaged(&name, 0, Damage::Head)),
        }
    }

    pub(super) fn index(&self) -> Result<Vec<Written>, Error> {
        let payload = self.file.last(Kind::Index)?;
        decode_index(self.number, &payload)
            .filter(|index| index.iter().all(|written| self.may_hold(written)))
            .ok_or_else(|| Error::damaged(&self.name, 0, Damage::Meaningless))
    }

    /// Whether there is room for the slice in this file, and for its messages in the slice.
    fn may_hold(&self, (_, first, slice): &Written) -> bool {
        let record = HEADER as u64 + u64::from(slice.length);
        slice.offset.checked_add(record).is_some_and(|end| end <= self.length())
            && u64::from(slice.count) <= u64::from(slice.length) / SHORTEST_MESSAGE
            && u64::from(slice.count) <= PositionRange { first: *first, last: slice.last }.span()
    }

    pub(super) fn length(&self) -> u64 {
        self.file.length()
    }

    /// The messages of a slice, their octets shared with the slice's.
    pub(super) fn messages(
        &mut self,
        first: Position,
        slice: &Slice,
    ) -> Result<Vec<(Position, Bytes)>, Error> {
        let length = slice.length as usize;
        let payload = Bytes::from(self.file.payload_at(slice.offset, length, Kind::Slice)?);
        let mut found = Vec::with_capacity(slice.count as usize);
        decode_slice(first, &payload, |position, octets| found.push((position, octets)))
            .ok_or_else(|| Error::damaged(&self.name, slice.offset, Damage::Meaningless))?;
        let resolved = found.into_iter().map(|(position, octets)| match octets {
            Octets::Here(octets) => Ok((position, payload.slice_ref(octets))),
            Octets::Shared(offset) => Ok((position, self.shared(offset)?)),
        });
        resolved.collect()
    }

    /// Reads all of it, and says how many messages it holds.
    pub(super) fn verify(&self) -> Result<u64, Error> {
        let mut messages = 0;
        self.file.walk(|at, header, payload| {
            if header.kind == Kind::Slice {
                decode_slice(Position(header.identity.index), payload, |_, _| messages += 1)
                    .ok_or_else(|| Error::damaged(&self.name, at, Damage::Meaningless))?;
            }
            Ok(())
        })?;
        Ok(messages)
    }

    fn shared(&mut self, offset: u64) -> Result<Bytes, Error> {
        if let Some(octets) = self.shared.get(&offset) {
            return Ok(octets.clone());
        }
        let octets = Bytes::from(self.file.payload_found_at(offset, Kind::Shared)?);
        self.shared.insert(offset, octets.clone());
        Ok(octets)
    }
}

/// Reads the slices of every segment of the backlog into it, and counts what is alive.
pub(super) fn load(disk: &dyn Disk, backlog: &mut Backlog) -> Result<(), Error> {
    let numbers: Vec<_> = backlog.segments.keys().copied().collect();
    for number in numbers {
        let segment = Segment::open(disk, number)?;
        let share = SegmentShare { octets: segment.length(), ..SegmentShare::default() };
        backlog.segments.insert(number, share);
        for (queue, first, slice) in segment.index()? {
            backlog.add(queue, first, slice);
            backlog.recount(queue, first);
            if !backlog.is_sound(queue, first) {
                return Err(Error::damaged(&segment.name, slice.offset, Damage::OutOfOrder));
            }
        }
    }
    let is_held = |(queue, state): (&QueueId, &QueueBacklog)| {
        let held = backlog.held(*queue);
        let found = held.iter().flat_map(|range| state.live.within(range)).collect::<Ranges>();
        found.count() == state.live.count()
    };
    match backlog.queues.iter().all(is_held) {
        true => Ok(()),
        false => Err(Error::damaged(CHECKPOINT, 0, Damage::OutOfOrder)),
    }
}
