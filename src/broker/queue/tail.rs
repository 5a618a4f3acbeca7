//! The messages of one priority that wait behind the head: packed in memory, or on disk alone.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use bytes::{Bytes, BytesMut};

use super::{
    changes::{Changes, Kept},
    contents::Entry,
    sequence::Sequence,
    shelf::Shelf,
    stored::Stored,
};
use crate::model::{
    PACKED_BODY_LIMIT, Position, PositionRange, Ranges,
    compact::{Reader, put_varint},
};

/// Octets after which a new stretch begins, of packed messages and of bodies kept apart.
const STRETCH: usize = if cfg!(test) { 500 } else { 64 * 1024 };
const STRETCH_BODIES: usize = if cfg!(test) { 3000 } else { 256 * 1024 };

/// So many stretches at the front stay in memory, wherever else they are: a queue that is not long
/// is never read from disk.
const AT_HAND: usize = if cfg!(test) { 2 } else { 16 };

/// Messages in the order of their positions, in stretches. None of them has ever left the queue.
#[derive(Debug, Default)]
pub(super) struct Tail {
    stretches: VecDeque<Stretch>,
    /// Octets in memory.
    resident: usize,
    /// Durable messages and spilled ones below these positions can be read from disk.
    moved: Position,
    moved_spilled: Position,
}

#[derive(Debug)]
enum Stretch {
    Packed(Packed),
    OnDisk(OnDisk),
}

#[derive(Debug)]
struct Packed {
    first: Position,
    last: Position,
    count: u64,
    kinds: Kinds,
    /// Of each message: how far from the last one, [`Kept`], length, and [`Stored`].
    octets: Vec<u8>,
    /// The bodies that are too large to be packed.
    bodies: Vec<Bytes>,
    body_octets: usize,
}

#[derive(Debug)]
struct OnDisk {
    /// From here on it has not been read.
    first: Position,
    last: Position,
    count: u64,
    kinds: Kinds,
    /// After a restart: which of the messages there are the queue's.
    alive: Option<Ranges>,
    /// The octets of the bodies are counted. After a restart they are not before they are read.
    is_measured: bool,
}

/// How the messages of a stretch are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds {
    in_memory: bool,
    spilled: bool,
    durable: bool,
}

/// What the queue remembers of messages that were here before a restart.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Messages below it may have been handed out.
    pub(super) delivered: Position,
    /// How often messages came back.
    pub(super) returned: BTreeMap<Position, u32>,
}

/// What [`Tail::refill`] needs beside itself.
pub(super) struct Source<'a> {
    pub(super) level: u8,
    /// The highest level of the queue.
    pub(super) highest: u8,
    pub(super) shelf: Option<&'a Shelf>,
    pub(super) past: &'a Past,
    pub(super) arena: &'a mut BytesMut,
}

