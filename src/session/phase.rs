//! The three parts of a connection's life.

use super::{farewell::Farewell, handshake::Handshake};

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    Handshake(Handshake),
    Running,
    Ending(Farewell),
}
