//! How a group's members change, and its leader with them.

use raft::eraftpb::Snapshot as RaftSnapshot;

use super::{
    super::{Index, Members, ReplicaId, Term, Ticket, members::Change},
    Broken, Event, Record,
    desk::{Desk, Down},
    replica::Replica,
};

impl Replica {
    /// Goes one step towards these members.
    pub(super) fn change(
        &mut self,
        target: &Members,
        ticket: Ticket,
        desk: &mut Desk,
        down: &Down,
    ) {
        let taken = self.can_change(target) && self.approach(target, ticket, down);
        if !taken {
            desk.event(Event::Lost { group: self.group, ticket });
        }
    }

    fn can_change(&self, target: &Members) -> bool {
        let idle = !self.raft.raft.has_pending_conf() && !target.voters.is_empty();
        self.leads() && idle
    }

    /// Gives whether the ticket is on its way with an entry.
    fn approach(&mut self, target: &Members, ticket: Ticket, down: &Down) -> bool {
        if self.members.is_joint() {
            self.propose_change(&Change::default(), None);
            return false;
        }
        let may_leave = self.broken == Some(Broken::RemoveSelf);
        if target.voters.contains(&self.id) || may_leave {
            let change = Change::between(&self.members, target);
            return !change.is_empty() && self.propose_change(&change, Some(ticket));
        }
        if let Some(successor) = self.successor(target, down) {
            self.raft.transfer_leader(successor.0);
            return false;
        }
        let mut voters = target.voters.clone();
        voters.push(self.id);
        let learners: Vec<_> =
            target.learners.iter().copied().filter(|one| *one != self.id).collect();
        let change = Change::between(&self.members, &Members::new(&voters, &learners));
        !change.is_empty() && self.propose_change(&change, Some(ticket))
    }

    /// The voter that stays and has most of the log.
    fn successor(&self, target: &Members, down: &Down) -> Option<ReplicaId> {
        let stays = |voter: &&ReplicaId| {
            self.members.voters.contains(voter) && !down.contains(&voter.node())
        };
        let matched = |voter: &ReplicaId| {
            let progress = self.raft.raft.prs().get(voter.0);
            (progress.map_or(0, |progress| progress.matched), std::cmp::Reverse(*voter))
        };
        target.voters.iter().filter(stays).copied().max_by_key(matched)
    }

    pub(super) fn transfer(&mut self, to: ReplicaId) {
        if self.leads() && self.members.voters.contains(&to) && to != self.id {
            self.raft.transfer_leader(to.0);
        }
    }

    /// Forgets what was applied, but for what members that lag behind may still get entry by entry.
    pub(super) fn compact(&mut self, up_to: Index, limit: usize, desk: &mut Desk, down: &Down) {
        let up_to = up_to.0.min(self.applied).min(self.raft.raft.raft_log.applied);
        let log = self.raft.store();
        let cut = if self.leads() {
            self.least_matched(down).min(up_to).max(log.cut_for(up_to, limit))
        } else {
            log.cut_for(up_to, limit / FOLLOWERS_SHARE)
        };
        if cut > log.compacted() {
            let (index, term) = self.raft.mut_store().compact(cut);
            desk.write(self.group, Record::Compacted { index, term });
        }
    }

    /// Makes a snapshot of what the driver has captured, unless the members have changed since, or
    /// the log has gone on without it.
    pub(super) fn captured(&mut self, to: ReplicaId, index: Index, token: bytes::Bytes) {
        self.capturing.retain(|waiting| *waiting != to);
        let known = index.0 >= self.members_since.max(self.raft.store().compacted());
        let term = self.raft.raft.raft_log.term(index.0).unwrap_or(0);
        if !self.leads() || !known || index.0 > self.applied || term == 0 {
            return;
        }
        let mut snapshot = RaftSnapshot::default();
        snapshot.mut_metadata().index = index.0;
        snapshot.mut_metadata().term = term;
        snapshot.mut_metadata().set_conf_state(self.members.to_raft());
        snapshot.data = token;
        self.raft.mut_store().offer(to.0, snapshot);
        if self.raft.raft.prs().get(to.0).is_some_and(|progress| !progress.is_paused()) {
            self.raft.raft.send_append(to.0);
        }
    }

    pub(super) fn sent(&mut self, to: ReplicaId, ok: bool) {
        self.capturing.retain(|waiting| *waiting != to);
        if self.leads() && self.broken != Some(Broken::KeepSnapshot) {
            let status =
                if ok { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
            self.raft.report_snapshot(to.0, status);
        }
    }

    /// How far each other member's log is known to be, by replica.
    pub(super) fn progress(&self) -> Vec<(ReplicaId, Index)> {
        let others = self.raft.raft.prs().iter().filter(|(id, _)| **id != self.id.0);
        let mut progress: Vec<_> =
            others.map(|(id, progress)| (ReplicaId(*id), Index(progress.matched))).collect();
        progress.sort_unstable();
        progress
    }

    pub(super) fn position(&self) -> (Index, Term) {
        (Index(self.raft.raft.raft_log.last_index()), self.term())
    }

    fn least_matched(&self, down: &Down) -> u64 {
        let others = self.raft.raft.prs().iter().filter(|(id, _)| **id != self.id.0);
        let up = others.filter(|(id, _)| !down.contains(&ReplicaId(**id).node()));
        up.map(|(_, progress)| progress.matched).min().unwrap_or(u64::MAX)
    }
}

/// The part of the limit that a replica uses which does not know what the others lack.
const FOLLOWERS_SHARE: usize = 16;
