//! What a queue, an exchange or a consumer was asked to be: x-arguments, parsed once.

use std::time::Duration;

use super::{ExchangeName, Limits, RoutingKey, ShortString};

/// What a queue's arguments ask for. The default is a plain classic queue without limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueOptions {
    /// `x-queue-type`.
    pub kind: QueueKind,
    /// `x-message-ttl`: how long a message may wait.
    pub message_ttl: Option<Duration>,
    /// `x-expires`: how long the queue may be unused.
    pub expires: Option<Duration>,
    /// `x-max-length`: ready messages at most.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: octets of ready bodies at most.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange` and what belongs to it.
    pub dead_letter: Option<DeadLetterOptions>,
    /// `x-max-priority`; without it, a message's priority is ignored.
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`, or the default of 20 for a quorum queue; none is no limit.
    pub delivery_limit: Option<u32>,
    /// `x-consumer-timeout`: how long a delivery may be unacknowledged; without it, as long as the
    /// node's settings allow.
    pub consumer_timeout: Option<Duration>,
    /// `x-message-deduplication`: a message is dropped while another with the same
    /// `x-deduplication-header` is in the queue (RabbitMQ's plugin of that name).
    pub deduplicates: bool,
    /// `x-consumer-selection`.
    pub selection: Selection,
}

/// `x-consumer-selection`: whose turn it is among consumers of one priority that have room. An
/// argument that RabbitMQ does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Any of them.
    Random,
    /// The one that holds the fewest messages.
    LeastLoaded,
}

/// `x-queue-type`: which of RabbitMQ's queues it behaves as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    #[default]
    Classic,
    Quorum,
}

/// `x-overflow`: what happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message makes room, and is dead-lettered.
    #[default]
    DropHead,
    /// The new message is refused: the publisher gets a nack.
    RejectPublish,
    /// The new message is refused and dead-lettered.
    RejectPublishDeadLetter,
}

/// Where dead messages go, and whether the queue sees to it that they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterOptions {
    pub exchange: ExchangeName,
    /// Replaces the message's own routing keys.
    pub routing_key: Option<RoutingKey>,
    /// `x-dead-letter-strategy=at-least-once`.
    pub at_least_once: bool,
}

/// What an exchange's arguments ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeOptions {
    /// `alternate-exchange`: where messages go that this exchange routes nowhere.
    pub alternate: Option<ExchangeName>,
}

/// What a consumer's arguments ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// `x-priority`: consumers of a higher one are served first.
    pub priority: i64,
}

/// What an operator has said of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualHostOptions {
    pub description: String,
    pub tags: Vec<ShortString>,
    /// Of durable queues that are declared without `x-queue-type`, and are neither exclusive nor
    /// auto-delete. None was chosen: classic.
    pub default_queue_type: Option<QueueKind>,
    /// Kept and shown: nothing is traced.
    pub tracing: bool,
    pub limits: Limits,
}
