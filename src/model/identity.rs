//! Numbers that name things: connections, channels, consumers, queues, places in a queue.

use std::fmt;

/// Makes a newtype over an unsigned integer, shown as the number itself.
macro_rules! identity {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

identity! {
    /// One client's connection; unique for the life of the node, never reused.
    ConnectionId(u64);

    /// The channel's number within its connection, chosen by the client; 0 is the connection
    /// itself.
    ChannelNumber(u16);

    /// One queue of the node; a queue declared again under the same name is another queue.
    QueueId(u64);

    /// The place of a message in its queue, in the order of arrival; never reused.
    Position(u64);

    /// A record's place in the journal, in the order in which records were appended.
    LogPosition(u64);
}

impl QueueId {
    /// Under this number lie those of a queue's messages that were only written to save memory and
    /// do not survive a restart.
    pub(crate) fn spilled(self) -> Self {
        Self(self.0 | 1 << 63)
    }
}

/// One consumer, unique for the life of the node: its connection, and a serial number therein.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId {
    pub connection: ConnectionId,
    pub serial: u64,
}
