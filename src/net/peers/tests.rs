//! Nodes that talk to each other over real sockets.
