//! What the broker asks of the cluster, and who waits for what it says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    bell::{Bell, block},
    driver::Order,
    frames,
    reminder::Reminder,
    vitals,
};
use crate::{
    admin::Vitals,
    broker::{Agreed, Agreement, Broker, Fellows, Job, LiveNode, Nodes, Parcel},
    cluster::GroupId,
    model::{NodeNumber, NodeRecord, Placement, QueueId, Refusal, compact::put_varint},
    net::{
        Clock,
        peers::{Class, Member, Peers},
    },
};

/// How long a client waits for what needs a majority, or a queue's leader.
const PATIENCE: Duration = Duration::from_secs(15);

/// After so long without an answer a command is sent again.
const RETRY: Duration = Duration::from_secs(1);

/// So long a node that stops waits for others to lead what it leads.
const FAREWELL: Duration = Duration::from_secs(3);

/// Nobody waits longer than this for what a node that is there has not applied.
const EVERYWHERE: Duration = Duration::from_millis(200);

/// Joins the broker, the driver of the groups, and the connections to the other nodes.
pub(super) struct Switchboard {
    pub(super) me: NodeNumber,
    pub(super) cluster: u128,
    /// Where the configuration says that nodes are, by name. It counts before what was agreed on.
    listed: BTreeMap<String, String>,
    /// The names of all nodes that are or were of the cluster.
    names: Mutex<BTreeMap<NodeNumber, String>>,
    /// Those that belong to the cluster, there or not.
    known: Mutex<BTreeSet<NodeNumber>>,
    /// Who votes on the metadata, and who only listens.
    electorate: Mutex<Electorate>,
    /// What this node says of itself, and when it was asked for it.
    speech: OnceLock<Speech>,
    pulse: Mutex<(Reminder, Bytes)>,
    /// What the others have said of themselves.
    heard: Mutex<BTreeMap<NodeNumber, Bytes>>,
    orders: mpsc::Sender<Order>,
    jobs: mpsc::Sender<Job>,
    peers: OnceLock<Peers>,
    broker: OnceLock<Arc<Broker>>,
    bell: Bell,
    /// The node that leads the metadata; 0 when nobody does.
    leader: AtomicU32,
    up: Mutex<BTreeSet<NodeNumber>>,
    /// Something is led here that others could lead.
    leading: AtomicBool,
    next_command: AtomicU64,
    /// Commands of this node that are not applied here yet, or not everywhere.
    commands: Mutex<HashMap<u64, Progress>>,
}

/// What a node says of itself.
pub(super) type Speech = Box<dyn Fn() -> Bytes + Send + Sync>;

/// So long it says the same.
const SAME_SPEECH: Duration = Duration::from_secs(2);

/// The members of the group of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Electorate {
    pub(super) voters: Vec<NodeNumber>,
    pub(super) learners: Vec<NodeNumber>,
}

#[derive(Debug, Default)]
struct Progress {
    outcome: Option<Agreed>,
    applied_on: BTreeSet<NodeNumber>,
}

impl Switchboard {
    pub(super) fn new(
        (cluster, me): (u128, NodeNumber),
        listed: BTreeMap<String, String>,
        members: &BTreeMap<NodeNumber, Member>,
        orders: mpsc::Sender<Order>,
        jobs: mpsc::Sender<Job>,
        clock: Clock,
    ) -> Self {
        let names = members.iter().map(|(node, member)| (*node, member.name.clone())).collect();
        Self {
            me,
            cluster,
            listed,
            names: Mutex::new(names),
            known: Mutex::new(members.keys().copied().collect()),
            electorate: Mutex::default(),
            speech: OnceLock::new(),
            pulse: Mutex::new((Reminder::every(SAME_SPEECH, clock), Bytes::new())),
            heard: Mutex::default(),
            orders,
            jobs,
            peers: OnceLock::new(),
            broker: OnceLock::new(),
            bell: Bell::new(clock),
            leader: AtomicU32::new(0),
            up: Mutex::default(),
            leading: AtomicBool::new(false),
            next_command: AtomicU64::new(1),
            commands: Mutex::default(),
        }
    }

    /// How many nodes the configuration names.
    pub(super) fn listed(&self) -> usize {
        self.listed.len()
    }

    /// What a node is called.
    pub(super) fn name(&self, node: NodeNumber) -> String {
        lock(&self.names).get(&node).cloned().unwrap_or_else(|| format!("node {node}"))
    }

    /// Those of the nodes that are not gone, and where to reach them.
    pub(super) fn members_of(
        &self,
        nodes: &BTreeMap<NodeNumber, NodeRecord>,
    ) -> BTreeMap<NodeNumber, Member> {
        let present = nodes.iter().filter(|(_, node)| !node.is_gone);
        let member = |node: &NodeRecord| {
            let address = self.listed.get(&node.name).unwrap_or(&node.address).clone();
            Member { name: node.name.clone(), address }
        };
        present.map(|(number, node)| (*number, member(node))).collect()
    }

