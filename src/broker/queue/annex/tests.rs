//! What exchanges keep, command by command.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    super::{Restored, Shelf, Stored},
    *,
};
use crate::{
    broker::{ports::Journal, random::Random, routing::CachePlan},
    model::{
        Batch, FieldTable, FieldValue, LogPosition, PositionRange, Properties, QueueId,
        QueueOptions, ShortString,
    },
};

fn at(milliseconds: u64) -> Moment {
    Moment::from_unix(Duration::from_millis(milliseconds))
}

fn annex(plan: &AnnexPlan) -> Queue {
    Queue::new(QueueOptions::default(), false, at(0)).annexed(plan)
}

fn arrival(header: &'static str, value: FieldValue, body: &str) -> Command {
    let headers = Some(FieldTable::from_pairs([(ShortString::from_static(header), value)]));
    let properties = Properties { headers, ..Properties::default() }.to_bytes();
    let body = Bytes::copy_from_slice(body.as_bytes());
    let message = Message::new(b"x", b"k", &properties, body);
    Command::Enqueue(Arrival { message, priority: 0, time_to_live: None, persistent: false })
}

fn released(effects: &[Effect]) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::Release { message, .. } => Some(String::from_utf8_lossy(message.body()).into()),
        _ => None,
    };
    effects.iter().filter_map(name).collect()
}

fn alarms(effects: &[Effect]) -> Vec<Moment> {
    let alarm = |effect: &Effect| match effect {
        Effect::WakeAt(moment) => Some(*moment),
        _ => None,
    };
    effects.iter().filter_map(alarm).collect()
}

#[test]
fn delays_end_in_the_order_of_their_ends_then_of_arrival() {
    let mut delays = annex(&AnnexPlan::Delays);
    let mut effects = Vec::new();
    for (delay, name) in [(30, "c"), (10, "a"), (30, "d"), (20, "b"), (10, "a2")] {
        delays.apply(arrival("x-delay", delay.into(), name), at(100), &mut effects);
    }
    assert_eq!(alarms(&effects), [at(130), at(110)], "only an earlier moment is asked for");
    assert_eq!((released(&effects).len(), delays.annexed_count()), (0, 5));
    effects.clear();
    delays.apply(Command::Tick, at(110), &mut effects);
    assert_eq!((released(&effects), alarms(&effects)), (strings(["a", "a2"]), vec![at(120)]));
    effects.clear();
    delays.apply(Command::Tick, at(500), &mut effects);
    assert_eq!(released(&effects), ["b", "c", "d"]);
    assert_eq!((alarms(&effects), delays.annexed_count()), (vec![], 0));
}

