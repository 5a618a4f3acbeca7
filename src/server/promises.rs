//! What a client is told only once a crash cannot belie it: answers and confirms that wait for the
//! disk.

use std::{collections::VecDeque, sync::Arc};

use super::journal::StoreJournal;
use crate::{
    broker::{Client, Journal},
    model::{Confirmed, LogPosition, Refusal},
    net::Outbox,
    session::request::Answer,
};

/// Octets that may wait for the disk, of all connections; who publishes beyond it has to wait.
const PENDING_LIMIT: usize = 16 << 20;

/// The promises of one connection.
#[derive(Debug)]
pub(super) struct Promises {
    journal: Arc<StoreJournal>,
    outbox: Arc<Outbox>,
    /// Answers in the order of the records that they wait for.
    held: VecDeque<(LogPosition, Answer)>,
    /// The position for which the outbox will be notified, unless it was reached.
    noted: LogPosition,
    /// Nothing more is taken from the client before this is durable.
    behind: LogPosition,
    /// Nobody hears the answers any more.
    is_over: bool,
}

impl Promises {
    pub(super) fn new(journal: Arc<StoreJournal>, outbox: Arc<Outbox>) -> Self {
        Self {
            journal,
            outbox,
            held: VecDeque::new(),
            noted: LogPosition::default(),
            behind: LogPosition::default(),
            is_over: false,
        }
    }

    /// Keeps an answer until its records are durable, or gives it back if they are.
    pub(super) fn keep(&mut self, position: LogPosition, answer: Answer) -> Option<Answer> {
        if position <= self.journal.durable() || self.is_over {
            return Some(answer);
        }
        if position == LogPosition::NEVER {
            return Some(self.broken(answer));
        }
        let place = self.held.partition_point(|(other, _)| *other <= position);
        self.held.insert(place, (position, answer));
        None
    }

