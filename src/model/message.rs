//! A message, its octets shared and never copied again, and a delivery, a message on its way out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{ChannelNumber, ConsumerId, History, Position, QueueId, Refusal};

/// Bodies up to this many octets are packed behind their envelope; longer ones stay where they are.
pub const PACKED_BODY_LIMIT: usize = 2048;

/// What a delivery counts against a consumer's window beside its message's octets.
pub const DELIVERY_OVERHEAD: usize = 128;

/// A message as its publisher sent it. Cloning shares the octets.
///
/// The envelope is one run of octets: exchange, routing key, then the properties as the wire has
/// them (a flags word and the values present). Packing copies it, and a small body with it, out of
/// the read buffer into an arena of small chunks, so that a message that waits pins little beside
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    envelope: Bytes,
    body: Bytes,
    history: Option<Arc<History>>,
    exchange_length: u8,
    routing_key_length: u8,
}

impl Message {
    /// Packs a message into `arena`. A body longer than 2 KiB is shared, not copied.
    ///
    /// `exchange` and `routing_key` are short strings; what exceeds 255 octets is cut off.
    pub fn pack(
        arena: &mut BytesMut,
        exchange: &[u8],
        routing_key: &[u8],
        properties: &[u8],
        body: Bytes,
    ) -> Self {
        if body.len() <= PACKED_BODY_LIMIT {
            return Self::copy(arena, exchange, routing_key, properties, &body);
        }
        Self { body, ..Self::copy(arena, exchange, routing_key, properties, &[]) }
    }

    /// Packs a message into `arena`, its body included, whatever its length.
    ///
    /// `exchange` and `routing_key` are short strings; what exceeds 255 octets is cut off.
    #[inline]
    pub fn copy(
        arena: &mut BytesMut,
        exchange: &[u8],
        routing_key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> Self {
        let exchange = cut(exchange);
        let routing_key = cut(routing_key);
        let envelope_length = exchange.len() + routing_key.len() + properties.len();
        reserve(arena, envelope_length + body.len());
        arena.extend_from_slice(exchange);
        arena.extend_from_slice(routing_key);
        arena.extend_from_slice(properties);
        arena.extend_from_slice(body);
        let mut envelope = arena.split().freeze();
        let body = if body.is_empty() { Bytes::new() } else { envelope.split_off(envelope_length) };
        Self {
            envelope,
            body,
            history: None,
            exchange_length: u8::try_from(exchange.len()).expect("cut to 255 octets"),
            routing_key_length: u8::try_from(routing_key.len()).expect("cut to 255 octets"),
        }
    }

    /// A message with octets of its own, for callers that make few of them.
    pub fn new(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: Bytes) -> Self {
        let mut arena = BytesMut::with_capacity(
            exchange.len()
                + routing_key.len()
                + properties.len()
                + PACKED_BODY_LIMIT.min(body.len()),
        );
        Self::pack(&mut arena, exchange, routing_key, properties, body)
    }

    /// The same body under another envelope, without a history.
    pub fn readdressed(&self, exchange: &[u8], routing_key: &[u8], properties: &[u8]) -> Self {
        let mut arena =
            BytesMut::with_capacity(exchange.len() + routing_key.len() + properties.len());
        let empty = Self::pack(&mut arena, exchange, routing_key, properties, Bytes::new());
        Self { body: self.body.clone(), ..empty }
    }

    /// The same message with other properties.
    pub fn with_properties(&self, properties: &[u8]) -> Self {
        let changed = self.readdressed(self.exchange(), self.routing_key(), properties);
        Self { history: self.history.clone(), ..changed }
    }

    /// The same message with a history, in place of the one it had.
    pub fn with_history(self, history: History) -> Self {
        Self { history: Some(Arc::new(history)), ..self }
    }

    /// What the message has been through; none is the history of one that was plainly published.
    pub fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// The exchange that the message was published to; empty for the default exchange.
    pub fn exchange(&self) -> &[u8] {
        &self.envelope[..usize::from(self.exchange_length)]
    }

    /// The routing key that the message was published with.
    pub fn routing_key(&self) -> &[u8] {
        let start = usize::from(self.exchange_length);
        &self.envelope[start..start + usize::from(self.routing_key_length)]
    }

    /// Exchange and routing key run together: what a route depends on, beside the headers.
    pub fn address(&self) -> &[u8] {
        &self.envelope[..self.address_length()]
    }

    /// The length of the exchange's name: with [`Self::address`], the key of a cached route.
    pub fn exchange_length(&self) -> usize {
        usize::from(self.exchange_length)
    }

    /// The properties as the wire has them: a flags word, then the values present.
    pub fn properties(&self) -> &[u8] {
        &self.envelope[self.address_length()..]
    }

    /// The properties as shared octets, to be decoded without copying.
    pub fn shared_properties(&self) -> Bytes {
        self.envelope.slice(self.address_length()..)
    }

    /// The message's content.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Exchange, routing key and properties in one run, for who keeps a message and its lengths.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// The octets that the message occupies: envelope and body.
    pub fn size(&self) -> usize {
        self.envelope.len() + self.body.len()
    }

    fn address_length(&self) -> usize {
        usize::from(self.exchange_length) + usize::from(self.routing_key_length)
    }
}

/// A new chunk of the arena: large enough to be shared by many small messages, small enough that
/// one message that waits for long does not pin much.
const ARENA_CHUNK: usize = 8 * 1024;

fn reserve(arena: &mut BytesMut, octets: usize) {
    if arena.capacity() - arena.len() < octets {
        *arena = BytesMut::with_capacity(octets.max(ARENA_CHUNK));
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(usize::from(u8::MAX))]
}

/// A message as a publisher handed it in, before it is routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub channel: ChannelNumber,
    pub message: Message,
    /// Return the message when no queue takes it.
    pub mandatory: bool,
    /// The number under which its publisher awaits a confirm, on a channel in confirm mode.
    pub confirm: Option<u64>,
    /// Checked and routed at once, but enqueued only when the channel's transaction commits.
    pub transactional: bool,
}

