//! One queue as a deterministic machine: commands and the time go in, effects come out.

mod command;

pub use command::{Arrival, Command, DELIVERY_OVERHEAD, Effect, Subscription};

pub use crate::model::DeathReason;
