//! What a broker knows: virtual hosts, exchanges, bindings, queues, and how a message finds its
//! way.
//!
//! Here, and nowhere else below `net`, are locks: one for each queue, one for each virtual host's
//! topology. A queue's lock is taken last; under it only leaves are touched (an outbox, the timer,
//! the courier's bag), which wait for nobody.

mod access;
mod administration;
mod agreement;
mod annexes;
mod client;
mod courier;
mod dead_letter;
mod expiration;
mod facts;
mod hosted;
mod origins;
mod pace;
mod parameters;
mod pattern;
mod policy;
mod ports;
mod presence;
pub mod queue;
#[cfg(test)]
mod random;
mod recovery;
mod remote;
pub mod routing;
mod schedule;
#[cfg(test)]
mod tests;
pub mod topology;
mod views;
mod virtual_host;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use dashmap::DashMap;

pub use self::{
    access::{Authority, Directory, Hashing, PasswordHash, Permission, TopicPermission, User},
    administration::{ConnectionView, Missing, PermissionView, TopicPermissionView, Totals},
    agreement::{NotAdmitted, NotMoved, Unreadable},
    client::{Client, DeclaredQueue, Purpose, TakenMessage},
    facts::BadFact,
    origins::Origins,
    pattern::{BadPattern, Pattern},
    policy::{
        ApplyTo, MissingPolicy, Policy, PolicyDraft, PolicyFault, PolicyFaults, PolicyKind,
        PolicyView,
    },
    ports::{Agreed, Agreement, Fellows, Job, Journal, Outbox, Timer},
    recovery::{Backlog, Restoring},
    remote::{Parcel, QueueCopy},
    routing::{Binding, Destination},
    schedule::Schedule,
    topology::{
        ExchangeDeclaration, ExchangeRecord, LiveNode, Nodes, QueueDeclaration, QueueRecord,
    },
    views::{ConsumerView, QueueState, QueueView, Subscriber, Whereabouts},
};

use self::{
    agreement::Cluster,
    courier::{Cause, Courier, Letter},
    dead_letter::Buried,
    hosted::{Aftermath, Counts, Fate, Hosted, Surroundings, Taken, Together},
    parameters::Parameters,
    presence::Presence,
    queue::{Arrival, Command, Kept, Subscription},
    remote::Fellowship,
    virtual_host::VirtualHost,
};
use crate::model::{
    ConnectionId, ConsumerId, LogPosition, Message, Moment, Position, PropertyView, QueueId,
    QueueName, RateLimits, Refusal, VirtualHostName,
};

/// Enqueued under the same locks: messages times queues. So nobody waits for long at a queue.
const ENQUEUED_AT_ONCE: usize = 4096;

/// The `delivery_mode` of messages that are to survive a restart.
const PERSISTENT: u8 = 2;

/// All virtual hosts and queues of a node.
#[derive(Debug)]
pub struct Broker {
    virtual_hosts: DashMap<VirtualHostName, Arc<VirtualHost>>,
    queues: DashMap<QueueId, Arc<Hosted>>,
    next_queue: AtomicU64,
    /// Seeds chance for what no client sends.
    next_draw: AtomicU64,
    directory: Arc<Directory>,
    /// The directory, or what is asked in its place.
    authority: Arc<dyn Authority>,
    presence: Presence,
    /// Connections that may be open; none is no limit.
    connection_max: Option<u64>,
    rate_limits: RateLimits,
    parameters: Parameters,
    timer: Arc<dyn Timer>,
    /// Absent: nothing survives the broker.
    journal: Option<Arc<dyn Journal>>,
    /// Absent: this node is all there is.
    cluster: Option<Cluster>,
    /// Absent: no queue is anywhere else.
    fellowship: Option<Fellowship>,
    courier: Courier,
    replies: client::ReplyRegistry,
    /// Memory is short: messages that must wait are written, transient ones too.
    saves_memory: Arc<AtomicBool>,
}

