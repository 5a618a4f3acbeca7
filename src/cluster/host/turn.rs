//! One turn: what each input does, what time does, and which replicas sleep afterwards.

use super::{
    super::{
        GroupId, GroupMessage, Members, NodeNumber, ReplicaId, Ticket, WriteNumber, message::Body,
    },
    Belief, Event, Host, Input, SnapshotWanted,
    desk::Desk,
    hear::Heard,
    replica::Replica,
};
use crate::model::Moment;

/// Staggers between two campaigns of a replica that found no answer.
const STAGGERS: u32 = 4;

impl Host {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Message(message) => self.hear(message),
            Input::Propose { group, payload, ticket } => {
                self.proposals.entry(group).or_default().push((payload, ticket));
            }
            Input::ChangeMembers { group, voters, learners, ticket } => {
                self.change(group, &Members::new(&voters, &learners), ticket);
            }
            Input::Transfer { group, to } => self.with(group, |replica, _| replica.transfer(to)),
            Input::Campaign { group } => self.start(group),
            Input::NodeDown(node) => self.node_down(node),
            Input::NodeUp(node) => {
                self.down.remove(&node);
                self.each(|replica| replica.node_up(node));
            }
            Input::Unreachable(node) => self.each(|replica| replica.unreachable(node)),
            Input::Persisted(number) => self.persisted(number),
            Input::Compact { group, up_to } => {
                let (limit, down) = (self.settings.log_limit, std::mem::take(&mut self.down));
                self.with(group, |replica, desk| replica.compact(up_to, limit, desk, &down));
                self.down = down;
            }
            Input::SnapshotCaptured { group, to, index, token } => {
                self.with(group, |replica, _| replica.captured(to, index, token));
            }
            Input::SnapshotSent { group, to, ok } => {
                self.with(group, |replica, _| replica.sent(to, ok));
            }
            Input::Believed(beliefs) => beliefs.iter().for_each(|belief| self.correct(belief)),
        }
    }

    /// Puts into the log what was proposed in this turn.
    pub(super) fn propose(&mut self, group: GroupId) {
        let Some(proposals) = self.proposals.remove(&group) else { return };
        let Some(replica) = self.replicas.get_mut(&group) else {
            for (_, ticket) in proposals {
                self.desk.event(Event::Lost { group, ticket });
            }
            return;
        };
        replica.propose(proposals, &mut self.desk);
        self.touched.insert(group);
    }

    pub(super) fn tick(&mut self) {
        self.next_tick = None;
        for group in &self.awake {
            if let Some(replica) = self.replicas.get_mut(group) {
                replica.tick(&self.down, self.seed);
                self.touched.insert(*group);
            }
        }
    }

    /// Starts the campaigns whose time has come.
    pub(super) fn campaign(&mut self) {
        while let Some((at, group)) = self.campaigns.first().copied()
            && at <= self.now
        {
            self.campaigns.remove(&(at, group));
            let again = self.now + self.settings.stagger * STAGGERS;
            let Some(replica) = self.replicas.get_mut(&group) else { continue };
            if replica.campaign() {
                self.campaigns.insert((again, group));
            }
            self.touched.insert(group);
        }
    }

    /// Brings what the touched replicas have ready onto the desk, and finds out who sleeps.
    pub(super) fn settle(&mut self) {
        for group in std::mem::take(&mut self.touched) {
            let Some(replica) = self.replicas.get_mut(&group) else { continue };
            let desk = &mut self.desk;
            if let Some(write) = replica.drain(desk) {
                self.waiting.push_back((write, group));
            }
            want_snapshots(replica, desk);
            if !replica.needs_ticks(&self.down) {
                self.awake.remove(&group);
            } else if self.awake.insert(group) {
                replica.wake();
            }
        }
        if self.awake.is_empty() {
            self.next_tick = None;
        } else if self.next_tick.is_none() {
            self.next_tick = Some(self.now + self.settings.tick);
        }
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        let campaign = self.campaigns.first().map(|(at, _)| *at);
        self.next_tick.into_iter().chain(campaign).min()
    }

    fn hear(&mut self, message: GroupMessage) {
        let group = message.group;
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        if message.to != replica.id || !is_whole(&message) {
            return;
        }
        self.touched.insert(group);
        match replica.hear(message, &self.down, self.seed) {
            Heard::Taken => {}
            Heard::Leaderless(rank) => self.schedule(group, rank),
            Heard::Broken => {
                replica.abandon(&mut self.desk);
                self.replicas.remove(&group);
                self.awake.remove(&group);
                self.desk.event(Event::Broken { group });
            }
        }
    }

    fn change(&mut self, group: GroupId, target: &Members, ticket: Ticket) {
        self.propose(group);
        let Some(replica) = self.replicas.get_mut(&group) else {
            return self.desk.event(Event::Lost { group, ticket });
        };
        replica.change(target, ticket, &mut self.desk, &self.down);
        self.touched.insert(group);
    }

    fn start(&mut self, group: GroupId) {
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        replica.prepare_campaign(&self.down, self.seed);
        self.campaigns.insert((self.now, group));
    }

    fn node_down(&mut self, node: NodeNumber) {
        self.down.insert(node);
        let groups: Vec<_> = self.replicas.keys().copied().collect();
        for group in groups {
            let Some(replica) = self.replicas.get_mut(&group) else { continue };
            let rank = replica.node_down(node, &self.down, self.seed);
            self.schedule(group, rank);
            self.touched.insert(group);
        }
    }

    fn schedule(&mut self, group: GroupId, rank: Option<u32>) {
        if let Some(rank) = rank {
            self.campaigns.insert((self.now + self.settings.stagger * rank, group));
        }
    }

    fn persisted(&mut self, number: WriteNumber) {
        self.desk.note_persisted(number);
        while let Some((write, group)) = self.waiting.front().copied()
            && self.desk.is_persisted(write)
        {
            self.waiting.pop_front();
            if let Some(replica) = self.replicas.get_mut(&group) {
                replica.persisted(&mut self.desk);
                self.touched.insert(group);
            }
        }
    }

    /// Answers who takes a replica of this node for its leader, wrongly.
    fn correct(&mut self, belief: &Belief) {
        let Belief { group, leader, believer, term } = *belief;
        let replica = self.replicas.get(&group);
        let leads = replica.is_some_and(|replica| replica.id == leader && replica.leads());
        if !leads && leader.node() == self.node {
            let body = Body::LeaderGone { term };
            self.desk.post(GroupMessage { group, from: leader, to: believer, body });
        }
    }

    /// Acts on a replica, if there is one, after what was proposed to it before.
    fn with(&mut self, group: GroupId, act: impl FnOnce(&mut Replica, &mut Desk)) {
        self.propose(group);
        if let Some(replica) = self.replicas.get_mut(&group) {
            act(replica, &mut self.desk);
            self.touched.insert(group);
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Replica)) {
        for (group, replica) in &mut self.replicas {
            act(replica);
            self.touched.insert(*group);
        }
    }
}

/// Asks for the snapshots without which members cannot go on, each once.
fn want_snapshots(replica: &mut Replica, desk: &mut Desk) {
    for to in replica.raft.mut_store().take_wanted() {
        let to = ReplicaId(to);
        if !replica.capturing.contains(&to) {
            replica.capturing.push(to);
            desk.outbox.snapshots_wanted.push(SnapshotWanted { group: replica.group, to });
        }
    }
}

/// Whether the library's own words for sender and receiver are those of the message.
fn is_whole(message: &GroupMessage) -> bool {
    match &message.body {
        Body::Raft(inner) => inner.from == message.from.0 && inner.to == message.to.0,
        Body::LeaderGone { .. } => true,
    }
}
