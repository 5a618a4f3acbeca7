//! What a host tells the world.

use bytes::Bytes;

use super::super::{
    GroupId, GroupMessage, HardState, Index, LogEntry, Members, NodeNumber, ReplicaId, Term,
    Ticket, WriteNumber,
};
use crate::model::Moment;

/// What one turn asks for, each list in its own order.
///
/// What the events make a driver write belongs into the journal before the writes of the same turn:
/// the entries that an event is about are on disk already, and a snapshot among the writes may
/// replace the state that they lead to.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// To be appended to the journal; [`super::Input::Persisted`] tells how far that got.
    pub writes: Vec<Write>,
    /// What may leave at once, whatever has become of the writes.
    pub messages: Vec<(NodeNumber, GroupMessage)>,
    /// What has happened to the groups.
    pub events: Vec<Event>,
    pub snapshots_wanted: Vec<SnapshotWanted>,
    pub snapshots_to_send: Vec<SnapshotToSend>,
    /// When the host wants a turn even if nothing has happened.
    pub wake_at: Option<Moment>,
}

/// A record for the journal. After a crash a prefix of all writes must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub number: WriteNumber,
    pub group: GroupId,
    pub record: Record,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The replica exists: with no entries, and these members.
    Created {
        replica: ReplicaId,
        members: Members,
        priority: i64,
    },
    /// The log from the first of these entries on, whatever was there before; there is at least
    /// one. With them, at once or not at all, the hard state's `commit` becomes this one.
    Append {
        entries: Vec<LogEntry>,
        commit: Index,
    },
    HardState(HardState),
    /// All entries up to this one, which had this term, are no longer needed.
    Compacted {
        index: Index,
        term: Term,
    },
    /// The log is empty behind this snapshot; the driver's state of the group is that of the
    /// snapshot from this record on, and not before it.
    Installed(Snapshot),
    /// The replica is gone, and all that was written of it.
    Destroyed,
}

/// A group's state after an entry: the host knows the members, and the driver the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub index: Index,
    pub term: Term,
    pub members: Members,
    /// The driver's own name for the state, as the sender's driver gave it.
    pub token: Bytes,
}

/// Something that has happened to a group. Events of one group are in order; a driver acts on all
/// of them before it gives the host another input about that group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An entry is to be applied.
    Committed(Committed),
    /// The state is to be replaced by that of a snapshot, which came with a message of this turn
    /// and whose data the driver has therefore. See [`Record::Installed`].
    Install { group: GroupId, snapshot: Snapshot },
    /// Somebody else leads, or nobody, or this replica does.
    Leader(LeaderChange),
    /// This proposal is not in the log, and will never be.
    Lost { group: GroupId, ticket: Ticket },
    /// What became of this proposal cannot be told here.
    Unknown { group: GroupId, ticket: Ticket },
    /// The replica's log contradicts what a leader knows that it has: a disk has forgotten. The
    /// host has dropped it, and it must be replaced by one with another id.
    Broken { group: GroupId },
}

/// An entry that a majority has, at its place for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub group: GroupId,
    pub index: Index,
    pub term: Term,
    /// The ticket, if it was proposed here since the last start.
    pub ticket: Option<Ticket>,
    pub content: Content,
}

/// What a committed entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Payload(Bytes),
    /// The members from this entry on. To be kept, for [`super::GroupState::members`].
    Members(Members),
    /// Nothing; it must be applied like the others, or the indices have a gap.
    Empty,
}

/// A replica's view of who leads its group has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    pub group: GroupId,
    pub term: Term,
    pub leader: Option<ReplicaId>,
    /// This replica leads, and everything that former leaders have committed is among the events
    /// before this one. A leader that is not that far is not announced.
    pub is_self: bool,
}

/// A member lags behind what the log still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotWanted {
    pub group: GroupId,
    pub to: ReplicaId,
}

/// A snapshot for a member: its data first, and then this message, when the data are durable there.
/// Answered by [`super::Input::SnapshotSent`].
#[derive(Clone, Debug)]
pub struct SnapshotToSend {
    pub group: GroupId,
    pub to: ReplicaId,
    pub token: Bytes,
    pub message: GroupMessage,
}
