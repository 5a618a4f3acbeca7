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
const PENDING_LIMIT: usize = 32 << 20;

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
            return if answer.is_some() {
                self.outbox.notify()
            };
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
