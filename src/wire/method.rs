//! The methods of AMQP 0-9-1 and of RabbitMQ's extensions as a table: one entry per method, its
//! arguments in wire order.
//!
//! `definition.rs` says what an entry becomes; `tests/spec.rs` holds the table to
//! `spec/amqp0-9-1.toml`.

use bytes::{BufMut, Bytes, BytesMut};

use super::reserved::Reserved;
use crate::model::{
    ConsumerTag, ExchangeName, FieldTable, LongString, Malformed, QueueName, RoutingKey,
    ShortString, VirtualHostName,
    octets::{Field, Octets, Reader, Writer},
};

/// One method of the table, in words and numbers.
#[derive(Debug)]
pub struct Row {
    /// Class and method on the wire.
    pub id: (u16, u16),
    /// Class and method as the specification writes them.
    pub name: &'static str,
    /// Whether a content header and body frames follow.
    pub has_content: bool,
    /// Name and type of every argument.
    pub arguments: &'static [(&'static str, &'static str)],
}

impl Method {
    /// Reads the payload of a method frame: the id, then the arguments, all there is.
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let id = (reader.octets().u16()?, reader.octets().u16()?);
        let method = Self::read(id, &mut reader)?;
        reader.finish()?;
        Ok(method)
    }

    /// Appends the payload of a method frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let (class, method) = self.id();
        out.put_u16(class);
        out.put_u16(method);
        self.write(&mut Writer::new(out));
    }
}

/// Class and method of a method frame's payload, and the arguments' octets, known or not.
pub fn peek(payload: &[u8]) -> Result<((u16, u16), &[u8]), Malformed> {
    let mut octets = Octets::new(payload);
    Ok(((octets.u16()?, octets.u16()?), octets.rest()))
}

