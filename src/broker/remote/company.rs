//! The queues of a cluster that are mirrored, or whose one copy is elsewhere, and the nodes that
//! share them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use dashmap::DashMap;

use super::{
    Remote,
    parcel::Parcel,
    replica::{Copy, Replica},
    sender::{Ticket, tell},
    sight::{Company, Rest},
};
use crate::{
    broker::{
        Broker,
        courier::Letter,
        hosted::Hosted,
        ports::{Fellows, Journal, Outbox},
        queue::{Arrival, Command, Restored},
    },
    model::{
        Batch, ConsumerId, Decided, LogPosition, Meaningless, Moment, NodeNumber, Position,
        QueueId, Settlement,
    },
};

/// What makes a node one of several that share queues.
#[derive(Debug)]
pub(in crate::broker) struct Fellowship {
    incarnation: u64,
    fellows: Arc<dyn Fellows>,
    queues: DashMap<QueueId, Arc<Remote>>,
    /// Which queue's messages the store has under a number.
    pub(super) contents: DashMap<QueueId, QueueId>,
    /// The other nodes that are there.
    present: Mutex<BTreeMap<NodeNumber, u64>>,
    /// Grows whenever a node comes or goes: while it stays, so does who can be reached.
    version: AtomicU64,
}

/// The messages of a replica at one moment.
#[derive(Debug)]
pub struct QueueCopy(Copy);

impl QueueCopy {
    /// Brings them to `send`, in order, in parts of about so many octets; the last one may be
    /// empty. False when one cannot be read, or as soon as `send` says so.
    pub fn for_each_part(
        self,
        journal: &dyn Journal,
        octets: usize,
        send: impl FnMut(Vec<(Position, Bytes)>) -> bool,
    ) -> bool {
        self.0.for_each_part(journal, octets, send)
    }
}

/// What several queues say to one message.
#[derive(Debug)]
pub(in crate::broker) struct Verdict {
    undecided: AtomicU32,
    refused: AtomicBool,
}

impl Verdict {
    /// Of so many queues.
    pub(in crate::broker) fn of(queues: usize) -> Arc<Self> {
        let undecided = AtomicU32::new(u32::try_from(queues).unwrap_or(u32::MAX));
        Arc::new(Self { undecided, refused: AtomicBool::new(false) })
    }

    /// One queue has decided. The last one gives the verdict: whether any refused.
    pub(in crate::broker) fn decide(&self, refused: bool) -> Option<bool> {
        if refused {
            self.refused.store(true, Ordering::Relaxed);
        }
        let is_last = self.undecided.fetch_sub(1, Ordering::AcqRel) == 1;
        is_last.then(|| self.refused.load(Ordering::Relaxed))
    }

    fn is_given(&self) -> bool {
        self.undecided.load(Ordering::Acquire) == 0
    }
}

/// The first octet of the key under which a replica's fact stands.
const REPLICA: u8 = 32;

/// The key of a replica's fact.
pub(super) fn replica_key(group: QueueId) -> Vec<u8> {
    let mut key = vec![REPLICA];
    key.extend_from_slice(&group.0.to_be_bytes());
    key
}

/// The group whose replica's fact stands under a key.
pub(in crate::broker) fn read_replica_key(key: &[u8]) -> Option<QueueId> {
    let (kind, group) = key.split_first()?;
    let group = (*kind == REPLICA).then_some(group)?;
    Some(QueueId(u64::from_be_bytes(group.try_into().ok()?)))
}

impl Fellowship {
    fn new(incarnation: u64, fellows: Arc<dyn Fellows>) -> Self {
        Self {
            incarnation,
            fellows,
            queues: DashMap::new(),
            contents: DashMap::new(),
            present: Mutex::default(),
            version: AtomicU64::new(0),
        }
    }

    fn present(&self) -> MutexGuard<'_, BTreeMap<NodeNumber, u64>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the other nodes.
    pub(in crate::broker) fn fellows(&self) -> &dyn Fellows {
        &*self.fellows
    }

    /// Whether another node is there.
    pub(super) fn is_present(&self, node: NodeNumber) -> bool {
        self.present().contains_key(&node)
    }

