//! Where in a cluster a queue lives.

use super::NodeNumber;

/// What a queue's record says of where its messages are. The default is a node without a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Where the queue was declared; without replicas, where its one copy is.
    pub home: NodeNumber,
    /// The first members of the group that keeps its messages, the one first that should lead; none
    /// when there is one copy.
    pub replicas: Vec<u64>,
}

impl Placement {
    /// One copy.
    pub const fn on(home: NodeNumber) -> Self {
        Self { home, replicas: Vec::new() }
    }

    /// Whether several nodes have a copy.
    pub const fn is_mirrored(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The node on which a replica is.
    pub const fn node_of(replica: u64) -> NodeNumber {
        NodeNumber((replica >> EPOCH) as u32)
    }

    /// The first replica that a node has of anything: its next one counts up from there.
    pub const fn first_replica(node: NodeNumber) -> u64 {
        (node.0 as u64) << EPOCH | 1
    }
}

/// So many low bits of a replica's number are its epoch.
const EPOCH: u32 = 32;