methods! {
    /// Offers the client a version, the server's properties and the ways to authenticate.
    ConnectionStart = 10, 10, "connection.start" {
        version_major: u8, version_minor: u8, server_properties: FieldTable,
        mechanisms: LongString, locales: LongString,
    }

    /// Chooses a mechanism and a locale and gives the first proof of who the client is.
    ConnectionStartOk = 10, 11, "connection.start-ok" {
        client_properties: FieldTable, mechanism: ShortString, response: LongString,
        locale: ShortString,
    }

    /// Asks the client for more proof, as mechanisms of several rounds need.
    ConnectionSecure = 10, 20, "connection.secure" { challenge: LongString }

    /// Gives the proof that was asked for.
    ConnectionSecureOk = 10, 21, "connection.secure-ok" { response: LongString }

    /// Proposes the connection's limits; zero proposes none.
    ConnectionTune = 10, 30, "connection.tune" { channel_max: u16, frame_max: u32, heartbeat: u16 }

    /// Settles the connection's limits, at or below what was proposed.
    ConnectionTuneOk = 10, 31, "connection.tune-ok" {
        channel_max: u16, frame_max: u32, heartbeat: u16,
    }

    /// Enters a virtual host, the last step of the handshake.
    ConnectionOpen = 10, 40, "connection.open" {
        virtual_host: VirtualHostName, reserved_1: Reserved<ShortString>,
        reserved_2: Reserved<bool>,
    }

    /// Welcomes the client to the virtual host.
    ConnectionOpenOk = 10, 41, "connection.open-ok" { reserved_1: Reserved<ShortString> }

    /// Ends the connection with a reason, and with the method at fault if there is one.
    ConnectionClose = 10, 50, "connection.close" {
        reply_code: u16, reply_text: ShortString, class_id: u16, method_id: u16,
    }

    /// Agrees that the connection has ended; nothing follows.
    ConnectionCloseOk = 10, 51, "connection.close-ok" {}

    /// Tells a publisher that the server takes nothing from it for now (RabbitMQ's extension).
    ConnectionBlocked = 10, 60, "connection.blocked" { reason: ShortString }

    /// Tells a publisher that the server takes messages again (RabbitMQ's extension).
    ConnectionUnblocked = 10, 61, "connection.unblocked" {}

    /// Replaces the credentials of an open connection (RabbitMQ's extension).
    ConnectionUpdateSecret = 10, 70, "connection.update-secret" {
        new_secret: LongString, reason: ShortString,
    }

    /// Accepts the new credentials (RabbitMQ's extension).
    ConnectionUpdateSecretOk = 10, 71, "connection.update-secret-ok" {}

    /// Opens the channel whose number the frame carries.
    ChannelOpen = 20, 10, "channel.open" { reserved_1: Reserved<ShortString> }

    /// Says that the channel is open.
    ChannelOpenOk = 20, 11, "channel.open-ok" { reserved_1: Reserved<LongString> }

    /// Asks the peer to pause or to resume sending content.
    ChannelFlow = 20, 20, "channel.flow" { active: bool }

    /// Says whether content is being sent.
    ChannelFlowOk = 20, 21, "channel.flow-ok" { active: bool }

    /// Ends the channel with a reason, and with the method at fault if there is one.
    ChannelClose = 20, 40, "channel.close" {
        reply_code: u16, reply_text: ShortString, class_id: u16, method_id: u16,
    }

    /// Agrees that the channel has ended; its number is free again.
    ChannelCloseOk = 20, 41, "channel.close-ok" {}

    /// Asks for a ticket, as clients of AMQP 0-8 do; kept for them by RabbitMQ.
    AccessRequest = 30, 10, "access.request" {
        realm: ShortString, exclusive: bool, passive: bool, active: bool, write: bool, read: bool,
    }

    /// Gives a ticket that no one looks at.
    AccessRequestOk = 30, 11, "access.request-ok" { ticket: u16 }

    /// Creates an exchange, or checks that it is what the client expects.
    ExchangeDeclare = 40, 10, "exchange.declare" {
        reserved_1: Reserved<u16>, exchange: ExchangeName, kind: ShortString, passive: bool,
        durable: bool, auto_delete: bool, internal: bool, no_wait: bool, arguments: FieldTable,
    }

    /// Says that the exchange exists.
    ExchangeDeclareOk = 40, 11, "exchange.declare-ok" {}

    /// Deletes an exchange and its bindings.
    ExchangeDelete = 40, 20, "exchange.delete" {
        reserved_1: Reserved<u16>, exchange: ExchangeName, if_unused: bool, no_wait: bool,
    }

    /// Says that the exchange is gone.
    ExchangeDeleteOk = 40, 21, "exchange.delete-ok" {}

    /// Lets messages flow from one exchange on to another (RabbitMQ's extension).
    ExchangeBind = 40, 30, "exchange.bind" {
        reserved_1: Reserved<u16>, destination: ExchangeName, source: ExchangeName,
        routing_key: RoutingKey, no_wait: bool, arguments: FieldTable,
    }

    /// Says that the exchanges are bound (RabbitMQ's extension).
    ExchangeBindOk = 40, 31, "exchange.bind-ok" {}

    /// Undoes an exchange.bind of the same arguments (RabbitMQ's extension).
    ExchangeUnbind = 40, 40, "exchange.unbind" {
        reserved_1: Reserved<u16>, destination: ExchangeName, source: ExchangeName,
        routing_key: RoutingKey, no_wait: bool, arguments: FieldTable,
    }

    /// Says that the binding between the exchanges is gone (RabbitMQ's extension).
    ExchangeUnbindOk = 40, 51, "exchange.unbind-ok" {}

    /// Creates a queue, or checks that it is what the client expects.
    QueueDeclare = 50, 10, "queue.declare" {
        reserved_1: Reserved<u16>, queue: QueueName, passive: bool, durable: bool, exclusive: bool,
        auto_delete: bool, no_wait: bool, arguments: FieldTable,
    }

    /// Says that the queue exists, what it is called and how much it holds.
    QueueDeclareOk = 50, 11, "queue.declare-ok" {
        queue: QueueName, message_count: u32, consumer_count: u32,
    }

    /// Lets messages flow from an exchange into a queue.
    QueueBind = 50, 20, "queue.bind" {
        reserved_1: Reserved<u16>, queue: QueueName, exchange: ExchangeName,
        routing_key: RoutingKey, no_wait: bool, arguments: FieldTable,
    }

    /// Says that the queue is bound.
    QueueBindOk = 50, 21, "queue.bind-ok" {}

    /// Drops the messages that wait in a queue.
    QueuePurge = 50, 30, "queue.purge" {
        reserved_1: Reserved<u16>, queue: QueueName, no_wait: bool,
    }

    /// Says how many messages were dropped.
    QueuePurgeOk = 50, 31, "queue.purge-ok" { message_count: u32 }

    /// Deletes a queue, its bindings and its messages, and cancels its consumers.
    QueueDelete = 50, 40, "queue.delete" {
        reserved_1: Reserved<u16>, queue: QueueName, if_unused: bool, if_empty: bool,
        no_wait: bool,
    }

    /// Says how many messages the deleted queue held.
    QueueDeleteOk = 50, 41, "queue.delete-ok" { message_count: u32 }

    /// Undoes a queue.bind of the same arguments.
    QueueUnbind = 50, 50, "queue.unbind" {
        reserved_1: Reserved<u16>, queue: QueueName, exchange: ExchangeName,
        routing_key: RoutingKey, arguments: FieldTable,
    }

    /// Says that the binding is gone.
    QueueUnbindOk = 50, 51, "queue.unbind-ok" {}

    /// Limits how much may be out for acknowledgement at a time.
    BasicQos = 60, 10, "basic.qos" { prefetch_size: u32, prefetch_count: u16, global: bool }

    /// Says that the limit holds.
    BasicQosOk = 60, 11, "basic.qos-ok" {}

    /// Asks for a queue's messages as they come.
    BasicConsume = 60, 20, "basic.consume" {
        reserved_1: Reserved<u16>, queue: QueueName, consumer_tag: ConsumerTag, no_local: bool,
        no_ack: bool, exclusive: bool, no_wait: bool, arguments: FieldTable,
    }

    /// Says that messages will come under this tag.
    BasicConsumeOk = 60, 21, "basic.consume-ok" { consumer_tag: ConsumerTag }

    /// Ends a consumer: at the client's wish, or from the server because its queue is gone.
    BasicCancel = 60, 30, "basic.cancel" { consumer_tag: ConsumerTag, no_wait: bool }

    /// Says that no message comes under this tag any more.
    BasicCancelOk = 60, 31, "basic.cancel-ok" { consumer_tag: ConsumerTag }

    /// Gives a message to an exchange; its header and body frames follow.
    BasicPublish = 60, 40, "basic.publish" content {
        reserved_1: Reserved<u16>, exchange: ExchangeName as octets,
        routing_key: RoutingKey as octets, mandatory: bool, immediate: bool,
    }

    /// Gives a mandatory message back to its publisher, for no queue took it.
    BasicReturn = 60, 50, "basic.return" content {
        reply_code: u16, reply_text: ShortString as octets, exchange: ExchangeName as octets,
        routing_key: RoutingKey as octets,
    }

    /// Brings a message to a consumer.
    BasicDeliver = 60, 60, "basic.deliver" content {
        consumer_tag: ConsumerTag as octets, delivery_tag: u64, redelivered: bool,
        exchange: ExchangeName as octets, routing_key: RoutingKey as octets,
    }

    /// Asks for one message of a queue, now.
    BasicGet = 60, 70, "basic.get" { reserved_1: Reserved<u16>, queue: QueueName, no_ack: bool }

    /// Brings the message that was asked for.
    BasicGetOk = 60, 71, "basic.get-ok" content {
        delivery_tag: u64, redelivered: bool, exchange: ExchangeName as octets,
        routing_key: RoutingKey as octets, message_count: u32,
    }

    /// Says that the queue has no message to give.
    BasicGetEmpty = 60, 72, "basic.get-empty" { reserved_1: Reserved<ShortString> }

    /// Settles a delivery, or confirms a publication, as done.
    BasicAck = 60, 80, "basic.ack" { delivery_tag: u64, multiple: bool }

    /// Gives one delivery back, to be queued again or dropped.
    BasicReject = 60, 90, "basic.reject" { delivery_tag: u64, requeue: bool }

    /// Gives all unsettled deliveries back and expects no answer.
    BasicRecoverAsync = 60, 100, "basic.recover-async" { requeue: bool }

    /// Gives all unsettled deliveries back.
    BasicRecover = 60, 110, "basic.recover" { requeue: bool }

    /// Says that the deliveries were taken back.
    BasicRecoverOk = 60, 111, "basic.recover-ok" {}

    /// Gives deliveries back, or says that a publication is lost (RabbitMQ's extension).
    BasicNack = 60, 120, "basic.nack" { delivery_tag: u64, multiple: bool, requeue: bool }

    /// Asks that each publication on the channel be confirmed (RabbitMQ's extension).
    ConfirmSelect = 85, 10, "confirm.select" { no_wait: bool }

    /// Says that publications will be confirmed (RabbitMQ's extension).
    ConfirmSelectOk = 85, 11, "confirm.select-ok" {}

    /// Makes the channel transactional.
    TxSelect = 90, 10, "tx.select" {}

    /// Says that the channel is transactional.
    TxSelectOk = 90, 11, "tx.select-ok" {}

    /// Makes the transaction's publications and settlements take effect, and begins the next.
    TxCommit = 90, 20, "tx.commit" {}

    /// Says that the transaction took effect.
    TxCommitOk = 90, 21, "tx.commit-ok" {}

    /// Forgets the transaction's publications and settlements, and begins the next.
    TxRollback = 90, 30, "tx.rollback" {}

    /// Says that the transaction is forgotten.
    TxRollbackOk = 90, 31, "tx.rollback-ok" {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_bits_share_an_octet() {
        let declare = QueueDeclare {
            queue: QueueName::from_static("q"),
            durable: true,
            auto_delete: true,
            ..QueueDeclare::default()
        };
        let mut out = BytesMut::new();
        Method::from(declare).encode(&mut out);
        assert_eq!(&out[..], b"\0\x32\0\x0a\0\0\x01q\x0a\0\0\0\0");
    }

    #[test]
    fn text_must_be_utf8_but_a_publication_may_name_any_octets() {
        let bind = Bytes::from_static(b"\0\x32\0\x14\0\0\x01\xff\0\0\0\0\0\0\0");
        assert_eq!(Method::decode(&bind), Err(Malformed::InvalidUtf8));
        let publish = Bytes::from_static(b"\0\x3c\0\x28\0\0\x01\xff\x01\xfe\0");
        assert!(Method::decode(&publish).is_ok());
    }

    #[test]
    fn arguments_that_end_early_or_late_are_refused() {
        let ack = Bytes::from_static(b"\0\x3c\0\x50\0\0\0\0\0\0\0\x01\0\0");
        assert_eq!(Method::decode(&ack), Err(Malformed::TrailingOctets(1)));
        assert_eq!(Method::decode(&ack.slice(..12)), Err(Malformed::Truncated));
        assert_eq!(Method::decode(&ack.slice(..3)), Err(Malformed::Truncated));
        let unknown = Bytes::from_static(b"\0\x3c\0\xc8");
        assert_eq!(Method::decode(&unknown), Err(Malformed::UnknownMethod(60, 200)));
    }
}
