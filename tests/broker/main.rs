//! The broker as its clients see it: scenarios of the protocol, clients that mean it harm, and the
//! binary itself.

#![expect(unreachable_pub, reason = "the modules of a test share what is `pub`")]

mod cluster;
mod hostile;
mod management;
mod placement;
mod player;
mod policies;
mod process;
mod random;
mod scenarios;
mod store_command;
