//! A queue whose messages come and go between memory and disk, beside one that keeps them in
//! memory: nobody may see a difference, but after a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::super::{Arrival, Command, Effect, Queue, Restored, Shelf, Stored, Subscription, *};
use crate::{
    broker::{ports::Journal, random::Random},
    model::{Batch, ConnectionId, Entry, LogPosition, PositionRange, QueueId, entries},
};

const QUEUE: QueueId = QueueId(7);

/// A journal on paper: everything is durable at once, and moves when the test says so.
#[derive(Debug, Default)]
struct Paper(Mutex<BTreeMap<QueueId, Page>>);

#[derive(Debug, Default)]
struct Page {
    messages: BTreeMap<Position, Bytes>,
    next: Position,
    moved: Position,
    delivered: Position,
    returned: Vec<(PositionRange, u32)>,
}

impl Paper {
    fn apply(&self, entry: &Entry<'_>) {
        let mut pages = self.0.lock().unwrap();
        match entry {
            Entry::Enqueue { targets, message } => {
                for (queue, position) in *targets {
                    let page = pages.entry(queue).or_default();
                    assert!(position >= page.next, "positions ascend");
                    page.next = Position(position.0 + 1);
                    page.messages.insert(position, Bytes::copy_from_slice(message));
                }
            }
            Entry::Settle { queue, ranges } => {
                let page = pages.entry(*queue).or_default();
                ranges.for_each(|range| {
                    page.messages.retain(|at, _| *at < range.first || *at > range.last);
                });
            }
            Entry::Return { queue, ranges, count } => {
                let page = pages.entry(*queue).or_default();
                page.returned.extend(ranges.map(|range| (range, *count)));
            }
            Entry::Delivered { queue, below } => {
                let page = pages.entry(*queue).or_default();
                page.delivered = *below;
            }
            Entry::Forget { .. } | Entry::Put { .. } | Entry::Delete { .. } => {}
        }
    }

    /// Moves what was written so far, and says up to where.
    fn move_all(&self, queue: QueueId) -> Position {
        let mut pages = self.0.lock().unwrap();
        let page = pages.entry(queue).or_default();
        page.moved = page.next;
        page.moved
    }

    fn restored(&self) -> Restored {
        let mut pages = self.0.lock().unwrap();
        pages.remove(&QUEUE.spilled());
        let page = pages.entry(QUEUE).or_default();
        let (moved, mut restored) = (page.moved, Restored::default());
        let stored = page.messages.range(..moved).map(|(position, _)| (*position).into());
        restored.stored = stored.collect();
        restored.next = moved;
        for (position, octets) in page.messages.range(moved..) {
            restored.arrive(*position, octets.clone());
        }
        restored.next = page.next;
        restored.deliver_below(page.delivered);
        page.returned.iter().for_each(|(range, count)| restored.come_back(*range, *count));
        restored
    }
}

impl Journal for Paper {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        entries(batch.octets()).for_each(|entry| self.apply(&entry.unwrap()));
        batch.clear();
        LogPosition(1)
    }

    fn durable(&self) -> LogPosition {
        LogPosition(1)
    }

    fn wake_when_durable(&self, _: LogPosition, _: QueueId) {}

    fn read(&self, queue: QueueId, from: Position) -> Option<Vec<(Position, Bytes)>> {
        let pages = self.0.lock().unwrap();
        let Some(page) = pages.get(&queue) else { return Some(Vec::new()) };
        let slice = page.messages.range(from..page.moved.max(from)).take(5);
        Some(slice.map(|(position, octets)| (*position, octets.clone())).collect())
    }
}

