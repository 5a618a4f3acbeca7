//! Holds a queue to the model of a queue, and to what must be so of every queue.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use bytes::Bytes;
use leveret::{
    broker::queue::{Arrival, Command, Effect, Queue, Subscription},
    model::{ChannelCredit, Message, Outcome, Position},
};

use super::{
    model::{Model, consumer_id, moment},
    steps::{CHANNELS, Setup, Step, drawn_from},
};

/// The body of the fuzz target: any octets, as a queue and what happens to it.
pub(crate) fn queue_commands(octets: &[u8]) {
    let (setup, steps) = drawn_from(octets);
    if let Err(fault) = check(&setup, &steps) {
        panic!("{fault}\n{setup:?}\n{steps:?}");
    }
}

/// Applies the steps to queue and model, and says where they part or break a rule.
pub(crate) fn check(setup: &Setup, steps: &[Step]) -> Result<(), String> {
    let run = || {
        let mut subject = Subject::new(setup);
        let mut model = Model::new(*setup);
        let mut ledger = Ledger::default();
        for (number, step) in steps.iter().enumerate() {
            if is_turned_away(*step, &subject, &model)? {
                continue;
            }
            let message = message_of(*step, number);
            let effects = subject.apply(*step, &message);
            let expected = model.apply(*step, message.clone());
            if effects != expected {
                return Err(format!("step {number}: {effects:#?}\nshould be: {expected:#?}"));
            }
            same_counts(&subject, &model)?;
            ledger.enter(*step, message, &effects)?;
            ledger.balance(&subject.queue, model.dropped)?;
        }
        Ok(())
    };
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Whether the step is a consumer that may not attach.
fn is_turned_away(step: Step, subject: &Subject, model: &Model) -> Result<bool, String> {
    let Step::Subscribe { terms, .. } = step else { return Ok(false) };
    let allowed = model.may_subscribe(terms.exclusive);
    same("may subscribe", subject.queue.may_subscribe(terms.exclusive).is_ok(), allowed)?;
    Ok(!allowed)
}

fn same_counts(subject: &Subject, model: &Model) -> Result<(), String> {
    let queue = &subject.queue;
    same("ready count", queue.ready_count(), model.ready_count())?;
    same("ready octets", queue.ready_octets(), model.ready_octets())?;
    same("unacked count", queue.unacked_count(), model.unacked_count())?;
    same("consumer count", queue.consumer_count(), model.consumer_count())?;
    for (credit, channel) in subject.channels.iter().zip(&model.channels) {
        same("channel has credit", credit.is_open(), channel.is_open())?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?} should be {should:?}")) }
}

/// All that is known of the queue after the steps.
pub(crate) fn state_after(setup: &Setup, steps: &[Step]) -> String {
    let mut subject = Subject::new(setup);
    for (number, step) in steps.iter().enumerate() {
        subject.apply(*step, &message_of(*step, number));
    }
    format!("{:?}", subject.queue)
}

/// The message that a step enqueues: its body begins with the step's number, which names it.
fn message_of(step: Step, number: usize) -> Option<Message> {
    let Step::Enqueue { size, .. } = step else { return None };
    let mut body = (number as u64).to_be_bytes().to_vec();
    body.resize(size, b'.');
    Some(Message::new(b"x", b"key", &[0, 0], Bytes::from(body)))
}

fn name_of(message: &Message) -> u64 {
    u64::from_be_bytes(message.body()[..8].try_into().unwrap())
}

/// The queue, its clock, and the sessions' side of its channels.
struct Subject {
    queue: Queue,
    setup: Setup,
    now: u64,
    channels: [ChannelCredit; CHANNELS],
    consumers: HashMap<u64, usize>,
    /// The channel that pays for each message that is out.
    out: BTreeMap<u64, usize>,
}

impl Subject {
    fn new(setup: &Setup) -> Self {
        Self {
            queue: Queue::new(setup.options(&setup.limits), setup.auto_delete, moment(0)),
            setup: *setup,
            now: 0,
            channels: Default::default(),
            consumers: HashMap::new(),
            out: BTreeMap::new(),
        }
    }

    fn apply(&mut self, step: Step, message: &Option<Message>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(command) = self.command(step, message) {
            let get_channel = match step {
                Step::Get { channel, acknowledge: true } => Some(channel),
                _ => None,
            };
            self.queue.apply(command, moment(self.now), &mut effects);
            for effect in &effects {
                self.note(effect, get_channel);
            }
        }
        effects
    }

    fn note(&mut self, effect: &Effect, get_channel: Option<usize>) {
        if let Effect::Deliver { consumer, position, .. } = effect
            && let Some(channel) = self.consumers.get(&consumer.serial)
        {
            self.out.insert(position.0, *channel);
        }
        if let (Effect::Got { position, .. }, Some(channel)) = (effect, get_channel) {
            self.out.insert(position.0, channel);
        }
    }

    fn command(&mut self, step: Step, message: &Option<Message>) -> Option<Command> {
        Some(match step {
            Step::Advance { ms } => {
                self.now += ms;
                return None;
            }
            Step::Limit { channel, limit } => {
                self.channels[channel].limit_to(limit);
                return None;
            }
            Step::Enqueue { priority, ttl, .. } => Command::Enqueue(Arrival {
                message: message.clone()?,
                priority,
                time_to_live: ttl.map(Duration::from_millis),
                persistent: false,
            }),
            Step::Subscribe { consumer, channel, terms } => {
                if terms.acknowledge {
                    self.consumers.insert(consumer, channel);
                }
                Command::Subscribe(Subscription {
                    consumer: consumer_id(consumer),
                    prefetch: terms.prefetch,
                    acknowledge: terms.acknowledge,
                    priority: terms.priority,
                    exclusive: terms.exclusive,
                    window: terms.window,
                    credit: self.channels[channel].clone(),
                })
            }
            Step::Unsubscribe { consumer } => {
                Command::Unsubscribe { consumer: consumer_id(consumer) }
            }
            Step::Get { channel, acknowledge } => {
                Command::Get { acknowledge, credit: self.channels[channel].clone() }
            }
            Step::Settle { first, last, outcome } => {
                Command::Settle { positions: self.give_back(first, last), outcome }
            }
            Step::Replenish { consumer, octets } => {
                Command::Replenish { consumer: consumer_id(consumer), octets }
            }
            Step::Resume => Command::Resume,
            Step::Purge => Command::Purge,
            Step::Touch => Command::Touch,
            Step::Tick => Command::Tick,
            Step::Configure { limits } => Command::Configure(Box::new(self.setup.options(&limits))),
        })
    }

    fn give_back(&mut self, first: u64, last: u64) -> Vec<Position> {
        let mut positions: Vec<_> = (first.min(last)..=first.max(last)).collect();
        if last < first {
            positions.reverse();
        }
        for position in &positions {
            if let Some(channel) = self.out.remove(position) {
                self.channels[channel].give_back(1);
            }
        }
        positions.into_iter().map(Position).collect()
    }
}

/// What can be said from outside, without a model: where each message is, and what was promised.
#[derive(Default)]
struct Ledger {
    priorities: HashMap<u64, u8>,
    accepted: u64,
    settled: u64,
    dead: u64,
    purged: u64,
    refused_and_dead: u64,
    delivered: BTreeSet<u64>,
    out: BTreeMap<u64, Option<u64>>,
    prefetch: HashMap<u64, (bool, u16)>,
    newest_delivered: BTreeMap<u8, u64>,
}

impl Ledger {
    fn enter(
        &mut self,
        step: Step,
        message: Option<Message>,
        effects: &[Effect],
    ) -> Result<(), String> {
        match step {
            Step::Enqueue { priority, .. } => {
                let refused = effects.contains(&Effect::Refused);
                self.accepted += u64::from(!refused);
                let name = name_of(&message.expect("a message is enqueued"));
                self.priorities.insert(name, priority);
                if refused {
                    self.refused_and_dead +=
                        effects.iter().filter(|effect| is_death_of(effect, name)).count() as u64;
                }
            }
            Step::Subscribe { consumer, terms, .. } => {
                self.prefetch.insert(consumer, (terms.acknowledge, terms.prefetch));
            }
            Step::Settle { first, last, outcome } => {
                let settled = first.min(last)..=first.max(last);
                let before = self.out.len();
                self.out.retain(|position, _| !settled.contains(position));
                if outcome == Outcome::Acknowledge {
                    self.settled += (before - self.out.len()) as u64;
                }
            }
            _ => {}
        }
        effects.iter().try_for_each(|effect| self.enter_effect(step, effect))
    }

    fn enter_effect(&mut self, step: Step, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Deliver { consumer, position, message, redelivered, .. } => {
                let (acknowledge, prefetch) = self.prefetch[&consumer.serial];
                let holder = acknowledge.then_some(Some(consumer.serial));
                self.hand_out(position.0, message, *redelivered, holder)?;
                let holds = self.out.values().filter(|id| **id == Some(consumer.serial)).count();
                if acknowledge && prefetch > 0 && holds > usize::from(prefetch) {
                    return Err(format!("{consumer:?} holds {holds}"));
                }
            }
            Effect::Got { position, message, redelivered, .. } => {
                let acknowledge = matches!(step, Step::Get { acknowledge: true, .. });
                self.hand_out(position.0, message, *redelivered, acknowledge.then_some(None))?;
            }
            Effect::DeadLetter { .. } => self.dead += 1,
            Effect::Purged(count) => self.purged += count,
            Effect::Release { .. } => return Err("no queue delays messages".into()),
            Effect::Repeated => return Err("no queue drops duplicates".into()),
            Effect::GotNothing | Effect::Refused | Effect::WakeAt(_) | Effect::Delete => {}
        }
        Ok(())
    }

    /// `holder` is none when nobody will settle the message.
    fn hand_out(
        &mut self,
        position: u64,
        message: &Message,
        redelivered: bool,
        holder: Option<Option<u64>>,
    ) -> Result<(), String> {
        if self.delivered.contains(&position) != redelivered {
            return Err(format!("{position} goes out again and says so: {redelivered}"));
        }
        if !redelivered {
            let level = self.priorities[&name_of(message)];
            let newest = self.newest_delivered.insert(level, position);
            if newest.is_some_and(|newest| newest >= position) {
                return Err(format!("{position} goes out after {newest:?}"));
            }
        }
        self.delivered.insert(position);
        match holder {
            Some(holder) if self.out.insert(position, holder).is_some() => {
                Err(format!("{position} is out twice"))
            }
            Some(_) => Ok(()),
            None => {
                self.settled += 1;
                Ok(())
            }
        }
    }

    /// Every accepted message is exactly one of ready, out, settled, dead, purged and dropped.
    fn balance(&self, queue: &Queue, dropped: u64) -> Result<(), String> {
        same("messages out", queue.unacked_count(), self.out.len() as u64)?;
        let dead = self.dead - self.refused_and_dead;
        let known = queue.ready_count() + queue.unacked_count();
        let gone = self.settled + dead + self.purged + dropped;
        same("messages accepted", known + gone, self.accepted)
    }
}

fn is_death_of(effect: &Effect, name: u64) -> bool {
    matches!(effect, Effect::DeadLetter { message, .. } if name_of(message) == name)
}
