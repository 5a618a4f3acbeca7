//! What the broker asks of the world: a way into each connection, and a clock that wakes queues.

use std::fmt::Debug;

use crate::model::{ConsumerId, Delivery, Moment, QueueId};

/// The way into one connection, from anywhere. Called under a queue's lock, so it must not block.
pub trait Outbox: Debug + Send + Sync {
    /// Hands over deliveries in this order and leaves `deliveries` empty.
    fn deliver(&self, deliveries: &mut Vec<Delivery>);

    /// Tells that a consumer is gone because its queue is.
    fn consumer_cancelled(&self, consumer: ConsumerId);
}

/// The clock that wakes queues.
pub trait Timer: Debug + Send + Sync {
    /// Asks for [`super::Broker::wake`] to be called for `queue` at `moment`, or soon after, and
    /// not at the moment it asked for before.
    fn wake_at(&self, moment: Moment, queue: QueueId);

    /// The queue is gone: it is woken no more.
    fn forget(&self, queue: QueueId);
}
