//! A mirrored queue, hosted by the node that leads it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Aftermath, Counts, Hosted, Surroundings};
use crate::{
    broker::{
        ports::{Journal, Outbox},
        queue::{Command, Restored, Shelf, Subscription},
        views::Subscriber,
    },
    model::{ConnectionId, ConsumerId, Moment, Position, Ranges, Refusal},
};

/// What one node's connections have at a queue that another node begins to lead.
pub(in crate::broker) struct Following {
    pub(in crate::broker) consumers: Vec<(Subscription, Subscriber)>,
    /// [`ConsumerId::default`] stands for what `basic.get` took.
    pub(in crate::broker) held: Vec<(ConsumerId, Ranges)>,
    /// The way to all of them.
    pub(in crate::broker) outbox: Arc<dyn Outbox>,
}

impl Hosted {
    /// The same queue, whose group's log keeps it, with what the group has agreed on so far and the
    /// consumers that follow from the last leader.
    pub(in crate::broker) fn led_by(
        self,
        log: Arc<dyn Journal>,
        mut restored: Restored,
        followings: Vec<Following>,
        now: Moment,
    ) -> Self {
        let Self { record, home, timeout, state, .. } = self;
        let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let shelf = Shelf::new(Arc::clone(&log), record.id);
        state.queue = state.queue.kept_on(shelf, true).mirrored();
        let mut effects = Vec::new();
        for Following { consumers, held, outbox } in followings {
            for (subscription, subscriber) in consumers {
                state.attach(subscriber, Arc::clone(&outbox));
                state.queue.apply(Command::Subscribe(subscription), now, &mut effects);
            }
            state.queue.hold_again(&mut restored, &held);
        }
        // They are carried out with those of the next command.
        state.effects = effects;
        state.queue = state.queue.restored(restored);
        Self { record, home, journal: Some(log), timeout, state: Mutex::new(state) }
    }

    /// Where it is written.
    pub(in crate::broker) fn journal(&self) -> Option<&Arc<dyn Journal>> {
        self.journal.as_ref()
    }

    /// Whether a client may delete the queue, as far as its contents go.
    pub(in crate::broker) fn may_end(
        &self,
        counts: Counts,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<(), Refusal> {
        if if_empty && counts.ready > 0 {
            return Err(Refusal::NotEmpty(self.resource()));
        }
        if if_unused && counts.consumers > 0 {
            return Err(Refusal::InUse(self.resource()));
        }
        Ok(())
    }

    pub(in crate::broker) fn is_attached(&self, consumer: ConsumerId) -> bool {
        self.lock().consumers.contains_key(&consumer)
    }

    /// A message that went on from here leaves its place.
    pub(in crate::broker) fn leave(&self, from: Position) {
        self.drop_dead(Some(from));
    }

    /// Another node leads from here on: the queue's life goes on there, and nobody is told
    /// anything.
    pub(in crate::broker) fn abdicate(&self) {
        let mut state = self.lock();
        state.consumers.clear();
        self.finish(&mut state, Moment::default());
    }

    /// A node is gone: so are its consumers, and what they held comes back.
    pub(in crate::broker) fn abandon(
        &self,
        is_gone: impl Fn(ConnectionId) -> bool,
        around: Surroundings<'_>,
    ) -> Aftermath {
        let mut state = self.lock();
        let gone: Vec<_> =
            state.consumers.keys().copied().filter(|id| is_gone(id.connection)).collect();
        let mut aftermath = Aftermath::default();
        for consumer in gone {
            state.detach(consumer);
            state.apply(Command::Abandon { consumer }, around.now);
            aftermath = aftermath.and(self.conclude(&mut state, around));
        }
        aftermath
    }
}