impl Broker {
    /// A broker without a virtual host. Without a journal nothing survives it.
    pub fn new(
        timer: Arc<dyn Timer>,
        directory: Directory,
        journal: Option<Arc<dyn Journal>>,
    ) -> Self {
        let directory = Arc::new(directory);
        Self {
            virtual_hosts: DashMap::new(),
            queues: DashMap::new(),
            next_queue: AtomicU64::new(1),
            next_draw: AtomicU64::new(0),
            authority: Arc::<Directory>::clone(&directory),
            directory,
            presence: Presence::default(),
            connection_max: None,
            rate_limits: RateLimits::default(),
            parameters: Parameters::default(),
            timer,
            journal,
            cluster: None,
            fellowship: None,
            courier: Courier::default(),
            replies: client::ReplyRegistry::default(),
            saves_memory: Arc::default(),
        }
    }

    /// The same broker, which lets so many connections in at most, each of which may publish so
    /// fast.
    #[must_use]
    pub fn limiting(self, connection_max: Option<u64>, rate_limits: RateLimits) -> Self {
        Self { connection_max, rate_limits, ..self }
    }

    /// The same broker, which asks `authority` who may come in and what they may do.
    #[must_use]
    pub fn asking(self, authority: Arc<dyn Authority>) -> Self {
        Self { authority, ..self }
    }

    /// The same broker, which writes messages that must wait to disk while `is_short`, whether they
    /// are persistent or not.
    #[must_use]
    pub fn saving_memory_when(self, is_short: Arc<AtomicBool>) -> Self {
        Self { saves_memory: is_short, ..self }
    }

    /// The way in for a new connection. `entropy` must be random: it seeds names nobody may guess.
    pub fn client(
        broker: &Arc<Self>,
        id: ConnectionId,
        outbox: Arc<dyn Outbox>,
        from_here: bool,
        entropy: u128,
    ) -> Client {
        Client::new(Arc::clone(broker), id, outbox, from_here, entropy)
    }

    /// Wakes a queue at a moment it asked for.
    pub fn wake(&self, queue: QueueId, now: Moment) {
        match self.remote(queue) {
            Some(remote) => self.command_remote(&remote, Command::Tick, now),
            None => self.command(queue, Command::Tick, now),
        }
    }

    /// Messages of a queue below a position can be read from disk now, and may leave memory.
    pub fn moved(&self, queue: QueueId, below: Position) {
        let kept = if queue.is_spilled() { Kept::Spilled } else { Kept::Durable };
        if let Some(hosted) = self.queue(queue.base()) {
            hosted.moved(kept, below);
        } else {
            self.moved_in_replica(queue, below);
        }
    }

    fn virtual_host(&self, name: &VirtualHostName) -> Option<Arc<VirtualHost>> {
        self.virtual_hosts.get(name).map(|entry| Arc::clone(&entry))
    }