    /// The nodes that belong to the cluster, there or not: those that are gone do not.
    pub(super) fn known(&self) -> Vec<NodeNumber> {
        lock(&self.known).iter().copied().collect()
    }

    /// These are the nodes that all have agreed on.
    pub(super) fn set_nodes(&self, nodes: &BTreeMap<NodeNumber, NodeRecord>) {
        let names = nodes.iter().map(|(number, node)| (*number, node.name.clone()));
        lock(&self.names).extend(names);
        let present = nodes.iter().filter(|(_, node)| !node.is_gone);
        *lock(&self.known) = present.map(|(number, _)| *number).collect();
        if let Some(peers) = self.peers() {
            peers.set_members(self.members_of(nodes));
        }
        self.bell.ring();
    }

    /// From here on the node tells the others what `speech` says.
    pub(super) fn speak(&self, speech: Speech) {
        let _only_once = self.speech.set(speech);
    }

    /// What is to be said with the next heartbeat.
    pub(super) fn pulse(&self) -> Bytes {
        let Some(speech) = self.speech.get() else { return Bytes::new() };
        let mut pulse = lock(&self.pulse);
        let (reminder, said) = &mut *pulse;
        if reminder.is_due() {
            *said = speech();
        }
        said.clone()
    }

    pub(super) fn hear(&self, node: NodeNumber, said: Bytes) {
        lock(&self.heard).insert(node, said);
    }

    pub(super) fn vitals_of(&self, node: NodeNumber) -> Option<Vitals> {
        let said = lock(&self.heard).get(&node).cloned()?;
        vitals::read(&said)
    }

    /// These are the members of the group of the metadata.
    pub(super) fn set_electorate(&self, electorate: Electorate) {
        *lock(&self.electorate) = electorate;
        self.bell.ring();
    }

    pub(super) fn electorate(&self) -> Electorate {
        lock(&self.electorate).clone()
    }

    pub(super) fn join(&self, peers: Peers, broker: Arc<Broker>) {
        let _only_once = self.peers.set(peers);
        let _only_once = self.broker.set(broker);
    }

    pub(super) fn peers(&self) -> Option<&Peers> {
        self.peers.get()
    }

    pub(super) fn order(&self, order: Order) {
        // When the driver is gone, the node stops.
        let _stopping = self.orders.send(order);
    }

    pub(super) fn send_frame(&self, to: NodeNumber, class: Class, kind: u8, parts: &[Bytes]) {
        if let Some(peers) = self.peers() {
            // What is lost is told by the connection that broke.
            let _lost = peers.send(to, class, kind, parts);
        }
    }

    /// The same; false when it is not taken.
    pub(super) fn try_send(&self, to: NodeNumber, class: Class, kind: u8, parts: &[Bytes]) -> bool {
        self.peers().is_some_and(|peers| peers.send(to, class, kind, parts).is_ok())
    }

    /// Waits until no more octets than these wait to be sent to a node, or for so long.
    pub(super) fn wait_for_room(
        &self,
        (to, class): (NodeNumber, Class),
        octets: usize,
        at_most: Duration,
    ) {
        let queued = || self.peers().map_or(0, |peers| peers.queued(to, class));
        self.bell.wait(at_most, &mut || queued() <= octets);
    }

    /// Who leads the metadata has changed.
    pub(super) fn set_leader(&self, leader: Option<NodeNumber>) {
        self.leader.store(leader.map_or(0, |node| node.0), Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn leader(&self) -> Option<NodeNumber> {
        Some(NodeNumber(self.leader.load(Ordering::Acquire))).filter(|node| node.0 > 0)
    }

    /// While all is to be handed over: whether something is left to be.
    pub(super) fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Ordering::Release);
        self.bell.ring();
    }

    /// Has others lead what this node leads, and waits a little for that.
    pub(super) fn hand_over(&self) {
        self.set_leading(true);
        self.order(Order::HandOver(true));
        self.bell.wait(FAREWELL, &mut || !self.leading.load(Ordering::Acquire));
    }

    pub(super) fn set_up(&self, node: NodeNumber, is_up: bool) {
        let mut up = lock(&self.up);
        if is_up {
            up.insert(node)
        } else {
            up.remove(&node)
        };
        drop(up);
        self.bell.ring();
    }

    pub(super) fn up(&self) -> Vec<NodeNumber> {
        lock(&self.up).iter().copied().collect()
    }

