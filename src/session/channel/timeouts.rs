//! How long deliveries may be out, by the queue that they are from.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Channel;
use crate::{
    model::{AcknowledgementTimeout, Moment, QueueId},
    session::{
        connection::Connection,
        exception::{Exception, Fault, NO_METHOD},
    },
};

/// So many queues are kept without a look at which still matter.
const FEW: usize = 64;

/// What the queues of a channel say of its deliveries.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    queues: BTreeMap<QueueId, AcknowledgementTimeout>,
    /// How many were left when it was last looked at which still matter.
    left: usize,
}

impl Timeouts {
    pub(super) fn insert(&mut self, queue: QueueId, timeout: AcknowledgementTimeout) {
        self.queues.insert(queue, timeout);
    }

    /// Whether there are many more queues than mattered the last time.
    pub(super) fn are_many(&self) -> bool {
        self.queues.len() > FEW + 2 * self.left
    }

    /// Forgets the queues that do not matter any more.
    pub(super) fn retain(&mut self, matters: impl Fn(QueueId) -> bool) {
        self.queues.retain(|queue, _| matters(*queue));
        self.left = self.queues.len();
    }

    /// The queues that say anything, and what they say at this moment.
    pub(super) fn said(&self) -> impl Iterator<Item = (QueueId, Duration)> {
        self.queues.iter().filter_map(|(queue, timeout)| Some((*queue, timeout.value()?)))
    }
}

impl Channel {
    /// Deliveries of `queue` may be out for `timeout`, whatever it becomes.
    pub(super) fn heed(
        &mut self,
        queue: QueueId,
        timeout: AcknowledgementTimeout,
        connection: &mut Connection,
    ) {
        connection.lookout.heed(timeout.value());
        self.timeouts.insert(queue, timeout);
        if self.timeouts.are_many() {
            let consumers = self.consuming.values();
            let mut queues: BTreeSet<_> =
                consumers.filter_map(|id| connection.consumers.find(*id)?.queue).collect();
            queues.extend(self.unacked.queues());
            self.timeouts.retain(|queue| queues.contains(&queue));
        }
    }

    /// The fault of a client that has left a delivery unacknowledged for longer than its queue
    /// allows, or the node where the queue says nothing.
    pub(in crate::session) fn check_acknowledgements(
        &mut self,
        connection: &mut Connection,
        now: Moment,
    ) -> Option<Exception> {
        if !self.is_open() {
            return None;
        }
        let said = || self.timeouts.said();
        said().for_each(|(_, timeout)| connection.lookout.heed(Some(timeout)));
        let otherwise = connection.settings.consumer_timeout;
        let timeout = self.unacked.find_overdue(said(), otherwise, now)?;
        let fault = Fault::AcknowledgementTimeout { channel: self.number, timeout };
        Some(fault.by(NO_METHOD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_do_not_matter_are_forgotten_before_they_are_many() {
        let mut timeouts = Timeouts::default();
        for queue in 0..10_000 {
            let timeout = AcknowledgementTimeout::new(Some(Duration::from_secs(queue)));
            timeouts.insert(QueueId(queue), timeout);
            if timeouts.are_many() {
                timeouts.retain(|queue| queue.0 % 100 == 0);
            }
            assert!(timeouts.queues.len() as u64 <= 2 * FEW as u64 + queue / 50);
        }
        let said: Vec<_> = timeouts.said().take(2).collect();
        let seconds = Duration::from_secs;
        assert_eq!(said, [(QueueId(0), seconds(0)), (QueueId(100), seconds(100))]);
    }
}
