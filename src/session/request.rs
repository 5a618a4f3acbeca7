//! Everything a client can ask of the broker and be told by it: the product on one screen.
//!
//! A session emits [`Request`]s and is given [`Answer`]s and [`Event`]s. What is only between the
//! client and its session (handshake frames, heartbeats, `basic.qos`, delivery tags) never appears.

use bytes::Bytes;

use crate::model::{
    AcknowledgementTimeout, ChannelCredit, ChannelNumber, Confirmed, ConsumerId, ConsumerTag,
    Decided, Delivery, ExchangeName, FieldTable, Message, Position, Publication, Published,
    QueueId, QueueName, Refusal, RoutingKey, Settlement, ShortString, VirtualHostName,
};

/// What a session asks of the broker. Each is answered once, in order, by the [`Answer`] it names,
/// unless it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// May this client in? Answered by [`Answer::Admitted`].
    Login(Login),
    /// Open a virtual host for this connection. Answered by [`Answer::Opened`].
    OpenVirtualHost(Box<Opening>),
    /// All that the client published in a row, on whatever channels. Answered by
    /// [`Answer::Published`].
    Publish(Vec<Publication>),
    /// Deliveries that end or come back. Answered by [`Answer::Settled`].
    Settle(Vec<Settlement>),
    /// Octets have left for the socket: these consumers have room again. Not answered.
    Replenish(Vec<Replenishment>),
    /// A channel's shared prefetch has room again: these queues may try it. Not answered.
    Resume(Vec<QueueId>),
    /// One operation of a channel. Answered by [`Answer::Done`].
    Operate { channel: ChannelNumber, operation: Operation },
    /// The connection ends: delete its exclusive queues, forget it. Answered by [`Answer::Left`].
    Leave,
}

/// What a client said of who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `PLAIN`, `AMQPLAIN`, …
    pub mechanism: ShortString,
    pub user: Bytes,
    pub credential: Credential,
}

/// What shows that the client is the user it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    Password(Bytes),
    /// TLS has found a certificate good that names the user.
    Certificate,
    /// There is no such certificate: the client must be refused.
    Nothing,
}

/// A client at the door of a virtual host, and what it has said of itself by then.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    pub virtual_host: VirtualHostName,
    pub introduction: Introduction,
}

/// What a client said of itself, and what was agreed on with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Introduction {
    /// How it logged in: `PLAIN`, …
    pub mechanism: ShortString,
    pub client_properties: FieldTable,
    /// 0 is no limit.
    pub channel_max: u16,
    /// In octets; 0 is no limit.
    pub frame_max: usize,
    /// In seconds; 0 is none.
    pub heartbeat: u16,
}

/// Room that came back to a consumer's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replenishment {
    pub queue: QueueId,
    pub consumer: ConsumerId,
    pub octets: usize,
}

/// What a channel can ask for. The reply that belongs to each is named with it.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// The channel is new. [`Reply::Done`].
    Open,
    /// [`Reply::Done`].
    DeclareExchange(ExchangeDeclare),
    /// A passive declaration: [`Reply::Done`] if it exists.
    CheckExchange(ExchangeName),
    /// [`Reply::Done`].
    DeleteExchange { exchange: ExchangeName, if_unused: bool },
    /// [`Reply::QueueDeclared`].
    DeclareQueue(QueueDeclare),
    /// A passive declaration: [`Reply::QueueDeclared`] if it exists.
    CheckQueue(QueueName),
    /// [`Reply::Counted`]: the messages that were in it.
    DeleteQueue { queue: QueueName, if_unused: bool, if_empty: bool },
    /// [`Reply::Counted`]: the messages that were dropped.
    PurgeQueue(QueueName),
    /// [`Reply::Done`].
    Bind(Binding),
    /// [`Reply::Done`], also when there is no such binding.
    Unbind(Binding),
    /// [`Reply::Consuming`]; deliveries follow as [`Event::Deliver`].
    Consume(Consume),
    /// [`Reply::Done`]; every delivery made before has been notified by then.
    Cancel { queue: QueueId, consumer: ConsumerId },
    /// [`Reply::Got`].
    Get { queue: QueueName, acknowledge: bool, credit: ChannelCredit },
    /// Applies the channel's transaction: its publications, held by the broker, and these
    /// settlements. [`Reply::Committed`].
    Commit(Vec<Settlement>),
    /// Drops the publications of the channel's transaction. [`Reply::Done`].
    Rollback,
    /// The channel ends: detach these consumers, drop what its transaction holds. [`Reply::Done`];
    /// every delivery made before has been notified by then.
    Close { consumers: Vec<(QueueId, ConsumerId)> },
}

/// `exchange.declare`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeDeclare {
    pub exchange: ExchangeName,
    pub kind: ShortString,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
}

/// `queue.declare`. The session has drawn a name if the client gave none: then it is `generated`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueDeclare {
    pub queue: QueueName,
    pub generated: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: FieldTable,
}

/// `queue.bind`, `queue.unbind`, `exchange.bind` and `exchange.unbind`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub source: ExchangeName,
    pub destination: Destination,
    pub routing_key: RoutingKey,
    pub arguments: FieldTable,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Queue(QueueName),
    Exchange(ExchangeName),
}

/// `basic.consume`.
#[derive(Clone, Debug, PartialEq)]
pub struct Consume {
    pub queue: QueueName,
    pub consumer: ConsumerId,
    pub tag: ConsumerTag,
    pub acknowledge: bool,
    pub exclusive: bool,
    pub prefetch: u16,
    /// Octets that may be on their way to this consumer, see [`Request::Replenish`].
    pub window: usize,
    pub credit: ChannelCredit,
    pub arguments: FieldTable,
}

/// What the broker answers to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Admitted(Result<(), Refusal>),
    /// The login was refused, and there is no time for words.
    Dismissed,
    Opened(Result<(), Refusal>),
    /// Only what must be said, in the order in which it must be said.
    Published(Vec<Published>),
    Settled,
    Done {
        channel: ChannelNumber,
        result: Result<Reply, Refusal>,
    },
    Left,
}

/// What the broker answers to an operation that it carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Done,
    QueueDeclared {
        queue: QueueName,
        messages: u32,
        consumers: u32,
    },
    Counted(u32),
    Consuming(QueueId, AcknowledgementTimeout),
    Got(Option<Got>),
    /// The mandatory messages that no queue took.
    Committed {
        unroutable: Vec<Message>,
    },
}

/// A message that `basic.get` took.
#[derive(Clone, Debug, PartialEq)]
pub struct Got {
    pub queue: QueueId,
    pub position: Position,
    pub redelivered: bool,
    pub message: Message,
    /// Ready messages that remain.
    pub remaining: u32,
    pub timeout: AcknowledgementTimeout,
}

/// What the broker tells a session unasked.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Deliver(Delivery),
    /// The consumer's queue is gone, and the consumer with it.
    ConsumerCancelled(ConsumerId),
    /// Publications that [`Answer::Published`] left unsaid are safe by now.
    Confirmed(Vec<Confirmed>),
    /// The same of publications that were decided one by one, and may have been refused.
    Decided(Vec<Decided>),
    /// An alarm: the client must stop publishing. The text is RabbitMQ's reason.
    Blocked(&'static str),
    /// All alarms are over.
    Unblocked,
    /// End the connection with 320 CONNECTION_FORCED and this explanation.
    Close(String),
}
