//! One queue as a deterministic machine: commands and the time go in, effects come out.
//!
//! [`Contents`] is what is in the queue. Everything else decides: whose turn it is, what expires,
//! what overflows. [`Changes`] is what must be written of all this, from which a restart makes the
//! contents again; consumers and their credit are never written, and are made anew as they attach.

mod annex;
mod changes;
mod clearance;
mod command;
mod consumers;
mod contents;
mod duplicates;
mod expiry;
mod keeping;
mod limits;
mod ready;
mod restored;
mod sequence;
mod shelf;
mod stored;
mod tail;
#[cfg(test)]
mod tests;
mod unacked;

use thiserror::Error;

use self::{
    annex::Annex, clearance::Clearance, consumers::Consumers, contents::Contents,
    duplicates::Duplicates, expiry::Alarm, unacked::Holder,
};
pub use self::{
    changes::{Arrived, Changes, Kept},
    command::{Arrival, Command, Effect, Subscription},
    contents::Entry,
    restored::Restored,
    shelf::Shelf,
    stored::Stored,
};
use crate::model::{
    ChannelCredit, ConsumerId, DeathReason, Message, Moment, Outcome, Position, QueueKind,
    QueueOptions,
};

/// A queue.
///
/// After every command either nothing is ready, or no consumer has room, or what is ready must not
/// be handed out before something is written.
#[derive(Debug)]
pub struct Queue {
    options: QueueOptions,
    auto_delete: bool,
    contents: Contents,
    consumers: Consumers,
    alarm: Alarm,
    changes: Changes,
    clearance: Clearance,
    /// Persistent messages are to survive.
    is_durable: bool,
    /// Several nodes keep it.
    is_mirrored: bool,
    /// Octets in memory beyond which what arrives is written, to save memory.
    spill_above: usize,
    /// Some messages were.
    has_spilled: bool,
    /// Its deletion was asked for, and is not asked for again.
    is_deleted: bool,
    /// Duplicates of what is in it are dropped.
    duplicates: Option<Box<Duplicates>>,
    /// It is none, but what an exchange keeps.
    annex: Option<Box<Annex>>,
}

/// Another consumer has the queue to itself, or the one that asks to have it so cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the queue is in exclusive use")]
pub struct InExclusiveUse;

impl Queue {
    /// An empty queue. Its effects begin with the first command: with `x-expires`, that should be a
    /// [`Command::Touch`] at once.
    pub fn new(options: QueueOptions, auto_delete: bool, now: Moment) -> Self {
        Self {
            consumers: Consumers::new(&options),
            contents: Contents::with_levels(options.max_priority.unwrap_or(0)),
            duplicates: options.deduplicates.then(Box::default),
            options,
            auto_delete,
            alarm: Alarm::new(now),
            changes: Changes::default(),
            clearance: Clearance::default(),
            is_durable: false,
            is_mirrored: false,
            spill_above: keeping::SPILL_ABOVE,
            has_spilled: false,
            is_deleted: false,
            annex: None,
        }
    }

    /// Applies `command` at `now` and appends to `effects` what the world outside must do.
    pub fn apply(&mut self, command: Command, now: Moment, effects: &mut Vec<Effect>) {
        if self.annex.is_some() {
            return self.apply_to_annex(command, now, effects);
        }
        self.contents.fill();
        self.expire(now, effects);
        match command {
            Command::Enqueue(arrival) => self.enqueue(arrival, now, effects),
            Command::Subscribe(subscription) => self.consumers.subscribe(subscription),
            Command::Unsubscribe { consumer } => self.unsubscribe(consumer, now, effects),
            Command::Get { acknowledge, credit } => {
                self.alarm.renew_lease(now);
                self.get(acknowledge, &credit, effects);
            }
            Command::Settle { positions, outcome } => self.settle(positions, outcome, effects),
            Command::Abandon { consumer } => self.abandon(consumer, now, effects),
            Command::Replenish { consumer, octets } => self.consumers.replenish(consumer, octets),
            Command::Resume => self.consumers.resume(),
            Command::Purge => {
                effects.push(Effect::Purged(self.contents.clear_ready(&mut self.changes)));
                self.forget_ready_keys();
            }
            Command::Touch => self.touch(now),
            Command::Tick => self.tick(now, effects),
            Command::Configure(options) => self.configure(*options, now, effects),
        }
        self.serve(now, effects);
        self.ask_to_wake(effects);
    }

