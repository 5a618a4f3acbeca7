//! The thinking parts of the broker under a virtual clock, driven from a seed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what the model rules out fails the test, which prints its seed"
)]

mod check;
mod cluster;
mod crash;
mod directory;
mod hostile;
mod model;
mod queue;
#[path = "../shared/random.rs"]
mod random;
mod steps;
mod store;
