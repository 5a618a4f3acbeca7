//! What the world tells a host.

use bytes::Bytes;

use super::super::{
    GroupId, GroupMessage, HardState, Index, LogEntry, Members, NodeNumber, ReplicaId, Term,
    Ticket, WriteNumber,
};

/// One thing that has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message from another node; with [`super::SnapshotToSend`] one that comes after its data.
    Message(GroupMessage),
    /// Something for the group's log. It comes back as [`super::Event::Committed`] with the ticket,
    /// or the ticket alone comes back. Proposals of one turn for one group travel together.
    Propose { group: GroupId, payload: Bytes, ticket: Ticket },
    /// The group should have these members, and no others: one step towards them. The ticket
    /// comes back with the first entry of a change; its members may be joint, and the host takes
    /// the group out of that state by itself. Whoever wants the members asks again, wherever the
    /// leader is, until they are there.
    ///
    /// A leader does not remove itself. It hands over to a voter that stays, and the ticket is
    /// [`super::Event::Lost`]; without such a voter it first makes some, and stays beside them.
    /// Lost is also what is asked of a replica that does not lead, while a change is under way,
    /// and what is so already.
    ///
    /// A voter without the log holds up the group: let it be a learner until
    /// [`super::Host::progress`] says that it has caught up. A replica that was removed may be
    /// destroyed only when the voters that stay have that on disk, as they may need its vote until
    /// then, and no change that names it can be under way; it is never named again.
    ChangeMembers {
        group: GroupId,
        voters: Vec<ReplicaId>,
        learners: Vec<ReplicaId>,
        ticket: Ticket,
    },
    /// The leader should hand over to this voter. If it cannot within an election timeout, it leads
    /// on; proposals in between are lost.
    Transfer { group: GroupId, to: ReplicaId },
    /// The replica should try to lead now: what somebody does for a new group. Nothing happens
    /// while others believe that they have a leader.
    Campaign { group: GroupId },
    /// The node is dead or out of reach, or has started again: then this comes before
    /// [`Self::NodeUp`]. A wrong verdict costs time, not safety.
    NodeDown(NodeNumber),
    /// The node is there (again).
    NodeUp(NodeNumber),
    /// Something sent to the node was lost, although it may not be down.
    Unreachable(NodeNumber),
    /// All writes up to this one are on disk, and would be there after a crash.
    Persisted(WriteNumber),
    /// All that was committed up to here has been applied by the driver, durably: the log may
    /// forget it. What lagging members need is kept, up to [`super::Settings::log_limit`].
    Compact { group: GroupId, up_to: Index },
    /// What [`super::SnapshotWanted`] asked for: the state after `index`, the last entry that the
    /// driver has applied. The token is the driver's own name of it, and travels to the receiver.
    SnapshotCaptured { group: GroupId, to: ReplicaId, index: Index, token: Bytes },
    /// What [`super::SnapshotToSend`] asked for has been sent, or could not be.
    SnapshotSent { group: GroupId, to: ReplicaId, ok: bool },
    /// What another node's [`super::Host::beliefs`] say about this node. Those that are wrong are
    /// answered.
    Believed(Vec<Belief>),
}

/// That a replica takes another one for its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belief {
    pub group: GroupId,
    pub leader: ReplicaId,
    pub believer: ReplicaId,
    pub term: Term,
}

/// A replica as its journal has it, all records read.
#[derive(Clone, Debug)]
pub struct GroupState {
    pub group: GroupId,
    pub replica: ReplicaId,
    /// See [`super::Host::create`].
    pub priority: i64,
    /// The members as of `applied`.
    pub members: Members,
    pub hard_state: HardState,
    /// The last entry that the log has forgotten, with its term; zeros if there is none.
    pub compacted: (Index, Term),
    /// All entries after `compacted`, in order and without gaps.
    pub entries: Vec<LogEntry>,
    /// The last entry whose effects are in the driver's state; not before `compacted`.
    pub applied: Index,
}

impl GroupState {
    /// A replica of which the journal has no more than [`super::Record::Created`]. The first
    /// members count as the group's first entry, so that whoever joins later begins with a snapshot
    /// that names them.
    pub fn created(group: GroupId, replica: ReplicaId, members: Members, priority: i64) -> Self {
        let begun = u64::from(!members.voters.is_empty());
        let (index, term) = (Index(begun), Term(begun));
        Self {
            group,
            replica,
            priority,
            members,
            hard_state: HardState { term, vote: ReplicaId(0), commit: index },
            compacted: (index, term),
            entries: Vec::new(),
            applied: index,
        }
    }
}
