//! A whole cluster, driven from a seed: first everything goes wrong, then it must come to rest.

mod rest;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use leveret::{
    cluster::{
        GroupId, Members, NodeNumber, ReplicaId, Ticket,
        host::{Broken, Input, Settings},
    },
    model::Moment,
};

use super::{
    super::random::Random,
    judge::{CHANGES, Judge},
    network::Network,
    node::{Node, Surroundings},
};

/// Time between two things that go wrong.
const ACTION: Duration = Duration::from_millis(5);

pub(crate) struct World {
    pub(crate) around: Surroundings,
    nodes: Vec<Node>,
    groups: Vec<GroupId>,
    /// The replica that each node should have of each group, as the metadata would say.
    placed: BTreeMap<(GroupId, NodeNumber), ReplicaId>,
    /// Whether the group's first members were given to the replica.
    founders: BTreeSet<ReplicaId>,
    first: Members,
    epochs: u32,
    tickets: u64,
    /// What the failure detectors will say, and to whom.
    verdicts: BTreeMap<(Moment, u64), (NodeNumber, Input)>,
    said: u64,
    believed_down: BTreeSet<(NodeNumber, NodeNumber)>,
    dead: Option<NodeNumber>,
    /// Changes of members that may still come true, with those who would be members.
    open: BTreeMap<Ticket, Vec<ReplicaId>>,
    pub(crate) tally: Tally,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) crashes: u64,
    pub(crate) changes: u64,
    pub(crate) snapshots: u64,
    pub(crate) transfers: u64,
    pub(crate) verdicts: u64,
    pub(crate) committed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.changes += other.changes;
        self.snapshots += other.snapshots;
        self.transfers += other.transfers;
        self.verdicts += other.verdicts;
        self.committed += other.committed;
    }
}

impl World {
    pub(crate) fn new(seed: u64, broken: Option<Broken>) -> Self {
        let mut random = Random::seeded(seed);
        let settings = Settings {
            tick: Duration::from_millis(10),
            election_ticks: 5,
            heartbeat_ticks: 2,
            message_octets: [64, 1 << 10][random.below(2)],
            messages_in_flight: 4,
            log_limit: [300, 4000][random.below(2)],
            stagger: Duration::from_millis(4),
            broken,
        };
        let voters = 3 + 2 * random.below(2) as u32;
        let nodes: Vec<_> = (1..=voters + 1).map(NodeNumber).collect();
        let founders: Vec<_> =
            nodes[..voters as usize].iter().map(|node| ReplicaId::new(*node, 1)).collect();
        let groups = (0..1 + random.below(3) as u64).map(GroupId).collect();
        let network = Network::new(&mut random);
        let stalls = [0, 10, 40][random.below(3)];
        let around = Surroundings {
            now: Moment::from_unix(Duration::from_secs(1)),
            judge: Judge::default(),
            network,
            snapshots: Vec::new(),
            stalls,
            random,
        };
        let mut world = Self {
            around,
            nodes: nodes.into_iter().map(|it| Node::new(it, settings.clone(), seed)).collect(),
            groups,
            placed: BTreeMap::new(),
            founders: founders.iter().copied().collect(),
            first: Members::new(&founders, &[]),
            epochs: 1,
            tickets: 0,
            verdicts: BTreeMap::new(),
            said: 0,
            believed_down: BTreeSet::new(),
            dead: None,
            open: BTreeMap::new(),
            tally: Tally::default(),
        };
        world.found(&founders);
        world
    }

    fn found(&mut self, founders: &[ReplicaId]) {
        for group in self.groups.clone() {
            self.around.judge.begin(group, &self.first);
            for replica in founders {
                self.placed.insert((group, replica.node()), *replica);
            }
        }
        for place in 0..self.nodes.len() {
            self.supply(place);
        }
    }

    /// Lives through so many mishaps, and comes to rest.
    pub(crate) fn live(&mut self, mishaps: u64) {
        for _ in 0..mishaps {
            self.mishap();
            self.pass(ACTION);
        }
        self.heal();
        self.rest();
        self.around.judge.sum_up();
        self.tally.committed = self.around.judge.committed();
        self.tally.snapshots = self.around.snapshots.len() as u64;
    }

