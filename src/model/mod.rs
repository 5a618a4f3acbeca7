//! The words everyone uses: plain data, validated on construction, knowing nobody.

mod access;
mod arguments;
mod batch;
pub(crate) mod compact;
mod credit;
mod field_value;
mod history;
mod identity;
mod malformed;
mod member;
mod message;
mod moment;
mod name;
mod naming;
pub mod octets;
mod options;
mod placement;
mod properties;
mod ranges;
mod refusal;
mod table;
mod timeout;

pub use access::{Limit, Limits, RateAlgorithm, RateLimits, Right};
pub use arguments::{DELIVERY_LIMIT, LONGEST_MS};
pub use batch::{Batch, Entries, Entry, Meaningless, Spans, Targets, entries};
pub use credit::ChannelCredit;
pub use field_value::FieldValue;
pub use history::{Death, DeathReason, History, Place};
pub(crate) use identity::identity;
pub use identity::{
    ChannelNumber, ConnectionId, ConsumerId, LogPosition, NodeNumber, Position, QueueId,
};
pub use malformed::Malformed;
pub use member::NodeRecord;
pub use message::{
    Confirmed, DELIVERY_OVERHEAD, Decided, Delivery, Message, Outcome, PACKED_BODY_LIMIT,
    Publication, Published, Settlement,
};
pub use moment::Moment;
pub use name::{
    ConsumerTag, ExchangeName, LongString, NameTooLong, QueueName, RoutingKey, ShortString,
    VirtualHostName,
};
pub use naming::Names;
pub use options::{
    ConsumerOptions, DeadLetterOptions, ExchangeOptions, Overflow, QueueKind, QueueOptions,
    Selection, VirtualHostOptions,
};
pub use placement::Placement;
pub use properties::{Properties, PropertyView, TableOctets};
pub use ranges::{PositionRange, Ranges};
pub use refusal::{
    ArgumentFault, BindingFault, Difference, ExchangeFault, ExpirationFault, Refusal, Resource,
    ResourceKind,
};
pub use table::{DEEPEST, FieldTable};
pub use timeout::AcknowledgementTimeout;