    /// An answer that need not wait any longer.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let (position, _) = self.held.front()?;
        let is_kept = *position <= self.journal.durable() || self.is_over;
        if !is_kept && !self.journal.has_failed() {
            return None;
        }
        let (_, answer) = self.held.pop_front()?;
        Some(if is_kept { answer } else { self.broken(answer) })
    }

    /// The publications that are safe by now.
    pub(super) fn take_confirms(&self, client: &mut Client) -> Vec<Confirmed> {
        let mut confirmed = Vec::new();
        if let Some(position) = client.next_awaited_confirm() {
            let durable = self.journal.durable();
            if position <= durable {
                client.confirmed(durable, &mut confirmed);
            }
        }
        confirmed
    }

    /// The client has published. If too much waits for the disk, it has to wait, too.
    pub(super) fn published(&mut self) {
        if self.journal.pending_octets() > PENDING_LIMIT {
            self.behind = self.journal.store().journal().last();
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind > self.journal.durable()
    }

    /// Sees to it that the outbox is notified when something is due, `confirm` being the first
    /// record that a confirm waits for.
    pub(super) fn arrange_wake_up(&mut self, confirm: Option<LogPosition>) {
        let answer = self.held.front().map(|(position, _)| *position);
        let behind = self.is_behind().then_some(self.behind);
        let Some(first) = answer.into_iter().chain(confirm).chain(behind).min() else { return };
        let is_noted = self.noted <= first && self.noted > self.journal.durable();
        if is_noted || first == LogPosition::NEVER {
            return;
        }
        if self.journal.has_failed() {
            // Confirms are not given any more; answers are, each with the reason.
            if answer.is_some() {
                self.outbox.notify();
            }
            return;
        }
        self.noted = first;
        self.journal.notify_when_durable(first, &self.outbox);
    }

    pub(super) fn hang_up(&mut self) {
        self.is_over = true;
        self.behind = LogPosition::default();
    }

    /// What is said instead of an answer whose records are lost.
    fn broken(&self, answer: Answer) -> Answer {
        let Answer::Done { channel, .. } = answer else { return answer };
        let unknown = || "a record was not taken".to_owned();
        let cause = self.journal.failure().unwrap_or_else(unknown);
        Answer::Done { channel, result: Err(Refusal::NotKept { cause }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Batch, ChannelNumber},
        session::request::Reply,
        store::{
            Options, Store,
            disk::memory::{Faults, MemoryDisk},
        },
    };

    struct Bench {
        disk: MemoryDisk,
        journal: Arc<StoreJournal>,
        outbox: Arc<Outbox>,
        promises: Promises,
    }

    impl Bench {
        fn new() -> Self {
            let disk = MemoryDisk::default();
            let (store, recovered) =
                Store::open(Arc::new(disk.clone()), Options::default()).unwrap();
            let journal = Arc::new(StoreJournal::new(store, recovered.last));
            let outbox = Arc::new(Outbox::default());
            let promises = Promises::new(Arc::clone(&journal), Arc::clone(&outbox));
            Self { disk, journal, outbox, promises }
        }

        /// An operation that leaves a record of so many octets; its answer if it is given at once.
        fn operate(&mut self, channel: u16, octets: usize) -> Option<u16> {
            let mut batch = Batch::default();
            batch.put(b"key", &vec![0; octets]);
            let position = self.journal.append(&mut batch);
            self.promises.keep(position, done(channel)).map(|answer| channel_of(&answer))
        }

        fn write(&self) {
            if let Some(up_to) = self.journal.store().commit().unwrap() {
                self.journal.reached(up_to);
            }
        }

        /// The channels that are answered, unless the connection was not woken for it.
        fn woken(&mut self) -> Vec<u16> {
            if self.outbox.is_empty() {
                return Vec::new();
            }
            self.outbox.hear(&mut Vec::new());
            std::iter::from_fn(|| self.promises.next_answer())
                .map(|answer| channel_of(&answer))
                .collect()
        }
    }

    fn done(channel: u16) -> Answer {
        Answer::Done { channel: ChannelNumber(channel), result: Ok(Reply::Done) }
    }

    fn channel_of(answer: &Answer) -> u16 {
        let Answer::Done { channel, .. } = answer else { panic!("{answer:?}") };
        channel.0
    }

    fn is_broken(answer: &Answer) -> bool {
        matches!(answer, Answer::Done { result: Err(Refusal::NotKept { .. }), .. })
    }

    #[test]
    fn answers_come_in_order_when_their_records_are_durable() {
        let mut bench = Bench::new();
        assert_eq!((bench.operate(1, 9), bench.operate(2, 9)), (None, None));
        bench.promises.arrange_wake_up(None);
        assert_eq!(bench.woken(), [0; 0]);
        bench.write();
        assert_eq!(bench.woken(), [1, 2]);
        bench.operate(3, 9);
        bench.promises.arrange_wake_up(Some(LogPosition(4)));
        bench.write();
        assert_eq!(bench.woken(), [3]);
        let durable = bench.journal.durable();
        assert!(bench.promises.keep(durable, done(4)).is_some());
    }

    #[test]
    fn a_lower_position_than_the_one_noted_is_noted_too() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            let _held = bench.operate(1, 9);
        }
        bench.promises.held.clear();
        bench.promises.arrange_wake_up(Some(LogPosition(3)));
        bench.promises.keep(LogPosition(1), done(1));
        bench.promises.arrange_wake_up(Some(LogPosition(3)));
        bench.journal.reached(LogPosition(1));
        assert_eq!(bench.woken(), [1]);
    }

    #[test]
    fn who_hung_up_waits_for_nothing() {
        let mut bench = Bench::new();
        bench.operate(1, 9);
        bench.promises.hang_up();
        assert_eq!(bench.promises.next_answer(), Some(done(1)));
        assert_eq!(bench.operate(2, 9), Some(2));
    }

    #[test]
    fn what_the_store_does_not_take_is_no_promise() {
        let mut bench = Bench::new();
        let answer = bench.promises.keep(LogPosition::NEVER, done(1)).unwrap();
        assert!(is_broken(&answer));
        assert_eq!(bench.operate(1, 9), None);
        bench.promises.arrange_wake_up(None);
        bench.disk.set_faults(Faults { failure_at: Some(1), ..Faults::default() });
        let error = bench.journal.store().commit().unwrap_err();
        bench.journal.set_condition(super::super::journal::Condition::Failed(error));
        bench.journal.give_up();
        assert!(!bench.outbox.is_empty());
        assert!(bench.promises.next_answer().is_some_and(|answer| is_broken(&answer)));
        assert_eq!(bench.operate(1, 9), Some(1));
        bench.outbox.hear(&mut Vec::new());
        bench.promises.arrange_wake_up(Some(LogPosition(1)));
        assert!(bench.outbox.is_empty(), "there is nothing to wake up for");
    }

    #[test]
    fn who_publishes_more_than_the_disk_writes_waits_for_it() {
        let mut bench = Bench::new();
        bench.operate(1, PENDING_LIMIT / 2);
        bench.promises.published();
        assert!(!bench.promises.is_behind());
        bench.operate(1, PENDING_LIMIT / 2);
        bench.promises.published();
        assert!(bench.promises.is_behind());
        bench.promises.held.clear();
        bench.promises.arrange_wake_up(None);
        while bench.promises.is_behind() {
            assert!(bench.outbox.is_empty());
            bench.write();
        }
        assert!(!bench.outbox.is_empty());
    }
}
