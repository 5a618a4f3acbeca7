//! The data directory of a running node: opened, kept writing, told of when it is full or fails,
//! closed.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Alarms, StartError, entropy,
    journal::{Condition, StoreJournal},
};
use crate::{
    broker::{Broker, Journal},
    model::LogPosition,
    net::{Clients, Clock},
    store::{
        Error, Moved, Options, Recovered, Store, Witness,
        committer::{self, Committer},
        disk::file::Folder,
    },
};

/// How long a full disk is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Opens the store in `path`, and says what came out of the last run.
pub(super) fn open(path: &Path, recover: bool) -> Result<(Store, Recovered), StartError> {
    let folder = Folder::create(path)
        .map_err(|cause| StartError::DataDir { path: path.to_owned(), cause })?;
    #[expect(clippy::cast_possible_truncation, reason = "half of the randomness is enough")]
    let identity = entropy::draw() as u64;
    let options = Options { identity, recover, ..Options::default() };
    let (store, recovered) =
        Store::open(Arc::new(folder), options).map_err(|error| unusable(path, error))?;
    if let Some(torn) = &recovered.report.torn {
        tracing::info!("{}: {torn}: it was being written as the last run ended", path.display());
    }
    for loss in &recovered.report.losses {
        tracing::warn!("{}: going on without what is damaged: {loss}", path.display());
    }
    Ok((store, recovered))
}

/// Why the node does not start with what it found.
pub(super) fn unusable(path: &Path, cause: Error) -> StartError {
    let path = path.to_owned();
    match cause {
        Error::Locked { .. } => StartError::DataDirInUse { path },
        Error::Damaged { .. } => StartError::Damaged { path, cause },
        cause => StartError::Store { path, cause },
    }
}

/// The store's threads and tasks.
pub(super) struct Storage {
    journal: Arc<StoreJournal>,
    clock: Clock,
    committer: Committer,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Storage {
    /// Starts writing what the broker appends.
    pub(super) fn start(
        journal: Arc<StoreJournal>,
        broker: &Arc<Broker>,
        clock: Clock,
    ) -> io::Result<Self> {
        let reporter = Reporter { journal: Arc::clone(&journal), broker: Arc::clone(broker) };
        let committer = committer::start(journal.store(), Arc::new(reporter))?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (waker, woken, woken_until) = (Arc::clone(&journal), Arc::clone(broker), stop.clone());
        tasks.spawn(async move { waker.wake_queues(&woken, clock, woken_until).await });
        let (retrier, until) = (Arc::clone(&journal), stop.clone());
        tasks.spawn(
            async move { until.run_until_cancelled(retry_when_full(&retrier, clock)).await },
        );
        Ok(Self { journal, clock, committer, tasks, stop: stop.drop_guard() })
    }

    /// Has the clients and the alarms learn how the store is, in tasks that end with `stop`.
    pub(super) fn watch(
        &self,
        clients: &Arc<Clients>,
        alarms: &Arc<Alarms>,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) {
        let (journal, clients) = (Arc::clone(&self.journal), Arc::clone(clients));
        tasks.spawn(send_all_away_when_failed(journal, clients, stop.clone()));
        let (journal, scarcity, until) = (Arc::clone(&self.journal), alarms.disk(), stop.clone());
        let clock = self.clock;
        tasks.spawn(async move {
            until.run_until_cancelled(reclaim_while_scarce(&journal, scarcity, clock)).await
        });
        let (journal, alarms, stop) = (Arc::clone(&self.journal), Arc::clone(alarms), stop.clone());
        tasks.spawn(
            async move { stop.run_until_cancelled(alarm_when_full(&journal, &alarms)).await },
        );
    }

    /// Returns why the store has failed, once it has.
    pub(super) async fn failed(&self) -> Error {
        failure(&self.journal).await
    }

    pub(super) fn journal(&self) -> &Arc<StoreJournal> {
        &self.journal
    }

    /// Writes what was appended. The broker must be at rest.
    pub(super) async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
        let committer = self.committer;
        // A thread that panicked has said so.
        drop(tokio::task::spawn_blocking(move || drop(committer)).await);
    }
}

/// Returns why the store has failed, once it has.
async fn failure(journal: &StoreJournal) -> Error {
    let mut condition = journal.condition();
    loop {
        if let Condition::Failed(error) = &*condition.borrow_and_update() {
            return error.clone();
        }
        condition.changed().await.expect("the journal is there");
    }
}

/// A node that can keep nothing any more sends its clients away, and says why.
pub(super) async fn send_all_away_when_failed(
    journal: Arc<StoreJournal>,
    clients: Arc<Clients>,
    stop: CancellationToken,
) {
    if let Some(error) = stop.run_until_cancelled(failure(&journal)).await {
        stop.cancel();
        clients.close_all(&farewell(&error));
    }
}

/// Has the store give back what room it can, again and again while the disk's alarm is on: what
/// consumers settle meanwhile would else be given back only when more is published.
async fn reclaim_while_scarce(
    journal: &StoreJournal,
    mut is_scarce: watch::Receiver<bool>,
    clock: Clock,
) {
    while is_scarce.wait_for(|is_scarce| *is_scarce).await.is_ok() {
        journal.store().reclaim();
        tokio::time::sleep_until(clock.instant(clock.now() + RETRY)).await;
    }
}

/// Raises the disk's alarm while the disk is full.
async fn alarm_when_full(journal: &StoreJournal, alarms: &Alarms) {
    let mut condition = journal.condition();
    while condition.changed().await.is_ok() {
        let is_full = *condition.borrow_and_update() == Condition::Full;
        alarms.disk_full(is_full);
    }
}

/// What clients and operators are told when the store has failed.
pub(super) fn farewell(cause: &impl fmt::Display) -> String {
    format!("the store failed: {cause}")
}

/// Tries a full disk again, until things go on.
async fn retry_when_full(journal: &StoreJournal, clock: Clock) {
    let mut condition = journal.condition();
    while condition.wait_for(|condition| *condition == Condition::Full).await.is_ok() {
        let is_over = retry(journal, clock).await;
        if is_over && journal.set_condition(Condition::Fine) {
            tracing::info!("there is room on the disk again: going on");
        }
    }
}

/// Tries once; whether records are written again.
async fn retry(journal: &StoreJournal, clock: Clock) -> bool {
    let before = journal.durable();
    journal.take_full_reports();
    journal.store().resume();
    tokio::time::sleep_until(clock.instant(clock.now() + RETRY)).await;
    let durable = journal.durable();
    let has_moved = durable > before || durable == journal.store().journal().last();
    has_moved && journal.take_full_reports() == 0
}

/// Tells the journal and the broker what the store's threads report.
struct Reporter {
    journal: Arc<StoreJournal>,
    broker: Arc<Broker>,
}

impl Witness for Reporter {
    fn durable(&self, up_to: LogPosition) {
        self.journal.reached(up_to);
    }

    fn moved(&self, moved: &[Moved]) {
        for Moved { queue, below } in moved {
            self.broker.moved(*queue, *below);
        }
    }

    fn full(&self, error: &Error) {
        self.journal.report_full();
        if self.journal.set_condition(Condition::Full) {
            tracing::warn!(%error, "the disk is full: what must be written waits for room");
        }
    }

    fn failed(&self, error: &Error) {
        if self.journal.set_condition(Condition::Failed(error.clone())) {
            tracing::error!(%error, "the store has failed: nothing is written any more");
        }
        self.journal.give_up();
    }
}
