//! The thinking parts of the broker under a virtual clock, driven from a seed.
#![expect(clippy::unwrap_used, reason = "what the model rules out fails the test")]

mod model;
mod queue;
mod steps;
mod store;
