//! Direct replies: a consumer of `amq.rabbitmq.reply-to` gets answers without a queue between.
//!
//! RabbitMQ 3.4 and later, "Direct Reply-to". The requester's `reply_to` is replaced by a name that
//! only the responder learns; what is published to that name goes straight to the requester.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;

use super::{Client, DeclaredQueue, Purpose};
use crate::{
    broker::ports::Outbox,
    model::{
        ChannelNumber, ConsumerId, DELIVERY_OVERHEAD, Delivery, Message, Position, Properties,
        QueueId, QueueName, Refusal,
    },
};

/// The name that a requester consumes from and puts into `reply_to`.
pub(super) const BASE: &str = "amq.rabbitmq.reply-to";

/// What stands before the part of a reply's name that nobody can guess.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Octets of replies that may be on their way to one requester. A queue would keep them; here is
/// none, so what comes beyond is dropped, as if the requester were gone.
const UNREAD_LIMIT: usize = 16 * 1024 * 1024;

/// Stands for the queue that there is not.
pub(in crate::broker) const REPLY_QUEUE: QueueId = QueueId(0);

/// The consumers of direct replies of all connections, by the names they are reached under.
#[derive(Debug, Default)]
pub(in crate::broker) struct ReplyRegistry(DashMap<Box<[u8]>, Requester>);

#[derive(Debug)]
struct Requester {
    consumer: ConsumerId,
    outbox: Arc<dyn Outbox>,
    /// Octets on their way to its socket.
    unread: AtomicUsize,
}

impl ReplyRegistry {
    /// Hands `message` to the requester it is addressed to, if it is a reply and there is one.
    pub(super) fn deliver(&self, message: &Message) -> bool {
        if !message.exchange().is_empty() || !message.routing_key().starts_with(PREFIX.as_bytes()) {
            return false;
        }
        let Some(requester) = self.0.get(message.routing_key()) else { return false };
        if requester.unread.load(Ordering::Relaxed) >= UNREAD_LIMIT {
            return false;
        }
        requester.unread.fetch_add(message.size() + DELIVERY_OVERHEAD, Ordering::Relaxed);
        requester.outbox.deliver(&mut vec![Delivery {
            consumer: requester.consumer,
            queue: REPLY_QUEUE,
            position: Position(0),
            redelivered: false,
            message: message.clone(),
        }]);
        true
    }
}

/// Whether `name` is the one that stands for direct replies.
pub(super) fn is_reply_queue(name: &QueueName) -> bool {
    ***name == *BASE.as_bytes()
}

impl Client {
    /// Attaches the channel's consumer of direct replies.
    pub(super) fn consume_replies(
        &mut self,
        channel: ChannelNumber,
        purpose: &Purpose,
    ) -> Result<(), Refusal> {
        if self.reply_names.contains_key(&channel) {
            return Err(Refusal::ReplyConsumerTaken);
        }
        if purpose.acknowledge {
            return Err(Refusal::ReplyConsumerAcknowledges);
        }
        let name = self.names.draw(PREFIX);
        let requester = Requester {
            consumer: purpose.consumer,
            outbox: Arc::clone(&self.outbox),
            unread: AtomicUsize::new(0),
        };
        self.broker.replies.0.insert(name.as_ref().into(), requester);
        self.reply_names.insert(channel, name);
        Ok(())
    }

    /// Detaches the channel's consumer of direct replies, if it has one.
    pub(super) fn forget_reply_consumer(&mut self, channel: ChannelNumber) {
        if let Some(name) = self.reply_names.remove(&channel) {
            self.broker.replies.0.remove(name.as_ref());
        }
    }

    /// Replies of so many octets have left for the client's socket.
    pub(super) fn replies_left(&self, consumer: ConsumerId, octets: usize) {
        for name in self.reply_names.values() {
            if let Some(requester) = self.broker.replies.0.get(name.as_ref())
                && requester.consumer == consumer
            {
                requester.unread.fetch_sub(octets, Ordering::Relaxed);
            }
        }
    }

    /// Declaring the name of direct replies, or that of a requester who is still there, succeeds
    /// without a queue: this is how responders find out whether an answer is still awaited.
    pub(super) fn declare_reply_queue(
        &self,
        name: &QueueName,
    ) -> Option<Result<DeclaredQueue, Refusal>> {
        let is_alive = is_reply_queue(name) || self.broker.replies.0.contains_key(name.as_ref());
        if is_alive {
            return Some(Ok(DeclaredQueue { name: name.clone(), messages: 0, consumers: 1 }));
        }
        name.starts_with(PREFIX.as_bytes()).then(|| Err(self.no_queue(name)))
    }

    /// The message with the channel's own reply name in `reply_to`.
    pub(super) fn with_reply_name(&self, channel: ChannelNumber, message: &Message) -> Message {
        let Some(name) = self.reply_names.get(&channel) else { return message.clone() };
        let Ok(properties) = Properties::decode(&message.shared_properties()) else {
            return message.clone();
        };
        let properties = Properties { reply_to: Some(name.clone()), ..properties };
        message.with_properties(&properties.to_bytes())
    }
}
