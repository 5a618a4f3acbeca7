//! What a broker asks of the world, in one thread: a journal over the store, timers, an outbox.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use leveret::{
    broker::{Journal, Outbox, Schedule, Timer},
    model::{Batch, ConsumerId, Decided, Delivery, LogPosition, Moment, Position, QueueId},
    store::Store,
};

use super::written::{Records, Written};

/// A journal that remembers what it was given, and writes when it is told to.
pub(super) struct Ledger {
    pub(super) store: Store,
    state: Mutex<State>,
}

struct State {
    durable: LogPosition,
    last: LogPosition,
    waiting: BTreeMap<LogPosition, Vec<QueueId>>,
    due: Vec<QueueId>,
    records: Records,
    written: Written,
}

impl Ledger {
    /// A journal of which everything up to `last` is durable, and says what `written` does.
    pub(super) fn new(store: Store, last: LogPosition, written: Written) -> Self {
        let (waiting, due, records) = (BTreeMap::new(), Vec::new(), Vec::new());
        let state = State { durable: last, last, waiting, due, records, written };
        Self { store, state: Mutex::new(state) }
    }

    /// The store has said that everything up to `durable` is.
    pub(super) fn reached(&self, durable: LogPosition) {
        let mut state = self.state();
        assert!(durable > state.durable, "{durable} is reported after {}", state.durable);
        state.durable = durable;
        let later = state.waiting.split_off(&LogPosition(durable.0 + 1));
        let released = mem::replace(&mut state.waiting, later);
        state.due.extend(released.into_values().flatten());
    }

    /// The queues that are to be woken.
    pub(super) fn take_due(&self) -> Vec<QueueId> {
        mem::take(&mut self.state().due)
    }

    pub(super) fn last(&self) -> LogPosition {
        self.state().last
    }

    pub(super) fn take_records(&self) -> Records {
        mem::take(&mut self.state().records)
    }

    /// What all records say that were appended.
    pub(super) fn with_written<T>(&self, look: impl FnOnce(&Written) -> T) -> T {
        look(&self.state().written)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Journal for Ledger {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        let octets = batch.octets().to_vec();
        let position = self.store.append(batch).expect("the journal has not failed");
        let mut state = self.state();
        assert_eq!(position.0, state.last.0 + 1);
        state.last = position;
        state.written.apply_all(&octets);
        state.records.push((position, octets));
        position
    }

    fn durable(&self) -> LogPosition {
        self.state().durable
    }

    fn wake_when_durable(&self, position: LogPosition, queue: QueueId) {
        let mut state = self.state();
        if position <= state.durable {
            state.due.push(queue);
        } else {
            state.waiting.entry(position).or_default().push(queue);
        }
    }

    fn read(&self, queue: QueueId, from: Position) -> Option<Vec<(Position, Bytes)>> {
        let found = self.store.read(queue, from).expect("the disk can be read");
        let found = found.unwrap_or_default().into_iter();
        Some(found.map(|stored| (stored.position, stored.octets)).collect())
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// The moments that queues asked to be woken at.
#[derive(Debug, Default)]
pub(super) struct Timers(Mutex<Schedule>);

impl Timers {
    pub(super) fn take_due(&self, now: Moment) -> Option<QueueId> {
        self.0.lock().unwrap().take_due(now)
    }
}

impl Timer for Timers {
    fn wake_at(&self, moment: Moment, queue: QueueId) {
        self.0.lock().unwrap().set(queue, moment);
    }

    fn forget(&self, queue: QueueId) {
        self.0.lock().unwrap().forget(queue);
    }
}

/// Deliveries to all clients, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Vec<Delivery>>);

impl Mailbox {
    pub(super) fn take(&self) -> Vec<Delivery> {
        mem::take(&mut self.0.lock().unwrap())
    }
}

impl Outbox for Mailbox {
    fn decided(&self, decided: &mut Vec<Decided>) {
        decided.clear();
    }

    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        self.0.lock().unwrap().append(deliveries);
    }

    fn consumer_cancelled(&self, _: ConsumerId) {}

    fn close(&self, _: String) {}
}
