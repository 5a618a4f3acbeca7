//! The face of the journal: records piled up in memory, to be written and synced together.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
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
    waiting: bool,
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
        let is_awaited = mem::take(&mut pending.waiting);
        drop(pending);
        // Not before the lock is free, or who wakes would have to wait for it.
        if is_awaited {
            self.arrived.notify_one();
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
        self.pending().chunks.pop_front()
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
        loop {
            if let Some(chunk) = pending.chunks.pop_front() {
                return Some(chunk);
            }
            if mem::take(&mut pending.is_nudged) || pending.closed {
                return None;
            }
            pending.waiting = true;
            pending = self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
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
