//! Wakes queues at the moments they asked for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, Schedule, Timer},
    model::{Moment, QueueId},
    net::Clock,
};

/// The moments asked for, and a bell that rings when an earlier one comes in.
#[derive(Debug, Default)]
pub(super) struct Timers {
    schedule: Mutex<Schedule>,
    earlier: Notify,
}

impl Timer for Timers {
    fn wake_at(&self, moment: Moment, queue: QueueId) {
        let mut schedule = self.lock();
        let is_earliest = schedule.next().is_none_or(|next| moment < next);
        schedule.set(queue, moment);
        drop(schedule);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    fn forget(&self, queue: QueueId) {
        self.lock().forget(queue);
    }
}

impl Timers {
    /// Wakes the broker's queues until `stop`.
    pub(super) async fn run(&self, broker: &Broker, clock: Clock, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let next = self.lock().next();
            let due = async {
                match next {
                    Some(moment) => tokio::time::sleep_until(clock.instant(moment)).await,
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

    /// Not held while the queue is woken: it may ask for its next moment.
    fn take_due(&self, now: Moment) -> Option<QueueId> {
        self.lock().take_due(now)
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
