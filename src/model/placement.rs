//! Where in a cluster a queue lives.

use super::NodeNumber;

/// What a queue's record says of where its messages are. The default is a node without a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Where the queue was declared; without replicas, where its one copy is.
    pub home: NodeNumber,
    /// The members of the group that keeps its messages, the one first that should lead; none when
    /// there is one copy.
    pub replicas: Vec<u64>,
    /// How often it was changed. Of 0 the replicas are the group's first members, all others join
    /// a group that exists.
    pub generation: u64,
    /// The group may have other members yet, and those that are to leave keep what they have.
    pub moving: bool,
}

impl Placement {
    /// One copy.
    pub const fn on(home: NodeNumber) -> Self {
        Self { home, replicas: Vec::new(), generation: 0, moving: false }
    }

    /// Whether several nodes have a copy.
    pub const fn is_mirrored(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The nodes that have a replica, in their order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeNumber> {
        self.replicas.iter().map(|replica| Self::node_of(*replica))
    }

    /// Whether a node has a replica.
    pub fn is_on(&self, node: NodeNumber) -> bool {
        self.nodes().any(|other| other == node)
    }

    /// The next placement, on these nodes. Who stays keeps its replica; a replica that has left is
    /// never named again.
    #[must_use]
    pub fn moved_to(&self, nodes: &[NodeNumber]) -> Self {
        let generation = self.generation + 1;
        let known = |node: NodeNumber| {
            self.replicas.iter().copied().find(|replica| Self::node_of(*replica) == node)
        };
        let new = |node: NodeNumber| u64::from(node.0) << EPOCH | (generation + 1);
        let replicas = nodes.iter().map(|node| known(*node).unwrap_or_else(|| new(*node)));
        Self { home: self.home, replicas: replicas.collect(), generation, moving: true }
    }

    /// Whether the replica is one that has not been there before the last change.
    pub const fn is_new(&self, replica: u64) -> bool {
        let epoch = replica & ((1 << EPOCH) - 1);
        self.generation > 0 && epoch == self.generation + 1
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
