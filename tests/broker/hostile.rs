//! Clients that break off, do not read, send nonsense or get in each other's way: the broker
//! answers them properly or drops them, spends little on them, and goes on serving the others.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::disallowed_methods, reason = "patience with a real broker ends in real time")]

mod client;
mod crowds;
mod nonsense;
mod silence;
mod subject;
