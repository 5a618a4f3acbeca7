//! What a message has been through that its octets do not tell: hidden recipients, earlier deaths.

use super::{ExchangeName, LongString, Moment, QueueName};

/// The broker's own memory of a message. Nothing a client sends can forge it (RabbitMQ 4.x: a
/// message that is published again starts a fresh history, whatever its headers claim).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The routing keys of the `BCC` header, which no consumer may see.
    pub blind: Vec<LongString>,
    /// A dead-letter routing key has replaced the keys: `CC` and `BCC` no longer route.
    pub readdressed: bool,
    /// The most recent first; at most one for each queue and reason.
    pub deaths: Vec<Death>,
    /// The death that came first of all.
    pub first: Option<Place>,
    /// The death that came last.
    pub last: Option<Place>,
}

/// Where and why a message died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue: QueueName,
    pub reason: DeathReason,
    /// The exchange that it had been published to.
    pub exchange: ExchangeName,
}

/// All the deaths that a message died in one queue for one reason: an entry of `x-death`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// As the message was published into that queue when it first died there.
    pub place: Place,
    /// With the keys of `CC` and without those of `BCC`.
    pub routing_keys: Vec<LongString>,
    pub count: u64,
    /// When it first died there.
    pub time: Moment,
    /// The `expiration` in milliseconds that was taken away.
    pub original_expiration: Option<u64>,
}

/// Why a message died, in RabbitMQ's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeathReason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl DeathReason {
    /// The word that `x-death` carries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}
