//! Where a restart begins: which files count, which messages in segments are alive, what the
//! topology is.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{
    Position, PositionRange, QueueId, Ranges,
    compact::{Reader, put_octets, put_varint},
};

use super::{
    backlog::{Backlog, QueueBacklog},
    disk::Disk,
    error::{Damage, Error, Operation},
    names::{CHECKPOINT, FileName, HIGHEST, NEW_CHECKPOINT},
    record::{Identity, Kind},
    record_file::{RecordFile, RecordFileWriter, Sort},
};

/// Payloads of queues and facts are cut into records of about this size.
const PART: usize = 64 * 1024;

/// The facts of the topology by their keys, in the order of the keys.
pub type Facts = BTreeMap<Bytes, Bytes>;

/// What a checkpoint says beside the backlog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub store: u64,
    pub number: u64,
    /// The oldest part of the journal that is still needed, and the number of its first record.
    pub first_journal: u64,
    pub first_log: u64,
    /// The file of the topology, 0 when there is none; and the last numbers given.
    pub topology: u64,
    pub last_segment: u64,
}

/// Writes a checkpoint in place of the one before, and makes it durable with its name.
pub(super) fn write(disk: &dyn Disk, summary: &Summary, backlog: &Backlog) -> Result<(), Error> {
    let (store, number) = (summary.store, summary.number);
    let mut file = RecordFileWriter::create(disk, NEW_CHECKPOINT, Sort::Checkpoint, store, number)?;
    file.append(Kind::Summary, Identity::default(), &encode_summary(summary, backlog))?;
    let mut part = Vec::new();
    for (queue, state) in &backlog.queues {
        encode_queue(&mut part, *queue, state);
        if part.len() >= PART {
            file.append(Kind::Queues, Identity::default(), &part)?;
            part.clear();
        }
    }
    file.append(Kind::Queues, Identity::default(), &part)?;
    file.finish(Kind::End, &[])?;
    let failed = |operation| move |error| Error::disk(CHECKPOINT, operation, &error);
    disk.rename(NEW_CHECKPOINT, CHECKPOINT).map_err(failed(Operation::Rename))?;
    disk.sync_folder().map_err(failed(Operation::Sync))
}

/// Reads the checkpoint. The slices of the backlog are in the segments.
pub(super) fn read(disk: &dyn Disk) -> Result<(Summary, Backlog), Error> {
    let file = RecordFile::open(disk, CHECKPOINT, Sort::Checkpoint)?;
    let mut read = None;
    file.walk(|at, header, payload| {
        let meaningless = || Error::damaged(CHECKPOINT, at, Damage::Meaningless);
        match (header.kind, &mut read) {
            (Kind::Summary, None) => {
                read = Some(decode_summary(payload, &file).ok_or_else(meaningless)?);
                Ok(())
            }
            (Kind::Queues, Some((_, backlog))) => {
                decode_queues(payload, backlog).ok_or_else(meaningless)
            }
            (Kind::End, Some(_)) => Ok(()),
            _ => Err(meaningless()),
        }
    })?;
    read.ok_or_else(|| Error::damaged(CHECKPOINT, 0, Damage::Meaningless))
}

/// Writes a file of facts and makes it durable, but not yet its name.
pub(super) fn write_facts(
    disk: &dyn Disk,
    store: u64,
    number: u64,
    facts: &Facts,
) -> Result<(), Error> {
    let name = FileName::Topology(number).to_string();
    let mut file = RecordFileWriter::create(disk, &name, Sort::Topology, store, number)?;
    let mut part = Vec::new();
    for (key, value) in facts {
        put_octets(&mut part, key);
        put_octets(&mut part, value);
        if part.len() >= PART {
            file.append(Kind::Facts, Identity::default(), &part)?;
            part.clear();
        }
    }
    file.append(Kind::Facts, Identity::default(), &part)?;
    file.finish(Kind::End, &[])?;
    Ok(())
}