    fn find(&self, queue: QueueId) -> Option<Arc<Remote>> {
        self.queues.get(&queue).map(|remote| Arc::clone(&remote))
    }

    fn has_changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// All of them, in the order of their numbers.
    fn all(&self) -> Vec<Arc<Remote>> {
        let mut all: Vec<_> = self.queues.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_unstable_by_key(|remote| remote.record.id);
        all
    }
}

/// What the driver of the groups tells the broker, and asks of it.
impl Broker {
    /// The same broker, which shares queues with other nodes. The incarnation counts the starts of
    /// this node. To be said after [`Self::in_cluster`], before anything is restored.
    #[must_use]
    pub fn among(self, incarnation: u64, fellows: Arc<dyn Fellows>) -> Self {
        Self { fellowship: Some(Fellowship::new(incarnation, fellows)), ..self }
    }

    /// Another node is there.
    pub fn node_up(&self, node: NodeNumber, incarnation: u64, now: Moment) {
        let Some(fellowship) = &self.fellowship else { return };
        fellowship.present().insert(node, incarnation);
        for remote in fellowship.all() {
            self.act_on(&remote, now, |company| remote.node_up(node, incarnation, company));
        }
        fellowship.has_changed();
    }

    /// Another node is gone, or what was sent to it was lost.
    pub fn node_down(&self, node: NodeNumber, now: Moment) {
        let Some(fellowship) = &self.fellowship else { return };
        fellowship.present().remove(&node);
        for remote in fellowship.all() {
            self.act_on(&remote, now, |company| remote.node_down(node, company));
        }
        fellowship.has_changed();
    }

    /// Another node says something about a queue.
    pub fn receive(&self, from: NodeNumber, parcel: Parcel, now: Moment) {
        let Parcel { queue, term, content } = parcel;
        let Some(remote) = self.remote_or_own(queue) else { return };
        self.act_on(&remote, now, |company| remote.receive(from, term, content, company));
    }

    /// This node leads a queue's group, and everything that was agreed on before is applied.
    pub fn leads(&self, group: QueueId, term: u64, now: Moment) {
        let Some((fellowship, remote)) = self.fellowship.as_ref().zip(self.remote(group)) else {
            return;
        };
        let others: Vec<_> = fellowship.present().keys().copied().collect();
        self.act_on(&remote, now, |company| {
            remote.begin_to_lead(term, others.into_iter(), company)
        });
    }

    /// This node does not lead a queue's group, or no longer.
    pub fn ceases_to_lead(&self, group: QueueId) {
        if let Some(remote) = self.remote(group) {
            remote.cease_to_lead();
        }
    }

    /// What a queue's group is to agree on next, and a number to say that it has by
    /// ([`Self::agreed_on`]).
    pub fn proposal(&self, group: QueueId) -> Option<(Bytes, u64)> {
        self.remote(group)?.proposal()
    }

    /// Applies what a queue's group has agreed on. Once the position that is returned is durable,
    /// its log may forget it.
    ///
    /// # Errors
    /// When the command makes no sense: the replica cannot go on.
    pub fn apply_to_queue(
        &self,
        group: QueueId,
        index: u64,
        command: &Bytes,
    ) -> Result<LogPosition, Meaningless> {
        let (Some(remote), Some(journal)) = (self.remote(group), &self.journal) else {
            return Ok(LogPosition::default());
        };
        let mut batch = Batch::default();
        let Some(fact) = remote.apply(index, command, &mut batch)? else {
            return Ok(LogPosition::default());
        };
        batch.put(&replica_key(group), &fact);
        batch.let_wait();
        Ok(journal.append(&mut batch))
    }

    /// What this node proposed has been agreed on, and applied here.
    pub fn agreed_on(&self, group: QueueId, up_to: u64, now: Moment) {
        if let Some(remote) = self.remote(group) {
            self.act_on(&remote, now, |company| remote.reached(up_to, company));
        }
    }

