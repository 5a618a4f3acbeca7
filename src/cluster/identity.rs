//! Numbers that name what a cluster is made of: nodes, groups, their replicas, places in a log.

pub use crate::model::NodeNumber;
use crate::model::identity;

identity! {
    /// A replicated group: a queue, or the metadata. Never reused.
    GroupId(u64);

    /// One node's copy of one group, not zero: the node's number above 32 bits of an epoch. Never
    /// reused, not even after the copy was destroyed: a vote it gave would count again.
    ReplicaId(u64);

    /// The reign of one leader of a group; at most one leader has it.
    Term(u64);

    /// The place of an entry in a group's log, from 1.
    Index(u64);

    /// What a caller knows its proposal by; the host only hands it back.
    Ticket(u64);

    /// A write's place in the order of all writes of one node's host, from 1.
    WriteNumber(u64);
}

impl GroupId {
    /// The group of the metadata. Its followers learn of each commit at once, and not with the next
    /// entry or tick as those of the other groups do.
    pub const METADATA: Self = Self(0);
}

impl ReplicaId {
    /// The replica that `node` makes for the `epoch`th time.
    pub const fn new(node: NodeNumber, epoch: u32) -> Self {
        Self((node.0 as u64) << 32 | epoch as u64)
    }

    /// The node that holds the replica.
    pub const fn node(self) -> NodeNumber {
        NodeNumber((self.0 >> 32) as u32)
    }
}

impl Index {
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
