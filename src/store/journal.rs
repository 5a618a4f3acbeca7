//! The face of the journal: records piled up in memory, to be written and synced together.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::model::{Batch, LogPosition};

use super::{
    error::Error,
    record::{HEADER, Header, Identity, Kind, PAYLOAD_LIMIT},
};

/// Records that wait for the disk. Appending is a copy under a lock that nobody keeps for long.
#[derive(Debug)]
pub struct Journal {
    pending: Mutex<Pending>,
    arrived: Condvar,
    chunk_limit: usize,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    /// Any record.
    Any,
    /// One that somebody else waits for.
    Urgent,
}

/// How long records that nobody waits for may wait for one that somebody does, to go with it.
const LINGER: Duration = Duration::from_millis(5);

/// Records that are written and synced together.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) octets: Vec<u8>,
    pub(super) last: LogPosition,
}

#[derive(Debug, Default)]
struct Pending {
    chunks: VecDeque<Chunk>,
    /// Buffers that were written, to be filled again.
    spare: Vec<Vec<u8>>,
    last: u64,
    /// Octets appended and not yet durable, those being written included.
    octets: usize,
    /// Somebody waits for any record, or for one that is urgent.
    waiting: Option<Awaited>,
    /// A record that waits is urgent.
    is_urgent: bool,
    /// How often somebody said that there is room again.
    resumptions: u64,
    /// Whoever waits for records is to look around first.
    is_nudged: bool,
    closed: bool,
    failure: Option<String>,
}

impl Journal {
    /// A journal whose last record so far is `last`, written in chunks of about `chunk_limit`
    /// octets.
    pub(super) fn new(last: LogPosition, chunk_limit: usize) -> Self {
        let pending = Mutex::new(Pending { last: last.0, ..Pending::default() });
        Self { pending, arrived: Condvar::new(), chunk_limit }
    }

    /// Appends the batch as one record and empties it. Nothing is durable until the sync is
    /// reported.
    pub fn append(&self, batch: &mut Batch) -> Result<LogPosition, Error> {
        let payload = batch.octets();
        if payload.len() > PAYLOAD_LIMIT {
            return Err(Error::TooLarge { octets: payload.len(), limit: PAYLOAD_LIMIT });
        }
        let mut header = Header::of(Kind::Entries, 0, Identity::default(), payload);
        let mut pending = self.pending();
        if let Some(cause) = &pending.failure {
            return Err(Error::Failed { cause: cause.clone() });
        }
        if pending.closed {
            return Err(Error::Closed);
        }
        pending.last += 1;
        header.log = pending.last;
        header.identity.index = pending.last;
        pending.octets += header.record_length();
        let position = LogPosition(pending.last);
        let chunk = pending.chunk_for(header.record_length(), self.chunk_limit);
        chunk.last = position;
        chunk.octets.extend_from_slice(&header.unsealed());
        chunk.octets.extend_from_slice(payload);
        let awaited = if batch.can_wait() { Awaited::Any } else { Awaited::Urgent };
        pending.is_urgent |= awaited == Awaited::Urgent;
        let is_awaited = pending.waiting.take_if(|waiting| *waiting <= awaited).is_some();
        drop(pending);
        // Not before the lock is free, or who wakes would have to wait for it.
        if is_awaited {
            self.arrived.notify_all();
        }
        batch.clear();
        Ok(position)
    }

    /// The position of the last record that was appended.
    pub fn last(&self) -> LogPosition {
        LogPosition(self.pending().last)
    }

    /// Octets in memory that are not yet durable: who appends faster than the disk writes should
    /// wait.
    pub fn pending_octets(&self) -> usize {
        self.pending().octets
    }

    /// Takes what has piled up, if anything has.
    pub(super) fn take(&self) -> Option<Chunk> {
        self.pending().next_chunk()
    }

    /// Gives a chunk's buffer back once it is durable.
    pub(super) fn recycle(&self, mut chunk: Chunk) {
        let mut pending = self.pending();
        pending.octets -= chunk.octets.len();
        if pending.spare.len() < 2 && chunk.octets.capacity() <= 2 * self.chunk_limit {
            chunk.octets.clear();
            pending.spare.push(chunk.octets);
        }
    }

    /// Refuses every further record.
    pub(super) fn fail(&self, cause: &Error) {
        let mut pending = self.pending();
        if pending.failure.is_none() {
            pending.failure = Some(cause.to_string());
        }
        pending.chunks.clear();
    }

    /// Why the journal refuses records, if it does.
    pub fn failure(&self) -> Option<String> {
        self.pending().failure.clone()
    }

    /// Refuses further records and lets those appended be written.
    pub(super) fn close(&self) {
        self.pending().closed = true;
        self.arrived.notify_all();
    }

    /// Tries again after the disk was full.
    pub(super) fn resume(&self) {
        self.pending().resumptions += 1;
        self.arrived.notify_all();
    }

    /// Has whoever waits for records come back without any.
    pub(super) fn nudge(&self) {
        self.pending().is_nudged = true;
        self.arrived.notify_all();
    }

    /// Waits for records. None: there are no records, and if the journal is closed there will not
    /// be any.
    pub(super) fn wait(&self) -> Option<Chunk> {
        let mut pending = self.pending();
        while pending.chunks.is_empty() {
            if mem::take(&mut pending.is_nudged) || pending.closed {
                return None;
            }
            pending.waiting = Some(Awaited::Any);
            pending = self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        if !pending.is_urgent {
            pending.waiting = Some(Awaited::Urgent);
            let idle = |pending: &mut Pending| {
                let is_over = pending.is_urgent || pending.is_nudged || pending.closed;
                !is_over && pending.chunks.len() < 2
            };
            let waited = self.arrived.wait_timeout_while(pending, LINGER, idle);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        pending.waiting = None;
        pending.next_chunk()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pending().closed
    }

    /// How often somebody said that there is room again: to be asked before the attempt that may
    /// find none, so that what is said meanwhile is not missed.
    pub(super) fn resumptions(&self) -> u64 {
        self.pending().resumptions
    }

    /// Waits until somebody has said more often than `seen` that there is room again. False: the
    /// journal is closed.
    pub(super) fn wait_for_room(&self, seen: u64) -> bool {
        let idle = |pending: &mut Pending| pending.resumptions == seen && !pending.closed;
        let pending =
            self.arrived.wait_while(self.pending(), idle).unwrap_or_else(PoisonError::into_inner);
        !pending.closed
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn next_chunk(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front();
        // Which of several chunks holds the urgent record is not known.
        self.is_urgent &= !self.chunks.is_empty();
        chunk
    }

    /// The chunk that a record of so many octets goes to: the last one, or a new one when that is
    /// full.
    fn chunk_for(&mut self, length: usize, limit: usize) -> &mut Chunk {
        let has_room = |chunk: &Chunk| chunk.octets.len() + length.max(HEADER) <= limit;
        if !self.chunks.back().is_some_and(has_room) {
            let octets = self.spare.pop().unwrap_or_default();
            self.chunks.push_back(Chunk { octets, last: LogPosition::default() });
        }
        self.chunks.back_mut().expect("one was pushed if there was none")
    }
}
