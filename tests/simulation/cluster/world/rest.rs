//! The end of a world: nothing goes wrong any more, and all must come to agree.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use leveret::cluster::{GroupId, Members, NodeNumber, ReplicaId, Ticket, host::Input};

use super::{super::node::Node, World};

/// How long it may take until nothing moves.
const REST: Duration = Duration::from_secs(20);

impl World {
    pub(super) fn heal(&mut self) {
        self.around.network.become_good();
        self.around.stalls = 0;
        self.dead = self.dispensable();
        for place in 0..self.nodes.len() {
            if Some(self.nodes[place].number) != self.dead {
                self.restart(place);
            }
        }
        self.correct_verdicts();
        if let Some(dead) = self.dead {
            self.nodes[dead.0 as usize - 1].crash(&mut self.around.random);
            self.tell_others(dead, &[Input::NodeDown(dead)]);
        }
    }

    /// Detectors that were wrong find out.
    fn correct_verdicts(&mut self) {
        let wrong: Vec<_> =
            self.believed_down.iter().copied().filter(|(_, about)| self.is_live(*about)).collect();
        for (by, about) in wrong {
            self.hear_verdict(by, Input::NodeUp(about));
        }
        let Some(dead) = self.dead else { return };
        let numbers: Vec<_> = self.nodes.iter().map(|node| node.number).collect();
        for by in numbers.into_iter().filter(|by| *by != dead) {
            if !self.believed_down.contains(&(by, dead)) {
                self.hear_verdict(by, Input::NodeDown(dead));
            }
        }
    }

    /// A node without which all groups have a majority, in some worlds.
    fn dispensable(&mut self) -> Option<NodeNumber> {
        let node = self.nodes[self.around.random.below(self.nodes.len())].number;
        let others = |group: &GroupId| {
            let members = self.around.judge.members(*group);
            !members.is_joint() && members.have_quorum(|voter| voter.node() != node)
        };
        let spare = self.groups.iter().all(others);
        (self.around.random.chance(2) && spare).then_some(node)
    }

    /// Brings the dead node back when somebody needs it: a change that was under way may have made
    /// it necessary, and a member may not know of one that has made it dispensable.
    fn revive(&mut self) {
        let Some(dead) = self.dead else { return };
        let spares = |members: &Members| {
            !members.is_joint() && members.have_quorum(|voter| voter.node() != dead)
        };
        let states = self.nodes.iter().flat_map(|node| node.states.values());
        let known = self.groups.iter().map(|group| self.around.judge.members(*group));
        if !states.map(|state| &state.members).chain(known).all(spares) {
            self.dead = None;
            self.restart(dead.0 as usize - 1);
        }
    }

    /// With nothing going wrong any more, all members must come to agree, take one more proposal,
    /// and fall asleep.
    pub(super) fn rest(&mut self) {
        let until = self.around.now + REST;
        let mut last = BTreeMap::new();
        let mut round = 0;
        while self.around.now < until {
            self.pass(Duration::from_millis(40));
            round += 1;
            self.correct_verdicts();
            if round % 3 == 0 {
                (0..self.nodes.len()).for_each(|place| self.compare(place));
            }
            self.clear_away(&last);
            for group in self.groups.clone() {
                self.propose_last(group, &mut last);
            }
            if self.is_at_rest(&last) {
                return;
            }
            self.revive();
        }
        panic!("does not come to rest: {}", self.unrest(&last));
    }

    /// When all agree, no change can be under way any more, and who is no member goes.
    fn clear_away(&mut self, last: &BTreeMap<GroupId, Ticket>) {
        if self.groups.iter().all(|group| self.is_settled(*group, last)) {
            self.open.clear();
            self.groups.clone().into_iter().for_each(|group| self.retire(group));
        }
    }

    fn propose_last(&mut self, group: GroupId, last: &mut BTreeMap<GroupId, Ticket>) {
        let pending = last.get(&group);
        if pending.is_some_and(|ticket| self.around.judge.is_acknowledged(*ticket)) {
            return;
        }
        let leader = self.nodes.iter().position(|node| node.led.contains_key(&group));
        if let Some(place) = leader {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            let payload = Bytes::copy_from_slice(&self.tickets.to_le_bytes());
            self.give(self.nodes[place].number, Input::Propose { group, payload, ticket });
            last.insert(group, ticket);
        }
    }

    fn is_at_rest(&self, last: &BTreeMap<GroupId, Ticket>) -> bool {
        let awake = |node: &Node| node.host.as_ref().is_some_and(|host| host.awake() > 0);
        let settled = |group: &GroupId| self.is_settled(*group, last);
        self.groups.iter().all(settled) && !self.nodes.iter().any(awake)
    }

    /// Whether all members have applied everything, and with it the last proposal.
    fn is_settled(&self, group: GroupId, last: &BTreeMap<GroupId, Ticket>) -> bool {
        let members = self.around.judge.members(group);
        let end = self.around.judge.end(group);
        let acknowledged = |ticket: &Ticket| self.around.judge.is_acknowledged(*ticket);
        let has_all = |member: ReplicaId| {
            let node = &self.nodes[member.node().0 as usize - 1];
            let applied = node.states.get(&group).map(|state| state.applied);
            applied == Some(end) || Some(node.number) == self.dead
        };
        last.get(&group).is_some_and(acknowledged)
            && !members.is_joint()
            && members.all().all(has_all)
    }

    fn unrest(&self, last: &BTreeMap<GroupId, Ticket>) -> String {
        let mut words = format!("dead {:?}", self.dead);
        for group in &self.groups {
            let (members, end) = (self.around.judge.members(*group), self.around.judge.end(*group));
            let done = last.get(group).map(|it| self.around.judge.is_acknowledged(*it));
            words += &format!("\n{group}: end {end}, {members:?}, last {done:?}");
            words.extend(self.nodes.iter().map(|node| view(node, *group)));
        }
        words
    }
}

/// What a node makes of a group.
fn view(node: &Node, group: GroupId) -> String {
    let Some(host) = &node.host else { return String::new() };
    let applied = node.states.get(&group).map(|state| state.applied);
    let (replica, leader) = (node.replicas.get(&group), host.leader(group));
    let (position, awake) = (host.position(group), host.awake());
    format!(
        "\n  node {}: {replica:?} applied {applied:?} leader {leader:?} \
         at {position:?}, {awake} awake",
        node.number
    )
}
