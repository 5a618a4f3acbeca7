//! What survives a crash: one journal for everything, segments for what waits, and the way back.
//!
//! A change is appended to the [`Journal`] as a [`Batch`] and is durable when [`Witness::durable`]
//! says so. What outlives its part of the journal moves to segments, from where [`Store::read`]
//! brings it back. The store keeps records that it does not interpret beyond the queue and position
//! of a message.

mod backlog;
mod checkpoint;
pub mod committer;
pub mod disk;
mod error;
mod journal;
mod journal_file;
mod keeper;
mod names;
pub mod record;
mod record_file;
mod recovery;
mod retirement;
mod salvage;
mod segment;
#[cfg(test)]
mod tests;
pub mod verify;
mod writer;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use crate::model::{Batch, LogPosition, Position, QueueId};

pub use backlog::QueueBacklog;
pub use checkpoint::Facts;
pub use error::{Damage, Error, Loss, Operation};
pub use journal::Journal;
pub use keeper::Moved;
pub use recovery::{Record, Records, Recovered, Report, TornEnd};

use backlog::Backlog;
use checkpoint::Summary;
use disk::{Disk, Guard};
use journal::Chunk;
use journal_file::{BLOCK, Head};
use keeper::Keeper;
use names::FileName;
use recovery::Examined;
use retirement::ReadAhead;
use segment::Segment;
use writer::{FullFile, JournalFiles, Writer};

/// How the store uses its disk.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Octets of a journal file. What was appended within about this many octets times
    /// `parts_kept` + 2 is on disk in the journal alone, so its messages must stay in memory.
    pub file_size: u64,
    /// Full journal files left alone: what is consumed before as much was appended never moves.
    pub parts_kept: usize,
    /// Octets written and synced at once, more or less. One record may exceed it.
    pub chunk_limit: usize,
    /// Any number, for a store that is made: it tells this store's files from another's.
    pub identity: u64,
    /// Go on without what is damaged; the report says what that is. Otherwise damage is an error.
    pub recover: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_size: 8 << 20,
            parts_kept: 1,
            chunk_limit: 2 << 20,
            identity: 0,
            recover: false,
        }
    }
}

/// Whom the store tells what has become of records. Called on the store's own threads: be short.
pub trait Witness: Send + Sync {
    /// Every record up to this position survives a crash.
    fn durable(&self, up_to: LogPosition);

    /// Messages moved to segments: they may leave memory, [`Store::read`] brings them back.
    fn moved(&self, moved: &[Moved]);

    /// The disk is full. Nothing is lost; [`Store::resume`] tries again.
    fn full(&self, error: &Error);

    /// A write or a sync has failed: no further record is taken, and none that waits is durable.
    fn failed(&self, error: &Error);
}

/// Full journal files beyond those that are kept before the writer lets the keeper catch up.
const PARTS_BEHIND: usize = 4;

/// An open data directory. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    journal: Journal,
    writing: Mutex<Writing>,
    keeper: Mutex<Keeper>,
    /// No part of the journal is left alone until all have been retired.
    is_reclaiming: AtomicBool,
    files: Arc<JournalFiles>,
    parts_kept: usize,
    backlog: Arc<RwLock<Backlog>>,
    disk: Arc<dyn Disk>,
    _guard: Box<dyn Guard>,
}

struct Writing {
    writer: Writer,
    /// A chunk that the full disk did not take.
    held: Option<Chunk>,
    /// The last record that is durable.
    durable: LogPosition,
}

/// A message that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    /// Its octets, which keep up to 256 KiB of its neighbours in memory.
    pub octets: Bytes,
}