    /// A copy of a queue's replica here, for a node that lags behind: what is to be said of it at
    /// the end, and what brings its messages, in parts of about so many octets, to `send`. That may
    /// take long, and ends when `send` says false.
    pub fn copy_queue(&self, group: QueueId) -> Option<(Vec<u8>, QueueCopy)> {
        let mut copy = self.remote(group)?.copy()?;
        Some((std::mem::take(&mut copy.head), QueueCopy(copy)))
    }

    /// A part of a copy of a queue's replica has come from the leader. Returns the record that has
    /// it.
    pub fn take_copied(
        &self,
        group: QueueId,
        is_first: bool,
        messages: &[(Position, Bytes)],
    ) -> LogPosition {
        let (Some(fellowship), Some(journal)) = (&self.fellowship, &self.journal) else {
            return LogPosition::default();
        };
        let Some(remote) = self.remote(group) else { return LogPosition::default() };
        let mut batch = Batch::default();
        if let Some(contents) = remote.take_part(is_first, messages, &mut batch) {
            fellowship.contents.insert(contents, group);
        }
        journal.append(&mut batch)
    }

    /// The copy that has come takes the place of the queue's replica; what must be written is added
    /// to `batch`. False when it is not there.
    pub fn install_copied(&self, group: QueueId, head: &[u8], batch: &mut Batch) -> bool {
        let (Some(fellowship), Some(remote)) = (&self.fellowship, self.remote(group)) else {
            return false;
        };
        let Some((fact, old)) = remote.install(head, batch) else { return false };
        batch.put(&replica_key(group), &fact);
        fellowship.contents.remove(&old);
        true
    }

    /// How many queues each node leads, or has the only copy of, as far as is known here.
    pub fn queues_led(&self) -> BTreeMap<NodeNumber, u64> {
        let mut led = BTreeMap::new();
        let me = self.node();
        // Counted as they come: every declaration asks, and the order does not matter.
        let remotes = self.fellowship.iter().flat_map(|fellowship| fellowship.queues.iter());
        for leader in remotes.filter_map(|remote| remote.leader(me)) {
            *led.entry(leader).or_default() += 1;
        }
        *led.entry(me).or_default() += self.queues.len() as u64;
        led
    }

    /// The last command that a replica here has applied; `None` when there is no replica.
    pub fn applied(&self, group: QueueId) -> Option<u64> {
        self.remote(group)?.applied()
    }
}

/// What the rest of the broker asks of queues that are not simply here.
impl Broker {
    /// Differs from an earlier one when other queues may be out of reach.
    pub(in crate::broker) fn company_version(&self) -> u64 {
        self.fellowship.as_ref().map_or(0, |it| it.version.load(Ordering::Acquire))
    }

    /// The queues as [`Self::queues`], if all are simply here; or all of them that can be reached,
    /// as other nodes see them, too.
    pub(in crate::broker) fn find_all(
        &self,
        ids: &[QueueId],
    ) -> (Vec<Arc<Hosted>>, Vec<Arc<Remote>>) {
        let is_elsewhere = |id: &QueueId| !self.queues.contains_key(id);
        if self.fellowship.is_none() || !ids.iter().any(is_elsewhere) {
            return (self.queues(ids), Vec::new());
        }
        let remotes = ids.iter().filter_map(|id| self.remote_or_own(*id));
        (Vec::new(), remotes.filter(|remote| remote.is_reachable()).collect())
    }

    pub(in crate::broker) fn remote(&self, queue: QueueId) -> Option<Arc<Remote>> {
        self.fellowship.as_ref()?.find(queue)
    }

    /// The same; a queue whose one copy is here can be reached by other nodes from now on.
    fn remote_or_own(&self, queue: QueueId) -> Option<Arc<Remote>> {
        if let Some(remote) = self.remote(queue) {
            return Some(remote);
        }
        let fellowship = self.fellowship.as_ref()?;
        let hosted = self.queue(queue)?;
        let remote = Arc::new(Remote::of_hosted(&hosted, fellowship.incarnation));
        fellowship.queues.insert(queue, Arc::clone(&remote));
        Some(remote)
    }

