//! Any octets, cut into frames.
#![no_main]

#[path = "../../tests/wire/targets.rs"]
#[expect(dead_code, reason = "each fuzz target calls one of the shared bodies")]
mod targets;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| targets::frame(octets));
