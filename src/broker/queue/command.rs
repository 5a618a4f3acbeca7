//! What can be asked of a queue, and what it asks of the world.

use std::time::Duration;

use crate::model::{
    ChannelCredit, ConsumerId, DeathReason, Message, Moment, Outcome, Position, QueueOptions,
};

/// One input of a queue.
#[derive(Clone, Debug)]
pub enum Command {
    /// A routed message arrives.
    Enqueue(Arrival),
    /// A consumer attaches. The caller has asked [`super::Queue::may_subscribe`] first.
    Subscribe(Subscription),
    /// A consumer leaves; what it holds stays out until it is settled.
    Unsubscribe { consumer: ConsumerId },
    /// A consumer is gone with its node: what it holds comes back.
    Abandon { consumer: ConsumerId },
    /// `basic.get`: one message; its channel's credit is counted and not asked.
    Get { acknowledge: bool, credit: ChannelCredit },
    /// Messages that are out come to their end, or come back. Unknown positions are ignored.
    Settle { positions: Vec<Position>, outcome: Outcome },
    /// The consumer's connection has written so many octets to its socket: room for as many more.
    Replenish { consumer: ConsumerId, octets: usize },
    /// The channel's shared credit has room again: try the consumers that it held back.
    Resume,
    /// Drops every ready message.
    Purge,
    /// The queue was declared again (also passively), which renews its lease of `x-expires`.
    Touch,
    /// A moment that the queue asked to be woken at has come.
    Tick,
    /// New options, as a changed policy gives; limits hold at once.
    Configure(Box<QueueOptions>),
}

/// A message on its way into a queue.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub message: Message,
    /// The message's own priority property; 0 when absent.
    pub priority: u8,
    /// The message's own `expiration`.
    pub time_to_live: Option<Duration>,
    /// It is to survive a restart, if its queue does (`delivery_mode` 2).
    pub persistent: bool,
}

/// A consumer that wants to attach.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub consumer: ConsumerId,
    /// Messages it may hold unacknowledged; 0 is no limit. Ignored when it does not acknowledge.
    pub prefetch: u16,
    /// False: a message is settled by being sent (`no_ack`).
    pub acknowledge: bool,
    /// `x-priority`.
    pub priority: i64,
    pub exclusive: bool,
    /// Octets that may be on their way to its socket, see [`Command::Replenish`]; each message
    /// counts its size and [`DELIVERY_OVERHEAD`](crate::model::DELIVERY_OVERHEAD). A message is
    /// sent while any room is left.
    pub window: usize,
    /// The limit it shares with the other consumers of its channel.
    pub credit: ChannelCredit,
}

/// One output of a queue: what the world must do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand a message to a consumer.
    Deliver {
        consumer: ConsumerId,
        position: Position,
        message: Message,
        redelivered: bool,
        /// Failed deliveries before this one, on a quorum queue (`x-delivery-count`).
        delivery_count: u32,
    },
    /// The answer to [`Command::Get`]: nothing was ready.
    GotNothing,
    /// The answer to [`Command::Get`].
    Got {
        position: Position,
        message: Message,
        redelivered: bool,
        delivery_count: u32,
        /// Ready messages that remain.
        remaining: u64,
    },
    /// The answer to [`Command::Enqueue`] when there is no room and the overflow rule is to refuse.
    /// No effect of this kind means that the message was accepted.
    Refused,
    /// The answer to [`Command::Enqueue`] when a message with the same key is in the queue: this
    /// one is dropped, and may be confirmed when the other is safe.
    Repeated,
    /// The answer to [`Command::Purge`]: so many messages were dropped.
    Purged(u64),
    /// A message died here: route it to the dead-letter exchange. Only emitted when one is set. A
    /// durable one is still written as being here: it leaves its place with the record that brings
    /// it to where it goes.
    DeadLetter { message: Message, reason: DeathReason, from: Option<Position> },
    /// A message's delay is over: route it. One that is durable leaves its place as a dead letter
    /// does.
    Release { message: Message, from: Option<Position> },
    /// Wake the queue with [`Command::Tick`] at this moment, if it was not asked already.
    WakeAt(Moment),
    /// The last consumer of an auto-delete queue has gone, or `x-expires` has passed: delete it.
    Delete,
}
