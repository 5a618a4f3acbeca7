//! Who belongs to a group: those that vote, those that only listen, and the change under way.

use raft::eraftpb::ConfState;

use super::identity::ReplicaId;

/// The replicas of a group, each list in ascending order.
///
/// While a change is under way both the old and the new voters must agree to everything, and
/// `outgoing` holds the old ones; otherwise `outgoing` and `learners_next` are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub voters: Vec<ReplicaId>,
    /// Those that get every entry and have no vote.
    pub learners: Vec<ReplicaId>,
    /// The voters before the change that is under way.
    pub outgoing: Vec<ReplicaId>,
    /// Outgoing voters that will be learners when the change is over.
    pub learners_next: Vec<ReplicaId>,
}

impl Members {
    /// Members at rest, in order and each once; who votes is not a learner.
    pub fn new(voters: &[ReplicaId], learners: &[ReplicaId]) -> Self {
        let mut members = Self { voters: ascending(voters), ..Self::default() };
        members.learners = ascending(learners);
        members.learners.retain(|learner| !members.voters.contains(learner));
        members
    }

    /// Whether a change is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the replica belongs to the group in any way.
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.all().any(|member| member == replica)
    }

    /// Whether the replica has a vote.
    pub fn is_voter(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.outgoing.contains(&replica)
    }

    /// Every member; while a change is under way some come twice.
    pub fn all(&self) -> impl Iterator<Item = ReplicaId> {
        let lists = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        lists.into_iter().flatten().copied()
    }

    /// Whether the replicas for which `holds` is true are enough to decide for the group.
    pub fn have_quorum(&self, holds: impl Fn(ReplicaId) -> bool) -> bool {
        let majority = |voters: &[ReplicaId]| {
            let count = voters.iter().filter(|voter| holds(**voter)).count();
            voters.is_empty() || count > voters.len() / 2
        };
        majority(&self.voters) && majority(&self.outgoing)
    }

    pub(super) fn from_raft(state: &ConfState) -> Self {
        let list =
            |ids: &[u64]| ascending(&ids.iter().map(|id| ReplicaId(*id)).collect::<Vec<_>>());
        Self {
            voters: list(&state.voters),
            learners: list(&state.learners),
            outgoing: list(&state.voters_outgoing),
            learners_next: list(&state.learners_next),
        }
    }

    /// A change is always left by itself, so the raft's switch for that follows from the rest.
    pub(super) fn to_raft(&self) -> ConfState {
        let list = |replicas: &[ReplicaId]| replicas.iter().map(|replica| replica.0).collect();
        let mut state = ConfState::default();
        state.voters = list(&self.voters);
        state.learners = list(&self.learners);
        state.voters_outgoing = list(&self.outgoing);
        state.learners_next = list(&self.learners_next);
        state.auto_leave = self.is_joint();
        state
    }
}

fn ascending(replicas: &[ReplicaId]) -> Vec<ReplicaId> {
    let mut replicas = replicas.to_vec();
    replicas.sort_unstable();
    replicas.dedup();
    replicas
}
