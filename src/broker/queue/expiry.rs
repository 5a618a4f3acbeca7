//! Lifetimes: of messages, and of a queue that nobody uses.

use std::time::Duration;

use super::{Queue, command::Effect};
use crate::model::{DeathReason, Moment};

/// What a queue knows of time.
#[derive(Debug)]
pub(super) struct Alarm {
    /// When the queue was last used, by something that is not a consumer.
    last_used: Moment,
    /// The moment that the queue asked to be woken at, if that has not come.
    asked: Option<Moment>,
}

impl Alarm {
    pub(super) fn new(now: Moment) -> Self {
        Self { last_used: now, asked: None }
    }

    /// Somebody used the queue: its lease begins again.
    pub(super) fn renew_lease(&mut self, now: Moment) {
        self.last_used = now;
    }
}

impl Queue {
    /// When a message that arrives now with this `expiration` dies. A later change of the queue's
    /// own limit does not change it.
    #[inline]
    pub(super) fn deadline(&self, expiration: Option<Duration>, now: Moment) -> Option<Moment> {
        let limit = self.options.message_ttl;
        let span = match (expiration, limit) {
            (Some(expiration), Some(limit)) => expiration.min(limit),
            (span, None) | (None, span) => span?,
        };
        Some(now + span)
    }

    /// Drops what has expired from the head. What lies behind a head that lives is left alone.
    #[inline]
    pub(super) fn expire(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        while let Some(head) = self.contents.head()
            && head.deadline.is_some_and(|deadline| deadline <= now)
        {
            self.drop_head(DeathReason::Expired, effects);
        }
    }

    /// A moment asked for has come, perhaps the end of the lease.
    pub(super) fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.alarm.asked.take_if(|asked| *asked <= now);
        if self.lease_end().is_some_and(|end| end <= now) {
            self.delete(effects);
        }
    }

    /// Asks to be woken when the head expires or the lease ends, unless that was asked already.
    #[inline]
    pub(super) fn ask_to_wake(&mut self, effects: &mut Vec<Effect>) {
        let head = self.contents.head().and_then(|head| head.deadline);
        let due = match (head, self.lease_end()) {
            (Some(head), Some(lease)) => head.min(lease),
            (Some(due), None) | (None, Some(due)) => due,
            (None, None) => return,
        };
        if self.alarm.asked.is_none_or(|asked| due < asked) {
            self.alarm.asked = Some(due);
            effects.push(Effect::WakeAt(due));
        }
    }

    /// When the queue has been unused for too long, if nothing uses it until then.
    #[inline]
    fn lease_end(&self) -> Option<Moment> {
        let span = self.options.expires?;
        (self.consumers.is_empty() && !self.is_deleted).then(|| self.alarm.last_used + span)
    }
}
