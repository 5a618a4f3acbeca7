//! Brings groups to have the members that were agreed on.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use crate::{
    broker::Broker,
    cluster::{GroupId, Index, Members, NodeNumber, ReplicaId},
    model::{Moment, Placement},
};

/// How often it is looked at where queues are and where they should be.
const EVERY: Duration = Duration::from_secs(1);

/// How often a group that changes is moved on.
const STEP: Duration = Duration::from_millis(50);

/// Who joins may vote when its log lacks at most so many entries.
const NEARLY_THERE: u64 = 64;

/// The groups that are to have other members.
#[derive(Debug, Default)]
pub(super) struct Reconcile {
    wanted: BTreeMap<GroupId, Wanted>,
    next: Moment,
}

#[derive(Debug)]
struct Wanted {
    members: Vec<ReplicaId>,
    generation: u64,
    /// It was said that they are there.
    is_reached: bool,
}

/// What brings a group closer to the members that it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It has them.
    Reached,
    /// Something must happen by itself first.
    Wait,
    Change {
        voters: Vec<ReplicaId>,
        learners: Vec<ReplicaId>,
    },
}

/// A group as its leader sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) members: &'a Members,
    /// The end of the leader's log.
    pub(super) last: Index,
    /// How far the others are.
    pub(super) progress: &'a [(ReplicaId, Index)],
}

impl Reconcile {
    /// A queue is to be there.
    pub(super) fn note(&mut self, group: GroupId, placement: &Placement) {
        if !placement.moving {
            self.forget(group);
            return;
        }
        let members = placement.replicas.iter().map(|replica| ReplicaId(*replica)).collect();
        let generation = placement.generation;
        self.wanted.insert(group, Wanted { members, generation, is_reached: false });
    }

    pub(super) fn forget(&mut self, group: GroupId) {
        self.wanted.remove(&group);
    }

    /// When something is to be done at the latest; `None` when there is nothing.
    pub(super) fn due(&self) -> Option<Moment> {
        self.wanted.values().any(|wanted| !wanted.is_reached).then_some(self.next)
    }

    /// The groups to be looked at now, with the replicas that they should have.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<(GroupId, Vec<ReplicaId>)> {
        if self.due().is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.next = now + STEP;
        let due = self.wanted.iter().filter(|(_, wanted)| !wanted.is_reached);
        due.map(|(group, wanted)| (*group, wanted.members.clone())).collect()
    }

    /// The group has its members. Gives the generation of the placement.
    pub(super) fn reached(&mut self, group: GroupId) -> Option<u64> {
        let wanted = self.wanted.get_mut(&group)?;
        wanted.is_reached = true;
        Some(wanted.generation)
    }

    /// Who leads the group has changed: nobody may have heard of what was reached.
    pub(super) fn look_again(&mut self, group: GroupId) {
        if let Some(wanted) = self.wanted.get_mut(&group) {
            wanted.is_reached = false;
        }
    }
}

/// What the leader of a group does next for it to have these members.
///
/// Those that join listen first, until they have nearly all of the log: a voter without it would
/// hold up the group.
pub(super) fn step(group: Group<'_>, wanted: &[ReplicaId]) -> Step {
    let target = Members::new(wanted, &[]);
    if *group.members == target {
        return Step::Reached;
    }
    if group.members.is_joint() {
        return Step::Change { voters: target.voters, learners: Vec::new() };
    }
    let is_voter = |replica: &&ReplicaId| group.members.voters.contains(replica);
    let (_, joining): (Vec<_>, Vec<_>) = target.voters.iter().partition(is_voter);
    let joining: Vec<_> = joining.into_iter().copied().collect();
    if joining != group.members.learners {
        return Step::Change { voters: group.members.voters.clone(), learners: joining };
    }
    let reached = |replica: &ReplicaId| {
        let known = group.progress.iter().find(|(other, _)| other == replica);
        known.is_some_and(|(_, index)| index.0 > 0 && index.0 + NEARLY_THERE >= group.last.0)
    };
    match joining.iter().all(reached) {
        true => Step::Change { voters: target.voters, learners: Vec::new() },
        false => Step::Wait,
    }
}

