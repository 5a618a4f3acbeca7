//! Many groups on a few nodes: they cost nothing at rest, and soon have leaders when a node dies.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use leveret::{
    cluster::{
        GroupId, Members, NodeNumber, ReplicaId, Ticket,
        host::{Event, Host, Input, Settings},
    },
    model::Moment,
};

/// Nodes whose disks and network take no time.
pub(crate) struct Calm {
    hosts: Vec<Option<Host>>,
    inboxes: Vec<Vec<Input>>,
    wake_at: Vec<Option<Moment>>,
    now: Moment,
    /// Who leads each group, as those that lead say.
    leaders: BTreeMap<GroupId, ReplicaId>,
    applied: u64,
    messages: u64,
    turns: u64,
}

impl Calm {
    pub(crate) fn new(nodes: u32, groups: u64) -> Self {
        let numbers: Vec<_> = (1..=nodes).map(NodeNumber).collect();
        let replicas: Vec<_> = numbers.iter().map(|node| ReplicaId::new(*node, 1)).collect();
        let members = Members::new(&replicas, &[]);
        let mut hosts = Vec::new();
        for (node, replica) in numbers.iter().zip(&replicas) {
            let mut host = Host::new(*node, Settings::default(), 7);
            for group in 1..=groups {
                host.create(GroupId(group), *replica, members.clone(), 0);
            }
            hosts.push(Some(host));
        }
        Self {
            inboxes: hosts.iter().map(|_| Vec::new()).collect(),
            wake_at: vec![None; hosts.len()],
            hosts,
            now: Moment::from_unix(Duration::from_secs(1)),
            leaders: BTreeMap::new(),
            applied: 0,
            messages: 0,
            turns: 0,
        }
    }

    pub(crate) fn give(&mut self, place: usize, input: Input) {
        self.inboxes[place].push(input);
    }

    /// Lets everything happen until this time has passed.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = |place: &usize| {
                let wake = self.wake_at[*place].is_some_and(|at| at <= self.now);
                self.hosts[*place].is_some() && (wake || !self.inboxes[*place].is_empty())
            };
            let due: Vec<_> = (0..self.hosts.len()).filter(due).collect();
            due.iter().for_each(|place| self.turn(*place));
            if due.is_empty() {
                match self.wake_at.iter().flatten().min().filter(|at| **at <= end) {
                    Some(at) => self.now = *at,
                    None => break,
                }
            }
        }
        self.now = end;
    }

    /// A node dies, and the others hear of it.
    pub(crate) fn kill(&mut self, place: usize) {
        self.hosts[place] = None;
        self.wake_at[place] = None;
        let node = NodeNumber(place as u32 + 1);
        self.leaders.retain(|_, leader| leader.node() != node);
        for other in 0..self.hosts.len() {
            self.give(other, Input::NodeDown(node));
        }
    }

    pub(crate) fn turn(&mut self, place: usize) {
        let Some(host) = self.hosts[place].as_mut() else { return };
        let outbox = host.turn(self.now, std::mem::take(&mut self.inboxes[place]));
        self.turns += 1;
        self.wake_at[place] = outbox.wake_at;
        if let Some(write) = outbox.writes.last() {
            self.inboxes[place].push(Input::Persisted(write.number));
        }
        for event in outbox.events {
            match event {
                Event::Committed(_) => self.applied += 1,
                Event::Leader(change) if change.is_self => {
                    self.leaders.insert(change.group, change.leader.unwrap());
                }
                _ => {}
            }
        }
        for (to, message) in outbox.messages {
            self.messages += 1;
            self.inboxes[to.0 as usize - 1].push(Input::Message(message));
        }
    }

    pub(crate) fn led(&self) -> usize {
        self.leaders.len()
    }

    pub(crate) fn awake(&self) -> usize {
        self.hosts.iter().flatten().map(Host::awake).sum()
    }

    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (self.turns, self.messages, self.applied)
    }
}

/// A cluster whose groups have leaders, on all nodes alike, and sleep.
pub(crate) fn asleep(groups: u64) -> Calm {
    let mut calm = Calm::new(3, groups);
    for group in 1..=groups {
        calm.give((group % 3) as usize, Input::Campaign { group: GroupId(group) });
    }
    calm.pass(Duration::from_secs(10));
    calm
}

#[test]
fn groups_at_rest_cost_nothing_and_wake_when_they_are_needed() {
    let mut calm = asleep(300);
    assert_eq!((calm.led(), calm.awake()), (300, 0));
    let before = calm.counts();
    calm.pass(Duration::from_secs(3600));
    assert_eq!(calm.counts(), before, "somebody had a turn");
    let leader = calm.leaders[&GroupId(5)].node().0 as usize - 1;
    let (group, payload) = (GroupId(5), Bytes::from_static(b"woken"));
    calm.give(leader, Input::Propose { group, payload, ticket: Ticket(1) });
    calm.pass(Settings::default().tick * 2);
    assert_eq!(calm.counts().2, before.2 + 3, "each member has applied it");
    calm.pass(Duration::from_secs(10));
    assert_eq!(calm.awake(), 0);
}

#[test]
fn when_a_node_dies_its_groups_soon_have_other_leaders() {
    let mut calm = asleep(300);
    calm.kill(0);
    let led = calm.led();
    calm.pass(Duration::from_millis(250));
    assert!(led < 300 && calm.led() == 300, "{led} were led, {} are", calm.led());
    calm.pass(Duration::from_secs(10));
    assert_eq!(calm.awake(), 0);
}
