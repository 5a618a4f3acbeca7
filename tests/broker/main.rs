//! The broker as its clients see it: scenarios of the protocol, and a client library over TCP.

#![expect(unreachable_pub, reason = "the modules of a test share what is `pub`")]

mod player;
mod process;
mod scenarios;
