//! Any octets, as the files of a data directory.
#![no_main]

#[path = "../../tests/simulation/directory.rs"]
#[expect(dead_code, reason = "the fuzz target calls one of the shared bodies")]
mod directory;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| directory::data_directory(octets));
