//! This node's consumers of one queue that is led elsewhere or may be, and what they hold.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::parcel::Claims;
use crate::{
    broker::{ports::Outbox, queue::Subscription, views::Subscriber},
    model::{ConsumerId, Delivery, FieldValue, Position, PositionRange, Ranges},
};

/// The truth about this node's consumers: a new leader learns it from here.
///
/// A leaf lock: deliveries pass here under their queue's lock.
#[derive(Debug, Default)]
pub(super) struct Attachments(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    consumers: BTreeMap<ConsumerId, Attachment>,
    /// Who holds which message. [`ConsumerId::default`] stands for `basic.get`.
    held: BTreeMap<Position, ConsumerId>,
}

#[derive(Debug)]
struct Attachment {
    subscription: Subscription,
    subscriber: Subscriber,
    outbox: Arc<dyn Outbox>,
    /// What came from afar while the credit of the channel was used up.
    waiting: VecDeque<Delivery>,
}

impl Attachments {
    pub(super) fn add(
        &self,
        subscription: Subscription,
        subscriber: Subscriber,
        outbox: Arc<dyn Outbox>,
    ) {
        let id = subscription.consumer;
        let attachment = Attachment { subscription, subscriber, outbox, waiting: VecDeque::new() };
        self.lock().consumers.insert(id, attachment);
    }

    /// The consumer leaves, and what had not reached its connection comes back; whether it was
    /// there.
    pub(super) fn remove(&self, consumer: ConsumerId) -> Option<Vec<Position>> {
        let mut state = self.lock();
        let attachment = state.consumers.remove(&consumer)?;
        let unseen: Vec<_> = attachment.waiting.iter().map(|delivery| delivery.position).collect();
        for position in &unseen {
            state.held.remove(position);
        }
        Some(unseen)
    }

    /// All consumers leave, since their queue is gone: each is told.
    pub(super) fn cancel_all(&self) {
        let consumers = mem::take(&mut *self.lock()).consumers;
        consumers.iter().for_each(|(id, attachment)| attachment.outbox.consumer_cancelled(*id));
    }

    /// The consumer's queue is gone.
    pub(super) fn cancel(&self, consumer: ConsumerId) {
        if let Some(attachment) = self.lock().consumers.remove(&consumer) {
            attachment.outbox.consumer_cancelled(consumer);
        }
    }

    /// A message was taken by `basic.get`.
    pub(super) fn hold(&self, position: Position) {
        self.lock().held.insert(position, ConsumerId::default());
    }

    /// Messages were settled by their holders.
    pub(super) fn settle(&self, positions: &[Position]) {
        let mut state = self.lock();
        for position in positions {
            state.held.remove(position);
        }
    }

    /// Hands deliveries of the leader here to their connections. Gives back those for consumers
    /// that have left.
    pub(super) fn deliver(&self, deliveries: Vec<Delivery>) -> Vec<Position> {
        let mut strays = Vec::new();
        let mut state = self.lock();
        let State { consumers, held } = &mut *state;
        for run in runs(deliveries) {
            let Some(attachment) = consumers.get_mut(&run[0].consumer) else {
                strays.extend(run.iter().map(|delivery| delivery.position));
                continue;
            };
            if attachment.subscription.acknowledge {
                held.extend(run.iter().map(|delivery| (delivery.position, delivery.consumer)));
                attachment.waiting.extend(run);
                attachment.pass_on();
            } else {
                let mut run = run;
                attachment.outbox.deliver(&mut run);
            }
        }
        strays
    }

    /// Hands on deliveries of a leader on this node, whose queue has counted them.
    pub(super) fn deliver_counted(&self, deliveries: &mut Vec<Delivery>) {
        let mut state = self.lock();
        let State { consumers, held } = &mut *state;
        let Some(first) = deliveries.first() else { return };
        // All are for one connection: they go together, whichever consumers they are for.
        let Some(outbox) = consumers.get(&first.consumer).map(|it| Arc::clone(&it.outbox)) else {
            return deliveries.clear();
        };
        for delivery in &*deliveries {
            let attachment = consumers.get(&delivery.consumer);
            if attachment.is_some_and(|attachment| attachment.subscription.acknowledge) {
                held.insert(delivery.position, delivery.consumer);
            }
        }
        outbox.deliver(deliveries);
    }

    /// The credit of some channel has room again.
    pub(super) fn resume(&self) {
        self.lock().consumers.values_mut().for_each(Attachment::pass_on);
    }

    /// All of it, for a new leader.
    pub(super) fn claims(&self) -> Claims {
        let state = self.lock();
        let all = state.consumers.values();
        let consumers = all.map(|it| (it.subscription.clone(), it.subscriber.clone())).collect();
        let mut held: BTreeMap<ConsumerId, Ranges> = BTreeMap::new();
        for (position, consumer) in &state.held {
            held.entry(*consumer).or_default().insert((*position).into());
        }
        let held = held.into_iter().map(|(consumer, ranges)| (consumer, ranges.iter().collect()));
        Claims { consumers, held: held.collect() }
    }

    /// What was held is not any more: another leader gives it out again. Consumers that do not want
    /// to go on then are cancelled.
    pub(super) fn let_go(&self) {
        let mut state = self.lock();
        state.held.clear();
        state.consumers.values_mut().for_each(|attachment| attachment.waiting.clear());
        state.consumers.retain(|id, attachment| {
            let leaves = attachment.leaves_on_failover();
            if leaves {
                attachment.outbox.consumer_cancelled(*id);
            }
            !leaves
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer's argument, and a client's capability of the same meaning.
const CANCEL_ON_FAILOVER: &str = "x-cancel-on-ha-failover";

impl Attachment {
    fn leaves_on_failover(&self) -> bool {
        self.subscriber.arguments.lookup(CANCEL_ON_FAILOVER) == Some(&FieldValue::Boolean(true))
    }

    /// Hands on what the channel's credit allows.
    fn pass_on(&mut self) {
        let credit = &self.subscription.credit;
        let mut allowed = Vec::new();
        while !self.waiting.is_empty() && credit.take() {
            allowed.extend(self.waiting.pop_front());
        }
        if !allowed.is_empty() {
            self.outbox.deliver(&mut allowed);
        }
    }
}

/// Deliveries in runs, each for one consumer.
fn runs(deliveries: Vec<Delivery>) -> Vec<Vec<Delivery>> {
    let mut runs: Vec<Vec<Delivery>> = Vec::new();
    for delivery in deliveries {
        match runs.last_mut() {
            Some(run) if run[0].consumer == delivery.consumer => run.push(delivery),
            _ => runs.push(vec![delivery]),
        }
    }
    runs
}

/// Positions as ranges.
pub(super) fn as_ranges(positions: &[Position]) -> Vec<PositionRange> {
    let mut ranges: Vec<PositionRange> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some(last) if last.last.0 + 1 == position.0 => last.last = *position,
            _ => ranges.push((*position).into()),
        }
    }
    ranges
}
