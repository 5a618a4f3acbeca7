//! Follows which nodes the cluster has: connects them, and has the right ones vote on the metadata.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    roster::{self, Advance},
    switchboard::{Electorate, Switchboard},
};
use crate::{
    broker::{Agreement, Broker, Job},
    cluster::{GroupId, Members, ReplicaId, host::Host},
    model::{Moment, NodeNumber, NodeRecord},
};

/// How often the leader looks whether the members are as they should be.
const EVERY: Duration = Duration::from_millis(250);

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The state of the registry that has been looked at.
    seen: Option<u64>,
    nodes: BTreeMap<NodeNumber, NodeRecord>,
    members: Members,
    leads: bool,
    /// Absent: the members are as they should be.
    due: Option<Moment>,
    /// The nodes whose queues have been looked for since this node leads.
    forgotten: BTreeSet<NodeNumber>,
}

impl Membership {
    /// When something is to be done although nothing happens.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// This node leads the metadata from now on, or does not.
    pub(super) fn leads(&mut self, is_self: bool) {
        self.leads = is_self;
        self.due = is_self.then(Moment::default);
        self.forgotten.clear();
    }

    /// Looks at what has changed. Gives the voters and the learners that the group of the metadata
    /// should have next, if it should have others.
    pub(super) fn tend(
        &mut self,
        (host, broker, switchboard): (&Host, &Broker, &Switchboard),
        up: &BTreeSet<NodeNumber>,
        now: Moment,
    ) -> Option<(Vec<ReplicaId>, Vec<ReplicaId>)> {
        let has_changed = self.look((host, broker, switchboard));
        if !self.leads || !(has_changed || self.due.is_some_and(|due| due <= now)) {
            return None;
        }
        for (number, _) in self.nodes.iter().filter(|(_, node)| node.is_gone) {
            if self.forgotten.insert(*number) {
                switchboard.later(Job::ForgetNode(*number));
            }
        }
        let target = roster::next(
            &self.nodes,
            &Advance {
                members: &self.members,
                progress: &host.progress(GroupId::METADATA),
                last: host.position(GroupId::METADATA)?.0,
                is_up: &|node| up.contains(&node),
            },
        );
        let is_settled = target.is_none() && self.members.learners.is_empty();
        self.due = (!is_settled).then_some(now + EVERY);
        target.map(|Members { voters, learners, .. }| (voters, learners))
    }

    /// Whether the nodes or the members have changed.
    fn look(&mut self, (host, broker, switchboard): (&Host, &Broker, &Switchboard)) -> bool {
        let registry = broker.registry_index();
        let mut has_changed = false;
        if self.seen != Some(registry) {
            self.seen = Some(registry);
            let nodes = broker.nodes_agreed();
            if nodes != self.nodes {
                switchboard.set_nodes(&nodes);
                self.nodes = nodes;
                has_changed = true;
            }
        }
        let members = host.members(GroupId::METADATA);
        if let Some(members) = members.filter(|members| **members != self.members) {
            self.members.clone_from(members);
            let nodes = |list: &[ReplicaId]| list.iter().map(|replica| replica.node()).collect();
            let (voters, learners) = (nodes(&members.voters), nodes(&members.learners));
            switchboard.set_electorate(Electorate { voters, learners });
            has_changed = true;
        }
        has_changed
    }
}
