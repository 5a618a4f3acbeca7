//! Numbers that name things: connections, channels, consumers, queues, places in a queue.

/// Makes newtypes over unsigned integers, shown as the numbers themselves.
macro_rules! identity {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}
pub(crate) use identity;

identity! {
    /// A node of a cluster; 0 is a node without a cluster. Never reused within its cluster.
    NodeNumber(u32);

    /// One client's connection; unique in the cluster for the life of its node, never reused. Its
    /// node's number is in its high bits.
    ConnectionId(u64);

    /// The channel's number within its connection, chosen by the client; 0 is the connection
    /// itself.
    ChannelNumber(u16);

    /// One queue of the cluster; a queue declared again under the same name is another queue. The
    /// number of the node that it was declared on is in its high bits.
    QueueId(u64);

    /// The place of a message in its queue, in the order of arrival; never reused.
    Position(u64);

    /// A record's place in the journal, in the order in which records were appended.
    LogPosition(u64);
}

impl LogPosition {
    /// The position of what was not taken: it is never reached.
    pub const NEVER: Self = Self(u64::MAX);
}

impl NodeNumber {
    /// The greatest number of a node: it has 21 bits in what is numbered on it.
    pub const MAX: Self = Self((1 << 21) - 1);

    /// What this node numbers begins above this number, and counts up for 40 bits.
    pub const fn base(self) -> u64 {
        (self.0 as u64) << COUNTED
    }

    /// The greatest number that this node may give.
    pub const fn last(self) -> u64 {
        self.base() | ((1 << COUNTED) - 1)
    }

    /// The node on which this was numbered.
    const fn of(number: u64) -> Self {
        Self((number >> COUNTED) as u32 & Self::MAX.0)
    }
}

impl ConnectionId {
    /// The node that the connection was made to.
    pub const fn node(self) -> NodeNumber {
        NodeNumber::of(self.0)
    }
}

impl QueueId {
    /// The node that the queue was declared on.
    pub const fn node(self) -> NodeNumber {
        NodeNumber::of(self.0)
    }

    /// The number under which those of the queue's messages are stored that were written to save
    /// memory only: they do not survive a restart.
    pub const fn spilled(self) -> Self {
        Self(self.0 | SPILLED)
    }

    /// Whether this is a number that [`Self::spilled`] gives.
    pub const fn is_spilled(self) -> bool {
        self.0 & SPILLED != 0
    }

    /// The number under which a node's store has a second copy of a mirrored queue's messages,
    /// while it takes the place of the first; and the other way round.
    pub const fn other_copy(self) -> Self {
        Self(self.0 ^ SECOND)
    }

    /// The queue itself, whichever of its two numbers this is.
    pub const fn base(self) -> Self {
        Self(self.0 & !SPILLED)
    }
}

const SPILLED: u64 = 1 << 63;

/// No node's number is so great that it reaches here.
const SECOND: u64 = 1 << 61;

/// So many low bits of a number count what its node has numbered.
const COUNTED: u32 = 40;

/// One consumer, unique for the life of the node: its connection, and a serial number therein.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId {
    pub connection: ConnectionId,
    pub serial: u64,
}
