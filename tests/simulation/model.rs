//! A queue written as a `Vec` and loops: obviously right, and slow.

use leveret::{
    broker::queue::Effect,
    model::{
        ConnectionId, ConsumerId, DELIVERY_OVERHEAD, DeathReason, Message, Moment, Outcome,
        Overflow, Position,
    },
};
use std::time::Duration;

use super::steps::{CHANNELS, Limits, Setup, Step, Terms};

pub(crate) struct Model {
    setup: Setup,
    limits: Limits,
    /// Every message in the queue, ready or out, by position.
    messages: Vec<Held>,
    next_position: u64,
    /// In the order in which they came.
    consumers: Vec<Consumer>,
    /// Consumers that will be asked, in this order among those of one priority.
    turns: Vec<u64>,
    /// Consumers whose channel had no credit when they were asked.
    held_back: Vec<u64>,
    /// With a single active consumer: that one.
    active: Option<u64>,
    pub(crate) channels: [Channel; CHANNELS],
    last_used: u64,
    asked_to_wake: Option<u64>,
    deleted: bool,
    now: u64,
    effects: Vec<Effect>,
    /// Messages that ended without anybody being told.
    pub(crate) dropped: u64,
}

struct Held {
    position: u64,
    message: Message,
    priority: u8,
    dies_at: Option<u64>,
    returns: u32,
    redelivered: bool,
    out: Option<Out>,
}

struct Out {
    /// None for what was taken with get.
    consumer: Option<u64>,
    channel: usize,
}

