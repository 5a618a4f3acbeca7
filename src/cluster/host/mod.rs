//! All replicas of one node: a machine that is told what happened and answers what is to be done.
//!
//! ```text
//!  messages ─┐                                          ┌─► writes ──► journal ─┐
//!  proposals ├─► turn: step, propose, tick ──► replicas ├─► messages ► nodes    │
//!  verdicts ─┘             ▲                            └─► events ──► state    │
//!                          └──────────────── Persisted ◄────────────────────────┘
//! ```
//!
//! The driver of a host appends the writes to a journal that keeps their order, sends the messages,
//! acts on the events, and says how far the journal got. What must not leave before something is
//! written is held back here.

mod input;
mod outbox;
mod settings;

pub use input::{Belief, GroupState, Input};
pub use outbox::{
    Committed, Content, Event, LeaderChange, Outbox, Record, Snapshot, SnapshotToSend,
    SnapshotWanted, Write,
};
pub use settings::{Broken, Settings};

use super::{GroupId, Members, NodeNumber, ReplicaId};
use crate::model::Moment;

/// The replicas of one node.
pub struct Host {
    node: NodeNumber,
    outbox: Outbox,
}

impl Host {
    /// A host without replicas. The same seed and the same turns give the same outboxes.
    pub fn new(node: NodeNumber, settings: Settings, seed: u64) -> Self {
        let _ = (settings, seed);
        Self { node, outbox: Outbox::default() }
    }

    /// Takes up a replica where the journal left it. The next turn begins to look for its leader.
    pub fn restore(&mut self, state: GroupState) {
        let _ = state;
    }

    /// Makes a replica that has never been. A replica of a new group gets the group's first
    /// `members`, the same on each node; one that joins a group that exists gets none, and learns
    /// them from its leader. Among replicas as far as each other those with a higher `priority`
    /// (usually 0) lead.
    pub fn create(&mut self, group: GroupId, replica: ReplicaId, members: Members, priority: i64) {
        let _ = (group, replica, members, priority);
    }

    /// Forgets a replica, and tells the others if it led.
    pub fn destroy(&mut self, group: GroupId) {
        let _ = group;
    }

    /// Takes in what has happened, lets the replicas act on it, and says what is to be done.
    pub fn turn(&mut self, now: Moment, inbox: Vec<Input>) -> Outbox {
        let _ = (now, inbox, self.node);
        std::mem::take(&mut self.outbox)
    }

    /// The octets of the entries that the group's log holds in memory.
    pub fn log_octets(&self, group: GroupId) -> usize {
        let _ = group;
        0
    }

    /// The members of the group as of the last entry that was handed out.
    pub fn members(&self, group: GroupId) -> Option<Members> {
        let _ = group;
        None
    }

    /// Who leads the group, as far as its replica here knows; a leader that is this replica may not
    /// have been announced yet.
    pub fn leader(&self, group: GroupId) -> Option<ReplicaId> {
        let _ = group;
        None
    }

    /// Which replicas here believe that one on `node` leads them. To be told to that node now and
    /// then, as [`Input::Believed`]: it is how a group finds out that its sleeping leader is gone
    /// although the node is not.
    pub fn beliefs(&self, node: NodeNumber) -> Vec<Belief> {
        let _ = node;
        Vec::new()
    }
}