/// What [`Tail::refill`] found out about how much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Octets of bodies that had not been counted.
    pub(super) octets: u64,
    /// Messages that were counted, and are not there.
    pub(super) missing: u64,
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Octets in memory.
    pub(super) fn resident(&self) -> usize {
        self.resident
    }

    /// Adds a message that is newer than all others.
    pub(super) fn push(&mut self, entry: &Entry) {
        let has_room =
            matches!(self.stretches.back(), Some(Stretch::Packed(last)) if last.has_room());
        if !has_room {
            if matches!(self.stretches.back(), Some(Stretch::Packed(full)) if self.is_on_disk(full))
            {
                self.leave_to_disk();
            }
            self.stretches.push_back(Stretch::Packed(Packed::starting_at(entry.position)));
        }
        if let Some(Stretch::Packed(last)) = self.stretches.back_mut() {
            self.resident += last.push(entry);
        }
    }

    /// Adds what was on disk when the node started, before anything else.
    pub(super) fn restore(&mut self, alive: Ranges) {
        let (Some(first), Some(last)) = (alive.first(), alive.iter().last()) else { return };
        let kinds = Kinds { durable: true, ..Kinds::default() };
        let count = alive.count();
        let last = last.last;
        let alive = Some(alive);
        let on_disk = OnDisk { first, last, count, kinds, alive, is_measured: false };
        self.stretches.push_back(Stretch::OnDisk(on_disk));
    }

    /// Counts what lies on disk and is not counted yet, and gives the octets of the bodies.
    pub(super) fn measure(&mut self, shelf: &Shelf) -> u64 {
        let on_disk = self.stretches.iter_mut().filter_map(|stretch| match stretch {
            Stretch::OnDisk(on_disk) if !on_disk.is_measured => Some(on_disk),
            Stretch::OnDisk(_) | Stretch::Packed(_) => None,
        });
        on_disk.filter_map(|on_disk| on_disk.measure(shelf)).sum()
    }

    /// Messages below a position can be read from disk now: most of them leave memory.
    pub(super) fn moved(&mut self, kept: Kept, below: Position) {
        match kept {
            Kept::Durable => self.moved = self.moved.max(below),
            Kept::Spilled => self.moved_spilled = self.moved_spilled.max(below),
            Kept::InMemory => {}
        }
        self.leave_to_disk();
    }

    /// Moves the next messages to the end of `head`. `None` when they cannot be read.
    pub(super) fn refill(&mut self, source: &mut Source<'_>, head: &mut Sequence) -> Option<Found> {
        let mut found = Found::default();
        let before = head.octets();
        while head.octets() == before
            && let Some(first) = self.stretches.front_mut()
        {
            let is_over = match first {
                Stretch::Packed(packed) => {
                    self.resident -= packed.resident();
                    found.missing += packed.unpack(source, head);
                    true
                }
                Stretch::OnDisk(on_disk) => on_disk.read(source, head, &mut found)?,
            };
            if is_over {
                self.stretches.pop_front();
            }
        }
        Some(found)
    }

    /// Drops everything. The ranges cover no other message of a queue with one priority.
    pub(super) fn clear(&mut self, changes: &mut Changes) {
        for stretch in mem::take(&mut self.stretches) {
            match stretch {
                Stretch::Packed(Packed { first, last, kinds, .. })
                | Stretch::OnDisk(OnDisk { first, last, kinds, alive: None, .. }) => {
                    kinds.leave(PositionRange { first, last }, changes);
                }
                Stretch::OnDisk(OnDisk { first, last, kinds, alive: Some(alive), .. }) => {
                    let rest = alive.within(PositionRange { first, last });
                    rest.for_each(|range| kinds.leave(range, changes));
                }
            }
        }
        self.resident = 0;
    }

    /// Drops from memory what can be read from disk, but for what is near the front and the stretch
    /// that is being filled.
    fn leave_to_disk(&mut self) {
        let filled = self.stretches.len().saturating_sub(1);
        let before = self.resident;
        for index in (AT_HAND..filled).rev() {
            let Stretch::Packed(packed) = &self.stretches[index] else { continue };
            if !self.is_on_disk(packed) {
                continue;
            }
            self.resident -= packed.resident();
            let Packed { first, last, count, kinds, .. } = *packed;
            let on_disk = OnDisk { first, last, count, kinds, alive: None, is_measured: true };
            self.stretches[index] = Stretch::OnDisk(on_disk);
        }
        if self.resident < before {
            self.melt();
        }
    }

    /// Makes one of neighbours on disk.
    fn melt(&mut self) {
        let melted = mem::take(&mut self.stretches);
        for stretch in melted {
            match (self.stretches.back_mut(), stretch) {
                (Some(Stretch::OnDisk(before)), Stretch::OnDisk(after))
                    if before.alive.is_none() && after.alive.is_none() =>
                {
                    before.last = after.last;
                    before.count += after.count;
                    before.kinds = before.kinds.and(after.kinds);
                }
                (_, stretch) => self.stretches.push_back(stretch),
            }
        }
    }

    fn is_on_disk(&self, packed: &Packed) -> bool {
        let Packed { kinds, last, .. } = packed;
        !kinds.in_memory
            && (!kinds.durable || *last < self.moved)
            && (!kinds.spilled || *last < self.moved_spilled)
    }
}

impl Packed {
    fn starting_at(position: Position) -> Self {
        Self {
            first: position,
            last: position,
            count: 0,
            kinds: Kinds::default(),
            octets: Vec::with_capacity(STRETCH),
            bodies: Vec::new(),
            body_octets: 0,
        }
    }

    /// With room to spare, so that the octets of small messages are allocated once.
    fn has_room(&self) -> bool {
        self.octets.len() < STRETCH - STRETCH / 16 && self.body_octets < STRETCH_BODIES
    }

    fn resident(&self) -> usize {
        self.octets.len() + self.body_octets
    }

