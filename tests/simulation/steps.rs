//! What can happen to a queue, written so that a failing sequence can be pasted back, and drawn
//! from a seed.

use std::time::Duration;

use leveret::model::{DeadLetterOptions, ExchangeName, Outcome, Overflow, QueueKind, QueueOptions};

use super::random::Random;

/// The queue of a sequence. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) quorum: bool,
    pub(crate) single_active_consumer: bool,
    pub(crate) max_priority: Option<u8>,
    pub(crate) auto_delete: bool,
    pub(crate) limits: Limits,
}

/// What of a queue may change while it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) ttl: Option<u64>,
    pub(crate) expires: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letter: bool,
    pub(crate) delivery_limit: Option<u32>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Advance {
        ms: u64,
    },
    Enqueue {
        size: usize,
        priority: u8,
        ttl: Option<u64>,
    },
    Subscribe {
        consumer: u64,
        channel: usize,
        terms: Terms,
    },
    Unsubscribe {
        consumer: u64,
    },
    Get {
        channel: usize,
        acknowledge: bool,
    },
    /// From `first` to `last`, downwards when `last` is less; the session gives the credit back.
    Settle {
        first: u64,
        last: u64,
        outcome: Outcome,
    },
    Replenish {
        consumer: u64,
        octets: usize,
    },
    /// A channel's shared limit changes, and nobody says so.
    Limit {
        channel: usize,
        limit: u16,
    },
    Resume,
    Purge,
    Touch,
    Tick,
    Configure {
        limits: Limits,
    },
}

/// What a consumer asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) prefetch: u16,
    pub(crate) acknowledge: bool,
    pub(crate) priority: i64,
    pub(crate) exclusive: bool,
    pub(crate) window: usize,
}

pub(crate) const CHANNELS: usize = 3;

/// Enough for anything that can happen, and few enough for the slow model.
const LONGEST: usize = 1000;

impl Setup {
    pub(crate) fn options(&self, limits: &Limits) -> QueueOptions {
        QueueOptions {
            kind: if self.quorum { QueueKind::Quorum } else { QueueKind::Classic },
            message_ttl: limits.ttl.map(Duration::from_millis),
            expires: limits.expires.map(Duration::from_millis),
            max_length: limits.max_length,
            max_length_bytes: limits.max_length_bytes,
            overflow: limits.overflow,
            dead_letter: limits.dead_letter.then(|| DeadLetterOptions {
                exchange: ExchangeName::default(),
                routing_key: None,
                at_least_once: false,
            }),
            max_priority: self.max_priority,
            single_active_consumer: self.single_active_consumer,
            delivery_limit: limits.delivery_limit,
            ..QueueOptions::default()
        }
    }
}

/// A queue, and what happens to it.
pub(crate) fn draw(seed: u64) -> (Setup, Vec<Step>) {
    let mut dice = Dice::seeded(seed);
    let setup = dice.setup();
    let length = if dice.one_in(200) { 1500 } else { dice.below(70) + 5 };
    let mut known = Known { enqueued: 0, consumers: 0, busy: dice.one_in(2) };
    let steps = (0..length).map(|_| dice.step(&mut known)).collect();
    (setup, steps)
}

/// The same from any octets, as long as they last.
pub(crate) fn drawn_from(octets: &[u8]) -> (Setup, Vec<Step>) {
    let mut dice = Dice::Loaded(octets);
    let setup = dice.setup();
    let mut known = Known { enqueued: 0, consumers: 0, busy: dice.one_in(2) };
    let mut steps = Vec::new();
    while !dice.is_used_up() && steps.len() < LONGEST {
        steps.push(dice.step(&mut known));
    }
    (setup, steps)
}

/// What the steps so far may have brought about.
struct Known {
    enqueued: u64,
    consumers: u64,
    /// Many messages, rather than many events.
    busy: bool,
}

/// Where chance comes from.
pub(crate) enum Dice<'a> {
    Seeded(Random),
    /// One octet for each throw; 0 when they are used up.
    Loaded(&'a [u8]),
}

