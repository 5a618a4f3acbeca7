//! What makes several brokers one: replicated groups, and the rules by which their leaders change.

pub mod codec;
pub mod detector;
mod entry;
pub mod host;
mod identity;
mod members;
mod message;

pub use entry::{HardState, LogContent, LogEntry};
pub use identity::{GroupId, Index, NodeNumber, ReplicaId, Term, Ticket, WriteNumber};
pub use members::Members;
pub use message::{GroupMessage, MessageClass};