    /// Adds a message, and says how many octets it takes.
    fn push(&mut self, entry: &Entry) -> usize {
        let before = self.resident();
        let Entry { position, message, deadline, priority, kept, .. } = entry;
        let gap = position.0 - self.last.0;
        let body = message.body();
        let is_apart = body.len() > PACKED_BODY_LIMIT;
        put_varint(&mut self.octets, gap);
        self.octets.push(code(*kept) | if is_apart { APART } else { 0 });
        let length_at = self.octets.len();
        self.octets.extend_from_slice(&[0; 4]);
        Stored::put_head(&mut self.octets, message, *priority, *deadline);
        if is_apart {
            self.bodies.push(body.clone());
            self.body_octets += body.len();
        } else {
            self.octets.extend_from_slice(body);
        }
        let length = u32::try_from(self.octets.len() - length_at - 4).unwrap_or(u32::MAX);
        self.octets[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        self.last = *position;
        self.count += 1;
        self.kinds.add(*kept);
        self.resident() - before
    }

    /// Gives back the messages, and says how many could not be.
    fn unpack(&mut self, source: &mut Source<'_>, head: &mut Sequence) -> u64 {
        let mut rest = &self.octets[..];
        let mut bodies = mem::take(&mut self.bodies).into_iter();
        let (mut position, mut missing) = (self.first, self.count);
        while let Some((framed, after)) = Framed::split(rest) {
            rest = after;
            position.0 += framed.gap;
            let stored = match framed.is_apart {
                false => Stored::read(framed.octets, source.arena),
                true => bodies
                    .next()
                    .and_then(|body| Stored::read_apart(framed.octets, body, source.arena)),
            };
            let Some(stored) = stored else { continue };
            head.push_back(source.past.entry(position, stored, source.level, framed.kept));
            missing -= 1;
        }
        missing
    }
}

impl OnDisk {
    /// The octets of the bodies. `None` when they cannot be read.
    fn measure(&mut self, shelf: &Shelf) -> Option<u64> {
        let mut octets = 0;
        let mut from = self.first;
        while from <= self.last {
            let read = shelf.read(from, self.kinds.spilled)?;
            let Some(end) = read.last().map(|shelved| shelved.position) else { break };
            let is_here = |position: Position| {
                position <= self.last
                    && self.alive.as_ref().is_none_or(|alive| alive.contains(position))
            };
            let bodies = read.iter().filter(|shelved| is_here(shelved.position));
            let lengths = bodies.filter_map(|shelved| Stored::body_length(&shelved.octets));
            octets += lengths.map(|length| length as u64).sum::<u64>();
            from = Position(end.0.saturating_add(1));
        }
        self.is_measured = true;
        Some(octets)
    }

    /// Reads some of the messages, and says whether that was all.
    fn read(
        &mut self,
        source: &mut Source<'_>,
        head: &mut Sequence,
        found: &mut Found,
    ) -> Option<bool> {
        let read = source.shelf?.read(self.first, self.kinds.spilled)?;
        let Some(end) = read.last().map(|shelved| shelved.position) else {
            found.missing += self.count;
            return Some(true);
        };
        for shelved in read.into_iter().take_while(|shelved| shelved.position <= self.last) {
            let position = shelved.position;
            let is_here = self.alive.as_ref().is_none_or(|alive| alive.contains(position));
            if !is_here {
                continue;
            }
            let Some(stored) = Stored::read(&shelved.octets, source.arena) else { continue };
            if stored.priority.min(source.highest) != source.level {
                continue;
            }
            if !self.is_measured {
                found.octets += stored.message.body().len() as u64;
            }
            head.push_back(source.past.entry(position, stored, source.level, shelved.kept));
            self.count = self.count.saturating_sub(1);
        }
        self.first = Position(end.0.saturating_add(1));
        let is_over = self.count == 0 || self.first > self.last;
        if is_over {
            found.missing += self.count;
        }
        Some(is_over)
    }
}

impl Past {
    /// The queue's knowledge of a message that was read.
    #[inline]
    pub(super) fn entry(
        &self,
        position: Position,
        stored: Stored,
        priority: u8,
        kept: Kept,
    ) -> Entry {
        let Stored { message, deadline, .. } = stored;
        let times = self.returned.get(&position);
        Entry {
            position,
            message,
            deadline,
            priority,
            redelivered: position < self.delivered || times.is_some(),
            delivery_count: times.copied().unwrap_or(0),
            kept,
        }
    }
}

impl Kinds {
    fn add(&mut self, kept: Kept) {
        match kept {
            Kept::InMemory => self.in_memory = true,
            Kept::Spilled => self.spilled = true,
            Kept::Durable => self.durable = true,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            in_memory: self.in_memory || other.in_memory,
            spilled: self.spilled || other.spilled,
            durable: self.durable || other.durable,
        }
    }

    fn leave(self, range: PositionRange, changes: &mut Changes) {
        if self.durable {
            changes.leave_all(Kept::Durable, range);
        }
        if self.spilled {
            changes.leave_all(Kept::Spilled, range);
        }
    }
}

/// One message of a packed stretch.
struct Framed<'a> {
    gap: u64,
    kept: Kept,
    is_apart: bool,
    octets: &'a [u8],
}

impl<'a> Framed<'a> {
    fn split(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut reader = Reader::new(octets);
        let (gap, flags) = (reader.varint()?, reader.u8()?);
        let length = usize::try_from(reader.u32()?).ok()?;
        let octets = reader.take(length)?;
        let kept = match flags & !APART {
            0 => Kept::InMemory,
            1 => Kept::Spilled,
            _ => Kept::Durable,
        };
        Some((Self { gap, kept, is_apart: flags & APART != 0, octets }, reader.rest()))
    }
}

const APART: u8 = 0x80;

fn code(kept: Kept) -> u8 {
    match kept {
        Kept::InMemory => 0,
        Kept::Spilled => 1,
        Kept::Durable => 2,
    }
}
