//! Who belongs to a group: those that vote, those that only listen, and the change under way.

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use super::identity::ReplicaId;
use crate::model::compact::{Reader, put_varint};

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

    /// Whether the lists agree with each other, as those that a peer sends should.
    pub(super) fn are_sound(&self) -> bool {
        let in_order = |list: &[ReplicaId]| list.is_sorted_by(|one, two| one < two);
        let lists = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        let learn = |replica: &ReplicaId| !self.is_voter(*replica);
        let leave = |replica: &ReplicaId| {
            self.outgoing.contains(replica)
                && !self.voters.contains(replica)
                && !self.learners.contains(replica)
        };
        !self.voters.is_empty()
            && lists.into_iter().all(|list| in_order(list) && !list.contains(&ReplicaId(0)))
            && self.learners.iter().all(learn)
            && self.learners_next.iter().all(leave)
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
        ConfState {
            voters: list(&self.voters),
            learners: list(&self.learners),
            voters_outgoing: list(&self.outgoing),
            learners_next: list(&self.learners_next),
            auto_leave: self.is_joint(),
            ..ConfState::default()
        }
    }
}

/// What must happen to some members to make them others; nothing is the end of a change under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change(Vec<(Step, ReplicaId)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Vote,
    Learn,
    Leave,
}

impl Change {
    /// From these members, which are at rest, to those.
    pub(super) fn between(from: &Members, to: &Members) -> Self {
        let mut steps = Vec::new();
        let mut add = |step, wanted: &[ReplicaId], there: &[ReplicaId]| {
            let missing = wanted.iter().filter(|replica| !there.contains(replica));
            steps.extend(missing.map(|replica| (step, *replica)));
        };
        add(Step::Vote, &to.voters, &from.voters);
        add(Step::Learn, &to.learners, &from.learners);
        let stay: Vec<_> = to.all().collect();
        add(Step::Leave, &from.voters, &stay);
        add(Step::Leave, &from.learners, &stay);
        Self(steps)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn to_octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for (step, replica) in &self.0 {
            octets.push(*step as u8);
            put_varint(&mut octets, replica.0);
        }
        octets
    }

    /// What [`Self::to_octets`] gave; `None` if nothing of ours did.
    pub(super) fn from_octets(octets: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let mut steps = Vec::new();
        while !reader.is_empty() {
            let step = match reader.u8()? {
                0 => Step::Vote,
                1 => Step::Learn,
                2 => Step::Leave,
                _ => return None,
            };
            steps.push((step, ReplicaId(reader.varint()?)));
        }
        Some(Self(steps))
    }

    pub(super) fn to_raft(&self) -> ConfChangeV2 {
        let mut change = ConfChangeV2::default();
        let singles = self.0.iter().map(|(step, replica)| {
            let mut single = ConfChangeSingle { node_id: replica.0, ..Default::default() };
            single.set_change_type(match step {
                Step::Vote => ConfChangeType::AddNode,
                Step::Learn => ConfChangeType::AddLearnerNode,
                Step::Leave => ConfChangeType::RemoveNode,
            });
            single
        });
        change.set_changes(singles.collect::<Vec<_>>().into());
        change
    }
}

fn ascending(replicas: &[ReplicaId]) -> Vec<ReplicaId> {
    let mut replicas = replicas.to_vec();
    replicas.sort_unstable();
    replicas.dedup();
    replicas
}
