//! The words everyone uses: plain data, validated on construction, knowing nobody.

mod credit;
mod identity;
mod message;
mod moment;
mod options;
mod refusal;

pub use credit::ChannelCredit;
pub use identity::{ChannelNumber, ConnectionId, ConsumerId, DeliveryTag, Position, QueueId};
pub use message::{Delivery, Message, Outcome, Publication, Published, Settlement};
pub use moment::Moment;
pub use options::{
    ConsumerOptions, DeadLetterOptions, ExchangeOptions, Overflow, QueueKind, QueueOptions,
};
pub use refusal::{
    ArgumentFault, Difference, ExpirationFault, Refusal, Resource, ResourceKind,
};