#[test]
fn random_delays_end_in_order_and_none_is_lost() {
    for seed in 1..20 {
        let mut random = Random::new(seed);
        let mut delays = annex(&AnnexPlan::Delays);
        let (mut expected, mut found, mut now) = (Vec::new(), Vec::new(), 0);
        for number in 0..500_u64 {
            now += random.below(20) as u64;
            let delay = 1 + random.below(300) as u64;
            let mut effects = Vec::new();
            let command = arrival("x-delay", FieldValue::Int64(delay as i64), &number.to_string());
            delays.apply(command, at(now), &mut effects);
            expected.push((now + delay, number));
            found.extend(released(&effects));
        }
        let mut effects = Vec::new();
        delays.apply(Command::Tick, at(now + 300), &mut effects);
        found.extend(released(&effects));
        expected.sort_unstable();
        let expected: Vec<_> = expected.iter().map(|(_, number)| number.to_string()).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn a_hundred_thousand_delays_cost_each_the_same() {
    let mut delays = annex(&AnnexPlan::Delays);
    let mut random = Random::new(5);
    let mut effects = Vec::new();
    for _ in 0..100_000 {
        let delay = 1 + random.below(1_000_000) as i64;
        delays.apply(arrival("x-delay", FieldValue::Int64(delay), ""), at(0), &mut effects);
    }
    assert!(alarms(&effects).len() < 100, "{} alarms", alarms(&effects).len());
    effects.clear();
    let mut woken = 0;
    for seconds in 1..=1000 {
        delays.apply(Command::Tick, at(1000 * seconds), &mut effects);
        woken += released(&effects).len();
        effects.clear();
    }
    assert_eq!((woken, delays.annexed_count()), (100_000, 0));
}

/// A disk that has moved all messages out of the journal.
#[derive(Debug)]
struct Disk(Vec<(Position, Bytes)>);

impl Journal for Disk {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        batch.clear();
        LogPosition::default()
    }
    fn durable(&self) -> LogPosition {
        LogPosition::default()
    }
    fn wake_when_durable(&self, _: LogPosition, _: QueueId) {}
    fn read(&self, _: QueueId, from: Position) -> Option<Vec<(Position, Bytes)>> {
        let rest = self.0.iter().filter(|(position, _)| *position >= from);
        Some(rest.take(2).cloned().collect())
    }
}

#[test]
fn what_had_moved_out_of_the_journal_comes_back_in_order() {
    let due = [400, 200, 300, 200, 100];
    let stored = |(number, due): (usize, &u64)| {
        let mut octets = Vec::new();
        let message = Message::new(b"x", b"k", &[0, 0], Bytes::new());
        Stored::put_head(&mut octets, &message, 0, Some(at(*due)));
        octets.extend_from_slice(number.to_string().as_bytes());
        (Position(number as u64), Bytes::from(octets))
    };
    let disk = Disk(due.iter().enumerate().map(stored).collect());
    let mut restored = Restored { next: Position(5), ..Restored::default() };
    restored.stored.insert(PositionRange { first: Position(0), last: Position(4) });
    restored.leave(Position(2).into());
    let shelf = Shelf::new(Arc::new(disk), QueueId(7));
    let mut delays = annex(&AnnexPlan::Delays).kept_on(shelf, true).restored(restored);
    let mut effects = Vec::new();
    delays.apply(Command::Touch, at(200), &mut effects);
    assert_eq!((released(&effects), alarms(&effects)), (strings(["4", "1", "3"]), vec![at(400)]));
    let from = |effect: &Effect| match effect {
        Effect::Release { from, .. } => *from,
        _ => None,
    };
    let left: Vec<_> = effects.iter().filter_map(from).map(|position| position.0).collect();
    assert_eq!(left, [4, 1, 3]);
    delays.apply(arrival("x-delay", 50.into(), "new"), at(200), &mut Vec::new());
    let arrived = delays.changes().take_arrived().expect("it is written");
    assert_eq!((arrived.position, arrived.deadline), (Position(5), Some(at(250))));
}

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

#[test]
fn a_history_keeps_the_last_messages_in_order() {
    let mut history = annex(&AnnexPlan::Recent(3));
    for name in ["a", "b", "c", "d", "e"] {
        history.apply(arrival("h", 1.into(), name), at(0), &mut Vec::new());
    }
    let bodies: Vec<_> = history.recent().iter().map(|message| message.body().clone()).collect();
    assert_eq!(bodies, ["c", "d", "e"]);
}

fn cache(size: u64, time_to_live: Option<u64>) -> Queue {
    let time_to_live = time_to_live.map(Duration::from_millis);
    annex(&AnnexPlan::Keys(CachePlan { size, time_to_live, persists: false }))
}

fn claim(key: &'static str, time_to_live: Option<u64>) -> Claim {
    let time_to_live = time_to_live.map(Duration::from_millis);
    Claim { key: Bytes::from_static(key.as_bytes()), time_to_live }
}

#[test]
fn a_key_passes_once_until_its_time_is_over() {
    let mut keys = cache(10, Some(100));
    assert!(keys.claim(claim("a", None), at(0)));
    assert!(!keys.claim(claim("a", None), at(99)), "not renewed by a duplicate");
    assert!(keys.claim(claim("a", None), at(100)));
    assert!(keys.claim(claim("b", Some(10)), at(100)), "a message may say so itself");
    assert!(!keys.claim(claim("b", None), at(109)));
    assert!(keys.claim(claim("b", None), at(110)));
}

#[test]
fn a_full_cache_forgets_its_oldest_key() {
    let mut keys = cache(2, None);
    for key in ["a", "b", "c"] {
        assert!(keys.claim(claim(key, None), at(0)));
        assert!(keys.annexed_count() <= 2);
    }
    assert!(!keys.claim(claim("b", None), at(1_000_000)));
    assert!(keys.claim(claim("a", None), at(0)), "it had made room");
}