struct Consumer {
    id: u64,
    channel: usize,
    terms: Terms,
    room: i64,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Channel {
    pub(crate) limit: u32,
    pub(crate) taken: u32,
}

impl Channel {
    pub(crate) fn is_open(self) -> bool {
        self.limit == 0 || self.taken < self.limit
    }
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            limits: setup.limits,
            messages: Vec::new(),
            next_position: 0,
            consumers: Vec::new(),
            turns: Vec::new(),
            held_back: Vec::new(),
            active: None,
            channels: [Channel::default(); CHANNELS],
            last_used: 0,
            asked_to_wake: None,
            deleted: false,
            now: 0,
            effects: Vec::new(),
            dropped: 0,
        }
    }

    /// `message` is the one to enqueue, if that is the step.
    pub(crate) fn apply(&mut self, step: Step, message: Option<Message>) -> Vec<Effect> {
        match step {
            Step::Advance { ms } => self.now += ms,
            Step::Limit { channel, limit } => self.channels[channel].limit = limit.into(),
            command => {
                self.expire();
                self.command(command, message);
                self.serve();
                self.ask_to_wake();
            }
        }
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn ready_count(&self) -> u64 {
        self.messages.iter().filter(|held| held.out.is_none()).count() as u64
    }

    pub(crate) fn ready_octets(&self) -> u64 {
        let ready = self.messages.iter().filter(|held| held.out.is_none());
        ready.map(|held| held.message.body().len() as u64).sum()
    }

    pub(crate) fn unacked_count(&self) -> u64 {
        self.messages.len() as u64 - self.ready_count()
    }

    pub(crate) fn consumer_count(&self) -> u64 {
        self.consumers.len() as u64
    }

    pub(crate) fn may_subscribe(&self, exclusive: bool) -> bool {
        if self.setup.quorum {
            return true;
        }
        if self.consumers.iter().any(|consumer| consumer.terms.exclusive) {
            return false;
        }
        !exclusive || (self.consumers.is_empty() && !self.setup.single_active_consumer)
    }

    fn command(&mut self, command: Step, message: Option<Message>) {
        match command {
            Step::Enqueue { priority, ttl, .. } => {
                self.enqueue(message.expect("a message is enqueued"), priority, ttl);
            }
            Step::Subscribe { consumer, channel, terms } => {
                let room = terms.window as i64;
                self.consumers.push(Consumer { id: consumer, channel, terms, room });
                self.elect();
                self.join(consumer);
            }
            Step::Unsubscribe { consumer } => self.unsubscribe(consumer),
            Step::Get { channel, acknowledge } => self.get(channel, acknowledge),
            Step::Settle { first, last, outcome } => self.settle(first, last, outcome),
            Step::Replenish { consumer, octets } => {
                if let Some(consumer) = self.consumers.iter_mut().find(|known| known.id == consumer)
                {
                    consumer.room += octets as i64;
                }
                self.join(consumer);
            }
            Step::Resume => {
                for consumer in std::mem::take(&mut self.held_back) {
                    self.join(consumer);
                }
            }
            Step::Purge => {
                self.effects.push(Effect::Purged(self.ready_count()));
                self.messages.retain(|held| held.out.is_some());
            }
            Step::Touch if self.setup.quorum => {}
            Step::Touch => self.last_used = self.now,
            Step::Tick => self.tick(),
            Step::Configure { limits } => {
                if self.setup.options(&self.limits) != self.setup.options(&limits) {
                    self.limits = limits;
                    self.last_used = self.now;
                    self.trim();
                }
            }
            Step::Advance { .. } | Step::Limit { .. } => unreachable!("not a command"),
        }
    }

    fn enqueue(&mut self, message: Message, priority: u8, ttl: Option<u64>) {
        if self.is_refused(&message) {
            let dies = self.limits.overflow == Overflow::RejectPublishDeadLetter;
            if dies && self.limits.dead_letter {
                self.effects.push(Effect::DeadLetter {
                    message,
                    reason: DeathReason::MaxLength,
                    from: None,
                });
            }
            self.effects.push(Effect::Refused);
            return;
        }
        let ttl = [ttl, self.limits.ttl].into_iter().flatten().min();
        let position = self.next_position;
        self.next_position += 1;
        let nothing_waits = self.ready_count() == 0;
        self.messages.push(Held {
            position,
            message,
            priority: self.setup.max_priority.map_or(0, |highest| priority.min(highest)),
            dies_at: ttl.map(|ttl| self.now + ttl),
            returns: 0,
            redelivered: false,
            out: None,
        });
        let stillborn = ttl == Some(0) && self.setup.quorum;
        if nothing_waits
            && !stillborn
            && let Some(consumer) = self.whose_turn()
        {
            self.deliver(position, consumer);
        }
        self.trim();
    }

    fn unsubscribe(&mut self, consumer: u64) {
        let before = self.consumers.len();
        self.consumers.retain(|known| known.id != consumer);
        self.turns.retain(|known| *known != consumer);
        self.held_back.retain(|known| *known != consumer);
        if self.active == Some(consumer) {
            self.active = None;
        }
        self.elect();
        if before > 0 && self.consumers.len() < before && self.consumers.is_empty() {
            self.last_used = self.now;
            if self.setup.auto_delete {
                self.delete();
            }
        }
    }

    fn get(&mut self, channel: usize, acknowledge: bool) {
        self.last_used = self.now;
        let Some(position) = self.head() else {
            self.effects.push(Effect::GotNothing);
            return;
        };
        let index = self.index(position);
        let held = &mut self.messages[index];
        let (message, redelivered) = (held.message.clone(), held.redelivered);
        let delivery_count = held.returns;
        if acknowledge {
            self.channels[channel].taken += 1;
            held.out = Some(Out { consumer: None, channel });
        } else {
            self.messages.remove(index);
        }
        let (position, remaining) = (Position(position), self.ready_count());
        self.effects.push(Effect::Got {
            position,
            message,
            redelivered,
            delivery_count,
            remaining,
        });
    }

    fn settle(&mut self, first: u64, last: u64, outcome: Outcome) {
        let mut positions: Vec<u64> = (first.min(last)..=first.max(last)).collect();
        if last < first {
            positions.reverse();
        }
        // The session gives the credit back before the queue hears of it.
        for held in &self.messages {
            if let Some(out) = &held.out
                && positions.contains(&held.position)
            {
                self.channels[out.channel].taken -= 1;
            }
        }
        for position in positions {
            self.settle_one(position, outcome);
        }
        if outcome == Outcome::Requeue {
            self.trim();
        }
    }

    fn settle_one(&mut self, position: u64, outcome: Outcome) {
        let Some(held) = self.messages.iter_mut().find(|held| held.position == position) else {
            return;
        };
        let Some(out) = held.out.take() else { return };
        if outcome == Outcome::Requeue {
            held.redelivered = true;
            held.returns += u32::from(self.setup.quorum);
        }
        let returns = held.returns;
        match outcome {
            Outcome::Acknowledge => {
                self.remove(position);
            }
            Outcome::Reject => self.die(position, DeathReason::Rejected),
            Outcome::Requeue => {
                let limit = self.limits.delivery_limit.filter(|_| self.setup.quorum);
                if limit.is_some_and(|limit| returns > limit) {
                    self.die(position, DeathReason::DeliveryLimit);
                }
            }
        }
        self.elect();
        if let Some(consumer) = out.consumer {
            self.join(consumer);
        }
    }

    fn tick(&mut self) {
        if self.asked_to_wake.is_some_and(|asked| asked <= self.now) {
            self.asked_to_wake = None;
        }
        if self.lease_end().is_some_and(|end| end <= self.now) {
            self.delete();
        }
    }

    fn delete(&mut self) {
        if !self.deleted {
            self.deleted = true;
            self.effects.push(Effect::Delete);
        }
    }

    fn serve(&mut self) {
        loop {
            self.expire();
            let Some(position) = self.head() else { return };
            let Some(consumer) = self.whose_turn() else { return };
            self.deliver(position, consumer);
        }
    }

    fn deliver(&mut self, position: u64, id: u64) {
        let index = self.index(position);
        let held = &mut self.messages[index];
        let consumer = self.consumers.iter_mut().find(|known| known.id == id).unwrap();
        consumer.room -= (held.message.size() + DELIVERY_OVERHEAD) as i64;
        self.effects.push(Effect::Deliver {
            consumer: consumer_id(id),
            position: Position(position),
            message: held.message.clone(),
            redelivered: held.redelivered,
            delivery_count: held.returns,
        });
        if consumer.terms.acknowledge {
            held.out = Some(Out { consumer: Some(id), channel: consumer.channel });
        } else {
            self.messages.remove(index);
        }
    }

    /// Asks one after the other, those of higher priority first, until one takes a message.
    fn whose_turn(&mut self) -> Option<u64> {
        loop {
            let highest = self.turns.iter().map(|id| self.consumer(*id).terms.priority).max()?;
            let turn =
                self.turns.iter().position(|id| self.consumer(*id).terms.priority == highest)?;
            let id = self.turns.remove(turn);
            if !self.has_room(id) {
                continue;
            }
            let (acknowledge, channel) =
                (self.consumer(id).terms.acknowledge, self.consumer(id).channel);
            if acknowledge && !self.channels[channel].is_open() {
                self.held_back.push(id);
                continue;
            }
            self.channels[channel].taken += u32::from(acknowledge);
            self.turns.push(id);
            return Some(id);
        }
    }

    /// A consumer will be asked again, last, if it may be and can take something.
    fn join(&mut self, id: u64) {
        let is_known = self.consumers.iter().any(|known| known.id == id);
        if is_known
            && self.may_be_served(id)
            && self.has_room(id)
            && !self.turns.contains(&id)
            && !self.held_back.contains(&id)
        {
            self.turns.push(id);
        }
    }

    fn may_be_served(&self, id: u64) -> bool {
        !self.setup.single_active_consumer || (self.active == Some(id) && !self.is_outranked())
    }

    /// The first of the highest priority becomes active if nobody is, or, on a quorum queue, if the
    /// active one has a lower priority and holds nothing.
    fn elect(&mut self) {
        if !self.setup.single_active_consumer {
            return;
        }
        if self.is_outranked() {
            self.turns.clear();
            self.held_back.clear();
        }
        if self.active.is_none()
            || self.is_outranked() && self.active.is_some_and(|active| self.holds(active) == 0)
        {
            self.active = self.best();
        }
        if let Some(active) = self.active {
            self.join(active);
        }
    }

    fn is_outranked(&self) -> bool {
        let (Some(active), Some(best)) = (self.active, self.best()) else { return false };
        self.setup.quorum
            && self.consumer(best).terms.priority > self.consumer(active).terms.priority
    }

    fn best(&self) -> Option<u64> {
        let highest = self.consumers.iter().map(|consumer| consumer.terms.priority).max()?;
        self.consumers.iter().find(|known| known.terms.priority == highest).map(|known| known.id)
    }

    fn has_room(&self, id: u64) -> bool {
        let Consumer { terms, room, .. } = self.consumer(id);
        let limit = if terms.acknowledge { terms.prefetch } else { 0 };
        *room > 0 && (limit == 0 || self.holds(id) < usize::from(limit))
    }

    fn holds(&self, id: u64) -> usize {
        let out = self.messages.iter().filter_map(|held| held.out.as_ref());
        out.filter(|out| out.consumer == Some(id)).count()
    }

    fn consumer(&self, id: u64) -> &Consumer {
        self.consumers.iter().find(|known| known.id == id).unwrap()
    }

    fn expire(&mut self) {
        while let Some(head) = self.head()
            && self.messages[self.index(head)].dies_at.is_some_and(|at| at <= self.now)
        {
            self.die(head, DeathReason::Expired);
        }
    }

    fn trim(&mut self) {
        while self.limits.overflow == Overflow::DropHead
            && self.is_over(self.ready_count(), self.ready_octets())
        {
            let head = self.head().unwrap();
            self.die(head, DeathReason::MaxLength);
        }
    }

    fn is_refused(&self, message: &Message) -> bool {
        let (count, octets) = (self.ready_count(), self.ready_octets());
        if self.limits.overflow == Overflow::DropHead {
            return false;
        }
        if self.setup.quorum {
            return self.is_over(count, octets);
        }
        self.is_over(count + 1, octets + message.body().len() as u64)
    }

    fn is_over(&self, count: u64, octets: u64) -> bool {
        self.limits.max_length.is_some_and(|limit| count > limit)
            || self.limits.max_length_bytes.is_some_and(|limit| octets > limit)
    }

    fn die(&mut self, position: u64, reason: DeathReason) {
        let message = self.remove(position);
        if self.limits.dead_letter {
            self.effects.push(Effect::DeadLetter { message, reason, from: None });
        } else {
            self.dropped += 1;
        }
    }

    fn remove(&mut self, position: u64) -> Message {
        let index = self.index(position);
        self.messages.remove(index).message
    }

    fn index(&self, position: u64) -> usize {
        self.messages.iter().position(|held| held.position == position).unwrap()
    }

    /// The ready message of the highest priority, the oldest of these.
    fn head(&self) -> Option<u64> {
        let ready = || self.messages.iter().filter(|held| held.out.is_none());
        let highest = ready().map(|held| held.priority).max()?;
        ready().filter(|held| held.priority == highest).map(|held| held.position).min()
    }

    fn ask_to_wake(&mut self) {
        let head = self.head().and_then(|head| self.messages[self.index(head)].dies_at);
        let Some(due) = [head, self.lease_end()].into_iter().flatten().min() else { return };
        if self.asked_to_wake.is_none_or(|asked| due < asked) {
            self.asked_to_wake = Some(due);
            self.effects.push(Effect::WakeAt(moment(due)));
        }
    }

    fn lease_end(&self) -> Option<u64> {
        let unused = self.consumers.is_empty() && !self.deleted;
        self.limits.expires.filter(|_| unused).map(|expires| self.last_used + expires)
    }
}

pub(crate) fn moment(ms: u64) -> Moment {
    Moment::from_unix(Duration::from_millis(ms))
}

pub(crate) fn consumer_id(serial: u64) -> ConsumerId {
    ConsumerId { connection: ConnectionId(1), serial }
}
