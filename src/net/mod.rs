//! Bytes and tasks: sockets on one side, sessions on the other. It moves bytes and runs sessions.

#![expect(clippy::disallowed_methods, reason = "the shell is where the clock is read")]

mod clock;
mod connection;
mod conversation;
mod listener;
mod outbox;
pub mod peers;
mod socket;
#[cfg(test)]
mod tests;
pub mod tls;

pub use clock::Clock;
pub use connection::Peer;
pub use conversation::{Backend, Conversation};
pub use listener::{Clients, Listener, Reception};
pub use outbox::Outbox;
