//! What operators see of one queue.

use std::sync::Arc;

use super::{Aftermath, Hosted, State, Surroundings};
use crate::{
    broker::{
        queue::Command,
        views::{ConsumerView, QueueView, Subscriber},
    },
    model::ConsumerId,
};

impl Hosted {
    /// What is in the queue and who consumes from it, after what has expired by now has left.
    /// `None` when it is gone.
    pub(in crate::broker) fn view(
        &self,
        around: Surroundings<'_>,
    ) -> (Option<QueueView>, Aftermath) {
        let mut state = self.lock();
        if state.gone {
            return (None, Aftermath::default());
        }
        state.apply(Command::Tick, around.now);
        let aftermath = self.conclude(&mut state, around);
        if state.gone {
            return (None, aftermath);
        }
        let view = QueueView {
            record: Arc::clone(&self.record),
            ready: state.queue.ready_count(),
            unacknowledged: state.queue.unacked_count(),
            ready_octets: state.queue.ready_octets(),
            unacknowledged_octets: state.queue.unacked_octets(),
            consumers: state.consumers(),
            whereabouts: None,
        };
        (Some(view), aftermath)
    }
}

impl State {
    fn consumers(&self) -> Vec<ConsumerView> {
        let view = |(id, subscriber): (&ConsumerId, &Arc<Subscriber>)| ConsumerView {
            subscriber: Arc::clone(subscriber),
            is_active: self.queue.is_active(*id),
        };
        self.consumers.iter().map(view).collect()
    }
}
