//! How long deliveries of one queue may be unacknowledged, where sessions can see it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Stands for a queue that says nothing of it.
const UNSAID: u64 = u64::MAX;

/// What a queue's argument `x-consumer-timeout` and its policies say of how long a delivery may be
/// unacknowledged (RabbitMQ 3.12). Without it, what the node's settings say counts.
///
/// Cloning shares the value. The queue writes it when a policy changes; channels that hold
/// deliveries of the queue read it when they look for what is overdue.
#[derive(Clone, Debug)]
pub struct AcknowledgementTimeout(Arc<AtomicU64>);

impl AcknowledgementTimeout {
    /// One that nobody shares yet; to the millisecond.
    pub fn new(timeout: Option<Duration>) -> Self {
        Self(Arc::new(AtomicU64::new(milliseconds(timeout))))
    }

    /// Changes it for all who share it.
    pub fn set(&self, timeout: Option<Duration>) {
        self.0.store(milliseconds(timeout), Ordering::Relaxed);
    }

    /// What it is at this moment.
    pub fn value(&self) -> Option<Duration> {
        let value = self.0.load(Ordering::Relaxed);
        (value != UNSAID).then(|| Duration::from_millis(value))
    }
}

/// Of a queue that says nothing.
impl Default for AcknowledgementTimeout {
    fn default() -> Self {
        Self::new(None)
    }
}

/// The same queue's, whatever it says.
impl PartialEq for AcknowledgementTimeout {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn milliseconds(timeout: Option<Duration>) -> u64 {
    timeout.map_or(UNSAID, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(UNSAID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_seen_by_all_who_share_it() {
        let timeout = AcknowledgementTimeout::default();
        let other = timeout.clone();
        assert_eq!(other.value(), None);
        for value in [Some(Duration::ZERO), Some(Duration::from_millis(1500)), None] {
            timeout.set(value);
            assert_eq!(other.value(), value);
        }
        assert_eq!(timeout, other);
        assert_ne!(timeout, AcknowledgementTimeout::default());
    }
}
