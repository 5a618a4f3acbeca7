//! One file of the journal: its head, and the way through its chunks that tells a torn end from
//! damage.

use crate::model::compact::Reader;

use super::{
    error::{Damage, Error},
    names::{FileName, HIGHEST},
    record::{self, FORMAT_VERSION, Header, STARTS_CHUNK},
};

/// Chunks begin on multiples of this, so that no write touches a page that was synced before.
pub(super) const BLOCK: usize = 4096;

const MAGIC: &[u8; 8] = b"LEVERETJ";
const HEAD: usize = 48;

/// The first block of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The store it belongs to.
    pub store: u64,
    /// Its number, which is in its name as well; a recycled file's head still has the former one.
    pub sequence: u64,
    /// Where the file before it ends.
    pub previous_end: u64,
    /// The number of its first record.
    pub first_log: u64,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; BLOCK] {
        let mut octets = [0; BLOCK];
        octets[..8].copy_from_slice(MAGIC);
        octets[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        octets[16..24].copy_from_slice(&self.store.to_le_bytes());
        octets[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        octets[32..40].copy_from_slice(&self.previous_end.to_le_bytes());
        octets[40..48].copy_from_slice(&self.first_log.to_le_bytes());
        let check = head_check(&octets);
        octets[12..16].copy_from_slice(&check.to_le_bytes());
        octets
    }

    /// The head of the file numbered `sequence`; none if nothing was written to it under that
    /// number.
    pub(super) fn read(octets: &[u8], store: u64, sequence: u64) -> Result<Option<Self>, Error> {
        let Some(octets) = octets.get(..HEAD).filter(|octets| octets.starts_with(MAGIC)) else {
            return Ok(None);
        };
        let mut reader = Reader::new(&octets[8..]);
        let Some((version, check, head)) = decode(&mut reader) else { return Ok(None) };
        if check != head_check(octets) || head.sequence != sequence || head.store != store {
            return Ok(None);
        }
        if version != FORMAT_VERSION {
            let file = FileName::Journal(sequence).to_string();
            return Err(Error::Version { file, found: version, expected: FORMAT_VERSION });
        }
        Ok(Some(head).filter(|head| (1..=HIGHEST).contains(&head.first_log)))
    }
}

fn decode(reader: &mut Reader<'_>) -> Option<(u32, u32, Head)> {
    let (version, check) = (reader.u32()?, reader.u32()?);
    let (store, sequence) = (reader.u64()?, reader.u64()?);
    let (previous_end, first_log) = (reader.u64()?, reader.u64()?);
    Some((version, check, Head { store, sequence, previous_end, first_log }))
}

fn head_check(octets: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&octets[..12]), &octets[16..HEAD])
}

/// Goes through the records of a journal file.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    octets: &'a [u8],
    sequence: u64,
    seed: u32,
    at: usize,
    /// Where the records end, when the next file says so.
    end: Option<usize>,
    next_log: u64,
    in_chunk: bool,
}

/// What comes next in a journal file.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Record(Header, &'a [u8]),
    /// Octets that had been synced are not what they were. The walk may go on from `resume`.
    Damaged {
        what: Damage,
        resume: Option<usize>,
    },
    /// Nothing more. `torn`: there is part of a chunk whose sync had not ended.
    End {
        torn: bool,
    },
}

impl<'a> Walk<'a> {
    /// A walk through a file of these octets, which ends at `end` if another file follows.
    pub(super) fn new(octets: &'a [u8], head: &Head, end: Option<u64>) -> Self {
        Self {
            octets,
            sequence: head.sequence,
            seed: record::seed(head.store, head.sequence),
            at: BLOCK,
            end: end.map(|end| usize::try_from(end).unwrap_or(usize::MAX)),
            next_log: head.first_log,
            in_chunk: false,
        }
    }

    /// Where the walk is: behind the last record that it gave.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The number of the file.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Octets of the records' room: up to where they end, or to the end of the file.
    pub(super) fn length(&self) -> usize {
        self.end.unwrap_or(usize::MAX).min(self.octets.len())
    }

    /// Where the next chunk would begin.
    pub(super) fn chunk_end(&self) -> usize {
        if self.in_chunk { self.at.next_multiple_of(BLOCK) } else { self.at }
    }

    /// The number of the record that belongs here.
    pub(super) fn next_log(&self) -> u64 {
        self.next_log
    }

    pub(super) fn step(&mut self) -> Step<'a> {
        self.skip_padding();
        if !self.in_chunk && self.end == Some(self.at) {
            return Step::End { torn: false };
        }
        let rest = self.octets.get(self.at..).unwrap_or_default();
        match self.belongs_here(record::read(rest, self.seed)) {
            Ok((header, payload)) => {
                self.at += header.record_length();
                self.next_log = header.log + 1;
                self.in_chunk = true;
                Step::Record(header, payload)
            }
            Err(what) => self.judge(what, rest),
        }
    }

    /// Goes on at `resume`, as [`Step::Damaged`] gave it.
    pub(super) fn resume(&mut self, resume: usize) {
        self.at = resume;
        self.in_chunk = false;
        let rest = self.octets.get(resume..).unwrap_or_default();
        if let Ok(header) = record::read_header(rest, self.seed) {
            self.next_log = header.log;
        }
    }

    /// Between the last record of a chunk and the next block there are zeros.
    fn skip_padding(&mut self) {
        if !self.in_chunk {
            return;
        }
        let boundary = self.at.next_multiple_of(BLOCK);
        if boundary == self.at {
            // The chunk goes on if a record follows that does not start one.
            let header = record::read_header(&self.octets[self.at..], self.seed);
            self.in_chunk = header.is_ok_and(|header| header.flags & STARTS_CHUNK == 0);
            return;
        }
        let padding = self.octets.get(self.at..boundary);
        if padding.is_some_and(|padding| padding.iter().all(|octet| *octet == 0)) {
            self.at = boundary;
            self.in_chunk = false;
        }
    }

    fn starts_chunk(&self, at: usize) -> bool {
        let rest = self.octets.get(at..).unwrap_or_default();
        let header = record::read_header(rest, self.seed);
        header.is_ok_and(|header| header.flags & STARTS_CHUNK != 0)
    }

    fn belongs_here(
        &self,
        read: Result<(Header, &'a [u8]), Damage>,
    ) -> Result<(Header, &'a [u8]), Damage> {
        let (header, payload) = read?;
        let starts_chunk = header.flags & STARTS_CHUNK != 0;
        let inside = self.end.is_none_or(|end| self.at + header.record_length() <= end);
        match header.log == self.next_log && starts_chunk != self.in_chunk && inside {
            true => Ok((header, payload)),
            false => Err(Damage::OutOfOrder),
        }
    }

    /// No record is where one could be. Was it there once, synced?
    ///
    /// A chunk is written only after the one before it was synced: a later chunk proves it. So does
    /// a later file, which says where this one ends.
    fn judge(&self, what: Damage, rest: &[u8]) -> Step<'a> {
        let resume = (self.at.next_multiple_of(BLOCK)..self.length())
            .step_by(BLOCK)
            .find(|at| self.starts_chunk(*at) && self.log_at(*at) > Some(self.next_log));
        if resume.is_some() || self.end.is_some() {
            return Step::Damaged { what, resume };
        }
        let torn = self.in_chunk || record::read_header(rest, self.seed).is_ok();
        Step::End { torn }
    }

    fn log_at(&self, at: usize) -> Option<u64> {
        let rest = self.octets.get(at..)?;
        record::read_header(rest, self.seed).ok().map(|header| header.log)
    }
}