/// The two queues, and what clients hold.
struct Bench {
    plain: Queue,
    kept: Queue,
    paper: Arc<Paper>,
    options: QueueOptions,
    out: BTreeSet<Position>,
    seen: BTreeSet<Position>,
    persistent: BTreeSet<Position>,
    next: u64,
    dice: Random,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut dice = Random::new(seed);
        let options = QueueOptions {
            max_priority: (dice.below(3) == 0).then_some(2),
            max_length: (dice.below(4) == 0).then_some(40),
            max_length_bytes: (dice.below(4) == 0).then_some(4000),
            ..QueueOptions::default()
        };
        let paper = Arc::new(Paper::default());
        let kept = on_paper(&options, &paper);
        let plain = Queue::new(options.clone(), false, Moment::default());
        let (out, seen, persistent) = Default::default();
        Self { plain, kept, paper, options, out, seen, persistent, next: 0, dice }
    }

    fn step(&mut self) {
        let (serial, coin) = (self.dice.below(3) as u64, self.dice.below(2) == 0);
        match self.dice.below(20) {
            0..=9 => self.enqueue(),
            10 => self.both(&Command::Subscribe(subscription(serial))),
            11 => {
                let consumer = subscription(serial).consumer;
                self.both(&Command::Unsubscribe { consumer });
            }
            12..=15 => self.settle(),
            16 => {
                let credit = ChannelCredit::default();
                self.both(&Command::Get { acknowledge: coin, credit });
            }
            17 if self.dice.below(30) == 0 => self.both(&Command::Purge),
            17 => self.kept.save_memory(coin),
            _ => {
                for (kept, queue) in [(Kept::Durable, QUEUE), (Kept::Spilled, QUEUE.spilled())] {
                    self.kept.moved(kept, self.paper.move_all(queue));
                }
            }
        }
    }

    fn enqueue(&mut self) {
        for _ in 0..=self.dice.below(30) {
            let body = vec![self.next as u8; self.dice.below(60) * self.dice.below(60)];
            let message = Message::new(b"x", b"key", &[0, 0], body.into());
            let persistent = self.dice.below(3) > 0;
            if persistent {
                self.persistent.insert(Position(self.next));
            }
            let priority = self.dice.below(4) as u8;
            self.next += 1;
            let arrival = Arrival { message, priority, time_to_live: None, persistent };
            self.both(&Command::Enqueue(arrival));
        }
    }

    fn settle(&mut self) {
        let outcome = *self.dice.one_of(&[
            Outcome::Acknowledge,
            Outcome::Acknowledge,
            Outcome::Requeue,
            Outcome::Reject,
        ]);
        let skipped = self.dice.below(3);
        let count = self.dice.below(12);
        let positions: Vec<_> = self.out.iter().skip(skipped).take(count).copied().collect();
        self.out.retain(|position| !positions.contains(position));
        self.both(&Command::Settle { positions, outcome });
    }

    /// Gives a command to both queues, whose effects must be the same.
    fn both(&mut self, command: &Command) {
        let mut expected = Vec::new();
        self.plain.apply(command.clone(), Moment::default(), &mut expected);
        let effects = self.keep(command);
        assert_eq!(effects, expected, "after {command:?}");
        assert_eq!(self.kept.ready_count(), self.plain.ready_count());
        assert_eq!(self.kept.ready_octets(), self.plain.ready_octets());
        let acknowledge = !matches!(command, Command::Get { acknowledge: false, .. });
        for effect in effects {
            if let Effect::Deliver { position, .. } | Effect::Got { position, .. } = effect
                && acknowledge
            {
                self.out.insert(position);
                self.seen.insert(position);
            }
        }
    }

    /// Gives a command to the queue on paper, writing what it says, until it rests.
    fn keep(&mut self, command: &Command) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut command = command.clone();
        loop {
            let message = match &command {
                Command::Enqueue(arrival) => Some((arrival.message.clone(), arrival.priority)),
                _ => None,
            };
            self.kept.apply(command, Moment::default(), &mut effects);
            let mut batch = Batch::default();
            if let Some(arrived) = self.kept.changes().take_arrived() {
                let (message, priority) = message.expect("a message has arrived");
                let queue = match arrived.kept {
                    Kept::Spilled => QUEUE.spilled(),
                    Kept::Durable | Kept::InMemory => QUEUE,
                };
                let mut head = Vec::new();
                Stored::put_head(&mut head, &message, priority, arrived.deadline);
                batch.enqueue(&[(queue, arrived.position)], &[&head, message.body()]);
            }
            let mark = self.kept.changes().write(QUEUE, &mut batch);
            self.paper.append(&mut batch);
            let Some(below) = mark else { break };
            self.kept.clear(below);
            command = Command::Resume;
        }
        effects
    }

    /// What a restart must find: what is out or ready, and was to survive.
    fn survivors(&mut self) -> BTreeSet<Position> {
        let mut survivors = self.out.clone();
        for serial in 0..3 {
            let consumer = subscription(serial).consumer;
            self.plain.apply(Command::Unsubscribe { consumer }, Moment::default(), &mut vec![]);
        }
        survivors.extend(drain(&mut self.plain).into_iter().map(|(position, _)| position));
        survivors.retain(|position| self.persistent.contains(position));
        survivors
    }
}

