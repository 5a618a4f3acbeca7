//! A queue at home: the machine behind its lock, the ways to its consumers, and what it asked for.

mod configuration;
mod leading;
mod marks;
mod together;
mod view;

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) use self::{
    configuration::Configuration,
    leading::Following,
    together::{Fate, Together},
};

use self::marks::Marks;
use super::{
    courier::{Cause, Courier, Letter},
    dead_letter::with_header,
    ports::{Journal, Outbox, Timer},
    queue::{Command, Effect, Kept, Queue, Restored, Shelf, Subscription},
    routing::Claim,
    topology::{self, QueueRecord},
    views::Subscriber,
    virtual_host::VirtualHost,
};
use crate::model::{
    AcknowledgementTimeout, Batch, ConnectionId, ConsumerId, Delivery, FieldValue, LogPosition,
    Message, Moment, Position, QueueKind, QueueOptions, Refusal, Resource, ShortString,
};

/// Room for so many effects is kept between calls. More are rare: all of a long queue has expired.
const KEPT: usize = 4096;

/// One queue of the node.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) record: Arc<QueueRecord>,
    pub(super) home: Arc<VirtualHost>,
    /// Absent: nothing of the queue is written.
    journal: Option<Arc<dyn Journal>>,
    /// As its options have it, for the channels that it delivers to.
    pub(super) timeout: AcknowledgementTimeout,
    state: Mutex<State>,
}

/// What the queue's lock guards.
#[derive(Debug)]
struct State {
    queue: Queue,
    consumers: BTreeMap<ConsumerId, Arc<Subscriber>>,
    /// The ways to the consumers' connections.
    ways: BTreeMap<ConnectionId, Way>,
    /// Kept for its memory; empty between calls.
    effects: Vec<Effect>,
    /// The connections that the current call delivers to; empty between calls.
    served: Vec<ConnectionId>,
    /// What is to be durable before messages may be handed out.
    marks: Marks,
    /// Messages had been written to save memory when its life ended.
    has_spilled: bool,
    /// The version of the topology that its options are from.
    configured: u64,
    /// The queue has been deleted: nothing is delivered, published or attached any more.
    gone: bool,
}

/// The way to one connection. What the current call delivers is gathered here, across the
/// connection's consumers, so that it keeps its order and the outbox is asked once.
#[derive(Debug)]
struct Way {
    outbox: Arc<dyn Outbox>,
    deliveries: Vec<Delivery>,
}

/// What the world beyond the queue's lock must be asked once it is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(super) struct Aftermath {
    /// Something died or became due here: the courier has work.
    pub(super) deaths: bool,
    /// The queue's life is over: delete it.
    pub(super) over: bool,
    /// The record that was written of the call, if there was anything to write.
    pub(super) written: LogPosition,
}

impl Aftermath {
    fn and(self, other: Self) -> Self {
        Self {
            deaths: self.deaths || other.deaths,
            over: self.over || other.over,
            written: self.written.max(other.written),
        }
    }
}

/// The numbers that a declaration, a purge and a deletion answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ready: u64,
    pub(super) unacknowledged: u64,
    pub(super) consumers: u64,
}

/// What [`Hosted::take`] found.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) position: Position,
    pub(super) message: Message,
    pub(super) redelivered: bool,
    pub(super) remaining: u64,
    /// What must be durable before anybody sees the message.
    pub(super) awaited: LogPosition,
}

/// What a call under the queue's lock may reach: leaf locks that never wait for a queue.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) timer: &'a dyn Timer,
    pub(super) courier: &'a Courier,
    pub(super) now: Moment,
    /// Memory is short: what must wait goes to disk.
    pub(super) saves_memory: bool,
}

impl Hosted {
    pub(super) fn new(
        record: Arc<QueueRecord>,
        home: Arc<VirtualHost>,
        configuration: Configuration,
        now: Moment,
    ) -> Self {
        let Configuration { options, version } = configuration;
        let timeout = AcknowledgementTimeout::new(options.consumer_timeout);
        let state = State {
            queue: empty_queue(&record, options, now),
            consumers: BTreeMap::new(),
            ways: BTreeMap::new(),
            effects: Vec::new(),
            served: Vec::new(),
            marks: Marks::default(),
            has_spilled: false,
            configured: version,
            gone: false,
        };
        Self { record, home, journal: None, timeout, state: Mutex::new(state) }
    }

