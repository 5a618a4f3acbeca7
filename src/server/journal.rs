//! The broker's journal over the store: where records go, and who waits for which of them.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, Journal},
    model::{Batch, LogPosition, Moment, Position, QueueId},
    net::{Clock, Outbox},
    store::{self, Store},
};

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Fine,
    /// The disk is full: what is not durable yet waits until there is room.
    Full,
    /// A write has failed, and nothing is written any more.
    Failed(store::Error),
}

/// The store as the broker and its connections see it.
pub(super) struct StoreJournal {
    store: Store,
    durable: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Queues that are to be woken, and the bell that says so.
    due: Mutex<Vec<QueueId>>,
    bell: Notify,
    condition: watch::Sender<Condition>,
    /// How often the disk was reported full since somebody looked.
    full_reports: AtomicUsize,
    has_refused: AtomicBool,
    /// A record that was not durable when somebody asked, and since when.
    watched: Mutex<Option<(LogPosition, Moment)>>,
}

#[derive(Default)]
struct Waiting {
    waiters: BTreeMap<LogPosition, Vec<Waiter>>,
    /// What is not durable yet never will be.
    is_over: bool,
}

enum Waiter {
    Queue(QueueId),
    Connection(Arc<Outbox>),
    Task(oneshot::Sender<()>),
    Call(Box<dyn FnOnce() + Send>),
}

impl StoreJournal {
    /// A journal of which everything up to `last` is durable.
    pub(super) fn new(store: Store, last: LogPosition) -> Self {
        Self {
            store,
            durable: AtomicU64::new(last.0),
            waiting: Mutex::default(),
            due: Mutex::default(),
            bell: Notify::new(),
            condition: watch::Sender::default(),
            full_reports: AtomicUsize::new(0),
            has_refused: AtomicBool::new(false),
            watched: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Notifies the outbox once `position` is durable, or the store has failed.
    pub(super) fn notify_when_durable(&self, position: LogPosition, outbox: &Arc<Outbox>) {
        self.wait_for(position, Waiter::Connection(Arc::clone(outbox)));
    }

    /// Calls once `position` is durable, or the store has failed; on any thread.
    pub(super) fn call_when_durable(
        &self,
        position: LogPosition,
        call: impl FnOnce() + Send + 'static,
    ) {
        self.wait_for(position, Waiter::Call(Box::new(call)));
    }

    /// Returns once everything up to `position` is durable, or tells why it never will be.
    pub(super) async fn reach(&self, position: LogPosition) -> Result<(), String> {
        if position < LogPosition::NEVER {
            let (told, wait) = oneshot::channel();
            self.wait_for(position, Waiter::Task(told));
            let _whatever_it_was = wait.await;
        }
        if position <= self.durable() && position < LogPosition::NEVER {
            return Ok(());
        }
        Err(self.failure().unwrap_or_else(|| "a record was not taken".to_owned()))
    }

    /// How long the disk has not finished what it was given; zero when it has.
    pub(super) fn oldest_pending(&self, now: Moment) -> Duration {
        let durable = self.durable();
        let last = self.store.journal().last();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match *watched {
            Some((position, since)) if durable < position => {
                now.since_epoch().saturating_sub(since.since_epoch())
            }
            _ => {
                *watched = (durable < last).then_some((last, now));
                Duration::ZERO
            }
        }
    }

    /// Octets that were appended and are not durable yet.
    pub(super) fn pending_octets(&self) -> usize {
        self.store.journal().pending_octets()
    }

    /// Why nothing is written any more, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.store.journal().failure()
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.condition.borrow(), Condition::Failed(_))
    }

    /// How the store is, and whenever that changes.
    pub(super) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Changes the condition, unless the store has failed; whether there was anything to change.
    pub(super) fn set_condition(&self, condition: Condition) -> bool {
        self.condition.send_if_modified(|current| {
            let is_news = *current != condition && !matches!(current, Condition::Failed(_));
            if is_news {
                *current = condition;
            }
            is_news
        })
    }

