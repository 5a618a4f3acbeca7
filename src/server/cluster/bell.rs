//! Wakes those who block until something is so.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::net::Clock;

/// Rung whenever something may have come true.
#[derive(Debug)]
pub(super) struct Bell {
    clock: Clock,
    rung: Mutex<u64>,
    waiting: Condvar,
}

impl Bell {
    pub(super) fn new(clock: Clock) -> Self {
        let (rung, waiting) = Default::default();
        Self { clock, rung, waiting }
    }

    pub(super) fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung += 1;
        drop(rung);
        self.waiting.notify_all();
    }

    /// Blocks until `is_done`, which is asked again whenever the bell rings. False: that took too
    /// long.
    pub(super) fn wait(&self, at_most: Duration, is_done: &mut dyn FnMut() -> bool) -> bool {
        let deadline = self.clock.now() + at_most;
        loop {
            let before = *self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            if is_done() {
                return true;
            }
            let now = self.clock.now().since_epoch();
            let left = deadline.since_epoch().saturating_sub(now);
            if left.is_zero() {
                return false;
            }
            let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = self.waiting.wait_timeout_while(rung, left, |rung| *rung == before);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Blocks this thread, and has the other tasks of a runtime's worker go on elsewhere.
pub(super) fn block<T>(wait: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(wait)
}