    /// The same queue, of which a journal keeps what must survive, with what a restart has found of
    /// it.
    pub(super) fn kept_in(self, journal: Option<Arc<dyn Journal>>, restored: Restored) -> Self {
        let Some(journal) = journal else { return self };
        let Self { record, home, timeout, state, .. } = self;
        let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let shelf = Shelf::new(Arc::clone(&journal), record.id);
        state.queue = state.queue.kept_on(shelf, record.durable).restored(restored);
        Self { record, home, journal: Some(journal), timeout, state: Mutex::new(state) }
    }

    /// Names the queue in a refusal.
    pub(super) fn resource(&self) -> Resource {
        topology::queue_resource(&self.home.name, &self.record.name)
    }

    /// Applies one command that has no answer.
    pub(super) fn command(&self, command: Command, around: Surroundings<'_>) -> Aftermath {
        let mut state = self.lock();
        if state.gone {
            return Aftermath::default();
        }
        state.apply(command, around.now);
        self.conclude(&mut state, around)
    }

    /// Gives the queue the options of a version of its topology, if it does not have later ones;
    /// when they are what it has, nothing happens to it.
    pub(super) fn configure(
        &self,
        options: &QueueOptions,
        version: u64,
        around: Surroundings<'_>,
    ) -> Aftermath {
        let mut state = self.lock();
        if state.gone || version <= state.configured {
            return Aftermath::default();
        }
        state.configured = version;
        if state.queue.options() == options {
            return Aftermath::default();
        }
        // What has expired by now has died under the old options, and goes their way.
        state.apply(Command::Tick, around.now);
        let before = self.conclude(&mut state, around);
        if state.gone {
            return before;
        }
        self.timeout.set(options.consumer_timeout);
        state.apply(Command::Configure(Box::new(options.clone())), around.now);
        before.and(self.conclude(&mut state, around))
    }

    /// Messages below a position can be read from disk now.
    pub(super) fn moved(&self, kept: Kept, below: Position) {
        self.lock().queue.moved(kept, below);
    }

    /// Attaches a consumer.
    ///
    /// # Errors
    /// When the queue has just gone, or somebody has it for himself.
    pub(super) fn subscribe(
        &self,
        subscription: Subscription,
        (subscriber, outbox): (Subscriber, Arc<dyn Outbox>),
        around: Surroundings<'_>,
    ) -> Result<Aftermath, Refusal> {
        let mut state = self.lock();
        if state.gone {
            return Err(Refusal::NotFound(self.resource()));
        }
        if state.queue.may_subscribe(subscription.exclusive).is_err() {
            return Err(Refusal::InExclusiveUse(self.resource()));
        }
        state.attach(subscriber, outbox);
        state.apply(Command::Subscribe(subscription), around.now);
        Ok(self.conclude(&mut state, around))
    }

    /// Detaches a consumer: no delivery to it is made after this returns.
    pub(super) fn unsubscribe(&self, consumer: ConsumerId, around: Surroundings<'_>) -> Aftermath {
        let mut state = self.lock();
        if !state.detach(consumer) {
            return Aftermath::default();
        }
        state.apply(Command::Unsubscribe { consumer }, around.now);
        self.conclude(&mut state, around)
    }

    /// Takes one message, as `basic.get` does.
    ///
    /// # Errors
    /// When the queue has just gone.
    pub(super) fn take(
        &self,
        get: Command,
        around: Surroundings<'_>,
    ) -> Result<(Option<Taken>, Aftermath), Refusal> {
        let mut state = self.lock();
        if state.gone {
            return Err(Refusal::NotFound(self.resource()));
        }
        state.apply(get, around.now);
        let answer = state
            .effects
            .iter()
            .position(|effect| matches!(effect, Effect::Got { .. }))
            .map(|index| state.effects.remove(index));
        let taken = match answer {
            Some(Effect::Got { position, message, redelivered, delivery_count, remaining }) => {
                let message = self.counted(message, delivery_count);
                let awaited = LogPosition::default();
                Some(Taken { position, message, redelivered, remaining, awaited })
            }
            _ => None,
        };
        let aftermath = self.conclude(&mut state, around);
        let awaited = |taken: &Taken| state.marks.awaited_by(taken.position);
        let taken = taken.map(|taken| Taken { awaited: awaited(&taken), ..taken });
        Ok((taken, aftermath))
    }

    /// Drops the ready messages, and says how many they were.
    ///
    /// # Errors
    /// When the queue has just gone.
    pub(super) fn purge(&self, around: Surroundings<'_>) -> Result<(u64, Aftermath), Refusal> {
        let mut state = self.lock();
        if state.gone {
            return Err(Refusal::NotFound(self.resource()));
        }
        state.apply(Command::Purge, around.now);
        let purged = state.effects.iter().find_map(|effect| match effect {
            Effect::Purged(messages) => Some(*messages),
            _ => None,
        });
        Ok((purged.unwrap_or(0), self.conclude_awaited(&mut state, around)))
    }

