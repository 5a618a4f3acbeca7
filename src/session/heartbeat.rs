//! Heartbeats: when to send one, and when silence means that the peer is gone.

use std::time::Duration;

use crate::model::Moment;

/// How many intervals of silence are too many; RabbitMQ gives up after two to three.
const SILENT_INTERVALS: u32 = 3;

/// Both directions of one connection's heartbeat.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    last_received: Moment,
    /// When to look whether anything was sent since the last look: twice an interval.
    next_look: Moment,
    sent_since_look: bool,
    /// While the client may not be read, its silence says nothing.
    is_deaf: bool,
}

impl Heartbeat {
    /// No heartbeat when `seconds` is 0.
    pub(super) fn new(seconds: u16, now: Moment) -> Self {
        let interval = Duration::from_secs(seconds.into());
        Self {
            interval,
            last_received: now,
            next_look: now + interval / 2,
            sent_since_look: false,
            is_deaf: false,
        }
    }

    /// Any octets came from the client.
    pub(super) fn received(&mut self, now: Moment) {
        self.last_received = now;
    }

    /// Any octets were written.
    pub(super) fn sent(&mut self) {
        self.sent_since_look = true;
    }

    /// Stops or starts listening; a client is given a full measure of silence afterwards.
    pub(super) fn set_deaf(&mut self, is_deaf: bool, now: Moment) {
        self.is_deaf = is_deaf;
        self.last_received = now;
    }

    /// Whether a heartbeat is to be sent at `now`.
    pub(super) fn is_due(&mut self, now: Moment) -> bool {
        if self.interval.is_zero() || now < self.next_look {
            return false;
        }
        self.next_look = now + self.interval / 2;
        !std::mem::take(&mut self.sent_since_look)
    }

    /// Whether the client has been silent for too long.
    pub(super) fn is_lost(&self, now: Moment) -> bool {
        self.gives_up().is_some_and(|moment| moment <= now)
    }

    /// When the next of both may happen.
    pub(super) fn deadline(&self) -> Option<Moment> {
        if self.interval.is_zero() {
            return None;
        }
        let give_up = self.gives_up().unwrap_or(self.next_look);
        Some(self.next_look.min(give_up))
    }

    fn gives_up(&self) -> Option<Moment> {
        let listens = !self.interval.is_zero() && !self.is_deaf;
        listens.then(|| self.last_received + self.interval * SILENT_INTERVALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_unix(Duration::from_secs(seconds))
    }

    #[test]
    fn a_heartbeat_is_sent_when_nothing_else_was() {
        let mut heartbeat = Heartbeat::new(10, at(0));
        assert_eq!(heartbeat.deadline(), Some(at(5)));
        assert!(!heartbeat.is_due(at(4)));
        assert!(heartbeat.is_due(at(5)));
        heartbeat.sent();
        assert!(!heartbeat.is_due(at(10)));
        assert!(heartbeat.is_due(at(15)));
    }

    #[test]
    fn three_intervals_of_silence_are_too_many() {
        let mut heartbeat = Heartbeat::new(2, at(0));
        assert!(!heartbeat.is_lost(at(5)));
        assert!(heartbeat.is_lost(at(6)));
        heartbeat.received(at(6));
        assert!(!heartbeat.is_lost(at(11)));
        heartbeat.set_deaf(true, at(11));
        assert!(!heartbeat.is_lost(at(100)));
        heartbeat.set_deaf(false, at(100));
        assert!(!heartbeat.is_lost(at(105)));
        assert!(heartbeat.is_lost(at(106)));
    }

    #[test]
    fn without_a_heartbeat_nothing_is_due() {
        let mut heartbeat = Heartbeat::new(0, at(0));
        assert!(!heartbeat.is_due(at(1000)) && !heartbeat.is_lost(at(1000)));
        assert_eq!(heartbeat.deadline(), None);
    }
}