/// What came of one publication.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// The broker has taken responsibility for it: `basic.ack`.
    Confirmed { channel: ChannelNumber, number: u64 },
    /// Some queue refused it: `basic.nack`.
    Rejected { channel: ChannelNumber, number: u64 },
    /// No queue took a mandatory message: `basic.return`. Its confirm, if any, follows.
    Unroutable { channel: ChannelNumber, message: Message },
    /// It broke a rule: the channel ends, and what it published after it was dropped.
    Refused { channel: ChannelNumber, refusal: Refusal },
}

/// Publications in a row for which the broker has taken responsibility, after a while: those of a
/// channel whose numbers go from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    pub channel: ChannelNumber,
    pub first: u64,
    pub last: u64,
}

/// What became of one publication that was promised an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub channel: ChannelNumber,
    pub number: u64,
    /// Some queue did not take it: the publisher hears `basic.nack`.
    pub refused: bool,
}

/// A message on its way to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub consumer: ConsumerId,
    pub queue: QueueId,
    pub position: Position,
    pub redelivered: bool,
    pub message: Message,
}

/// How a message that is out with a consumer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with; it leaves the queue.
    Acknowledge,
    /// Back to its place, delivered again with `redelivered` (`basic.nack`, `basic.reject` or
    /// `basic.recover` with requeue, a channel or a connection that ends).
    Requeue,
    /// Refused without requeue: dead-lettered, or dropped.
    Reject,
}

/// Messages of one queue that come to their end, or come back. Unknown positions are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub queue: QueueId,
    pub positions: Vec<Position>,
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_message_gives_back_its_parts() {
        let mut arena = BytesMut::new();
        let message =
            Message::pack(&mut arena, b"logs", b"a.b", &[0, 0], Bytes::from_static(b"hi"));
        assert_eq!(message.exchange(), b"logs");
        assert_eq!(message.routing_key(), b"a.b");
        assert_eq!(message.properties(), [0, 0]);
        assert_eq!(message.body().as_ref(), b"hi");
        assert_eq!(message.size(), 11);
    }

    #[test]
    fn a_copied_message_equals_a_packed_one() {
        let mut arena = BytesMut::new();
        let copied = Message::copy(&mut arena, b"logs", b"a.b", &[0, 0], b"hi");
        assert_eq!(copied, Message::new(b"logs", b"a.b", &[0, 0], Bytes::from_static(b"hi")));
        assert!(Message::copy(&mut arena, b"", b"q", &[0, 0], b"").body().is_empty());
    }

    #[test]
    fn a_large_body_is_shared_and_not_copied() {
        let body = Bytes::from(vec![7; 3000]);
        let message = Message::new(b"", b"q", &[0, 0], body.clone());
        assert_eq!(message.body().as_ptr(), body.as_ptr());
        assert_eq!(message.readdressed(b"dlx", b"k", &[0, 0]).body().as_ptr(), body.as_ptr());
    }

    #[test]
    fn messages_of_one_arena_share_a_chunk() {
        let mut arena = BytesMut::new();
        let first = Message::pack(&mut arena, b"", b"q", &[0, 0], Bytes::from_static(b"one"));
        let second = Message::pack(&mut arena, b"", b"q", &[0, 0], Bytes::from_static(b"two"));
        assert_eq!((first.body().as_ref(), second.body().as_ref()), (&b"one"[..], &b"two"[..]));
    }
}