    /// What is in the queue, after what has expired by now has left. `None` when it is gone.
    pub(super) fn counts(
        &self,
        touch: bool,
        around: Surroundings<'_>,
    ) -> (Option<Counts>, Aftermath) {
        let mut state = self.lock();
        if state.gone {
            return (None, Aftermath::default());
        }
        let command = if touch { Command::Touch } else { Command::Tick };
        state.apply(command, around.now);
        let counts = state.counts();
        (Some(counts), self.conclude(&mut state, around))
    }

    /// Ends the queue's life, if `condition` allows it, and returns what was in it; nothing was if
    /// it has ended already. What has expired by now has left before, whatever the condition says.
    pub(super) fn end(
        &self,
        condition: impl FnOnce(Counts) -> Result<(), Refusal>,
        around: Surroundings<'_>,
    ) -> (Result<Counts, Refusal>, Aftermath) {
        let mut state = self.lock();
        let mut aftermath = Aftermath::default();
        if !state.gone {
            state.apply(Command::Tick, around.now);
            aftermath = self.conclude(&mut state, around);
        }
        if state.gone {
            return (Ok(Counts::default()), aftermath);
        }
        let counts = state.counts();
        let allowed = condition(counts);
        if allowed.is_ok() {
            self.finish(&mut state, around.now);
            aftermath.over = true;
        }
        (allowed.map(|()| counts), aftermath)
    }

    /// Whether messages were written to save memory, at any time.
    pub(super) fn has_spilled(&self) -> bool {
        let state = self.lock();
        state.has_spilled || state.queue.has_spilled()
    }

    /// Whether an annex sees a key for the first time.
    pub(super) fn claim(&self, claim: Claim, now: Moment) -> bool {
        self.lock().queue.claim(claim, now)
    }

    /// The last messages that an annex has kept.
    pub(super) fn recent(&self) -> Vec<Message> {
        self.lock().queue.recent()
    }

    /// How much an annex keeps.
    pub(super) fn annexed_count(&self) -> u64 {
        self.lock().queue.annexed_count()
    }

    /// An annex is gone with its exchange.
    pub(super) fn close(&self) {
        self.finish(&mut self.lock(), Moment::default());
    }