    /// Applies a command without an answer to a queue that is led here or elsewhere.
    pub(in crate::broker) fn command_remote(
        &self,
        remote: &Arc<Remote>,
        command: Command,
        now: Moment,
    ) {
        self.act_on(remote, now, |company| match command {
            Command::Settle { positions, outcome } => remote.settle(positions, outcome, company),
            Command::Replenish { consumer, octets } => remote.replenish(consumer, octets, company),
            Command::Unsubscribe { consumer } => remote.detach(consumer, company),
            Command::Resume => remote.resume(company),
            Command::Tick => remote.wake(company),
            command => remote.command(command, company),
        });
    }

    /// A consumer of this node leaves a queue that is not simply here.
    pub(in crate::broker) fn detach_far(
        &self,
        remote: &Arc<Remote>,
        consumer: ConsumerId,
        now: Moment,
    ) {
        self.command_remote(remote, Command::Unsubscribe { consumer }, now);
    }

    /// Publishes to a queue that is not simply here.
    pub(in crate::broker) fn publish_to(
        &self,
        remote: &Arc<Remote>,
        publications: Vec<(Arrival, Ticket)>,
        now: Moment,
    ) {
        self.act_on(remote, now, |company| remote.publish(publications.into_iter(), company));
    }

    /// The store has moved messages that a replica here keeps.
    pub(in crate::broker) fn moved_in_replica(&self, contents: QueueId, below: Position) -> bool {
        let Some(fellowship) = &self.fellowship else { return false };
        let group = fellowship.contents.get(&contents).map(|group| *group);
        let remote = group.and_then(|group| fellowship.find(group));
        remote.iter().for_each(|remote| remote.moved(contents, below));
        remote.is_some()
    }

    /// Gives a place to a queue that is mirrored, or lives elsewhere. `kept` is the replica's fact
    /// with what the store has of it, after a restart.
    pub(in crate::broker) fn place_remote(
        &self,
        remote: Remote,
        kept: Option<(Bytes, Restored)>,
        now: Moment,
    ) {
        let Some(fellowship) = &self.fellowship else { return };
        let record = Arc::clone(&remote.record);
        let node = self.node();
        let may_be_needed = record.placement.moving && kept.is_some();
        if record.placement.is_on(node) || may_be_needed {
            let replica = kept.and_then(|(fact, restored)| Replica::again(&fact, restored));
            let replica = replica.unwrap_or_else(|| Replica::new(record.id));
            fellowship.contents.insert(replica.contents, record.id);
            remote.mirror(replica);
            fellowship.fellows.keep(record.id, &record.placement);
        }
        let home = record.placement.home;
        let incarnation = fellowship.present().get(&home).copied();
        if let Some(incarnation) = incarnation {
            // It has nothing yet that it could say to whoever leads.
            drop(self.with(now, |company| remote.node_up(home, incarnation, company)));
        }
        let remote = Arc::new(remote);
        fellowship.queues.insert(record.id, Arc::clone(&remote));
        self.look_for_leader(&remote, now);
    }

    /// A queue is deleted that is mirrored, or lives elsewhere, or is reached from elsewhere.
    pub(in crate::broker) fn displace_remote(&self, queue: QueueId, now: Moment) {
        let Some(fellowship) = &self.fellowship else { return };
        let Some((_, remote)) = fellowship.queues.remove(&queue) else { return };
        self.give_up_replica(&remote);
        self.timer.forget(queue);
        let rest = remote.end();
        self.see_to_remote(&remote, rest, now);
    }

