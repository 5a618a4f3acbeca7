//! The words everyone uses: plain data, validated on construction, knowing nobody.

mod credit;
pub mod field_value;
mod identity;
pub mod malformed;
mod message;
mod moment;
pub mod name;
pub mod octets;
mod options;
pub mod properties;
pub mod table;

pub use credit::ChannelCredit;
pub use identity::{ChannelNumber, ConnectionId, ConsumerId, DeliveryTag, Position, QueueId};
pub use message::{Delivery, Message, Publication};
pub use moment::Moment;
pub use name::{ExchangeName, RoutingKey};
pub use options::{
    ConsumerOptions, DeadLetterOptions, ExchangeOptions, Overflow, QueueKind, QueueOptions,
};