/// Looks now and then whether queues that are led here are where they should be, on a thread of its
/// own that may wait for a majority, until what is returned is dropped.
pub(super) fn watch(broker: &Arc<Broker>) -> std::io::Result<mpsc::Sender<()>> {
    let broker = Arc::clone(broker);
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        while receiver.recv_timeout(EVERY) != Err(mpsc::RecvTimeoutError::Disconnected) {
            // It is tried again in any case.
            let _no_majority = broker.move_queues();
        }
    };
    thread::Builder::new().name("leveret-placement".to_owned()).spawn(work)?;
    Ok(sender)
}

/// The voter to hand over to: one on a node that is there, of those the one that leads the fewest.
pub(super) fn successor(
    members: &Members,
    own: NodeNumber,
    is_up: impl Fn(NodeNumber) -> bool,
    led: &BTreeMap<NodeNumber, u64>,
) -> Option<ReplicaId> {
    let others = members.voters.iter().filter(|voter| voter.node() != own && is_up(voter.node()));
    let count = |voter: &ReplicaId| led.get(&voter.node()).copied().unwrap_or_default();
    others.copied().min_by_key(|voter| (count(voter), *voter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(nodes: &[u32]) -> Vec<ReplicaId> {
        nodes.iter().map(|node| ReplicaId::new(NodeNumber(*node), 1)).collect()
    }

    fn next(voters: &[u32], learners: &[u32], progress: &[(u32, u64)], wanted: &[u32]) -> Step {
        let members = Members::new(&ids(voters), &ids(learners));
        let progress: Vec<_> = progress
            .iter()
            .map(|(node, index)| (ReplicaId::new(NodeNumber(*node), 1), Index(*index)))
            .collect();
        let group = Group { members: &members, last: Index(1000), progress: &progress };
        step(group, &ids(wanted))
    }

    #[test]
    fn who_joins_listens_until_it_has_nearly_all() {
        let listens = Step::Change { voters: ids(&[1, 2, 3]), learners: ids(&[4]) };
        assert_eq!(next(&[1, 2, 3], &[], &[], &[1, 2, 4]), listens);
        assert_eq!(next(&[1, 2, 3], &[4], &[(4, 0)], &[1, 2, 4]), Step::Wait);
        assert_eq!(next(&[1, 2, 3], &[4], &[(4, 900)], &[1, 2, 4]), Step::Wait);
        let votes = Step::Change { voters: ids(&[1, 2, 4]), learners: Vec::new() };
        assert_eq!(next(&[1, 2, 3], &[4], &[(4, 990)], &[1, 2, 4]), votes);
        assert_eq!(next(&[1, 2, 4], &[], &[], &[1, 2, 4]), Step::Reached);
    }

    #[test]
    fn who_only_leaves_leaves_at_once() {
        let left = Step::Change { voters: ids(&[1]), learners: Vec::new() };
        assert_eq!(next(&[1, 2, 3], &[], &[], &[1]), left);
        let unwanted = Step::Change { voters: ids(&[1, 2, 3]), learners: Vec::new() };
        assert_eq!(next(&[1, 2, 3], &[4], &[], &[1, 2, 3]), unwanted);
    }

    #[test]
    fn the_one_that_leads_the_fewest_takes_over() {
        let members = Members::new(&ids(&[1, 2, 3, 4]), &[]);
        let led = [(NodeNumber(2), 5), (NodeNumber(3), 2)].into_iter().collect();
        let is_up = |node: NodeNumber| node != NodeNumber(4);
        let found = successor(&members, NodeNumber(1), is_up, &led);
        assert_eq!(found, Some(ids(&[3])[0]));
        assert_eq!(successor(&members, NodeNumber(1), |_| false, &led), None);
    }
}
