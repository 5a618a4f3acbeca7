//! The thinking parts of the broker under a virtual clock, driven from a seed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what the model rules out fails the test, which prints its seed"
)]

mod model;
mod queue;
#[path = "../shared/random.rs"]
#[expect(dead_code, reason = "octets are drawn by the tests of the wire alone")]
mod random;
mod steps;
