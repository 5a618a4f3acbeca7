//! The log of a mirrored queue, as its leader's queue sees it: a journal whose records are durable
//! when the group has agreed on them.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    broker::ports::{Fellows, Journal},
    model::{Batch, LogPosition, Position, QueueId},
};

/// What one leadership of a queue writes. Records pile up until the group's host takes them, all
/// as one command.
#[derive(Debug)]
pub(super) struct GroupLog {
    group: QueueId,
    /// Where the node's store has the messages.
    contents: QueueId,
    store: Arc<dyn Journal>,
    fellows: Arc<dyn Fellows>,
    pile: Mutex<Pile>,
    durable: AtomicU64,
    /// The queue wants to be woken when this is durable.
    awaited: AtomicU64,
    /// How urgently the host was told of what has piled up.
    told: AtomicU8,
}

const UNTOLD: u8 = 0;
const TOLD: u8 = 1;
const TOLD_URGENTLY: u8 = 2;

#[derive(Debug, Default)]
struct Pile {
    octets: Vec<u8>,
    /// Records that were appended.
    last: u64,
    /// The leadership is over: nothing more is taken.
    is_closed: bool,
}

impl GroupLog {
    pub(super) fn new(
        group: QueueId,
        contents: QueueId,
        store: Arc<dyn Journal>,
        fellows: Arc<dyn Fellows>,
    ) -> Self {
        Self {
            group,
            contents,
            store,
            fellows,
            pile: Mutex::default(),
            durable: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            told: AtomicU8::new(UNTOLD),
        }
    }

    /// What has piled up, and the number of its last record.
    pub(super) fn take(&self) -> Option<(Bytes, u64)> {
        self.told.store(UNTOLD, Ordering::Release);
        let mut pile = self.pile();
        if pile.octets.is_empty() || pile.is_closed {
            return None;
        }
        Some((mem::take(&mut pile.octets).into(), pile.last))
    }

    /// The last record that was appended.
    pub(super) fn last(&self) -> LogPosition {
        LogPosition(self.pile().last)
    }

    /// The group has agreed on all up to a record; whether the queue waits for some of it, or more.
    pub(super) fn reached(&self, up_to: u64) -> bool {
        let before = self.durable.fetch_max(up_to, Ordering::AcqRel);
        self.awaited.load(Ordering::Acquire) > before
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.pile().is_closed = true;
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for GroupLog {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        let mut pile = self.pile();
        if pile.is_closed {
            batch.clear();
            return LogPosition::NEVER;
        }
        pile.octets.extend_from_slice(batch.octets());
        pile.last += 1;
        let position = LogPosition(pile.last);
        drop(pile);
        let can_wait = batch.can_wait();
        batch.clear();
        let urgency = if can_wait { TOLD } else { TOLD_URGENTLY };
        if self.told.fetch_max(urgency, Ordering::AcqRel) < urgency {
            self.fellows.has_work(self.group, can_wait);
        }
        position
    }

    fn durable(&self) -> LogPosition {
        LogPosition(self.durable.load(Ordering::Acquire))
    }

    fn wake_when_durable(&self, position: LogPosition, _queue: QueueId) {
        // It cannot be durable yet: who takes that in waits for the lock that the caller holds.
        self.awaited.fetch_max(position.0, Ordering::AcqRel);
    }

    fn read(&self, _queue: QueueId, from: Position) -> Option<Vec<(Position, Bytes)>> {
        self.store.read(self.contents, from)
    }
}
