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

mod apply;
mod desk;
mod hear;
mod input;
mod log;
mod membership;
mod outbox;
mod replica;
mod settings;
mod turn;
mod wake;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use self::{
    desk::{Desk, Down},
    replica::Replica,
};
pub use self::{
    input::{Belief, GroupState, Input},
    outbox::{
        Committed, Content, Event, LeaderChange, Outbox, Record, Snapshot, SnapshotToSend,
        SnapshotWanted, Write,
    },
    settings::{Broken, Settings},
};
use super::{GroupId, Index, Members, NodeNumber, ReplicaId, Term, Ticket, WriteNumber};
use crate::model::Moment;

/// The replicas of one node.
pub struct Host {
    node: NodeNumber,
    settings: Settings,
    seed: u64,
    replicas: BTreeMap<GroupId, Box<Replica>>,
    desk: Desk,
    /// Replicas that something has happened to in this turn.
    touched: BTreeSet<GroupId>,
    /// Replicas for which time passes.
    awake: BTreeSet<GroupId>,
    next_tick: Option<Moment>,
    /// Campaigns before their time.
    campaigns: BTreeSet<(Moment, GroupId)>,
    /// Who waits for which write, in the order of the writes.
    waiting: VecDeque<(WriteNumber, GroupId)>,
    /// What was proposed in this turn and is not in the logs.
    proposals: BTreeMap<GroupId, Vec<(Bytes, Ticket)>>,
    down: Down,
    now: Moment,
}

impl Host {
    /// A host without replicas. The same seed and the same turns give the same outboxes.
    pub fn new(node: NodeNumber, settings: Settings, seed: u64) -> Self {
        Self {
            node,
            settings,
            seed,
            replicas: BTreeMap::new(),
            desk: Desk::default(),
            touched: BTreeSet::new(),
            awake: BTreeSet::new(),
            next_tick: None,
            campaigns: BTreeSet::new(),
            waiting: VecDeque::new(),
            proposals: BTreeMap::new(),
            down: Down::new(),
            now: Moment::default(),
        }
    }

    /// Takes up a replica where the journal left it. It looks for its leader from the next turn on.
    pub fn restore(&mut self, state: GroupState) {
        self.touched.insert(state.group);
        let replica = Replica::restored(state, &self.settings);
        self.replicas.insert(replica.group, Box::new(replica));
    }

    /// Makes a replica that has never been. A replica of a new group gets the group's first
    /// `members`, the same on each node; one that joins a group that exists gets none, and learns
    /// them from its leader. Among replicas that are equally far those with a higher `priority`
    /// lead; it is usually 0.
    pub fn create(&mut self, group: GroupId, replica: ReplicaId, members: Members, priority: i64) {
        let record = Record::Created { replica, members: members.clone(), priority };
        let write = self.desk.write(group, record);
        self.restore(GroupState::created(group, replica, members, priority));
        if let Some(replica) = self.replicas.get_mut(&group) {
            replica.wait_for(write);
        }
    }

    /// Forgets a replica, and tells the others if it led.
    pub fn destroy(&mut self, group: GroupId) {
        if let Some(mut replica) = self.replicas.remove(&group) {
            if replica.leads() {
                replica.say_gone(replica.term(), &mut self.desk);
            }
            replica.abandon(&mut self.desk);
            self.desk.write(group, Record::Destroyed);
            self.awake.remove(&group);
        }
    }

    /// Takes in what has happened, lets the replicas act on it, and says what is to be done.
    pub fn turn(&mut self, now: Moment, inbox: Vec<Input>) -> Outbox {
        self.now = now;
        inbox.into_iter().for_each(|input| self.take(input));
        let proposed: Vec<_> = self.proposals.keys().copied().collect();
        proposed.into_iter().for_each(|group| self.propose(group));
        if self.next_tick.is_some_and(|at| at <= now) {
            self.tick();
        }
        self.campaign();
        self.settle();
        let mut outbox = std::mem::take(&mut self.desk.outbox);
        outbox.wake_at = self.wake_at();
        outbox
    }

    /// The octets of memory that the entries of the group's log take.
    pub fn log_octets(&self, group: GroupId) -> usize {
        self.replicas.get(&group).map_or(0, |replica| replica.raft.store().octets())
    }

    /// The replicas, by group.
    pub fn replicas(&self) -> impl Iterator<Item = (GroupId, ReplicaId)> {
        self.replicas.iter().map(|(group, replica)| (*group, replica.id))
    }

    /// The members of the group as of the last entry that was handed out.
    pub fn members(&self, group: GroupId) -> Option<&Members> {
        self.replicas.get(&group).map(|replica| &replica.members)
    }

    /// Who leads the group, as far as its replica here knows; a leader that is this replica may not
    /// have been announced yet.
    pub fn leader(&self, group: GroupId) -> Option<ReplicaId> {
        self.replicas.get(&group)?.leader()
    }

    /// The end of the replica's log, and its term.
    pub fn position(&self, group: GroupId) -> Option<(Index, Term)> {
        Some(self.replicas.get(&group)?.position())
    }

    /// How far the log of each other member is known to be on its disk; nothing unless this replica
    /// leads. Whoever is to become a voter should be near the end first.
    pub fn progress(&self, group: GroupId) -> Vec<(ReplicaId, Index)> {
        let leading = self.replicas.get(&group).filter(|replica| replica.leads());
        leading.map(|replica| replica.progress()).unwrap_or_default()
    }

    /// How many replicas time passes for: those of groups at rest sleep.
    pub fn awake(&self) -> usize {
        self.awake.len()
    }

    /// Which replicas here believe that one on `node` leads them. To be told to that node now and
    /// then, as [`Input::Believed`]: it is how a group finds out that its sleeping leader is gone
    /// although the node is not.
    pub fn beliefs(&self, node: NodeNumber) -> Vec<Belief> {
        let led = |replica: &&Replica| {
            replica.leader().is_some_and(|leader| leader.node() == node && leader != replica.id)
        };
        let belief = |replica: &Replica| {
            let (group, leader) = (replica.group, replica.leader()?);
            Some(Belief { group, leader, believer: replica.id, term: replica.term() })
        };
        self.replicas.values().map(Box::as_ref).filter(led).filter_map(belief).collect()
    }
}
