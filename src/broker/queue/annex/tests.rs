//! What exchanges keep, command by command.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    broker::{random::Random, routing::CachePlan},
    model::{FieldTable, FieldValue, Properties, QueueOptions, ShortString},
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
    assert_eq!((released(&effects), alarms(&effects)), (vec!["a".into(), "a2".into()], vec![at(120)]));
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
    while let Some(moment) = { effects.clear(); next_of(&mut delays, &mut effects, woken) } {
        woken = moment;
    }
    assert_eq!(delays.annexed_count(), 0);
}

/// Goes on by ten seconds as long as something waits.
fn next_of(delays: &mut Queue, effects: &mut Vec<Effect>, now: u64) -> Option<u64> {
    let next = now + 10_000;
    delays.apply(Command::Tick, at(next), effects);
    (delays.annexed_count() > 0).then_some(next)
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
