//! What a data directory holds after whatever happened to it: every whole record, and what is
//! missing.

use std::{collections::BTreeMap, fmt, sync::Arc, vec};

use bytes::Bytes;

use crate::model::{Entries, LogPosition, QueueId, entries};

use super::{
    backlog::{Backlog, QueueBacklog},
    checkpoint::{self, Facts, Summary},
    disk::Disk,
    error::{Damage, Error, Loss, Operation},
    journal_file::{BLOCK, Head, Step, Walk},
    names::{CHECKPOINT, FileName},
    record::{self, Header, Identity, STARTS_CHUNK},
    record_file, salvage, segment,
    writer::FullFile,
};

/// What was read from a data directory. Nothing was changed.
pub(super) struct Examined {
    pub summary: Summary,
    pub backlog: Backlog,
    pub facts: Facts,
    /// The journal's files in order, each up to its last whole record.
    pub parts: Vec<FullFile>,
    /// Where the last whole record of the last part ends.
    pub records_end: usize,
    /// The number of the record to come.
    pub next_log: u64,
    pub report: Report,
}

/// What was found, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub journal_files: usize,
    pub journal_octets: u64,
    pub records: u64,
    pub segments: usize,
    pub segment_octets: u64,
    /// Messages alive in segments, as of the checkpoint.
    pub backlog_messages: u64,
    pub queues: usize,
    pub facts: usize,
    /// The end of the journal was being written when the power failed: cut at the last whole
    /// record.
    pub torn: Option<TornEnd>,
    /// What damage has taken; empty unless recovery was allowed to go on without it.
    pub losses: Vec<Error>,
}

/// Where the journal was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornEnd {
    pub file: String,
    pub offset: u64,
}

impl fmt::Display for TornEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset } = self;
        write!(formatter, "{file} was cut at octet {offset}, behind its last whole record")
    }
}

/// Reads everything once. Damage is an error unless `lenient`: then it is reported, and left out.
pub(super) fn examine(disk: &dyn Disk, lenient: bool) -> Result<Examined, Error> {
    let (summary, mut backlog) = checkpoint::read(disk)?;
    let mut report = Report::default();
    match lenient {
        true => report.losses.extend(salvage::load(disk, &mut backlog)),
        false => segment::load(disk, &mut backlog)?,
    }
    let facts = match checkpoint::read_facts(disk, summary.topology) {
        Err(error @ Error::Damaged { .. }) if lenient => {
            report.losses.push(error);
            Facts::new()
        }
        other => other?,
    };
    let (parts, records_end) = (Vec::new(), 0);
    let mut journal =
        JournalReading { disk, summary: &summary, lenient, report, parts, records_end };
    let next_log = journal.read()?;
    let JournalReading { mut report, parts, records_end, .. } = journal;
    report.segments = backlog.segments.len();
    report.segment_octets = backlog.segments.values().map(|share| share.octets).sum();
    report.backlog_messages = backlog.queues.values().map(|queue| queue.live.count()).sum();
    report.queues = backlog.queues.len();
    report.facts = facts.len();
    Ok(Examined { summary, backlog, facts, parts, records_end, next_log, report })
}

/// The first pass over the journal: where each file ends, and whether all is well.
struct JournalReading<'a> {
    disk: &'a dyn Disk,
    summary: &'a Summary,
    lenient: bool,
    report: Report,
    parts: Vec<FullFile>,
    records_end: usize,
}

