//! The node's clock: wall-clock time that never goes backwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Moment;

/// Tells [`Moment`]s: the wall clock's time when it was made, carried on by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_since_epoch: Duration,
}

impl Clock {
    /// A clock set by the system's.
    pub fn start() -> Self {
        let start_since_epoch =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { start: Instant::now(), start_since_epoch }
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        Moment::from_unix(self.start_since_epoch + self.start.elapsed())
    }

    /// When tokio's clock will show `moment`.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        let since_start = moment.since_epoch().saturating_sub(self.start_since_epoch);
        tokio::time::Instant::from_std(self.start + since_start)
    }
}
