//! Plays a scenario against whatever is behind a [`Peer`]: the broker in this process with a
//! virtual clock, a node over TCP, or a real RabbitMQ.

pub mod conversation;
pub mod frames;
pub mod leftovers;
pub mod link;
pub mod octets;
pub mod performance;
pub mod protocol;
pub mod reading;
pub mod script;
pub mod tcp;
pub mod term;
pub mod virtual_node;

use std::time::Duration;

pub use leftovers::clean_up;
pub use performance::play;
pub use script::Script;

/// Who plays the server's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Leveret,
    /// RabbitMQ 3.10, on which the expectations were verified.
    Oracle,
}

/// What came in on a connection.
#[derive(Debug)]
pub enum Arrival {
    Octets(Vec<u8>),
    /// The server has closed or reset the connection.
    Closed,
    /// Nothing came for as long as this peer may take.
    Silence,
}

/// The server's end of the scenario's connections, and the clock.
///
/// A peer that plays in-process answers at once; one over TCP waits, but never without limit.
pub trait Peer {
    fn server(&self) -> Server;

    /// Opens a connection under a name that is not in use.
    fn connect(&mut self, connection: &str) -> Result<(), String>;

    /// Hands octets to the server; a connection that the server has closed swallows them.
    fn send(&mut self, connection: &str, octets: &[u8]);

    /// What the server sent next.
    fn receive(&mut self, connection: &str) -> Arrival;

    /// Ends the connection without a word, as a client that dies.
    fn disconnect(&mut self, connection: &str);

    /// Lets time pass.
    fn wait(&mut self, duration: Duration);

    /// Whether `receive` would answer at once with something.
    fn has_arrived(&mut self, connection: &str) -> bool;

    /// Lets what is under way inside the server come to rest.
    fn settle(&mut self);
}