    pub(super) fn report_full(&self) {
        self.full_reports.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the disk was reported full since the last look.
    pub(super) fn take_full_reports(&self) -> usize {
        self.full_reports.swap(0, Ordering::Relaxed)
    }

    /// Everything up to this position is durable: whoever waited for it goes on.
    ///
    /// Called by the thread that is to write the next chunk: no queue is touched here.
    pub(super) fn reached(&self, up_to: LogPosition) {
        // Before the lock is taken: who registers after it was given back sees this.
        self.durable.store(up_to.0, Ordering::Release);
        let mut waiting = self.waiting();
        let later = waiting.waiters.split_off(&LogPosition(up_to.0.saturating_add(1)));
        let released = mem::replace(&mut waiting.waiters, later);
        drop(waiting);
        self.release(released);
    }

    /// Nothing will be durable any more that is not yet: whoever waits must look for itself.
    pub(super) fn give_up(&self) {
        let mut waiting = self.waiting();
        waiting.is_over = true;
        let released = mem::take(&mut waiting.waiters);
        drop(waiting);
        self.release(released);
    }

    /// Wakes queues when what they wait for is durable, until `stop`.
    pub(super) async fn wake_queues(&self, broker: &Broker, clock: Clock, stop: CancellationToken) {
        while stop.run_until_cancelled(self.bell.notified()).await.is_some() {
            // Not held while queues are woken: they may ask for their next wake-up.
            let due = mem::take(&mut *self.due());
            for queue in due {
                broker.wake(queue, clock.now());
            }
        }
    }

    fn release(&self, released: BTreeMap<LogPosition, Vec<Waiter>>) {
        let mut queues = Vec::new();
        for waiter in released.into_values().flatten() {
            match waiter {
                Waiter::Queue(queue) => queues.push(queue),
                Waiter::Connection(outbox) => outbox.notify(),
                Waiter::Call(call) => call(),
                Waiter::Task(told) => {
                    let _nobody_waits_any_more = told.send(());
                }
            }
        }
        if !queues.is_empty() {
            self.due().append(&mut queues);
            self.bell.notify_one();
        }
    }

    fn wait_for(&self, position: LogPosition, waiter: Waiter) {
        let mut waiting = self.waiting();
        if !waiting.is_over && self.durable() < position {
            return waiting.waiters.entry(position).or_default().push(waiter);
        }
        drop(waiting);
        self.release(BTreeMap::from([(position, vec![waiter])]));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> MutexGuard<'_, Vec<QueueId>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for StoreJournal {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        self.store.append(batch).unwrap_or_else(|error| {
            batch.clear();
            if !self.has_refused.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "what must survive a crash was not taken");
            }
            LogPosition::NEVER
        })
    }

    fn durable(&self) -> LogPosition {
        LogPosition(self.durable.load(Ordering::Acquire))
    }

    fn wake_when_durable(&self, position: LogPosition, queue: QueueId) {
        if position < LogPosition::NEVER {
            self.wait_for(position, Waiter::Queue(queue));
        }
    }

    fn read(&self, queue: QueueId, from: Position) -> Option<Vec<(Position, Bytes)>> {
        match self.store.read(queue, from) {
            Ok(found) => {
                let found = found.unwrap_or_default().into_iter();
                Some(found.map(|stored| (stored.position, stored.octets)).collect())
            }
            Err(error) => {
                tracing::error!(%queue, %from, %error, "messages cannot be read back");
                None
            }
        }
    }
}

impl fmt::Debug for StoreJournal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = self.durable.load(Ordering::Relaxed);
        formatter.debug_struct("StoreJournal").field("durable", &durable).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Options, disk::memory::MemoryDisk};

    fn journal() -> StoreJournal {
        let disk = Arc::new(MemoryDisk::default());
        let (store, recovered) = Store::open(disk, Options::default()).unwrap();
        StoreJournal::new(store, recovered.last)
    }

    fn append(journal: &StoreJournal) -> LogPosition {
        let mut batch = Batch::default();
        batch.put(b"key", b"value");
        journal.append(&mut batch)
    }

    fn is_notified(outbox: &Outbox) -> bool {
        let is_notified = !outbox.is_empty();
        outbox.hear(&mut Vec::new());
        is_notified
    }

    #[test]
    fn one_sync_releases_all_who_waited_for_what_it_wrote_and_nobody_else() {
        let journal = journal();
        let positions = [append(&journal), append(&journal), append(&journal)];
        let outboxes = positions.map(|position| {
            let outbox = Arc::new(Outbox::default());
            journal.notify_when_durable(position, &outbox);
            journal.wake_when_durable(position, QueueId(position.0));
            outbox
        });
        journal.reached(positions[1]);
        let told = outboxes.each_ref().map(|outbox| is_notified(outbox));
        assert_eq!(told, [true, true, false]);
        assert_eq!(*journal.due(), [QueueId(1), QueueId(2)]);
        assert_eq!(journal.durable(), positions[1]);
        journal.reached(positions[2]);
        assert!(is_notified(&outboxes[2]));
    }

    #[test]
    fn who_waits_for_what_is_durable_goes_on_at_once() {
        let journal = journal();
        let position = append(&journal);
        journal.reached(position);
        let outbox = Arc::new(Outbox::default());
        journal.notify_when_durable(position, &outbox);
        journal.wake_when_durable(position, QueueId(7));
        assert!(is_notified(&outbox));
        assert_eq!(*journal.due(), [QueueId(7)]);
    }

    #[test]
    fn a_failed_store_releases_everybody_and_takes_nothing() {
        let journal = journal();
        let outbox = Arc::new(Outbox::default());
        journal.notify_when_durable(append(&journal), &outbox);
        journal.give_up();
        assert!(is_notified(&outbox));
        journal.notify_when_durable(LogPosition(9), &outbox);
        assert!(is_notified(&outbox));
    }
}