    /// A command of this node has been applied here.
    pub(super) fn applied_here(&self, number: u64, outcome: Agreed) {
        if let Some(progress) = lock(&self.commands).get_mut(&number)
            && progress.outcome.is_none()
        {
            progress.outcome = Some(outcome);
        }
        self.bell.ring();
    }

    /// Another node has applied a command of this node.
    pub(super) fn applied_there(&self, number: u64, node: NodeNumber) {
        if let Some(progress) = lock(&self.commands).get_mut(&number) {
            progress.applied_on.insert(node);
        }
        self.bell.ring();
    }

    /// Blocks until `is_done`, or until so much time has passed.
    pub(super) fn wait_for(&self, at_most: Duration, is_done: &mut dyn FnMut() -> bool) -> bool {
        block(|| self.bell.wait(at_most, is_done))
    }

    /// Brings a command to the leader of the metadata.
    fn propose(&self, command: &Bytes) {
        match self.leader() {
            Some(leader) if leader == self.me => {
                self.order(Order::Command(command.clone()));
            }
            Some(leader) => {
                let parts = std::slice::from_ref(command);
                self.send_frame(leader, Class::Data, frames::COMMAND, parts);
            }
            None => {}
        }
    }

    fn outcome(&self, number: u64) -> Option<Agreed> {
        lock(&self.commands).get(&number)?.outcome
    }

    fn is_everywhere(&self, number: u64) -> bool {
        let up = self.up();
        let commands = lock(&self.commands);
        let applied = commands.get(&number).map(|progress| &progress.applied_on);
        applied.is_none_or(|applied| up.iter().all(|node| applied.contains(node)))
    }

    fn agree_on(&self, number: u64, command: &Bytes) -> Option<Agreed> {
        let tries = PATIENCE.as_secs() / RETRY.as_secs();
        for _ in 0..tries {
            self.propose(command);
            let before = self.leader();
            self.bell
                .wait(RETRY, &mut || self.outcome(number).is_some() || self.leader() != before);
            let outcome = self.outcome(number);
            if outcome == Some(Agreed::Done) {
                self.bell.wait(EVERYWHERE, &mut || self.is_everywhere(number));
            }
            if outcome.is_some() {
                return outcome;
            }
        }
        None
    }
}

impl Agreement for Switchboard {
    fn agree(&self, command: Vec<u8>) -> Result<Agreed, Refusal> {
        let number = self.next_command.fetch_add(1, Ordering::Relaxed);
        let mut octets = Vec::with_capacity(command.len() + 12);
        put_varint(&mut octets, self.me.0.into());
        put_varint(&mut octets, number);
        octets.extend_from_slice(&command);
        lock(&self.commands).insert(number, Progress::default());
        let command = octets.into();
        let outcome = block(|| self.agree_on(number, &command));
        lock(&self.commands).remove(&number);
        outcome.ok_or(Refusal::NoQuorum)
    }

    fn later(&self, job: Job) {
        let _stopping = self.jobs.send(job);
    }

    fn nodes(&self) -> Nodes {
        let led = self.broker.get().map(|broker| broker.queues_led()).unwrap_or_default();
        let up = self.up();
        let numbers = std::iter::once(&self.me).chain(&up);
        let live = numbers.map(|number| LiveNode {
            number: *number,
            name: self.name(*number),
            queues_led: led.get(number).copied().unwrap_or(0),
        });
        let known = self.known();
        Nodes { me: self.me, live: live.collect(), known }
    }
}

impl Fellows for Switchboard {
    fn send(&self, to: NodeNumber, parcel: Parcel) {
        self.send_frame(to, Class::Data, frames::PARCEL, &[parcel.octets().into()]);
    }

    fn keep(&self, group: QueueId, placement: &Placement) {
        self.order(Order::Keep { group: GroupId(group.0), placement: placement.clone() });
    }

    fn drop_group(&self, group: QueueId) {
        self.order(Order::Drop { group: GroupId(group.0) });
    }

    fn transfer(&self, group: QueueId, to: NodeNumber) {
        self.order(Order::Transfer { group: GroupId(group.0), to });
    }

    fn step_aside(&self, aside: bool) {
        self.order(Order::HandOver(aside));
    }

    fn has_work(&self, group: QueueId, can_wait: bool) {
        self.order(Order::Work { group: GroupId(group.0), can_wait });
    }

    fn wait(&self, is_done: &mut dyn FnMut() -> bool) -> bool {
        self.wait_for(PATIENCE, is_done)
    }

    fn wait_briefly(&self, is_done: &mut dyn FnMut() -> bool) -> bool {
        self.wait_for(RETRY, is_done)
    }

    fn name_of(&self, node: NodeNumber) -> String {
        self.name(node)
    }

    fn notify(&self) {
        self.bell.ring();
    }
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Switchboard").field("me", &self.me).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
