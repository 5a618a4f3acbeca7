//! What a node knows of its cluster: who is who, and who is there. It neither sends nor waits.

pub mod detector;
mod identity;

pub use identity::NodeNumber;
