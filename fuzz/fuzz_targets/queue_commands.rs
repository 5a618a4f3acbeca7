//! Any octets, as the options of a queue and the commands that it gets.
#![no_main]

#[path = "../../tests/simulation/check.rs"]
#[expect(dead_code, reason = "the fuzz target calls one of the shared bodies")]
mod check;
#[path = "../../tests/simulation/model.rs"]
mod model;
#[path = "../../tests/shared/random.rs"]
#[expect(dead_code, reason = "the fuzz target draws from octets and not from a seed")]
mod random;
#[path = "../../tests/simulation/steps.rs"]
#[expect(dead_code, reason = "the fuzz target draws from octets and not from a seed")]
mod steps;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| check::queue_commands(octets));