impl JournalReading<'_> {
    fn read(&mut self) -> Result<u64, Error> {
        let heads = self.heads()?;
        let mut next_log = self.summary.first_log;
        for (at, head) in heads.iter().enumerate() {
            let due = if at == 0 { self.summary.first_journal } else { heads[at - 1].sequence + 1 };
            if head.sequence != due {
                self.lose(due, 0, Damage::Missing, Loss::default())?;
            }
            if head.first_log != next_log {
                let records = Some(head.first_log.saturating_sub(next_log));
                self.lose(head.sequence, 0, Damage::OutOfOrder, Loss { octets: 0, records })?;
            }
            next_log = self.read_file(head, heads.get(at + 1))?;
        }
        Ok(next_log)
    }

    /// The heads of the files that were written to, in order.
    fn heads(&mut self) -> Result<Vec<Head>, Error> {
        let mut heads = Vec::new();
        for sequence in journal_files(self.disk)? {
            if sequence < self.summary.first_journal {
                continue;
            }
            let name = FileName::Journal(sequence).to_string();
            let octets = record_file::read_whole(self.disk, &name)?;
            match Head::read(&octets, self.summary.store, sequence)? {
                Some(head) => heads.push(head),
                // Of a file without a head nothing was ever durable, unless a second chunk proves
                // it.
                None if self.is_second_chunk_in(&octets, sequence) => {
                    let octets = octets.len() as u64;
                    self.lose(sequence, 0, Damage::Head, Loss { octets, records: None })?;
                }
                None => {}
            }
        }
        Ok(heads)
    }

    fn is_second_chunk_in(&self, octets: &[u8], sequence: u64) -> bool {
        let seed = record::seed(self.summary.store, sequence);
        let starts = octets.chunks(BLOCK).skip(1).filter(|block| {
            record::read_header(block, seed).is_ok_and(|header| header.flags & STARTS_CHUNK != 0)
        });
        starts.count() > 1
    }

    fn read_file(&mut self, head: &Head, next: Option<&Head>) -> Result<u64, Error> {
        let name = FileName::Journal(head.sequence).to_string();
        let octets = record_file::read_whole(self.disk, &name)?;
        let mut walk = Walk::new(&octets, head, next.map(|next| next.previous_end));
        let mut torn = None;
        while torn.is_none() {
            torn = match walk.step() {
                Step::Record(..) => {
                    self.report.records += 1;
                    None
                }
                Step::Damaged { what, resume } => {
                    self.lose_part(&mut walk, what, resume, next)?;
                    resume.is_none().then_some(false)
                }
                Step::End { torn } => Some(torn),
            };
        }
        self.records_end = walk.offset();
        let offset = self.records_end as u64;
        self.report.torn = torn.unwrap_or(false).then_some(TornEnd { file: name, offset });
        let end = walk.chunk_end() as u64;
        self.report.journal_files += 1;
        self.report.journal_octets += end;
        let Head { sequence, first_log, .. } = *head;
        // What was lost between the files was reported above, by what the next one says.
        let next_log = match next {
            Some(next) if self.lenient => next.first_log,
            _ => walk.next_log(),
        };
        self.parts.push(FullFile { sequence, end, first_log, next_log });
        Ok(next_log)
    }

    /// Says what is missing where the walk is, and goes on behind it.
    fn lose_part(
        &mut self,
        walk: &mut Walk<'_>,
        what: Damage,
        resume: Option<usize>,
        next: Option<&Head>,
    ) -> Result<(), Error> {
        let (at, due, sequence) = (walk.offset(), walk.next_log(), walk.sequence());
        let end = resume.unwrap_or_else(|| walk.length());
        resume.into_iter().for_each(|resume| walk.resume(resume));
        let found = resume.map(|_| walk.next_log()).or_else(|| next.map(|next| next.first_log));
        let octets = end.saturating_sub(at) as u64;
        let records = found.map(|found| found.saturating_sub(due));
        self.lose(sequence, at as u64, what, Loss { octets, records })
    }

    fn lose(&mut self, sequence: u64, offset: u64, what: Damage, loss: Loss) -> Result<(), Error> {
        let file = FileName::Journal(sequence).to_string();
        let error = Error::Damaged { file, offset, what, loss };
        if !self.lenient {
            return Err(error);
        }
        self.report.losses.push(error);
        Ok(())
    }
}

