//! Every reason the broker may say no, with its facts and without its reply code or text.
//!
//! The session turns a refusal into RabbitMQ's code and words (`session/exception.rs`).

use std::fmt;

use super::{FieldValue, Right, RoutingKey, ShortString, VirtualHostName};

/// What a refusal is about: an exchange or a queue of a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub kind: ResourceKind,
    pub name: ShortString,
    pub virtual_host: VirtualHostName,
}

/// The kinds of resources that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    Exchange,
    Queue,
}

/// Shown as RabbitMQ words it: `queue 'q' in vhost '/'`.
impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} '{}' in vhost '{}'", self.kind, self.name, self.virtual_host)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        })
    }
}

/// Why the broker refuses what a client asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No such exchange or queue.
    NotFound(Resource),
    /// A client may not choose a name that begins with `amq.`.
    ReservedName(Resource),
    /// The default exchange can be neither declared, deleted, bound nor unbound.
    DefaultExchange,
    /// An exchange that every virtual host has cannot be deleted.
    SystemExchange(Resource),
    /// Clients do not publish to an internal exchange.
    InternalExchange(Resource),
    /// The type is not one of the exchange types there are.
    UnknownExchangeType(ShortString),
    /// The type is not even a word that could name one.
    InvalidExchangeType(ShortString),
    /// It exists with other attributes; `argument` is the first that differs.
    Inequivalent { resource: Resource, argument: ShortString, difference: Difference },
    /// An argument has an impossible type or value.
    InvalidArgument { resource: Resource, argument: ShortString, fault: ArgumentFault },
    /// The argument belongs to queues of another type than `kind` (RabbitMQ's name of the type).
    ArgumentNotForType { resource: Resource, argument: ShortString, kind: &'static str },
    /// An argument that names an exchange is not a string; `type_name` is what it is.
    InvalidArgumentType { resource: Resource, argument: ShortString, type_name: &'static str },
    /// A queue of this type cannot have this property (`non-durable`, `exclusive-owner`, …).
    InvalidProperty { resource: Resource, property: &'static str },
    /// A queue of this type must be named by its client; `kind` is RabbitMQ's name of the type.
    ServerNamedQueue { kind: &'static str },
    /// The queue is exclusive to another connection.
    Locked(Resource),
    /// The queue has, or is asked to have, an exclusive consumer.
    InExclusiveUse(Resource),
    /// Deletion was asked only if unused, and it is used.
    InUse(Resource),
    /// Deletion was asked only if empty, and it is not.
    NotEmpty(Resource),
    /// A conditional deletion that queues of this type do not support; `flag` is `if-unused` or
    /// `if-empty`.
    ConditionalDeleteUnsupported { resource: Resource, flag: &'static str },
    /// `basic.get` on a quorum queue with a single active consumer.
    GetUnsupported(Resource),
    /// A channel with a shared prefetch cannot consume from this queue.
    GlobalPrefetchUnsupported(Resource),
    /// The `x-match` of a binding to a headers exchange is none of the four words.
    InvalidHeadersMatch { value: FieldValue },
    /// An exchange's arguments do not fit its type.
    UnfitExchange(ExchangeFault),
    /// A binding does not fit the type of its source.
    UnfitBinding(BindingFault),
    /// A message's `expiration` is not a number of milliseconds in range.
    InvalidExpiration { value: ShortString, fault: ExpirationFault },
    /// `CC` or `BCC` is not an array.
    InvalidRecipients { header: &'static str, type_name: &'static str },
    /// The properties cannot be read.
    InvalidProperties,
    /// `user_id` names another user than the one who publishes.
    WrongUserId { claimed: ShortString, user: ShortString },
    /// `reply_to` asks for a direct reply, and the channel has no consumer for it.
    NoReplyConsumer,
    /// The channel has a consumer of direct replies already.
    ReplyConsumerTaken,
    /// Direct replies cannot be acknowledged.
    ReplyConsumerAcknowledges,
    /// Some queue refused a message of the transaction.
    PartialTransaction,
    /// What must survive a crash could not be written.
    NotKept { cause: String },
    /// The queue's node, or whoever leads it, is not there.
    OutOfReach { resource: Resource, node: String },
    /// No majority of the cluster's nodes has agreed to it in time: it may still happen.
    NoQuorum,
    /// No such virtual host.
    VirtualHostNotFound(VirtualHostName),
    /// The user name and password, or what stands for them, were not accepted.
    LoginRefused,
    /// The user may not do this with the exchange or queue.
    AccessDenied { right: Right, resource: Resource, user: ShortString },
    /// The user may not use this routing key with the topic exchange.
    TopicDenied { right: Right, key: RoutingKey, exchange: Resource, user: ShortString },
    /// The user has no permission at all in the virtual host.
    VirtualHostDenied { virtual_host: VirtualHostName, user: ShortString },
    /// The virtual host has as many connections as it may have.
    VirtualHostFull { virtual_host: VirtualHostName, user: ShortString, limit: u64 },
    /// The user has as many connections as he may have.
    TooManyConnections { user: ShortString, limit: u64 },
    /// The user's connections have as many channels as they may have together.
    TooManyChannels { user: ShortString, limit: u64 },
    /// The node has as many connections as it may have.
    NodeFull { limit: u64 },
    /// The virtual host of the queue to be declared has as many queues as it may have.
    TooManyQueues { queue: Resource, limit: u64 },
}

/// How an argument differs from that of the resource that exists.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Both have one: `received 'x' but current is 'y'`.
    Values { received: String, current: String },
    /// Only the new declaration has it.
    Unexpected { received: FieldValue },
    /// Only the existing resource has it.
    Missing { current: FieldValue },
}

/// What is wrong with an argument's value.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgumentFault {
    /// Another type than an integer.
    NotAnInteger(&'static str),
    /// Another type than the one this argument has.
    UnacceptableType(&'static str),
    Negative(i64),
    Zero,
    TooLarge(i64),
    /// Above the greatest priority.
    AboveMaximum(i64),
    /// Not one of the words this argument takes; RabbitMQ's name of the fault.
    NotAllowed(&'static str),
    /// Not one of the words this argument takes, in RabbitMQ's sentence.
    Unsupported {
        what: &'static str,
        value: ShortString,
    },
    /// A dead-letter routing key without a dead-letter exchange.
    RoutingKeyWithoutExchange,
}

/// What is wrong with the arguments of an exchange whose type has some of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum ExchangeFault {
    /// Both `hash-header` and `hash-property` are there.
    HashesTwice,
    /// `hash-property` names no property that is hashed.
    UnknownHashProperty(ShortString),
    /// `x-recent-history-length` is not a positive integer.
    HistoryLength(FieldValue),
    /// `x-delayed-type` is `x-delayed-message`.
    DelaysTwice,
    /// `x-delayed-type` is missing, or no string.
    NoDelayedType,
    /// `x-cache-size` is missing, or not a positive integer.
    CacheSize,
    /// `x-cache-ttl` is not a positive integer.
    CacheTimeToLive,
    /// `x-cache-persistence` is neither `memory` nor `disk`.
    CachePersistence,
}

/// What is wrong with a binding to an exchange whose type has rules for them.
#[derive(Clone, Debug, PartialEq)]
pub enum BindingFault {
    /// The binding key is a weight, and this is no integer.
    WeightNotAnInteger(ShortString),
    WeightBelowOne,
    /// The weight is above the greatest.
    WeightAbove(i64),
    /// The binding key must be empty.
    KeyNotEmpty(ShortString),
    /// Queues of this type do not fit; RabbitMQ's name of the type.
    QueueKind(&'static str),
    /// Only a queue may be the destination.
    NotAQueue,
}

/// What is wrong with a message's `expiration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpirationFault {
    NoInteger,
    Leftover(ShortString),
    Negative(i64),
    TooLarge(i128),
}
