//! Carries dead letters from the queues they died in to the exchanges they are meant for, and
//! delayed messages from where they waited, in order.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Broker, topology::QueueRecord, virtual_host::VirtualHost};
use crate::model::{DeadLetterOptions, DeathReason, Message, Moment, Position};

/// Dead letters of all queues, in the order in which the messages died, and what became due.
///
/// A queue hands them in under its lock; routing them there would take a second queue's lock. One
/// thread at a time carries, so that two letters of one queue never overtake each other.
#[derive(Debug, Default)]
pub(super) struct Courier(Mutex<Round>);

#[derive(Debug, Default)]
struct Round {
    letters: VecDeque<Letter>,
    under_way: bool,
}

/// A message that goes on from where it was, and why.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Message,
    pub(super) cause: Cause,
    /// Its place in the queue, where it is still written as being.
    pub(super) from: Option<Position>,
    pub(super) queue: Arc<QueueRecord>,
    pub(super) home: Arc<VirtualHost>,
}

/// Why a message goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It died, and goes where its queue's dead letters went then.
    Death(DeathReason, DeadLetterOptions),
    /// Its delay is over, and it goes the way of its exchange.
    Due,
}

impl Courier {
    /// Takes a letter in.
    pub(super) fn receive(&self, letter: Letter) {
        self.lock().letters.push_back(letter);
    }

    /// Carries all letters there are, also those that come in meanwhile; returns at once if another
    /// thread is already under way. No queue's lock may be held.
    pub(super) fn carry(&self, broker: &Broker, now: Moment) {
        if mem::replace(&mut self.lock().under_way, true) {
            return;
        }
        while let Some(letters) = self.next_round() {
            for letter in letters {
                broker.deliver_letter(&letter, now);
            }
        }
    }

    /// The letters that have come in; when there are none, the round is over.
    fn next_round(&self) -> Option<VecDeque<Letter>> {
        let mut round = self.lock();
        round.under_way = !round.letters.is_empty();
        round.under_way.then(|| mem::take(&mut round.letters))
    }

    fn lock(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