impl Store {
    /// Opens the store on `disk`, or makes one where there is none, and says what it holds.
    ///
    /// Nothing is written until the store is told to: by [`Self::commit`] and [`Self::keep_house`],
    /// or by [`committer::start`], which has threads for both.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Recovered), Error> {
        let guard = lock(&*disk)?;
        create_if_new(&*disk, options.identity)?;
        let Examined { summary, backlog, mut facts, mut parts, records_end, next_log, report } =
            recovery::examine(&*disk, options.recover)?;
        if let Some(part) = parts.last() {
            make_durable(&*disk, part, records_end)?;
        }
        let sequence = parts.last().map_or(summary.first_journal, |part| part.sequence + 1);
        let previous_end = parts.last().map_or(0, |part| part.end);
        let store = summary.store;
        let head = Head { store, sequence, previous_end, first_log: next_log };
        let files = Arc::new(JournalFiles::new(parts.clone()));
        let backlog = Arc::new(RwLock::new(backlog));
        let mut keeper = Keeper {
            disk: Arc::clone(&disk),
            files: Arc::clone(&files),
            backlog: Arc::clone(&backlog),
            summary,
            file_size: options.file_size,
            parts_kept: options.parts_kept,
            lenient: options.recover,
            reclaiming: false,
            read_ahead: ReadAhead::default(),
        };
        keeper.clear(sequence)?;
        if !report.losses.is_empty() {
            // What is left goes to segments at once, so that the next start finds no damage.
            keeper.retire_everything()?;
            parts.clear();
            facts = checkpoint::read_facts(&*disk, keeper.summary.topology)?;
        }
        keeper.lenient = false;
        let last = LogPosition(next_log - 1);
        let (queues, queue_floor) = {
            let backlog = backlog.read().unwrap_or_else(PoisonError::into_inner);
            (backlog.queues.clone(), backlog.queue_floor)
        };
        let writer = Writer::new(Arc::clone(&disk), Arc::clone(&files), head, options.file_size);
        let chunk_limit = options.chunk_limit.min(options.file_size as usize - BLOCK);
        let shared = Shared {
            journal: Journal::new(last, chunk_limit),
            writing: Mutex::new(Writing { writer, held: None, durable: last }),
            is_reclaiming: AtomicBool::new(false),
            keeper: Mutex::new(keeper),
            files,
            parts_kept: options.parts_kept,
            backlog,
            disk: Arc::clone(&disk),
            _guard: guard,
        };
        let records = Records::new(disk, store, parts);
        let recovered = Recovered { facts, queues, queue_floor, last, report, records };
        Ok((Self { shared: Arc::new(shared) }, recovered))
    }

    /// Appends the batch as one record: all of it survives, or nothing. See [`Journal::append`].
    ///
    /// The messages of a queue must be appended in the order of their positions, each before its
    /// settlement: append under the queue's lock.
    pub fn append(&self, batch: &mut Batch) -> Result<LogPosition, Error> {
        self.shared.journal.append(batch)
    }

    /// The journal, which is where records wait.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Reads back messages of a queue that are alive in segments, from `from` on and no more than a
    /// slice of them (about 256 KiB). None: there are no more.
    ///
    /// What was settled and is still in the journal may be among them.
    pub fn read(&self, queue: QueueId, from: Position) -> Result<Option<Vec<Stored>>, Error> {
        loop {
            let Some((sought, first, slice)) = self.backlog().find(queue, from) else {
                return Ok(None);
            };
            let opened = Segment::open(&*self.shared.disk, slice.segment);
            let read = opened.and_then(|mut segment| segment.messages(first, &slice));
            // A segment that went away while it was being opened has been merged.
            if read.is_err() && !self.backlog().segments.contains_key(&slice.segment) {
                continue;
            }
            let messages = read?;
            let backlog = self.backlog();
            let Some(state) = backlog.queues.get(&queue) else { return Ok(None) };
            let alive = messages
                .into_iter()
                .filter(|(position, _)| *position >= from && state.live.contains(*position))
                .map(|(position, octets)| Stored { position, octets })
                .collect::<Vec<_>>();
            if !alive.is_empty() {
                return Ok(Some(alive));
            }
            if state.live.contains(sought) {
                let name = FileName::Segment(slice.segment).to_string();
                return Err(Error::damaged(&name, slice.offset, Damage::OutOfOrder));
            }
        }
    }

    /// Writes and syncs what has piled up, and gives the position up to which all is durable. None:
    /// there was nothing.
    pub fn commit(&self) -> Result<Option<LogPosition>, Error> {
        let mut writing = self.writing();
        let chunk = writing.held.take().or_else(|| self.shared.journal.take());
        chunk.map(|chunk| self.write(&mut writing, chunk)).transpose()
    }

    /// Does one thing that keeps the house: retires a part of the journal or merges segments. None:
    /// there was nothing to do.
    pub fn keep_house(&self) -> Result<Option<Vec<Moved>>, Error> {
        let reclaiming = self.shared.is_reclaiming.load(Ordering::Relaxed);
        let outcome = self.keeper().step(reclaiming);
        if matches!(outcome, Ok(None)) {
            self.shared.is_reclaiming.store(false, Ordering::Relaxed);
        }
        self.stop_if_failed(outcome)
    }

    /// Has a file ready for the journal before it is needed, if the one in use is filling.
    pub fn prepare(&self) -> Result<(), Error> {
        let reclaiming = self.shared.is_reclaiming.load(Ordering::Relaxed);
        if reclaiming || !self.shared.files.is_spare_wanted() {
            return Ok(());
        }
        let outcome = self.keeper().prepare_spare();
        self.stop_if_failed(outcome)
    }

    /// Has [`Self::keep_house`] give back what room it can: all of the journal but the file in use
    /// is retired, and what was settled there counts. To be called while room is short.
    pub fn reclaim(&self) {
        self.shared.is_reclaiming.store(true, Ordering::Relaxed);
        self.shared.journal.nudge();
    }

    /// Tries again after the disk was full.
    pub fn resume(&self) {
        self.shared.journal.resume();
    }

    /// Whether [`Self::keep_house`] or [`Self::prepare`] would have something to do after a commit.
    pub(crate) fn needs_keeping(&self) -> bool {
        let files = &self.shared.files;
        let reclaiming = self.shared.is_reclaiming.load(Ordering::Relaxed);
        reclaiming || files.full_count() > self.shared.parts_kept || files.is_spare_wanted()
    }

    /// Whether so much waits to be moved that the journal should not grow before some of it has
    /// been: what waits is in memory, too. When room is short, it is the keeper that may wait for
    /// what is to be written.
    pub(crate) fn must_wait_for_keeper(&self) -> bool {
        let reclaiming = self.shared.is_reclaiming.load(Ordering::Relaxed);
        !reclaiming && self.shared.files.full_count() > self.shared.parts_kept + PARTS_BEHIND
    }

    /// Waits for records and commits them. None: the journal is closed, and everything is durable.
    pub(crate) fn wait_and_commit(&self) -> Result<Option<LogPosition>, Error> {
        let mut writing = self.writing();
        let chunk = writing.held.take().or_else(|| self.shared.journal.wait());
        match chunk {
            Some(chunk) => self.write(&mut writing, chunk).map(Some),
            None if self.shared.journal.is_closed() => Ok(None),
            None => Ok(Some(writing.durable)),
        }
    }

    fn write(&self, writing: &mut Writing, mut chunk: Chunk) -> Result<LogPosition, Error> {
        let journal = &self.shared.journal;
        match writing.writer.commit(&mut chunk) {
            Ok(()) => {
                writing.durable = chunk.last;
                journal.recycle(chunk);
                Ok(writing.durable)
            }
            Err(error) => {
                match error.is_full() {
                    true => writing.held = Some(chunk),
                    false => journal.fail(&error),
                }
                Err(error)
            }
        }
    }

    /// Anything but a full disk ends the store: what cannot be relied on must not be added to.
    fn stop_if_failed<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        outcome.inspect_err(|error| {
            if !error.is_full() {
                self.shared.journal.fail(error);
            }
        })
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.shared.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backlog(&self) -> std::sync::RwLockReadGuard<'_, Backlog> {
        self.shared.backlog.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(disk: &dyn Disk) -> Result<Box<dyn Guard>, Error> {
    let directory = disk.describe();
    disk.lock().map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked { directory },
        _ => Error::disk(&directory, Operation::Lock, &error),
    })
}

