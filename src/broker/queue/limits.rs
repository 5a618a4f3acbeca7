//! How much a queue holds, what it does about more, and how often a message may come back.

use super::{Queue, changes::Kept, command::Effect, contents::Entry};
use crate::model::{DeathReason, Message, Moment, Overflow, QueueKind, QueueOptions};

impl Queue {
    /// Whether a message must be refused. This is asked before a consumer is: a queue that refuses
    /// does so even if one waits (RabbitMQ 3.10).
    #[inline]
    pub(super) fn must_refuse(&self, message: &Message) -> bool {
        match (self.options.overflow, self.options.kind) {
            (Overflow::DropHead, _) => false,
            (_, QueueKind::Classic) => {
                let octets = message.body().len() as u64;
                self.exceeds(self.ready_count() + 1, self.ready_octets() + octets)
            }
            // A quorum queue learns of its length too late: the one message too many is let in.
            (_, QueueKind::Quorum) => self.exceeds(self.ready_count(), self.ready_octets()),
        }
    }

    pub(super) fn refuse(&self, message: Message, effects: &mut Vec<Effect>) {
        if self.options.overflow == Overflow::RejectPublishDeadLetter {
            self.send_on(message, DeathReason::MaxLength, None, effects);
        }
        effects.push(Effect::Refused);
    }

    /// Drops heads until the limits hold.
    #[inline]
    pub(super) fn trim(&mut self, effects: &mut Vec<Effect>) {
        if self.options.overflow != Overflow::DropHead {
            return;
        }
        while self.exceeds(self.ready_count(), self.ready_octets()) {
            self.drop_head(DeathReason::MaxLength, effects);
        }
    }

    /// Takes up other options; the limits hold at once. Kind, priorities and single active consumer
    /// are no matter of policy, and stay. Deadlines of messages stay, too, whatever their queue is;
    /// its lease begins again (RabbitMQ 3.10).
    pub(super) fn configure(
        &mut self,
        options: QueueOptions,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let options = QueueOptions {
            kind: self.options.kind,
            max_priority: self.options.max_priority,
            single_active_consumer: self.options.single_active_consumer,
            deduplicates: self.options.deduplicates,
            selection: self.options.selection,
            ..options
        };
        if self.options == options {
            return;
        }
        if options.max_length_bytes.is_some() {
            self.contents.measure();
        }
        self.options = options;
        self.alarm.renew_lease(now);
        self.trim(effects);
    }

    /// Puts a message back that was handed out, unless it came back too often.
    pub(super) fn put_back(&mut self, mut entry: Entry, effects: &mut Vec<Effect>) {
        entry.redelivered = true;
        if self.options.kind == QueueKind::Quorum {
            entry.delivery_count += 1;
            if self.options.delivery_limit.is_some_and(|limit| entry.delivery_count > limit) {
                self.bury(entry, DeathReason::DeliveryLimit, effects);
                return;
            }
            if entry.kept == Kept::Durable {
                self.changes.come_back(entry.position, entry.delivery_count);
            }
        }
        self.contents.put_back(entry);
    }

    #[inline]
    fn exceeds(&self, count: u64, octets: u64) -> bool {
        self.options.max_length.is_some_and(|limit| count > limit)
            || self.options.max_length_bytes.is_some_and(|limit| octets > limit)
    }
}
