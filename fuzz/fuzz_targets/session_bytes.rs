//! Any octets, as all that a client sends on a connection.
#![no_main]

#[path = "../../tests/wire/session.rs"]
mod session;
#[path = "../../tests/wire/targets.rs"]
#[expect(dead_code, reason = "each fuzz target calls one of the shared bodies")]
mod targets;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    targets::session_bytes(octets);
    session::drive(octets);
});
