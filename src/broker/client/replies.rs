//! Direct replies: a consumer of `amq.rabbitmq.reply-to` gets answers without a queue between.
//!
//! RabbitMQ 3.4 and later, "Direct Reply-to". The requester's `reply_to` is replaced by a name that
//! only the responder learns; what is published to that name goes straight to the requester.

use std::{mem, sync::Arc};

use dashmap::DashMap;

use super::{Client, DeclaredQueue, Purpose};
use crate::{
    broker::ports::Outbox,
    model::{
        ChannelNumber, ConsumerId, Delivery, Message, Position, Properties, QueueId, QueueName,
        Refusal, ShortString,
    },
};

/// The name that a requester consumes from and puts into `reply_to`.
pub(super) const BASE: &str = "amq.rabbitmq.reply-to";

/// What stands before the part of a reply's name that nobody can guess.
const PREFIX: &[u8] = b"amq.rabbitmq.reply-to.";

/// Stands for the queue that there is not.
pub(super) const REPLY_QUEUE: QueueId = QueueId(0);

/// The consumers of direct replies of all connections, by the names they are reached under.
#[derive(Debug, Default)]
pub(in crate::broker) struct ReplyRegistry(DashMap<Box<[u8]>, Requester>);

#[derive(Debug)]
struct Requester {
    consumer: ConsumerId,
    outbox: Arc<dyn Outbox>,
}

impl ReplyRegistry {
    /// Hands `message` to the requester it is addressed to, if it is a reply and there is one.
    pub(super) fn deliver(&self, message: &Message) -> bool {
        if !message.exchange().is_empty() || !message.routing_key().starts_with(PREFIX) {
            return false;
        }
        let Some(requester) = self.0.get(message.routing_key()) else { return false };
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
    ) -> Result<QueueId, Refusal> {
        if self.reply_names.contains_key(&channel) {
            return Err(Refusal::ReplyConsumerTaken);
        }
        if purpose.acknowledge {
            return Err(Refusal::ReplyConsumerAcknowledges);
        }
        let name = self.draw_reply_name();
        let requester = Requester { consumer: purpose.consumer, outbox: Arc::clone(&self.outbox) };
        self.broker.replies.0.insert(name.as_ref().into(), requester);
        self.reply_names.insert(channel, name);
        Ok(REPLY_QUEUE)
    }

    /// Detaches the channel's consumer of direct replies, if it has one.
    pub(super) fn forget_reply_consumer(&mut self, channel: ChannelNumber) {
        if let Some(name) = self.reply_names.remove(&channel) {
            self.broker.replies.0.remove(name.as_ref());
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
        name.starts_with(PREFIX).then(|| Err(self.no_queue(name)))
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

    /// A name that was never drawn before and cannot be guessed.
    fn draw_reply_name(&mut self) -> ShortString {
        // The next state of a linear congruential sequence; what is shown of it is mixed, so that
        // one name does not tell the next.
        const STEP: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        let next = self.entropy.wrapping_mul(STEP).wrapping_add(1 | u128::from(self.id.0) << 1);
        let drawn = mem::replace(&mut self.entropy, next);
        let mixed = (drawn ^ drawn >> 61).wrapping_mul(STEP) ^ drawn.rotate_left(37);
        let name = format!("{BASE}.{mixed:032x}");
        ShortString::try_from(name).expect("54 octets")
    }
}
