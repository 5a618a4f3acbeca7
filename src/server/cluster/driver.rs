//! Drives the host of this node's groups: one thread that brings it what has happened, and does
//! what it asks for.

mod leading;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    mem,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;

use super::{
    copying::{self, Part},
    frames,
    log_book::LogBook,
    membership::Membership,
    reconcile::Reconcile,
    switchboard::Switchboard,
};
use crate::{
    broker::{Broker, Fellows, Journal, QueueCopy},
    cluster::{
        GroupId, GroupMessage, Index, Members, MessageClass, NodeNumber, ReplicaId, Ticket,
        WriteNumber,
        host::{
            Belief, Committed, Content, Event, Host, Input, LeaderChange, Outbox, Snapshot,
            SnapshotToSend, SnapshotWanted,
        },
    },
    model::{Batch, LogPosition, Moment, Placement, QueueId, compact::Reader},
    net::{Clock, peers::Class},
    server::journal::StoreJournal,
};

/// Something for the driver.
#[derive(Debug)]
pub(super) enum Order {
    Messages(Vec<GroupMessage>),
    /// A queue led here has something that its group must agree on.
    Work {
        group: GroupId,
        can_wait: bool,
    },
    /// A command for the metadata, as its node sent it.
    Command(Bytes),
    /// More of the journal is durable.
    Durable,
    Up(NodeNumber),
    Down(NodeNumber),
    Unreachable(NodeNumber),
    Keep {
        group: GroupId,
        placement: Placement,
    },
    Drop {
        group: GroupId,
    },
    Believed(Vec<Belief>),
    /// Another node is to lead a queue that is led here.
    Transfer {
        group: GroupId,
        to: NodeNumber,
    },
    /// Whether others are to lead all that is led here, and what comes to be.
    HandOver(bool),
    Copied(Part),
    /// A copy has been sent, or could not be.
    CopySent {
        group: GroupId,
        to: ReplicaId,
        ok: bool,
    },
    Stop,
}

/// What settles by itself waits so long for something to go with.
const LINGER: Duration = Duration::from_millis(5);

/// How often nodes tell each other who they believe leads.
const BELIEFS_EVERY: Duration = Duration::from_secs(10);

/// A group's log is compacted when it has so many octets, or the driver has nothing else to do.
const COMPACT_OCTETS: usize = 256 << 10;

/// The thread's own.
pub(super) struct Driver {
    host: Host,
    book: LogBook,
    broker: Arc<Broker>,
    journal: Arc<StoreJournal>,
    switchboard: Arc<Switchboard>,
    clock: Clock,
    orders: mpsc::Receiver<Order>,
    /// Writes that are on their way to the disk.
    unwritten: VecDeque<(LogPosition, WriteNumber)>,
    /// The position whose durability was asked for.
    awaited: LogPosition,
    /// Proposals of queues led here, by ticket: the number of their last record.
    proposed: HashMap<Ticket, u64>,
    next_ticket: u64,
    /// Groups with something that can wait.
    lazy: BTreeSet<GroupId>,
    /// How far each group's commands are applied, and the record that says so.
    applied: BTreeMap<GroupId, (Index, LogPosition)>,
    /// The last entry of each group that was handed out.
    last_applied: HashMap<GroupId, Index>,
    /// Copies for replicas that lag behind.
    copies: HashMap<(GroupId, ReplicaId), QueueCopy>,
    up: BTreeSet<NodeNumber>,
    wake_at: Option<Moment>,
    next_beliefs: Moment,
    membership: Membership,
    reconcile: Reconcile,
    /// Groups led here of which a proposal was lost, and when to look at them: nothing that follows
    /// on it may be agreed on.
    faltering: BTreeMap<GroupId, Moment>,
    /// While all is to be led elsewhere: when to see to it again.
    leaving: Option<Moment>,
}