/// Reads a file of facts; number 0 stands for none.
pub(super) fn read_facts(disk: &dyn Disk, number: u64) -> Result<Facts, Error> {
    let mut facts = Facts::new();
    if number == 0 {
        return Ok(facts);
    }
    let name = FileName::Topology(number).to_string();
    RecordFile::open(disk, &name, Sort::Topology)?.walk(|at, _, payload| {
        let payload = Bytes::copy_from_slice(payload);
        let mut reader = Reader::new(&payload);
        while !reader.is_empty() {
            let (Some(key), Some(value)) = (reader.octets(), reader.octets()) else {
                return Err(Error::damaged(&name, at, Damage::Meaningless));
            };
            facts.insert(payload.slice_ref(key), payload.slice_ref(value));
        }
        Ok(())
    })?;
    Ok(facts)
}

fn encode_summary(summary: &Summary, backlog: &Backlog) -> Vec<u8> {
    let mut octets = Vec::new();
    put_varint(&mut octets, summary.first_journal);
    put_varint(&mut octets, summary.first_log);
    put_varint(&mut octets, summary.topology);
    put_varint(&mut octets, summary.last_segment);
    put_varint(&mut octets, backlog.queue_floor);
    put_varint(&mut octets, backlog.segments.len() as u64);
    backlog.segments.keys().for_each(|number| put_varint(&mut octets, *number));
    octets
}

fn decode_summary(payload: &[u8], file: &RecordFile) -> Option<(Summary, Backlog)> {
    let mut reader = Reader::new(payload);
    let summary = Summary {
        store: file.store,
        number: file.number,
        first_journal: reader.varint()?,
        first_log: reader.varint()?,
        topology: reader.varint()?,
        last_segment: reader.varint()?,
    };
    let is_sound = (1..=HIGHEST).contains(&summary.first_journal)
        && (1..=HIGHEST).contains(&summary.first_log)
        && summary.topology <= summary.number
        && summary.number <= HIGHEST
        && summary.last_segment <= HIGHEST;
    if !is_sound {
        return None;
    }
    let mut backlog = Backlog { queue_floor: reader.varint()?, ..Backlog::default() };
    for _ in 0..reader.varint()? {
        let number = reader.varint().filter(|number| *number <= summary.last_segment)?;
        backlog.segments.insert(number, super::backlog::SegmentShare::default());
    }
    Some((summary, backlog))
}

fn encode_queue(octets: &mut Vec<u8>, queue: QueueId, state: &QueueBacklog) {
    put_varint(octets, queue.0);
    put_varint(octets, state.next.0);
    put_varint(octets, state.delivered.0);
    put_varint(octets, state.live.iter().count() as u64);
    for range in state.live.iter() {
        put_varint(octets, range.first.0);
        put_varint(octets, range.last.0 - range.first.0);
    }
    put_varint(octets, state.returned.len() as u64);
    for (position, count) in &state.returned {
        put_varint(octets, position.0);
        put_varint(octets, u64::from(*count));
    }
}

fn decode_queues(payload: &[u8], backlog: &mut Backlog) -> Option<()> {
    let mut reader = Reader::new(payload);
    while !reader.is_empty() {
        let queue = QueueId(reader.varint()?);
        let mut state = QueueBacklog {
            next: Position(reader.varint()?),
            delivered: Position(reader.varint()?),
            live: Ranges::default(),
            returned: BTreeMap::new(),
        };
        for _ in 0..reader.varint()? {
            let first = reader.varint()?;
            let last = first.checked_add(reader.varint()?)?;
            state.live.insert(PositionRange::new(first, last));
        }
        for _ in 0..reader.varint()? {
            let position = Position(reader.varint()?);
            state.returned.insert(position, u32::try_from(reader.varint()?).ok()?);
        }
        backlog.queues.insert(queue, state);
    }
    Some(())
}