    /// Lets everything happen that does by itself in this time.
    fn pass(&mut self, time: Duration) {
        let end = self.around.now + time;
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.around.now = at.max(self.around.now);
            self.happen();
        }
        self.around.now = end;
    }

    fn next_at(&self) -> Option<Moment> {
        let nodes = self.nodes.iter().filter_map(|node| node.next_at(self.around.now));
        let verdict = self.verdicts.first_key_value().map(|((at, _), _)| *at);
        nodes.chain(self.around.network.next_at()).chain(verdict).min()
    }

    fn happen(&mut self) {
        let now = self.around.now;
        while let Some((packet, through)) =
            self.around.network.arrived(now, &mut self.around.random)
        {
            self.tally.messages += 1;
            let message = packet.message();
            let through = through && self.node(packet.to).host.is_some();
            if packet.snapshot {
                let (group, to) = (message.group(), message.to());
                let sent = Input::SnapshotSent { group, to, ok: through };
                self.give(packet.from, sent);
            }
            if through {
                self.around.judge.note(u64::from(packet.to.0) << 32 | packet.octets.len() as u64);
                self.give(packet.to, Input::Message(message));
            }
        }
        while let Some(first) = self.verdicts.first_entry().filter(|first| first.key().0 <= now) {
            let (to, input) = first.remove();
            self.hear_verdict(to, input);
        }
        for node in &mut self.nodes {
            node.sync(&mut self.around);
            let due = node.wake_at.is_some_and(|at| at <= now);
            if due || !node.inbox.is_empty() {
                node.turn(&mut self.around);
                node.sync(&mut self.around);
            }
        }
    }

    fn give(&mut self, to: NodeNumber, input: Input) {
        let node = self.node(to);
        if node.host.is_some() {
            node.inbox.push(input);
        }
    }

    fn hear_verdict(&mut self, to: NodeNumber, input: Input) {
        match &input {
            Input::NodeDown(about) => self.believed_down.insert((to, *about)),
            Input::NodeUp(about) => self.believed_down.remove(&(to, *about)),
            _ => false,
        };
        self.give(to, input);
    }

    fn mishap(&mut self) {
        let place = self.around.random.below(self.nodes.len());
        let group = self.groups[self.around.random.below(self.groups.len())];
        match self.around.random.below(100) {
            0..30 => self.propose(place, group),
            30..34 => self.crash(place),
            34..42 => self.restart(place),
            42..46 => self.cut(place),
            46..54 => self.around.network.mend(),
            54..57 => self.transfer(group),
            57..64 => self.change(group),
            64..72 => self.compact(place, group),
            72..76 => self.accuse(place),
            76..80 => self.acquit(place),
            80..82 => self.compare(place),
            82..84 => self.give(self.nodes[place].number, Input::Campaign { group }),
            84..86 => self.retire(group),
            86..88 => self.reproach(place),
            _ => {}
        }
    }

    fn propose(&mut self, place: usize, group: GroupId) {
        let leader = self.nodes.iter().position(|node| node.led.contains_key(&group));
        let place = if self.around.random.chance(8) { place } else { leader.unwrap_or(place) };
        for _ in 0..=self.around.random.below(3) {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            let mut payload = self.tickets.to_le_bytes().to_vec();
            payload.resize(8 + self.around.random.below(60), 7);
            let payload = Bytes::from(payload);
            self.give(self.nodes[place].number, Input::Propose { group, payload, ticket });
        }
    }

    fn crash(&mut self, place: usize) {
        if self.nodes[place].host.is_none() {
            return;
        }
        self.tally.crashes += 1;
        self.nodes[place].crash(&mut self.around.random);
        let number = self.nodes[place].number;
        if !self.around.random.chance(4) {
            self.tell_others(number, &[Input::NodeDown(number)]);
        }
    }

    fn restart(&mut self, place: usize) {
        if self.nodes[place].host.is_some() {
            return;
        }
        self.nodes[place].restart();
        let number = self.nodes[place].number;
        self.believed_down.retain(|(by, _)| *by != number);
        self.supply(place);
        self.tell_others(number, &[Input::NodeDown(number), Input::NodeUp(number)]);
    }

    /// Makes the replicas that the node should have: those that were lost before they were on disk
    /// have never said anything, and get their old ids.
    fn supply(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        for group in &self.groups {
            let placed = self.placed.get(&(*group, node.number));
            if node.replicas.get(group) == placed {
                continue;
            }
            if node.replicas.contains_key(group) {
                node.destroy(*group);
            }
            let Some(replica) = placed else { continue };
            let founder = self.founders.contains(replica);
            let members = if founder { self.first.clone() } else { Members::default() };
            node.create(*group, *replica, &members);
        }
        node.inbox.extend(self.groups.first().map(|group| Input::Campaign { group: *group }));
    }

    /// Says something to all other nodes, to each at its time, but in this order.
    fn tell_others(&mut self, about: NodeNumber, inputs: &[Input]) {
        let others: Vec<_> =
            self.nodes.iter().map(|node| node.number).filter(|node| *node != about).collect();
        for to in others {
            let late = Duration::from_millis(self.around.random.below(30) as u64);
            for input in inputs {
                self.said += 1;
                self.verdicts.insert((self.around.now + late, self.said), (to, input.clone()));
            }
        }
    }

    fn cut(&mut self, place: usize) {
        let one = self.nodes[place].number;
        let other = self.nodes[self.around.random.below(self.nodes.len())].number;
        let kind = self.around.random.below(4);
        let network = &mut self.around.network;
        match kind {
            0 => network.cut(one, other),
            1 => {
                network.cut(one, other);
                network.cut(other, one);
            }
            // All from one; or two halves with one node that sees both.
            2 => self.nodes.iter().for_each(|node| network.cut(node.number, one)),
            _ => {
                let low = |node: NodeNumber| node.0 <= self.nodes.len() as u32 / 2;
                let across = |(from, to): &(NodeNumber, NodeNumber)| {
                    low(*from) != low(*to) && *from != one && *to != one
                };
                let across = pairs(&self.nodes).into_iter().filter(across);
                across.for_each(|(from, to)| network.cut(from, to));
            }
        }
    }

    fn transfer(&mut self, group: GroupId) {
        let voters = self.around.judge.members(group).voters.clone();
        let to = voters[self.around.random.below(voters.len())];
        self.tally.transfers += 1;
        self.tell_leader(group, Input::Transfer { group, to });
    }

    fn tell_leader(&mut self, group: GroupId, input: Input) {
        let leader = self.nodes.iter().find(|node| node.led.contains_key(&group));
        if let Some(leader) = leader.map(|node| node.number) {
            self.give(leader, input);
        }
    }

    /// Wants some nodes as members, of which each gets a replica first.
    fn change(&mut self, group: GroupId) {
        let mut live: Vec<_> = (0..self.nodes.len()).collect();
        live.retain(|place| self.nodes[*place].host.is_some());
        let voters = [1, 2, 3, 3, 3, 5][self.around.random.below(6)];
        let mut members = (Vec::new(), Vec::new());
        for wanted in 0..voters + self.around.random.below(2) {
            if live.is_empty() {
                break;
            }
            let place = live.swap_remove(self.around.random.below(live.len()));
            let replica = self.place(group, place);
            if wanted < voters { members.0.push(replica) } else { members.1.push(replica) }
        }
        if members.0.is_empty() {
            return;
        }
        self.tickets += 1;
        self.tally.changes += 1;
        let ticket = Ticket(CHANGES | self.tickets);
        let (voters, learners) = members;
        self.open.insert(ticket, voters.iter().chain(&learners).copied().collect());
        self.tell_leader(group, Input::ChangeMembers { group, voters, learners, ticket });
    }

    fn place(&mut self, group: GroupId, place: usize) -> ReplicaId {
        let number = self.nodes[place].number;
        if let Some(replica) = self.placed.get(&(group, number)) {
            return *replica;
        }
        self.epochs += 1;
        let replica = ReplicaId::new(number, self.epochs);
        self.placed.insert((group, number), replica);
        self.supply(place);
        replica
    }

    fn compact(&mut self, place: usize, group: GroupId) {
        if let Some(up_to) = self.nodes[place].disk.applied(group) {
            self.give(self.nodes[place].number, Input::Compact { group, up_to });
        }
    }

    fn accuse(&mut self, place: usize) {
        let about = self.nodes[self.around.random.below(self.nodes.len())].number;
        if about != self.nodes[place].number {
            self.tally.verdicts += 1;
            self.hear_verdict(self.nodes[place].number, Input::NodeDown(about));
        }
    }

    fn acquit(&mut self, place: usize) {
        let by = self.nodes[place].number;
        let wrong = self.believed_down.iter().find(|(believer, _)| *believer == by).copied();
        if let Some((_, about)) = wrong.filter(|(_, about)| self.is_live(*about)) {
            self.hear_verdict(by, Input::NodeUp(about));
        }
    }

    fn reproach(&mut self, place: usize) {
        let about = self.nodes[self.around.random.below(self.nodes.len())].number;
        self.give(self.nodes[place].number, Input::Unreachable(about));
    }

    /// One node tells the others what it believes of them.
    fn compare(&mut self, place: usize) {
        for (from, to) in pairs(&self.nodes) {
            let Some(host) = &self.nodes[place].host else { return };
            if from == self.nodes[place].number {
                let beliefs = host.beliefs(to);
                self.give(to, Input::Believed(beliefs));
            }
        }
    }

    /// Destroys replicas that are members no more, and that no change under way can bring back.
    /// Their nodes may get others.
    fn retire(&mut self, group: GroupId) {
        let members = self.around.judge.members(group).clone();
        let informed = |voter: &ReplicaId| {
            let node = &self.nodes[voter.node().0 as usize - 1];
            let knows = node.states.get(&group).is_some_and(|state| state.members == members);
            knows || self.dead == Some(node.number)
        };
        if !members.voters.iter().all(informed) {
            return;
        }
        let judge = &self.around.judge;
        self.open.retain(|ticket, _| !judge.is_over(*ticket));
        for node in self.nodes.iter_mut().filter(|node| node.host.is_some()) {
            let Some(replica) = self.placed.get(&(group, node.number)).copied() else { continue };
            let awaited = self.open.values().any(|replicas| replicas.contains(&replica));
            if !members.is_joint() && !members.contains(replica) && !awaited {
                node.destroy(group);
                self.placed.remove(&(group, node.number));
            }
        }
    }

    fn is_live(&self, node: NodeNumber) -> bool {
        self.nodes[node.0 as usize - 1].host.is_some()
    }

    fn node(&mut self, number: NodeNumber) -> &mut Node {
        &mut self.nodes[number.0 as usize - 1]
    }
}

fn pairs(nodes: &[Node]) -> Vec<(NodeNumber, NodeNumber)> {
    let numbers = nodes.iter().map(|node| node.number);
    let pairs = numbers.clone().flat_map(|one| numbers.clone().map(move |other| (one, other)));
    pairs.filter(|(one, other)| one != other).collect()
}