impl Driver {
    pub(super) fn new(
        (host, book, last_applied): (Host, LogBook, HashMap<GroupId, Index>),
        broker: Arc<Broker>,
        journal: Arc<StoreJournal>,
        switchboard: Arc<Switchboard>,
        clock: Clock,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            host,
            book,
            broker,
            journal,
            switchboard,
            clock,
            orders,
            unwritten: VecDeque::new(),
            awaited: LogPosition::default(),
            proposed: HashMap::new(),
            next_ticket: 1,
            lazy: BTreeSet::new(),
            applied: BTreeMap::new(),
            last_applied,
            copies: HashMap::new(),
            up: BTreeSet::new(),
            wake_at: Some(Moment::default()),
            next_beliefs: clock.now() + BELIEFS_EVERY,
            membership: Membership::default(),
            reconcile: Reconcile::default(),
            faltering: BTreeMap::new(),
            leaving: None,
        }
    }

    /// Runs until it is told to stop, or the journal has failed.
    pub(super) fn run(mut self) {
        let mut orders = Vec::new();
        while self.wait(&mut orders) {
            let is_over = orders.iter().any(|order| matches!(order, Order::Stop));
            if is_over {
                return;
            }
            let mut inputs = Vec::new();
            orders.drain(..).for_each(|order| self.take(order, &mut inputs));
            self.flush_lazy(&mut inputs);
            self.change_members(&mut inputs);
            self.lead_again();
            self.hand_over(&mut inputs);
            self.turn(&mut inputs);
            self.compact(&mut inputs);
            if !inputs.is_empty() {
                self.turn(&mut inputs);
            }
            self.tell_beliefs();
            self.tend_members();
        }
    }

    /// Lets the host act on what has happened, until nothing more follows from it.
    fn turn(&mut self, inputs: &mut Vec<Input>) {
        let mut is_first = true;
        while mem::take(&mut is_first) || !inputs.is_empty() {
            self.note_durable(inputs);
            let outbox = self.host.turn(self.clock.now(), mem::take(inputs));
            self.act(outbox, inputs);
        }
    }

    /// Waits for orders, or for the next moment; false when nobody can order any more.
    fn wait(&mut self, orders: &mut Vec<Order>) -> bool {
        let now = self.clock.now();
        let mut until = self.wake_at.map_or(self.next_beliefs, |at| at.min(self.next_beliefs));
        if let Some(at) = self.membership.due() {
            until = until.min(at);
        }
        let others = self.faltering.values().min().copied().into_iter().chain(self.leaving);
        until = others.chain(self.reconcile.due()).fold(until, Ord::min);
        if !self.lazy.is_empty() {
            until = until.min(now + LINGER);
        }
        let patience = until.since_epoch().saturating_sub(now.since_epoch());
        match self.orders.recv_timeout(patience) {
            Ok(order) => orders.push(order),
            Err(mpsc::RecvTimeoutError::Timeout) => return true,
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        }
        orders.extend(self.orders.try_iter());
        true
    }

    fn take(&mut self, order: Order, inputs: &mut Vec<Input>) {
        match order {
            Order::Messages(messages) => inputs.extend(messages.into_iter().map(Input::Message)),
            Order::Work { group, can_wait: true } => {
                self.lazy.insert(group);
            }
            Order::Work { group, can_wait: false } => self.propose(group, inputs),
            Order::Command(payload) => {
                let ticket = self.ticket();
                inputs.push(Input::Propose { group: GroupId::METADATA, payload, ticket });
            }
            Order::Durable => self.awaited = LogPosition::default(),
            Order::Up(node) => {
                self.up.insert(node);
                self.switchboard.set_up(node, true);
                inputs.push(Input::NodeUp(node));
            }
            Order::Down(node) => {
                self.up.remove(&node);
                self.switchboard.set_up(node, false);
                inputs.push(Input::NodeDown(node));
            }
            Order::Unreachable(node) => inputs.push(Input::Unreachable(node)),
            Order::Keep { group, placement } => self.keep(group, &placement, inputs),
            Order::Drop { group } => {
                self.reconcile.forget(group);
                if self.book.has(group) {
                    self.host.destroy(group);
                    self.applied.remove(&group);
                }
            }
            Order::Copied(Part { group, is_first, messages }) => {
                self.broker.take_copied(QueueId(group.0), is_first, &messages);
            }
            Order::CopySent { group, to, ok } => {
                inputs.push(Input::SnapshotSent { group, to, ok });
            }
            Order::Transfer { group, to } => {
                let members = self.host.members(group);
                let voters = members.into_iter().flat_map(|members| &members.voters);
                if let Some(to) = voters.copied().find(|voter| voter.node() == to) {
                    inputs.push(Input::Transfer { group, to });
                }
            }
            Order::HandOver(is_due) => self.leaving = is_due.then(|| self.clock.now()),
            Order::Believed(beliefs) => inputs.push(Input::Believed(beliefs)),
            Order::Stop => {}
        }
    }

    /// Has a queue's group agree on what its leader has written.
    fn propose(&mut self, group: GroupId, inputs: &mut Vec<Input>) {
        self.lazy.remove(&group);
        if let Some((payload, up_to)) = self.broker.proposal(QueueId(group.0)) {
            let ticket = self.ticket();
            self.proposed.insert(ticket, up_to);
            inputs.push(Input::Propose { group, payload, ticket });
        }
    }

    fn flush_lazy(&mut self, inputs: &mut Vec<Input>) {
        for group in mem::take(&mut self.lazy) {
            self.propose(group, inputs);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Makes this node's replica of a queue's group, if there is none.
    fn keep(&mut self, group: GroupId, placement: &Placement, inputs: &mut Vec<Input>) {
        self.reconcile.note(group, placement);
        let me = self.switchboard.me;
        let replicas: Vec<_> = placement.replicas.iter().map(|id| ReplicaId(*id)).collect();
        let Some(own) = replicas.iter().find(|replica| replica.node() == me) else { return };
        if self.book.has(group) {
            return;
        }
        // Who joins a group that there is learns of its members from those.
        let founders = if placement.generation == 0 { &replicas[..] } else { &[] };
        self.host.create(group, *own, Members::new(founders, &[]), 0);
        if founders.first() == Some(own) {
            inputs.push(Input::Campaign { group });
        }
    }

    /// Tells the host how far its writes have come.
    fn note_durable(&mut self, inputs: &mut Vec<Input>) {
        let durable = self.journal.durable();
        let written = self.unwritten.partition_point(|(position, _)| *position <= durable);
        if let Some((_, number)) = self.unwritten.drain(..written).next_back() {
            inputs.push(Input::Persisted(number));
        }
    }

    /// Does what the host asks for. What follows from it for the host is added to `inputs`.
    fn act(&mut self, outbox: Outbox, inputs: &mut Vec<Input>) {
        let Outbox { writes, messages, events, snapshots_wanted, snapshots_to_send, wake_at } =
            outbox;
        self.wake_at = wake_at;
        self.send(messages);
        let mut batch = Batch::default();
        for event in events {
            self.act_on(event, &mut batch, inputs);
        }
        if let Some(last) = writes.last().map(|write| write.number) {
            self.book.write(writes, &mut batch);
            let position = self.journal.append(&mut batch);
            self.unwritten.push_back((position, last));
        } else if !batch.is_empty() {
            self.journal.append(&mut batch);
        }
        for wanted in snapshots_wanted {
            self.capture(wanted, inputs);
        }
        for snapshot in snapshots_to_send {
            self.send_copy(snapshot, inputs);
        }
        self.await_disk();
    }

    /// Keeps the state of a group for a replica that lags behind what the log has.
    fn capture(&mut self, wanted: SnapshotWanted, inputs: &mut Vec<Input>) {
        let SnapshotWanted { group, to } = wanted;
        let Some(index) = self.last_applied.get(&group).copied() else { return };
        let token = if group == GroupId::METADATA {
            self.broker.agreed_state()
        } else {
            let Some((head, copy)) = self.broker.copy_queue(QueueId(group.0)) else { return };
            self.copies.insert((group, to), copy);
            head
        };
        inputs.push(Input::SnapshotCaptured { group, to, index, token: token.into() });
    }

    /// Sends what was kept, and the message that makes it the other replica's state.
    fn send_copy(&mut self, snapshot: SnapshotToSend, inputs: &mut Vec<Input>) {
        let SnapshotToSend { group, to, message, .. } = snapshot;
        let mut frame = Vec::new();
        frames::put_message(&mut frame, &message);
        if group == GroupId::METADATA {
            let node = to.node();
            self.switchboard.send_frame(node, Class::Bulk, frames::GROUPS, &[frame.into()]);
            return inputs.push(Input::SnapshotSent { group, to, ok: true });
        }
        let Some(copy) = self.copies.remove(&(group, to)) else {
            return inputs.push(Input::SnapshotSent { group, to, ok: false });
        };
        let (switchboard, journal) = (Arc::clone(&self.switchboard), Arc::clone(&self.journal));
        let send = move || {
            let ok = copying::send((group, to), copy, frame, &switchboard, &*journal);
            switchboard.order(Order::CopySent { group, to, ok });
        };
        let named = thread::Builder::new().name("leveret-copy".to_owned());
        if named.spawn(send).is_err() {
            inputs.push(Input::SnapshotSent { group, to, ok: false });
        }
    }

    /// The state of a group is another node's from here on.
    fn install(&mut self, group: GroupId, snapshot: &Snapshot, batch: &mut Batch) {
        let Snapshot { index, token, .. } = snapshot;
        self.last_applied.insert(group, *index);
        if group == GroupId::METADATA {
            let installed = self.broker.install_agreed(index.0, token, self.clock.now());
            if let Err(error) = installed {
                tracing::error!(%error, "the state of the cluster makes no sense");
            }
        } else if !self.broker.install_copied(QueueId(group.0), token, batch) {
            tracing::error!(%group, "a copy of a queue has not come, and should have");
        }
    }

    /// Sees to it that the thread is woken when the oldest write is durable.
    fn await_disk(&mut self) {
        let Some((position, _)) = self.unwritten.front() else { return };
        if self.awaited == *position {
            return;
        }
        self.awaited = *position;
        let switchboard = Arc::clone(&self.switchboard);
        self.journal.call_when_durable(*position, move || switchboard.order(Order::Durable));
    }

    fn send(&self, messages: Vec<(NodeNumber, GroupMessage)>) {
        let mut frames: BTreeMap<(NodeNumber, Class), Vec<u8>> = BTreeMap::new();
        for (node, message) in messages {
            let class = match message.class() {
                MessageClass::Control => Class::Control,
                MessageClass::Data | MessageClass::Snapshot => Class::Data,
            };
            frames::put_message(frames.entry((node, class)).or_default(), &message);
        }
        for ((node, class), frame) in frames {
            self.switchboard.send_frame(node, class, frames::GROUPS, &[frame.into()]);
        }
    }

    fn act_on(&mut self, event: Event, batch: &mut Batch, inputs: &mut Vec<Input>) {
        match event {
            Event::Committed(committed) => self.apply(committed, batch),
            Event::Leader(change) => self.leader_changed(change, inputs),
            Event::Lost { group, ticket } | Event::Unknown { group, ticket } => {
                if self.proposed.remove(&ticket).is_some() {
                    self.falter(group);
                }
            }
            Event::Install { group, snapshot } => self.install(group, &snapshot, batch),
            Event::Broken { group } => {
                tracing::error!(%group, "the replica of this group has lost what it had promised");
            }
        }
    }

    fn apply(&mut self, committed: Committed, batch: &mut Batch) {
        let Committed { group, index, ticket, content, .. } = committed;
        self.last_applied.insert(group, index);
        match content {
            Content::Empty => {}
            Content::Members(members) => self.book.set_members(group, index, members, batch),
            Content::Payload(payload) if group == GroupId::METADATA => {
                self.apply_to_metadata(index, &payload);
            }
            Content::Payload(payload) => self.apply_to_queue(group, index, &payload),
        }
        if group == GroupId::METADATA {
            self.applied.insert(group, (index, self.journal.store().journal().last()));
        } else if let Some(up_to) = ticket.and_then(|ticket| self.proposed.remove(&ticket))
            && !self.faltering.contains_key(&group)
        {
            self.broker.agreed_on(QueueId(group.0), up_to, self.clock.now());
        }
    }

    fn apply_to_queue(&mut self, group: GroupId, index: Index, payload: &Bytes) {
        match self.broker.apply_to_queue(QueueId(group.0), index.0, payload) {
            Ok(position) => drop(self.applied.insert(group, (index, position))),
            Err(_) => tracing::error!(%group, %index, "a queue's command makes no sense"),
        }
    }

    fn apply_to_metadata(&self, index: Index, payload: &Bytes) {
        let mut reader = Reader::new(payload);
        let (Some(node), Some(number)) = (reader.varint(), reader.varint()) else {
            return tracing::error!(%index, "a command makes no sense");
        };
        let outcome = self.broker.apply_agreed(index.0, reader.rest(), self.clock.now());
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return tracing::error!(%index, %error, "a command cannot be applied"),
        };
        let node = NodeNumber(u32::try_from(node).unwrap_or(0));
        if node == self.switchboard.me {
            self.switchboard.applied_here(number, outcome);
        } else {
            let number = frames::put_number(number);
            self.switchboard.send_frame(node, Class::Control, frames::APPLIED, &[number.into()]);
            self.switchboard.notify();
        }
    }

    fn leader_changed(&mut self, change: LeaderChange, inputs: &mut Vec<Input>) {
        let LeaderChange { group, term, leader, is_self } = change;
        if group == GroupId::METADATA {
            self.switchboard.set_leader(leader.map(ReplicaId::node));
            return self.membership.leads(is_self);
        }
        let queue = QueueId(group.0);
        self.reconcile.look_again(group);
        self.faltering.remove(&group);
        if is_self {
            self.broker.leads(queue, term.0, self.clock.now());
            self.propose(group, inputs);
        } else {
            self.broker.ceases_to_lead(queue);
        }
    }

    /// Follows what was agreed on about the nodes, and has the right ones vote.
    fn tend_members(&mut self) {
        let Self { host, broker, switchboard, clock, up, .. } = self;
        let change = self.membership.tend((host, broker, switchboard), up, clock.now());
        if let Some((voters, learners)) = change {
            let ticket = self.ticket();
            let group = GroupId::METADATA;
            self.turn(&mut vec![Input::ChangeMembers { group, voters, learners, ticket }]);
        }
    }

    /// Lets logs forget what is applied and safe.
    fn compact(&mut self, inputs: &mut Vec<Input>) {
        let durable = self.journal.durable();
        let host = &self.host;
        self.applied.retain(|group, (index, position)| {
            let is_due = *position <= durable && host.log_octets(*group) >= COMPACT_OCTETS;
            if is_due {
                inputs.push(Input::Compact { group: *group, up_to: *index });
            }
            !is_due
        });
    }

    fn tell_beliefs(&mut self) {
        let now = self.clock.now();
        if now < self.next_beliefs {
            return;
        }
        self.next_beliefs = now + BELIEFS_EVERY;
        for node in &self.up {
            let beliefs = self.host.beliefs(*node);
            if !beliefs.is_empty() {
                let octets = frames::put_beliefs(&beliefs).into();
                let class = Class::Control;
                self.switchboard.send_frame(*node, class, frames::BELIEFS, &[octets]);
            }
        }
    }
}
