//! Any octets, read as the payload of a method frame.
#![no_main]

#[path = "../../tests/wire/targets.rs"]
#[expect(dead_code, reason = "each fuzz target calls one of the shared bodies")]
mod targets;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| targets::method(octets));