    /// Whether the queue's life has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = &self.journal
            && !state.marks.is_empty()
            && let Some(below) = state.marks.take_durable(journal.durable())
        {
            state.queue.clear(below);
        }
        state
    }

    /// Writes what has changed, then does what the queue asked for.
    fn conclude(&self, state: &mut State, around: Surroundings<'_>) -> Aftermath {
        let written = self.write(state, false);
        Aftermath { written, ..self.carry_out(state, around) }
    }

    /// The same, of what an answer waits for.
    fn conclude_awaited(&self, state: &mut State, around: Surroundings<'_>) -> Aftermath {
        let written = self.write(state, true);
        Aftermath { written, ..self.carry_out(state, around) }
    }

    /// Writes what has changed. Acknowledgements have no answer: unless somebody waits for it, what
    /// is written may go with what comes next.
    fn write(&self, state: &mut State, is_awaited: bool) -> LogPosition {
        let Some(journal) = &self.journal else { return LogPosition::default() };
        let mut batch = Batch::default();
        let mark = state.queue.changes().write(self.record.id, &mut batch);
        if batch.is_empty() {
            return LogPosition::default();
        }
        if mark.is_none() && !is_awaited {
            batch.let_wait();
        }
        let written = journal.append(&mut batch);
        self.note(mark, written, state);
        written
    }

    /// Remembers which messages may be handed out once the record is durable.
    fn note(&self, mark: Option<Position>, written: LogPosition, state: &mut State) {
        if let (Some(below), Some(journal)) = (mark, &self.journal) {
            state.marks.note(written, below);
            if state.queue.ready_count() > 0 {
                journal.wake_when_durable(written, self.record.id);
            }
        }
    }

    /// Does what the queue asked for, in order. Still under its lock, so that the order is kept.
    fn carry_out(&self, state: &mut State, around: Surroundings<'_>) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let mut effects = mem::take(&mut state.effects);
        for effect in effects.drain(..) {
            aftermath = aftermath.and(self.carry_out_one(effect, state, around));
        }
        effects.shrink_to(KEPT);
        state.effects = effects;
        for connection in state.served.drain(..) {
            if let Some(way) = state.ways.get_mut(&connection) {
                way.outbox.deliver(&mut way.deliveries);
            }
        }
        if aftermath.over {
            self.finish(state, around.now);
        }
        aftermath
    }

    /// The queue's life is over: its consumers are told, and its messages are dropped at once, for
    /// a connection's route cache may keep the rest of it for long.
    fn finish(&self, state: &mut State, now: Moment) {
        state.end();
        // As for a queue that cannot be found (RabbitMQ 3.12).
        self.timeout.set(None);
        state.has_spilled = state.queue.has_spilled();
        let Self { record, .. } = self;
        state.queue = Queue::new(record.options.clone(), record.auto_delete, now);
    }

    fn carry_out_one(
        &self,
        effect: Effect,
        state: &mut State,
        around: Surroundings<'_>,
    ) -> Aftermath {
        let mut aftermath = Aftermath::default();
        match effect {
            Effect::Deliver { consumer, position, message, redelivered, delivery_count } => {
                let message = self.counted(message, delivery_count);
                let queue = self.record.id;
                let way = state.ways.get_mut(&consumer.connection);
                let way = way.expect("the queue knows attached consumers only");
                if way.deliveries.is_empty() {
                    state.served.push(consumer.connection);
                }
                way.deliveries.push(Delivery { consumer, queue, position, redelivered, message });
            }
            Effect::DeadLetter { message, reason, from } => {
                let Some(way) = state.queue.options().dead_letter.clone() else {
                    // It died just before its queue was told to have no dead letters.
                    self.drop_dead(from);
                    return aftermath;
                };
                around.courier.receive(self.letter(message, Cause::Death(reason, way), from));
                aftermath.deaths = true;
            }
            Effect::Release { message, from } => {
                around.courier.receive(self.letter(message, Cause::Due, from));
                aftermath.deaths = true;
            }
            Effect::WakeAt(moment) => around.timer.wake_at(moment, self.record.id),
            Effect::Delete => aftermath.over = true,
            Effect::GotNothing | Effect::Got { .. } | Effect::Refused => {}
            Effect::Purged(_) | Effect::Repeated => {}
        }
        aftermath
    }

    /// A message that died here goes nowhere.
    fn drop_dead(&self, from: Option<Position>) {
        if let (Some(from), Some(journal)) = (from, &self.journal) {
            let mut batch = Batch::default();
            batch.settle(self.record.id, &[from.into()]);
            journal.append(&mut batch);
        }
    }

    fn letter(&self, message: Message, cause: Cause, from: Option<Position>) -> Letter {
        let (queue, home) = (Arc::clone(&self.record), Arc::clone(&self.home));
        Letter { message, cause, from, queue, home }
    }

    /// The message as a quorum queue delivers it again: with the count of its failed deliveries.
    fn counted(&self, message: Message, delivery_count: u32) -> Message {
        if delivery_count == 0 || self.record.options.kind != QueueKind::Quorum {
            return message;
        }
        let count = FieldValue::Int64(delivery_count.into());
        with_header(&message, ShortString::from_static("x-delivery-count"), count)
    }
}

/// A queue, or an annex of an exchange, with nothing in it.
fn empty_queue(record: &QueueRecord, options: QueueOptions, now: Moment) -> Queue {
    let queue = Queue::new(options, record.auto_delete, now);
    match &record.annex {
        Some(annex) => queue.annexed(&annex.plan),
        None => queue,
    }
}

impl State {
    fn attach(&mut self, subscriber: Subscriber, outbox: Arc<dyn Outbox>) {
        let way = || Way { outbox, deliveries: Vec::new() };
        self.ways.entry(subscriber.id.connection).or_insert_with(way);
        self.consumers.insert(subscriber.id, Arc::new(subscriber));
    }

    /// Whether the consumer was attached.
    fn detach(&mut self, consumer: ConsumerId) -> bool {
        let was_attached = self.consumers.remove(&consumer).is_some();
        let connection = consumer.connection;
        let first = ConsumerId { connection, serial: 0 };
        let others = self.consumers.range(first..).next();
        if others.is_none_or(|(other, _)| other.connection != connection) {
            self.ways.remove(&connection);
        }
        was_attached
    }

    /// Ends the queue's life and tells the consumers.
    fn end(&mut self) {
        self.gone = true;
        for consumer in mem::take(&mut self.consumers).into_keys() {
            if let Some(way) = self.ways.get(&consumer.connection) {
                way.outbox.consumer_cancelled(consumer);
            }
        }
        self.ways.clear();
    }

    fn apply(&mut self, command: Command, now: Moment) {
        self.queue.apply(command, now, &mut self.effects);
    }

    fn counts(&self) -> Counts {
        Counts {
            ready: self.queue.ready_count(),
            unacknowledged: self.queue.unacked_count(),
            consumers: self.queue.consumer_count(),
        }
    }
}
