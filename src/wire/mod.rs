//! Bytes to methods and back: what AMQP 0-9-1 looks like on the wire, and nothing of what it means.
#![deny(clippy::indexing_slicing)]

#[macro_use]
mod definition;

pub mod basic;
pub mod content;
pub mod dump;
pub mod frame;
pub mod method;
pub mod reserved;
