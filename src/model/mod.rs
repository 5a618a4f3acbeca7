//! The words everyone uses: plain data, validated on construction, knowing nobody.

pub mod arguments;
pub mod credit;
pub mod field_value;
pub mod history;
pub mod identity;
pub mod malformed;
pub mod message;
pub mod moment;
pub mod name;
pub mod octets;
pub mod options;
pub mod properties;
pub mod ranges;
pub mod refusal;
pub mod table;

pub use credit::ChannelCredit;
pub use field_value::FieldValue;
pub use history::{Death, DeathReason, History, Place};
pub use identity::{
    ChannelNumber, ConnectionId, ConsumerId, DeliveryTag, LogPosition, Position, QueueId,
};
pub use malformed::Malformed;
pub use message::{
    DELIVERY_OVERHEAD, Delivery, Message, Outcome, PACKED_BODY_LIMIT, Publication, Published,
    Settlement,
};
pub use moment::Moment;
pub use name::{
    ConsumerTag, ExchangeName, LongString, NameTooLong, QueueName, RoutingKey, ShortString,
    UserName, VirtualHostName,
};
pub use options::{
    ConsumerOptions, DeadLetterOptions, ExchangeOptions, Overflow, QueueKind, QueueOptions,
};
pub use properties::{Properties, PropertyView};
pub use ranges::{PositionRange, Ranges};
pub use refusal::{ArgumentFault, Difference, ExpirationFault, Refusal, Resource, ResourceKind};
pub use table::FieldTable;