    /// Whether a consumer may attach. RabbitMQ's quorum queues accept an exclusive one and do not
    /// enforce it.
    pub fn may_subscribe(&self, exclusive: bool) -> Result<(), InExclusiveUse> {
        if self.options.kind == QueueKind::Quorum {
            return Ok(());
        }
        let refused =
            exclusive && (!self.consumers.is_empty() || self.consumers.is_single_active());
        if refused || self.consumers.has_exclusive() {
            return Err(InExclusiveUse);
        }
        Ok(())
    }

    /// Ready messages, as of the last command: a declaration that shows them sends a
    /// [`Command::Touch`] first, so that what has expired since is gone.
    #[inline]
    pub fn ready_count(&self) -> u64 {
        self.contents.ready_count()
    }

    /// Octets of the bodies of ready messages.
    #[inline]
    pub fn ready_octets(&self) -> u64 {
        self.contents.ready_octets()
    }

    /// Messages that are out.
    pub fn unacked_count(&self) -> u64 {
        self.contents.unacked_count()
    }

    /// Octets of the bodies of messages that are out.
    pub fn unacked_octets(&self) -> u64 {
        self.contents.unacked_octets()
    }

    /// Whether a consumer may be given messages at all: of a queue with a single active consumer,
    /// the others stand by.
    pub fn is_active(&self, consumer: ConsumerId) -> bool {
        self.consumers.is_active(consumer)
    }

    /// All consumers, whether they have room or are active or not.
    pub fn consumer_count(&self) -> u64 {
        self.consumers.count()
    }

    /// What it is.
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// Whether nothing is ready: messages that are out do not count.
    #[inline]
    fn is_empty(&self) -> bool {
        self.ready_count() == 0
    }

    #[inline]
    fn enqueue(&mut self, arrival: Arrival, now: Moment, effects: &mut Vec<Effect>) {
        if self.must_refuse(&arrival.message) {
            self.refuse(arrival.message, effects);
            return;
        }
        if self.is_duplicate(&arrival.message) {
            effects.push(Effect::Repeated);
            return;
        }
        let deadline = self.deadline(arrival.time_to_live, now);
        let survives = arrival.persistent || self.options.kind == QueueKind::Quorum;
        let is_durable = self.is_durable && (survives || self.is_mirrored);
        let entry = Entry {
            deadline,
            priority: arrival.priority.min(self.options.max_priority.unwrap_or(0)),
            kept: if is_durable { Kept::Durable } else { Kept::InMemory },
            ..Entry::new(self.contents.next_position(), arrival.message)
        };
        // A consumer that waits gets the message whatever its time to live, on a classic queue.
        let is_dead = deadline.is_some_and(|deadline| deadline <= now)
            && self.options.kind == QueueKind::Quorum;
        if self.is_empty()
            && !is_dead
            && !self.is_mirrored
            && let Some(turn) = self.consumers.next_turn()
        {
            self.pass_on(entry, turn, effects);
            return;
        }
        self.wait(entry);
        self.trim(effects);
    }

    fn unsubscribe(&mut self, consumer: ConsumerId, now: Moment, effects: &mut Vec<Effect>) {
        if !self.consumers.unsubscribe(consumer) || !self.consumers.is_empty() {
            return;
        }
        self.alarm.renew_lease(now);
        self.withdraw_clearance();
        if self.auto_delete {
            self.delete(effects);
        }
    }

