//! A node: its host, and a driver that does what the host asks.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use leveret::{
    cluster::{
        GroupId, Index, Members, NodeNumber, ReplicaId,
        host::{Event, Host, Input, Outbox, Record, Settings, Snapshot},
    },
    model::Moment,
};

use super::{
    super::random::Random,
    disk::{Disk, Line},
    judge::{Judge, Toy},
    network::Network,
};

pub(crate) struct Node {
    pub(crate) number: NodeNumber,
    pub(crate) host: Option<Host>,
    pub(crate) disk: Disk,
    pub(crate) states: BTreeMap<GroupId, Toy>,
    /// The groups that it leads, and has been told so.
    pub(crate) led: BTreeMap<GroupId, ReplicaId>,
    pub(crate) replicas: BTreeMap<GroupId, ReplicaId>,
    pub(crate) inbox: Vec<Input>,
    pub(crate) wake_at: Option<Moment>,
    /// The lines that the sync under way will have written, and when.
    syncing: Option<(Moment, usize)>,
    settings: Settings,
    seed: u64,
}

/// What all nodes share.
pub(crate) struct Surroundings {
    pub(crate) now: Moment,
    pub(crate) random: Random,
    pub(crate) judge: Judge,
    pub(crate) network: Network,
    /// The data of snapshots; a token is a place in here.
    pub(crate) snapshots: Vec<Toy>,
    /// One in so many syncs takes very long.
    pub(crate) stalls: usize,
}

impl Node {
    pub(crate) fn new(number: NodeNumber, settings: Settings, seed: u64) -> Self {
        let host = Host::new(number, settings.clone(), seed ^ u64::from(number.0));
        Self {
            number,
            host: Some(host),
            disk: Disk::default(),
            states: BTreeMap::new(),
            led: BTreeMap::new(),
            replicas: BTreeMap::new(),
            inbox: Vec::new(),
            wake_at: None,
            syncing: None,
            settings,
            seed,
        }
    }

    pub(crate) fn create(&mut self, group: GroupId, replica: ReplicaId, members: &Members) {
        let Some(host) = self.host.as_mut() else { return };
        host.create(group, replica, members.clone(), 0);
        self.states.insert(group, Toy::begun(members));
        self.replicas.insert(group, replica);
    }

    pub(crate) fn destroy(&mut self, group: GroupId) {
        if let Some(host) = self.host.as_mut() {
            host.destroy(group);
            self.states.remove(&group);
            self.replicas.remove(&group);
            self.led.remove(&group);
        }
    }

    /// The power fails, and some of what was not synced is there nevertheless.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let lines = self.disk.under_way();
        let torn = if random.chance(2) { 0 } else { random.below(lines + 1) };
        self.disk.crash(torn);
        self.host = None;
        self.inbox.clear();
        self.states.clear();
        self.led.clear();
        self.replicas.clear();
        self.wake_at = None;
        self.syncing = None;
    }

    pub(crate) fn restart(&mut self) {
        let mut host = Host::new(self.number, self.settings.clone(), self.seed);
        for (stored, state) in self.disk.replicas() {
            self.states.insert(stored.group, state);
            self.replicas.insert(stored.group, stored.replica);
            host.restore(stored);
        }
        self.host = Some(host);
    }

    /// When something happens here that nobody else causes.
    pub(crate) fn next_at(&self, now: Moment) -> Option<Moment> {
        let pressing = (!self.inbox.is_empty()).then_some(now);
        let synced = self.syncing.map(|(at, _)| at);
        pressing.into_iter().chain(synced).chain(self.wake_at).min()
    }

    /// Ends a sync that is over, and begins the next.
    pub(crate) fn sync(&mut self, around: &mut Surroundings) {
        if self.syncing.is_some_and(|(at, _)| at <= around.now)
            && let Some((_, lines)) = self.syncing.take()
            && let Some(number) = self.disk.sync(lines)
        {
            self.inbox.push(Input::Persisted(number));
        }
        if self.syncing.is_none() && self.disk.under_way() > 0 {
            let stalled = around.stalls > 0 && around.random.chance(around.stalls);
            let ms = if stalled { 100 + around.random.below(200) } else { around.random.below(4) };
            let at = around.now + Duration::from_millis(1 + ms as u64);
            self.syncing = Some((at, self.disk.under_way()));
        }
    }

    pub(crate) fn turn(&mut self, around: &mut Surroundings) {
        let Some(host) = self.host.as_mut() else { return };
        let inbox = std::mem::take(&mut self.inbox);
        let outbox = host.turn(around.now, inbox);
        self.wake_at = outbox.wake_at;
        for (group, replica) in &self.replicas {
            // A single voter leads before its term is on disk, but says nothing until it is.
            let alone = host.members(*group).is_some_and(|members| members.voters.len() == 1);
            if !alone
                && host.leader(*group) == Some(*replica)
                && let Some((_, term)) = host.position(*group)
            {
                around.judge.leads(*group, term, *replica);
            }
        }
        self.carry_out(outbox, around);
    }

    fn carry_out(&mut self, outbox: Outbox, around: &mut Surroundings) {
        outbox.events.into_iter().for_each(|event| self.act(event, around));
        for write in outbox.writes {
            self.disk.append(match &write.record {
                Record::Installed(snapshot) => {
                    let state = data_of(snapshot, around);
                    Line::Installed(write, state)
                }
                _ => Line::Host(write),
            });
        }
        for (to, message) in &outbox.messages {
            assert_eq!(*to, message.to().node());
            around.network.send(around.now, message, &mut around.random);
        }
        for wanted in outbox.snapshots_wanted {
            let Some(state) = self.states.get(&wanted.group) else { continue };
            let token = Bytes::copy_from_slice(&(around.snapshots.len() as u64).to_le_bytes());
            around.snapshots.push(state.clone());
            let (group, to, index) = (wanted.group, wanted.to, Index(state.applied));
            self.inbox.push(if around.random.chance(8) {
                Input::SnapshotSent { group, to, ok: false }
            } else {
                Input::SnapshotCaptured { group, to, index, token }
            });
        }
        for snapshot in &outbox.snapshots_to_send {
            around.network.send_snapshot(around.now, snapshot, &mut around.random);
        }
    }

    fn act(&mut self, event: Event, around: &mut Surroundings) {
        match event {
            Event::Committed(committed) => {
                let state = self.states.get_mut(&committed.group).expect("it is there");
                state.apply(&committed);
                around.judge.applied(&committed, state);
                self.disk.append(Line::Applied(committed));
            }
            Event::Install { group, snapshot } => {
                let state = data_of(&snapshot, around);
                around.judge.installed(group, &state);
                self.states.insert(group, state);
            }
            Event::Leader(change) => {
                self.led.remove(&change.group);
                if change.is_self {
                    let replica = self.replicas[&change.group];
                    assert_eq!(change.leader, Some(replica));
                    around.judge.leads(change.group, change.term, replica);
                    self.led.insert(change.group, replica);
                }
            }
            Event::Lost { ticket, .. } => around.judge.lost(ticket),
            Event::Unknown { .. } => {}
            Event::Broken { group } => panic!("node {}: group {group} is broken", self.number),
        }
    }
}

fn data_of(snapshot: &Snapshot, around: &Surroundings) -> Toy {
    let place = u64::from_le_bytes(snapshot.token[..].try_into().unwrap());
    around.snapshots[place as usize].clone()
}