impl Dice<'_> {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded(Random::seeded(seed))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn next(&mut self) -> u64 {
        match self {
            Self::Seeded(random) => random.next(),
            Self::Loaded(octets) => match octets.split_off_first() {
                Some(octet) => u64::from(*octet),
                None => 0,
            },
        }
    }

    fn is_used_up(&self) -> bool {
        matches!(self, Self::Loaded([]))
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// Nothing most of the time.
    fn maybe<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        self.one_in(3).then(|| self.pick(choices))
    }

    fn setup(&mut self) -> Setup {
        let quorum = self.one_in(3);
        Setup {
            quorum,
            single_active_consumer: self.one_in(4),
            max_priority: if quorum { None } else { self.maybe(&[1, 3, 9, 255]) },
            auto_delete: self.one_in(8),
            limits: self.limits(),
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            ttl: self.maybe(&[0, 1, 5, 20, 100]),
            expires: self.maybe(&[10, 50, 200]),
            max_length: self.maybe(&[0, 1, 2, 3, 10]),
            max_length_bytes: self.maybe(&[0, 30, 100]),
            overflow: self.pick(&[
                Overflow::DropHead,
                Overflow::DropHead,
                Overflow::RejectPublish,
                Overflow::RejectPublishDeadLetter,
            ]),
            dead_letter: !self.one_in(3),
            delivery_limit: self.maybe(&[0, 1, 2]),
        }
    }

    fn step(&mut self, known: &mut Known) -> Step {
        if known.busy && self.one_in(2) {
            return self.enqueue(known);
        }
        match self.below(40) {
            0..=9 => self.enqueue(known),
            10..=21 => self.settle(known),
            22..=24 => self.subscribe(known),
            25 => Step::Unsubscribe { consumer: self.consumer(known) },
            26..=28 => self.replenish(known),
            29..=30 => Step::Get { channel: self.channel(), acknowledge: !self.one_in(3) },
            31 => Step::Limit { channel: self.channel(), limit: self.pick(&[0, 0, 1, 2, 5]) },
            32..=33 => Step::Resume,
            34..=35 => Step::Advance { ms: self.pick(&[1, 2, 5, 11, 30, 120]) },
            36..=37 => Step::Tick,
            38 => Step::Touch,
            _ if self.one_in(3) => Step::Purge,
            _ => Step::Configure { limits: self.limits() },
        }
    }

    fn enqueue(&mut self, known: &mut Known) -> Step {
        known.enqueued += 1;
        Step::Enqueue {
            size: self.pick(&[8, 8, 9, 20, 40]),
            priority: self.pick(&[0, 0, 1, 2, 4, 9, 200]),
            ttl: if self.one_in(4) { Some(self.pick(&[0, 1, 5, 20, 100])) } else { None },
        }
    }

    fn settle(&mut self, known: &Known) -> Step {
        let newest = known.enqueued.max(1);
        let (one, other) = (self.below(newest), self.below(newest));
        let (first, last) = if self.one_in(3) { (one, other) } else { (one, one) };
        let outcomes = [
            Outcome::Acknowledge,
            Outcome::Acknowledge,
            Outcome::Requeue,
            Outcome::Requeue,
            Outcome::Reject,
        ];
        Step::Settle { first, last, outcome: self.pick(&outcomes) }
    }

    fn subscribe(&mut self, known: &mut Known) -> Step {
        known.consumers += 1;
        let terms = Terms {
            prefetch: self.pick(&[0, 1, 1, 2, 3, 20]),
            acknowledge: !self.one_in(4),
            priority: self.pick(&[0, 0, 0, 1, -5]),
            exclusive: self.one_in(8),
            window: self.pick(&[1 << 20, 1 << 20, 400, 1]),
        };
        Step::Subscribe { consumer: known.consumers, channel: self.channel(), terms }
    }

    fn replenish(&mut self, known: &Known) -> Step {
        Step::Replenish { consumer: self.consumer(known), octets: self.pick(&[1, 150, 1000]) }
    }

    fn consumer(&mut self, known: &Known) -> u64 {
        1 + self.below(known.consumers.max(1))
    }

    fn channel(&mut self) -> usize {
        usize::try_from(self.below(CHANNELS as u64)).unwrap()
    }
}
