//! Which queue is to be woken when: what every implementation of the timer keeps.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Moment, QueueId};

/// The moments that queues asked to be woken at, one for each at most.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    by_moment: BTreeSet<(Moment, QueueId)>,
    by_queue: BTreeMap<QueueId, Moment>,
}

impl Schedule {
    /// Wakes `queue` at `moment`, and not at the one it asked for before.
    pub fn set(&mut self, queue: QueueId, moment: Moment) {
        self.forget(queue);
        self.by_queue.insert(queue, moment);
        self.by_moment.insert((moment, queue));
    }

    /// Wakes `queue` no more.
    pub fn forget(&mut self, queue: QueueId) {
        if let Some(moment) = self.by_queue.remove(&queue) {
            self.by_moment.remove(&(moment, queue));
        }
    }

    /// The next moment at which a queue is to be woken.
    pub fn next(&self) -> Option<Moment> {
        self.by_moment.first().map(|(moment, _)| *moment)
    }

    /// Takes out a queue whose moment has come.
    pub fn take_due(&mut self, now: Moment) -> Option<QueueId> {
        let (_, queue) = *self.by_moment.first().filter(|(moment, _)| *moment <= now)?;
        self.forget(queue);
        Some(queue)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_unix(Duration::from_secs(seconds))
    }

    #[test]
    fn queues_are_woken_in_the_order_of_their_moments() {
        let mut schedule = Schedule::default();
        schedule.set(QueueId(1), at(20));
        schedule.set(QueueId(2), at(10));
        assert_eq!(schedule.next(), Some(at(10)));
        assert_eq!(schedule.take_due(at(9)), None);
        assert_eq!(schedule.take_due(at(20)), Some(QueueId(2)));
        assert_eq!(schedule.take_due(at(20)), Some(QueueId(1)));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_queue_has_one_moment_and_a_forgotten_one_none() {
        let mut schedule = Schedule::default();
        schedule.set(QueueId(1), at(20));
        schedule.set(QueueId(1), at(10));
        assert_eq!(schedule.take_due(at(30)), Some(QueueId(1)));
        assert_eq!(schedule.take_due(at(30)), None);
        schedule.set(QueueId(1), at(40));
        schedule.forget(QueueId(1));
        assert_eq!(schedule.next(), None);
    }
}