/// An empty directory gets a checkpoint that says that there is nothing.
fn create_if_new(disk: &dyn Disk, identity: u64) -> Result<(), Error> {
    if verify::is_store(disk)? {
        return Ok(());
    }
    let first = Summary { store: identity, first_journal: 1, first_log: 1, ..Summary::default() };
    checkpoint::write(disk, &first, &Backlog::default())
}

/// Writes the last part of the journal again, up to its last whole record, and syncs it.
///
/// What was read may never have reached the disk: the process was killed, or its sync failed, and
/// the system answers from memory. Nothing may be built on it before it is durable.
fn make_durable(disk: &dyn Disk, part: &FullFile, records_end: usize) -> Result<(), Error> {
    let name = FileName::Journal(part.sequence).to_string();
    let mut octets = record_file::read_whole(disk, &name)?;
    octets.truncate(records_end);
    octets.resize(part.end as usize, 0);
    let file = disk.open(&name).map_err(|error| Error::disk(&name, Operation::Open, &error))?;
    file.write_at(&octets, 0).map_err(|error| Error::disk(&name, Operation::Write, &error))?;
    file.sync().map_err(|error| Error::disk(&name, Operation::Sync, &error))?;
    disk.sync_folder().map_err(|error| Error::disk(&name, Operation::Sync, &error))
}
