//! Says when something is worth saying again.

use std::time::Duration;

use crate::{model::Moment, net::Clock};

/// Due at once, and again whenever so much time has passed.
#[derive(Debug)]
pub(super) struct Reminder {
    every: Duration,
    clock: Clock,
    next: Moment,
}

impl Reminder {
    pub(super) fn every(every: Duration, clock: Clock) -> Self {
        Self { every, clock, next: Moment::default() }
    }

    /// Whether it is time; then it is not for a while.
    pub(super) fn is_due(&mut self) -> bool {
        let now = self.clock.now();
        let is_due = self.next <= now;
        if is_due {
            self.next = now + self.every;
        }
        is_due
    }
}