    /// Does something to a queue, and what follows from it beyond the queue's own lock.
    pub(super) fn act_on(
        &self,
        remote: &Remote,
        now: Moment,
        act: impl FnOnce(Company<'_>) -> Rest,
    ) {
        let rest = self.with(now, act);
        self.see_to_remote(remote, rest, now);
    }

    /// Does what a queue asked for beyond its own lock.
    fn see_to_remote(&self, remote: &Remote, rest: Rest, now: Moment) {
        let Rest { decided, deaths, over, notify } = rest;
        if deaths {
            self.courier.carry(self, now);
        }
        self.tell_decided(decided);
        if over {
            self.remove_later(&remote.home, remote.record.id);
        }
        if notify {
            self.notify_fellows();
        }
    }

    /// Tells publishers, and lets dead letters leave where they were.
    fn tell_decided(&self, decided: Vec<(Ticket, bool)>) {
        let mut letters = Vec::new();
        let mut sent: Option<Arc<dyn Outbox>> = None;
        let confirms = decided.into_iter().filter_map(|(ticket, refused)| match ticket {
            Ticket::Nobody => None,
            Ticket::Sent { outbox } => {
                let is_told = sent.as_ref().is_some_and(|told| Arc::ptr_eq(told, &outbox));
                if !is_told {
                    outbox.decided(&mut Vec::new());
                    sent = Some(outbox);
                }
                None
            }
            Ticket::Confirm { outbox, channel, number, shared } => {
                let refused = match shared {
                    Some(shared) => shared.decide(refused)?,
                    None => refused,
                };
                Some((outbox, Decided { channel, number, refused }))
            }
            Ticket::Transaction(verdict) => {
                if verdict.decide(refused).is_some() {
                    self.notify_fellows();
                }
                None
            }
            Ticket::Letter { queue, from, shared } => {
                let is_decided = shared.is_none_or(|shared| shared.decide(refused).is_some());
                if is_decided {
                    letters.push((queue, from));
                }
                None
            }
        });
        tell(confirms.collect::<Vec<_>>().into_iter());
        letters.into_iter().for_each(|(queue, from)| self.letter_arrived(queue, from));
    }

    pub(super) fn with(&self, now: Moment, act: impl FnOnce(Company<'_>) -> Rest) -> Rest {
        let (Some(fellowship), Some(store)) = (&self.fellowship, &self.journal) else {
            return Rest::default();
        };
        act(Company {
            me: self.node(),
            incarnation: fellowship.incarnation,
            fellows: &fellowship.fellows,
            store,
            around: self.around(now),
        })
    }

    /// Brings a letter to queues that are not all simply here. It leaves its place when all of them
    /// have it: a crash in between leaves it in both places, and loses nothing.
    pub(in crate::broker) fn deliver_far(
        &self,
        letter: &Letter,
        arrival: &Arrival,
        ids: &[QueueId],
        now: Moment,
    ) {
        let remotes = ids.iter().filter_map(|id| self.remote_or_own(*id));
        let remotes: Vec<_> = remotes.filter(|remote| remote.is_reachable()).collect();
        if remotes.is_empty() {
            letter.from.into_iter().for_each(|from| self.letter_arrived(letter.queue.id, from));
        }
        let shared = Verdict::of(remotes.len());
        for remote in &remotes {
            let ticket = match letter.from {
                None => Ticket::Nobody,
                Some(from) => {
                    let shared = Some(Arc::clone(&shared));
                    Ticket::Letter { queue: letter.queue.id, from, shared }
                }
            };
            self.publish_to(remote, vec![(arrival.clone(), ticket)], now);
        }
    }

    /// A dead letter has reached where it went: it leaves where it was.
    fn letter_arrived(&self, queue: QueueId, from: Position) {
        if let Some(hosted) = self.hosted_or_led(queue) {
            hosted.leave(from);
        }
    }

    fn notify_fellows(&self) {
        if let Some(fellowship) = &self.fellowship {
            fellowship.fellows.notify();
        }
    }

    /// Waits until every queue has decided; whether any has refused. `None`: that takes too long.
    pub(in crate::broker) fn wait_for(&self, verdict: &Verdict) -> Option<bool> {
        let fellowship = self.fellowship.as_ref()?;
        let is_given = fellowship.fellows.wait(&mut || verdict.is_given());
        is_given.then(|| verdict.refused.load(Ordering::Relaxed))
    }

    /// Ends or gives back deliveries, wherever their queues are.
    pub(in crate::broker) fn settle_all(&self, settlements: Vec<Settlement>, now: Moment) {
        for Settlement { queue, positions, outcome } in settlements {
            self.command(queue, Command::Settle { positions, outcome }, now);
        }
    }

    /// The only copy of a queue is here, and other nodes may know it.
    pub(in crate::broker) fn hosted_or_led(&self, queue: QueueId) -> Option<Arc<Hosted>> {
        self.queue(queue).or_else(|| self.remote(queue)?.led())
    }
}
