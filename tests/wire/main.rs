//! The wire layer and the encoded parts of the model, held to properties on random input.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and prints its seed"
)]

mod generate;
mod hostile;
#[path = "../shared/random.rs"]
mod random;
mod round_trip;
mod session;
mod targets;
