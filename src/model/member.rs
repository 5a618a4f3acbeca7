//! A node of a cluster, as all nodes know it.

/// What is agreed on about a node. Its number, under which this stands, is never given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// `rabbit@host`: what clients and policies see.
    pub name: String,
    /// `host:port`, where other nodes reach it.
    pub address: String,
    /// Drawn by the node when its data directory was empty: another one is another node, whatever
    /// its name.
    pub store: u128,
    /// It has left, or its data directory is lost: it never comes back under this number.
    pub is_gone: bool,
}