    fn queue(&self, id: QueueId) -> Option<Arc<Hosted>> {
        self.queues.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// Those of the queues that are still there.
    fn queues(&self, ids: &[QueueId]) -> Vec<Arc<Hosted>> {
        ids.iter().filter_map(|id| self.queue(*id)).collect()
    }

    fn next_queue_id(&self) -> QueueId {
        QueueId(self.next_queue.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives a new queue its place. Called while the topology is being changed.
    fn host(&self, hosted: &Arc<Hosted>) {
        self.queues.insert(hosted.record.id, Arc::clone(hosted));
    }

    fn command(&self, queue: QueueId, command: Command, now: Moment) {
        if let Some(hosted) = self.queue(queue) {
            let aftermath = hosted.command(command, self.around(now));
            self.see_to(&hosted, aftermath, now);
        } else if let Some(remote) = self.remote(queue) {
            self.command_remote(&remote, command, now);
        }
    }

    /// Enqueues messages in all of `queues`, which are in the order of their numbers; tells of each
    /// message what became of it. Returns the last record that was written of them.
    fn enqueue(
        &self,
        queues: &[Arc<Hosted>],
        arrivals: impl ExactSizeIterator<Item = Arrival>,
        mut note: impl FnMut(usize, Fate),
        now: Moment,
    ) -> LogPosition {
        let at_once = (ENQUEUED_AT_ONCE / queues.len().max(1)).max(1);
        let mut arrivals = arrivals.enumerate();
        let mut written = LogPosition::default();
        while arrivals.len() > 0 {
            let mut together = Together::lock(queues, self.journal.as_ref(), self.around(now));
            for (index, arrival) in arrivals.by_ref().take(at_once) {
                note(index, together.enqueue(arrival, |_| true, now));
            }
            written = written.max(self.finish(together, now));
        }
        written
    }

    /// Writes what was done to several queues, and sees to what follows from it.
    fn finish(&self, together: Together<'_>, now: Moment) -> LogPosition {
        let (written, aftermaths) = together.finish(self.around(now));
        for (hosted, aftermath) in aftermaths {
            self.see_to(hosted, aftermath, now);
        }
        written
    }

    fn subscribe(
        &self,
        hosted: &Hosted,
        subscription: Subscription,
        reached_by: (Subscriber, Arc<dyn Outbox>),
        now: Moment,
    ) -> Result<(), Refusal> {
        let aftermath = hosted.subscribe(subscription, reached_by, self.around(now))?;
        self.see_to(hosted, aftermath, now);
        Ok(())
    }

    fn unsubscribe(&self, hosted: &Hosted, consumer: ConsumerId, now: Moment) {
        let aftermath = hosted.unsubscribe(consumer, self.around(now));
        self.see_to(hosted, aftermath, now);
    }

    fn take(&self, hosted: &Hosted, get: Command, now: Moment) -> Result<Option<Taken>, Refusal> {
        let (taken, aftermath) = hosted.take(get, self.around(now))?;
        self.see_to(hosted, aftermath, now);
        Ok(taken)
    }

    /// Drops the ready messages; says how many, and what must be durable for them not to come back.
    fn purge(&self, hosted: &Hosted, now: Moment) -> Result<(u64, LogPosition), Refusal> {
        let (purged, aftermath) = hosted.purge(self.around(now))?;
        Ok((purged, self.see_to(hosted, aftermath, now)))
    }

    /// What is in a queue; `touch` renews its lease. `None` when it has gone.
    fn counts(&self, hosted: &Hosted, touch: bool, now: Moment) -> Option<Counts> {
        let (counts, aftermath) = hosted.counts(touch, self.around(now));
        self.see_to(hosted, aftermath, now);
        counts
    }

    /// Deletes a queue if `condition` allows it, and says how many messages it held, and what must
    /// be durable for the queue not to come back.
    fn end_queue(
        &self,
        hosted: &Hosted,
        condition: impl FnOnce(Counts) -> Result<(), Refusal>,
        now: Moment,
    ) -> Result<(u64, LogPosition), Refusal> {
        let (ended, aftermath) = hosted.end(condition, self.around(now));
        if self.cluster.is_some() {
            return self.end_agreed(hosted, ended, aftermath, now);
        }
        let position = self.see_to(hosted, aftermath, now);
        ended.map(|counts| (counts.ready, position))
    }

    /// Deletes a queue whatever is in it.
    fn delete_queue(&self, queue: QueueId, now: Moment) {
        if let Some(hosted) = self.queue(queue) {
            let (_, aftermath) = hosted.end(|_| Ok(()), self.around(now));
            self.see_to(&hosted, aftermath, now);
        }
    }

    /// Takes a queue whose life has ended out of the topology; in a cluster, once all agree to it.
    fn remove(&self, hosted: &Hosted) -> LogPosition {
        let id = hosted.record.id;
        if self.cluster.is_some() {
            self.remove_later(&hosted.home, id);
            return LogPosition::default();
        }
        let home = (&hosted.home, ConnectionId::default());
        let removed = self.change(home, |topology| Ok(((), topology.delete_queue(id))));
        self.take_place(hosted);
        removed.map_or_else(|_nothing_refuses| LogPosition::default(), |((), position)| position)
    }

    /// Takes the queue of that name out of the topology if its life has ended, without waiting for
    /// the thread that ended it.
    fn remove_ended(&self, home: &VirtualHost, name: &QueueName, now: Moment) {
        let record = home.topology().queue_named(name).map(Arc::clone);
        if let Some(hosted) = record.and_then(|record| self.queue(record.id))
            && hosted.is_gone()
        {
            self.courier.carry(self, now);
            self.remove(&hosted);
        }
    }

    /// Routes one letter to the queues it reaches. What dies of it in turn waits in the bag of the
    /// courier, who is under way.
    fn deliver_letter(&self, letter: &Letter, now: Moment) {
        let (arrival, ids) = match &letter.cause {
            Cause::Death(reason, way) => {
                let name = &letter.queue.name;
                let buried = dead_letter::bury(&letter.message, *reason, name, way, now);
                let start = buried.message.exchange();
                let mut ids = self.reached(letter, start, &buried, now);
                let topology = letter.home.topology();
                ids.retain(|id| {
                    let record = topology.queue(*id);
                    record.is_none_or(|it| !dead_letter::is_cycle(&buried.message, &it.name))
                });
                drop(topology);
                (arrival(buried.message), ids)
            }
            Cause::Due => {
                let Some(annex) = &letter.queue.annex else { return };
                let message = routing::released(&letter.message);
                let further_keys = routing::further_keys(&message, true);
                let due = Buried { message, further_keys };
                // Deleted meanwhile, or declared anew: the messages of the old one are gone.
                let is_there = letter.home.topology().has_annex(&annex.exchange, letter.queue.id);
                let start: &[u8] = if is_there { &annex.exchange } else { return };
                let ids = self.reached(letter, start, &due, now);
                (annexes::anew(due.message), ids)
            }
        };
        let (queues, remotes) = self.find_all(&ids);
        let is_far =
            self.queue(letter.queue.id).is_none() && self.remote(letter.queue.id).is_some();
        if is_far || !remotes.is_empty() {
            return self.deliver_far(letter, &arrival, &ids, now);
        }
        let mut together = Together::lock(&queues, self.journal.as_ref(), self.around(now));
        together.enqueue(arrival, |_| true, now);
        // One record: a crash neither loses the letter nor leaves it in both places.
        letter.from.into_iter().for_each(|from| together.leave(letter.queue.id, from));
        self.finish(together, now);
    }

    fn reached(
        &self,
        letter: &Letter,
        start: &[u8],
        Buried { message, further_keys }: &Buried,
        now: Moment,
    ) -> Vec<QueueId> {
        let mut ids = Vec::new();
        let topology = letter.home.topology();
        self.find_way(&topology, (start, message), further_keys, now, &mut ids);
        ids
    }

    /// Does what a queue asked for beyond its own lock. What died in a queue is carried before the
    /// journal forgets the queue: a crash in between must not lose it. Returns the last record that
    /// was written.
    fn see_to(&self, hosted: &Hosted, aftermath: Aftermath, now: Moment) -> LogPosition {
        if aftermath.deaths {
            self.courier.carry(self, now);
        }
        if aftermath.over { self.remove(hosted) } else { aftermath.written }
    }

    fn around(&self, now: Moment) -> Surroundings<'_> {
        let saves_memory = self.saves_memory.load(Ordering::Relaxed);
        Surroundings { timer: &*self.timer, courier: &self.courier, now, saves_memory }
    }
}

/// A dead letter as an arrival: it has a priority, but no time to live of its own any more.
fn arrival(message: Message) -> Arrival {
    let view = PropertyView::of(message.properties()).unwrap_or_default();
    let priority = view.priority.unwrap_or(0);
    let persistent = view.delivery_mode == Some(PERSISTENT);
    Arrival { message, priority, time_to_live: None, persistent }
}
