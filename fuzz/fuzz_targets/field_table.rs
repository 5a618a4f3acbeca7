//! Any octets, read as the pairs of a field table.
#![no_main]

#[path = "../../tests/wire/targets.rs"]
#[expect(dead_code, reason = "each fuzz target calls one of the shared bodies")]
mod targets;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| targets::field_table(octets));