    fn get(&mut self, acknowledge: bool, credit: &ChannelCredit, effects: &mut Vec<Effect>) {
        let Some(entry) = self.contents.take_head() else {
            effects.push(Effect::GotNothing);
            return;
        };
        let Entry { position, redelivered, delivery_count, kept, .. } = entry;
        if kept == Kept::Durable {
            self.take_clearance(position);
        }
        let message = if acknowledge {
            credit.take_regardless();
            self.lend(entry, Holder::NOBODY)
        } else {
            self.changes.leave(kept, position);
            self.forget_key(position);
            entry.message
        };
        let remaining = self.ready_count();
        effects.push(Effect::Got { position, message, redelivered, delivery_count, remaining });
    }

    fn settle(&mut self, positions: Vec<Position>, outcome: Outcome, effects: &mut Vec<Effect>) {
        for position in positions {
            let Some(out) = self.contents.release(position) else { continue };
            self.consumers.give_back(out.holder);
            match outcome {
                Outcome::Acknowledge => {
                    self.changes.leave(out.entry.kept, position);
                    self.forget_key(position);
                }
                Outcome::Requeue => self.put_back(out.entry, effects),
                Outcome::Reject => self.bury(out.entry, DeathReason::Rejected, effects),
            }
        }
        if outcome == Outcome::Requeue {
            self.trim(effects);
        }
    }

    /// The consumer is gone without a word: what it holds comes back.
    fn abandon(&mut self, consumer: ConsumerId, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(holder) = self.consumers.holder(consumer) {
            let held = self.contents.held_by(holder);
            self.settle(held, Outcome::Requeue, effects);
        }
        self.unsubscribe(consumer, now, effects);
    }

    fn touch(&mut self, now: Moment) {
        if self.options.kind == QueueKind::Classic {
            self.alarm.renew_lease(now);
        }
    }

    /// Hands ready messages to the consumers, while both last.
    #[inline]
    fn serve(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        loop {
            self.expire(now, effects);
            if !self.may_serve() {
                return;
            }
            let Some(turn) = self.consumers.next_turn() else { return };
            let Some(entry) = self.contents.take_head() else { return };
            let (kept, position) = (entry.kept, entry.position);
            if kept == Kept::Durable {
                self.clearance.hand_out(position);
            }
            if !self.hand_out(entry, turn, effects) {
                self.changes.leave(kept, position);
                self.forget_key(position);
            }
        }
    }

    /// Hands out a message, and says whether it will be acknowledged; if not, it is gone.
    #[inline]
    fn hand_out(&mut self, entry: Entry, turn: u32, effects: &mut Vec<Effect>) -> bool {
        let served = self.consumers.serve(turn, entry.message.size());
        let Entry { position, redelivered, delivery_count, .. } = entry;
        let message =
            if served.acknowledge { self.lend(entry, served.holder) } else { entry.message };
        let consumer = served.consumer;
        effects.push(Effect::Deliver { consumer, position, message, redelivered, delivery_count });
        served.acknowledge
    }

    /// Keeps a message as one that is out, and gives a copy.
    #[inline]
    fn lend(&mut self, entry: Entry, holder: Holder) -> Message {
        let message = entry.message.clone();
        self.contents.hold(entry, holder);
        message
    }

    /// Kept out of line: what asks for it is in the way of every message.
    #[inline(never)]
    fn drop_head(&mut self, reason: DeathReason, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.contents.take_head() {
            self.bury(entry, reason, effects);
        }
    }

    /// A message that was here dies.
    fn bury(&mut self, entry: Entry, reason: DeathReason, effects: &mut Vec<Effect>) {
        let Entry { position, message, kept, .. } = entry;
        self.forget_key(position);
        let is_durable = kept == Kept::Durable;
        if !(is_durable && self.options.dead_letter.is_some()) {
            self.changes.leave(kept, position);
        }
        self.send_on(message, reason, is_durable.then_some(position), effects);
    }

    fn send_on(
        &self,
        message: Message,
        reason: DeathReason,
        from: Option<Position>,
        effects: &mut Vec<Effect>,
    ) {
        if self.options.dead_letter.is_some() {
            effects.push(Effect::DeadLetter { message, reason, from });
        }
    }

    fn delete(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_deleted {
            self.is_deleted = true;
            effects.push(Effect::Delete);
        }
    }
}
