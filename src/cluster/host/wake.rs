//! When a replica needs ticks, and what it does with them.
//!
//! Only leaders with work and replicas without a leader are ticked; a follower trusts its leader as
//! long as that one's node is not down. A group at rest therefore costs nothing, but a follower may
//! believe for ever in a leader that is none, unless it is told:
//!
//! - its leader's node is down, which counts for as long as it is;
//! - the replica that it takes for its leader says that it is not, or asks for votes;
//! - the node of that replica is asked from time to time whether it leads (see `beliefs`).

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::{
    super::{GroupMessage, NodeNumber, ReplicaId, Term, message::Body},
    Broken,
    desk::{Desk, Down},
    replica::Replica,
};

/// Campaigns that a replica starts before its time, when there is reason to believe that nobody
/// leads: the first may come before the others know that.
const CAMPAIGNS: u32 = 5;

impl Replica {
    /// Whether time must pass for this replica.
    pub(super) fn needs_ticks(&self, down: &Down) -> bool {
        if self.leads() {
            return self.has_work(down);
        }
        let trusts = self.leader().is_some_and(|leader| !self.is_down(leader.node(), down));
        !trusts && self.raft.raft.promotable() && self.has_quorum_up(down)
    }

    /// Lets one tick pass. A replica whose writes are under way does not campaign: it may lack what
    /// it has promised, and the library forbids it while a snapshot is being installed.
    pub(super) fn tick(&mut self, down: &Down, seed: u64) {
        if self.leads() {
            self.raft.tick();
            return self.tell_commit(down);
        }
        if !self.is_settled() {
            return;
        }
        let ticks = self.raft.raft.election_timeout();
        let draw = [self.group.0, self.id.0, self.raft.raft.term, u64::from(self.attempts)];
        let late = draw.into_iter().fold(seed, mixed) % ticks as u64;
        self.raft.raft.set_randomized_election_timeout(ticks + late as usize);
        if self.raft.tick() {
            self.attempts = self.attempts.wrapping_add(1);
        }
    }

    /// Time passes again for a leader: what was heard of the others before it slept counts.
    pub(super) fn wake(&mut self) {
        if self.leads() {
            self.raft.raft.election_elapsed = 0;
        }
    }

    /// Tries to lead now; gives whether it might be worth another try soon.
    pub(super) fn campaign(&mut self) -> bool {
        let state = self.raft.raft.state;
        let may = matches!(state, StateRole::Follower | StateRole::PreCandidate);
        if !may || self.leader().is_some() || !self.raft.raft.promotable() {
            return false;
        }
        if self.is_settled() {
            self.attempts = self.attempts.wrapping_add(1);
            // Refused only by a leader, which this replica is not.
            let _refused = self.raft.campaign();
        }
        self.campaigns_left = self.campaigns_left.saturating_sub(1);
        self.campaigns_left > 0
    }

    /// Stops to believe in the leader, and gives the place in the order of campaigns.
    pub(super) fn distrust(&mut self, down: &Down, seed: u64) -> Option<u32> {
        let term = self.raft.raft.term;
        self.raft.raft.become_follower(term, raft::INVALID_ID);
        self.prepare_campaign(down, seed)
    }

    /// The place of this replica in the order in which the group's voters campaign.
    pub(super) fn prepare_campaign(&mut self, down: &Down, seed: u64) -> Option<u32> {
        if !self.raft.raft.promotable() {
            return None;
        }
        self.campaigns_left = CAMPAIGNS;
        let key = |replica: ReplicaId| mixed(mixed(seed, self.group.0), replica.0);
        let voters = self.members.voters.iter().filter(|voter| !down.contains(&voter.node()));
        let before = voters.filter(|voter| key(**voter) < key(self.id)).count() as u32;
        let reluctant = self.raft.raft.priority < 0;
        Some(before + if reluctant { self.members.voters.len() as u32 } else { 0 })
    }