/// The numbers of the journal's files, in order, whether or not they were written to.
fn journal_files(disk: &dyn Disk) -> Result<Vec<u64>, Error> {
    let names = disk.list().map_err(|error| Error::disk(CHECKPOINT, Operation::List, &error))?;
    let mut sequences: Vec<_> = names
        .iter()
        .filter_map(|name| match FileName::parse(name) {
            Some(FileName::Journal(sequence)) => Some(sequence),
            _ => None,
        })
        .collect();
    sequences.sort_unstable();
    Ok(sequences)
}

/// Gives every record of a journal file to `each`. Damage is left out if `lenient`.
pub(super) fn walk_part(
    octets: &[u8],
    store: u64,
    (part, lenient): (FullFile, bool),
    mut each: impl FnMut(&Header, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let FullFile { sequence, end, first_log, .. } = part;
    let head = Head { store, sequence, previous_end: 0, first_log };
    let mut walk = Walk::new(octets, &head, Some(end));
    loop {
        match walk.step() {
            Step::Record(header, payload) => each(&header, payload)?,
            Step::Damaged { what, .. } if !lenient => {
                let file = FileName::Journal(sequence).to_string();
                return Err(Error::damaged(&file, walk.offset() as u64, what));
            }
            Step::Damaged { resume: Some(resume), .. } => walk.resume(resume),
            Step::Damaged { resume: None, .. } | Step::End { .. } => return Ok(()),
        }
    }
}

/// What a restart finds, to be made into queues and a topology again.
pub struct Recovered {
    /// The topology as of the checkpoint; the records hold what changed since.
    pub facts: Facts,
    /// What the queues have in segments as of the checkpoint; the records hold what changed since.
    pub queues: BTreeMap<QueueId, QueueBacklog>,
    /// No queue that the checkpoint knows has a number as high.
    pub queue_floor: u64,
    /// The last record of the journal.
    pub last: LogPosition,
    pub report: Report,
    /// Every record since the checkpoint, in order.
    pub records: Records,
}

/// A record that came back.
#[derive(Clone, Debug)]
pub struct Record {
    pub log: LogPosition,
    /// Its group, index and term.
    pub identity: Identity,
    payload: Bytes,
    /// The number of its file, and where in it the payload stands.
    place: (u64, u64),
}

impl Record {
    /// What it says, in order.
    pub fn entries(&self) -> Entries<'_> {
        entries(&self.payload)
    }

    /// The fault of a record whose entries say nothing known.
    pub fn meaningless(&self) -> Error {
        let (sequence, offset) = self.place;
        Error::damaged(&FileName::Journal(sequence).to_string(), offset, Damage::Meaningless)
    }

    /// Shares octets of an entry of this record.
    pub fn share(&self, octets: &[u8]) -> Bytes {
        self.payload.slice_ref(octets)
    }
}

/// The journal's records in order, one file in memory at a time.
pub struct Records {
    disk: Arc<dyn Disk>,
    store: u64,
    parts: vec::IntoIter<FullFile>,
    ready: vec::IntoIter<Record>,
}

impl Records {
    pub(super) fn new(disk: Arc<dyn Disk>, store: u64, parts: Vec<FullFile>) -> Self {
        Self { disk, store, parts: parts.into_iter(), ready: Vec::new().into_iter() }
    }

    fn read(&self, part: FullFile) -> Result<Vec<Record>, Error> {
        let name = FileName::Journal(part.sequence).to_string();
        let octets = Bytes::from(record_file::read_whole(&*self.disk, &name)?);
        let mut records = Vec::new();
        walk_part(&octets, self.store, (part, false), |header, payload| {
            let (log, identity) = (LogPosition(header.log), header.identity);
            let offset = payload.as_ptr() as usize - octets.as_ptr() as usize;
            let place = (part.sequence, offset as u64);
            records.push(Record { log, identity, payload: octets.slice_ref(payload), place });
            Ok(())
        })?;
        Ok(records)
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.next() {
                return Some(Ok(record));
            }
            let part = self.parts.next()?;
            match self.read(part) {
                Ok(records) => self.ready = records.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