fn on_paper(options: &QueueOptions, paper: &Arc<Paper>) -> Queue {
    let shelf = Shelf::new(Arc::<Paper>::clone(paper), QUEUE);
    Queue::new(options.clone(), false, Moment::default()).kept_on(shelf, true)
}

fn subscription(serial: u64) -> Subscription {
    Subscription {
        consumer: ConsumerId { connection: ConnectionId(1), serial },
        prefetch: 5,
        acknowledge: true,
        priority: 0,
        exclusive: false,
        window: 1 << 40,
        credit: ChannelCredit::default(),
    }
}

fn drain(queue: &mut Queue) -> Vec<(Position, bool)> {
    let mut taken = Vec::new();
    loop {
        let mut effects = Vec::new();
        let credit = ChannelCredit::default();
        queue.apply(Command::Get { acknowledge: false, credit }, Moment::default(), &mut effects);
        match effects.first() {
            Some(Effect::Got { position, redelivered, .. }) => {
                taken.push((*position, *redelivered));
            }
            _ => return taken,
        }
    }
}

#[test]
fn nobody_sees_where_messages_are_and_a_restart_finds_what_must_survive() {
    for seed in 1..=300 {
        let mut bench = Bench::new(seed);
        let steps = 10 + bench.dice.below(120);
        let described = || format!("seed {seed}");
        (0..steps).for_each(|_| bench.step());
        let survivors = bench.survivors();
        let mut again = on_paper(&bench.options, &bench.paper).restored(bench.paper.restored());
        assert_eq!(again.ready_count(), survivors.len() as u64, "{}", described());
        let drained = drain(&mut again);
        let found: BTreeSet<_> = drained.iter().map(|(position, _)| *position).collect();
        assert_eq!((found, again.ready_octets()), (survivors, 0), "{}", described());
        if bench.options.max_priority.is_none() {
            assert!(drained.is_sorted(), "{}: {drained:?}", described());
        }
        let unflagged = drained.iter().find(|(at, flagged)| bench.seen.contains(at) && !flagged);
        assert_eq!(unflagged, None, "{}: seen before, and does not say so", described());
    }
}

#[test]
fn a_limit_of_octets_that_comes_after_a_restart_counts_what_was_not_read() {
    let paper = Arc::new(Paper::default());
    for number in 0..40 {
        let body = Bytes::from(vec![7; 100]);
        let message = Message::new(b"", b"q", &[0, 0], body.clone());
        let mut octets = Vec::new();
        Stored::put_head(&mut octets, &message, 0, None);
        octets.extend_from_slice(&body);
        let mut pages = paper.0.lock().unwrap();
        let page = pages.entry(QUEUE).or_default();
        page.messages.insert(Position(number), octets.into());
        page.next = Position(number + 1);
        page.moved = page.next;
    }
    let mut queue = on_paper(&QueueOptions::default(), &paper).restored(paper.restored());
    assert_eq!((queue.ready_count(), queue.ready_octets()), (40, 0), "it is not read");
    let limited = QueueOptions { max_length_bytes: Some(1000), ..QueueOptions::default() };
    queue.apply(Command::Configure(Box::new(limited)), Moment::default(), &mut Vec::new());
    assert_eq!((queue.ready_count(), queue.ready_octets()), (10, 1000));
    let unlimited = QueueOptions::default();
    queue.apply(Command::Configure(Box::new(unlimited)), Moment::default(), &mut Vec::new());
    assert_eq!(drain(&mut queue).len(), 10);
    assert_eq!(queue.ready_octets(), 0);
}