    /// The node is down: nothing is to be expected of it, and nothing that was sent has arrived.
    /// Gives the place in the order of campaigns, if there should be one.
    pub(super) fn node_down(&mut self, node: NodeNumber, down: &Down, seed: u64) -> Option<u32> {
        self.unreachable(node);
        let led = self.leader().is_some_and(|leader| leader.node() == node);
        if !led || self.leads() || !self.is_down(node, down) {
            return None;
        }
        self.distrust(down, seed)
    }

    /// The node is there again: its replica may not know who leads.
    pub(super) fn node_up(&mut self, node: NodeNumber) {
        if !self.leads() {
            return;
        }
        let members: Vec<_> = self.members.all().filter(|member| member.node() == node).collect();
        members.into_iter().for_each(|member| self.show_leader(member));
    }

    pub(super) fn unreachable(&mut self, node: NodeNumber) {
        if !self.leads() || self.broken == Some(Broken::KeepSnapshot) {
            return;
        }
        let members: Vec<_> = self.members.all().filter(|member| member.node() == node).collect();
        members.into_iter().for_each(|member| self.raft.report_unreachable(member.0));
    }

    /// Lets the member know who leads.
    pub(super) fn show_leader(&mut self, member: ReplicaId) {
        if member == self.id {
            return;
        }
        match self.raft.raft.prs().get(member.0) {
            Some(progress) if progress.is_paused() => self.raft.ping(),
            Some(_) => self.raft.raft.send_append(member.0),
            None => {}
        }
    }

    /// Says to all members that this replica no longer leads, if nobody else can have told them.
    pub(super) fn tell_gone(&self, term: Term, desk: &mut Desk) {
        if self.leader().is_none() && self.term() == term {
            self.say_gone(term, desk);
        }
    }

    pub(super) fn say_gone(&self, term: Term, desk: &mut Desk) {
        let mut members: Vec<_> = self.members.all().filter(|to| *to != self.id).collect();
        members.sort_unstable();
        members.dedup();
        for to in members {
            let body = Body::LeaderGone { term };
            desk.post(GroupMessage { group: self.group, from: self.id, to, body });
        }
    }

    /// Whether a leader on this node is given up.
    pub(super) fn is_down(&self, node: NodeNumber, down: &Down) -> bool {
        down.contains(&node) && self.broken != Some(Broken::KeepLease)
    }

    /// Whether this is a call for votes for a term to come.
    pub(super) fn asks_for_votes(&self, message: &Message) -> bool {
        let kind = message.get_msg_type();
        let asks = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        asks && message.term > self.raft.raft.term
    }

    fn has_work(&self, down: &Down) -> bool {
        let raft = &self.raft.raft;
        let (last, committed) = (raft.raft_log.last_index(), raft.raft_log.committed);
        let busy = last > committed
            || committed > raft.raft_log.applied
            || raft.has_pending_conf()
            || self.members.is_joint()
            || raft.lead_transferee.is_some();
        let behind = |(id, progress): (&u64, &raft::Progress)| {
            let up = *id != self.id.0 && !down.contains(&ReplicaId(*id).node());
            up && (progress.matched < last || progress.committed_index < committed)
        };
        busy || !self.has_quorum_up(down) || raft.prs().iter().any(behind)
    }

    /// Tells followers that have everything, but do not know that it is committed: with entries in
    /// flight they would learn it with the next.
    fn tell_commit(&mut self, down: &Down) {
        let log = &self.raft.raft.raft_log;
        let committed = log.committed;
        if !self.leads() || log.last_index() > committed {
            return;
        }
        let members = self.raft.raft.prs().iter();
        let unaware = members.filter(|(id, progress)| {
            let up = **id != self.id.0 && !down.contains(&ReplicaId(**id).node());
            up && progress.matched == committed && progress.committed_index < committed
        });
        let unaware: Vec<_> = unaware.map(|(id, _)| *id).collect();
        unaware.into_iter().for_each(|id| self.raft.raft.send_append(id));
    }

    fn has_quorum_up(&self, down: &Down) -> bool {
        self.members.have_quorum(|voter| !down.contains(&voter.node()))
    }
}

/// Two numbers made one, evenly spread.
pub(super) fn mixed(one: u64, other: u64) -> u64 {
    let mut mixed = one.rotate_left(23) ^ other.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
