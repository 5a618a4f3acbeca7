//! Wakes queues at the moments they asked for.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, Timer},
    model::{Moment, QueueId},
    net::Clock,
};

/// The moments asked for, and a bell that rings when an earlier one comes in.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: Mutex<BTreeSet<(Moment, QueueId)>>,
    earlier: Notify,
}

impl Timer for Timers {
    fn wake_at(&self, moment: Moment, queue: QueueId) {
        let mut waiting = self.lock();
        let is_earliest = waiting.first().is_none_or(|first| (moment, queue) < *first);
        waiting.insert((moment, queue));
        drop(waiting);
        if is_earliest {
            self.earlier.notify_one();
        }
    }
}

impl Timers {
    /// Wakes the broker's queues until `stop`.
    pub(super) async fn run(&self, broker: &Broker, clock: Clock, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let next = self.lock().first().copied();
            let due = async {
                match next {
                    Some((moment, _)) => tokio::time::sleep_until(clock.instant(moment)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.earlier.notified() => {}
                () = due => self.wake_all(broker, clock.now()),
            }
        }
    }

    fn wake_all(&self, broker: &Broker, now: Moment) {
        while let Some(queue) = self.take_due(now) {
            broker.wake(queue, now);
        }
    }

    fn take_due(&self, now: Moment) -> Option<QueueId> {
        let mut waiting = self.lock();
        let due = waiting.first().is_some_and(|(moment, _)| *moment <= now);
        if due { waiting.pop_first().map(|(_, queue)| queue) } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(Moment, QueueId)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
