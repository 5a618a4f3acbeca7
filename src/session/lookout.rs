//! When to look for deliveries that have been out for too long.

use std::time::Duration;

use crate::model::Moment;

/// Between two looks.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);

/// The last look, and how soon the next one follows: within a tenth of the shortest time that any
/// delivery may be out. Without a limit there are looks, too, for a policy may set one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookout {
    last: Moment,
    period: Duration,
}

impl Lookout {
    /// There has been a look just now; on this node, deliveries may be out for `timeout`.
    pub(super) fn new(timeout: Option<Duration>, now: Moment) -> Self {
        let mut lookout = Self { last: now, period: LONGEST };
        lookout.heed(timeout);
        lookout
    }

    /// Deliveries may be out for no longer than `timeout`: looks are taken often enough for that.
    pub(super) fn heed(&mut self, timeout: Option<Duration>) {
        if let Some(timeout) = timeout {
            self.period = self.period.min(timeout / 10).max(SHORTEST);
        }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Moment {
        self.last + self.period
    }
}
