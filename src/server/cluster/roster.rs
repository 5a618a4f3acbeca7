//! Which nodes vote on the metadata, and the way there.

use std::collections::BTreeMap;

use crate::{
    cluster::{Index, Members, ReplicaId},
    model::{NodeNumber, NodeRecord},
};

/// More voters would make everything slower, and nothing safer.
pub(super) const VOTERS: usize = 5;

/// A learner that lags behind by no more entries may vote.
const NEAR: u64 = 1000;

/// The replica of the metadata that a node has, its only one ever.
pub(super) fn replica(node: NodeNumber) -> ReplicaId {
    ReplicaId::new(node, 1)
}

/// How far the members are: what the leader's host says.
pub(super) struct Advance<'a> {
    pub(super) members: &'a Members,
    pub(super) progress: &'a [(ReplicaId, Index)],
    pub(super) last: Index,
    pub(super) is_up: &'a dyn Fn(NodeNumber) -> bool,
}

/// The members that the group should have next, if others than it has: those who are gone leave,
/// newcomers listen, and whoever has heard everything votes, as long as votes are to be had.
pub(super) fn next(
    nodes: &BTreeMap<NodeNumber, NodeRecord>,
    advance: &Advance<'_>,
) -> Option<Members> {
    let Advance { members, progress, last, is_up } = advance;
    let stays = |replica: &ReplicaId| nodes.get(&replica.node()).is_some_and(|node| !node.is_gone);
    if members.is_joint() {
        // Asked for again, it goes on.
        return Some(Members::new(&members.voters, &members.learners));
    }
    let mut voters: Vec<_> = members.voters.iter().copied().filter(stays).collect();
    let present = nodes.iter().filter(|(_, node)| !node.is_gone).map(|(node, _)| replica(*node));
    let mut learners: Vec<_> = present.filter(|it| !voters.contains(it)).collect();
    let has_caught_up = |replica: &&ReplicaId| {
        let matched = progress.iter().find(|(other, _)| other == *replica);
        let matched = matched.is_some_and(|(_, at)| at.0 > 0 && at.0 + NEAR >= last.0);
        members.learners.contains(replica) && matched && is_up(replica.node())
    };
    let ready: Vec<_> = learners.iter().filter(has_caught_up).copied().collect();
    for replica in ready.into_iter().take(VOTERS.saturating_sub(voters.len())) {
        voters.push(replica);
        learners.retain(|other| *other != replica);
    }
    let target = Members::new(&voters, &learners);
    (!voters.is_empty() && target != **members).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(all: &[(u32, bool)]) -> BTreeMap<NodeNumber, NodeRecord> {
        let node = |(number, is_gone): &(u32, bool)| {
            let (name, address) = (format!("rabbit@{number}"), String::new());
            let store = (*number).into();
            (NodeNumber(*number), NodeRecord { name, address, store, is_gone: *is_gone })
        };
        all.iter().map(node).collect()
    }

    fn members(voters: &[u32], learners: &[u32]) -> Members {
        let of = |numbers: &[u32]| {
            numbers.iter().map(|number| replica(NodeNumber(*number))).collect::<Vec<_>>()
        };
        Members::new(&of(voters), &of(learners))
    }

    fn step(
        nodes: &BTreeMap<NodeNumber, NodeRecord>,
        members: &Members,
        matched: &[(u32, u64)],
    ) -> Option<Members> {
        let progress: Vec<_> = matched
            .iter()
            .map(|(number, index)| (replica(NodeNumber(*number)), Index(*index)))
            .collect();
        let is_up = |_| true;
        let last = Index(5000);
        next(nodes, &Advance { members, progress: &progress, last, is_up: &is_up })
    }

    #[test]
    fn a_newcomer_listens_until_it_has_heard_everything() {
        let nodes = nodes(&[(1, false), (2, false)]);
        let alone = members(&[1], &[]);
        let listening = step(&nodes, &alone, &[]).unwrap();
        assert_eq!(listening, members(&[1], &[2]));
        assert_eq!(step(&nodes, &listening, &[(2, 12)]), None);
        assert_eq!(step(&nodes, &listening, &[(2, 4990)]), Some(members(&[1, 2], &[])));
        assert_eq!(step(&nodes, &members(&[1, 2], &[]), &[]), None);
    }

    #[test]
    fn who_has_heard_nothing_does_not_vote_however_short_the_log_is() {
        let nodes = nodes(&[(1, false), (2, false)]);
        let members = members(&[1], &[2]);
        for (heard, votes) in [(0, false), (1, true)] {
            let progress = [(replica(NodeNumber(2)), Index(heard))];
            let last = Index(7);
            let is_up = |_| true;
            let advance = Advance { members: &members, progress: &progress, last, is_up: &is_up };
            assert_eq!(next(&nodes, &advance).is_some(), votes, "{heard}");
        }
    }

    #[test]
    fn a_wiped_node_leaves_and_comes_back_as_another() {
        let nodes = nodes(&[(1, false), (2, false), (3, true), (4, false)]);
        let next = step(&nodes, &members(&[1, 2, 3], &[]), &[]).unwrap();
        assert_eq!(next, members(&[1, 2], &[4]));
        assert_eq!(step(&nodes, &next, &[(4, 5000)]), Some(members(&[1, 2, 4], &[])));
    }

    #[test]
    fn five_vote_and_more_listen() {
        let all: Vec<_> = (1..=7).map(|number| (number, false)).collect();
        let ready: Vec<_> = (2..=7).map(|number| (number, 5000)).collect();
        let next = step(&nodes(&all), &members(&[1], &[2, 3, 4, 5, 6, 7]), &ready);
        assert_eq!(next, Some(members(&[1, 2, 3, 4, 5], &[6, 7])));
        assert_eq!(step(&nodes(&all), &next.unwrap(), &ready), None);
        let mut all = all;
        all[1].1 = true;
        let next = step(&nodes(&all), &members(&[1, 2, 3, 4, 5], &[6, 7]), &ready);
        assert_eq!(next, Some(members(&[1, 3, 4, 5, 6], &[7])));
    }

    #[test]
    fn nobody_is_left_without_a_voter() {
        assert_eq!(step(&nodes(&[(1, true)]), &members(&[1], &[]), &[]), None);
    }
}
