//! Where messages are placed by hash and by chance, through the graph.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::{
    broker::random::Random,
    model::{
        FieldTable, FieldValue, Properties, Resource, ResourceKind, RoutingKey, ShortString,
        VirtualHostName,
    },
};

const SOURCE: &str = "x";

/// A graph of one exchange of a type that chooses, and queues that are bound to it.
struct Bench {
    graph: Graph,
    draws: Draws,
}

impl Bench {
    fn new(kind: ExchangeKind, arguments: &FieldTable) -> Self {
        let exchange = Resource {
            kind: ResourceKind::Exchange,
            name: ShortString::from_static(SOURCE),
            virtual_host: VirtualHostName::from_static("/"),
        };
        let plan = Plan::parse(&exchange, kind, arguments).unwrap();
        let mut graph = Graph::new();
        graph.add_exchange(ExchangeName::from_static(SOURCE), (&plan, &[]), None);
        Self { graph, draws: Draws::new(7) }
    }

    fn bind(&mut self, queue: u64, key: &str) {
        let name = QueueName::try_from(format!("q{queue}")).unwrap();
        self.graph.add_queue(name, QueueId(queue));
        self.graph.connect(&binding(queue, key));
    }

    fn unbind(&mut self, queue: u64, key: &str) {
        self.graph.disconnect(&binding(queue, key));
    }

    fn route(&mut self, key: &str, properties: Properties) -> (Option<u64>, Basis) {
        let key = key.as_bytes();
        let message = Message::new(SOURCE.as_bytes(), key, &properties.to_bytes(), Bytes::new());
        let mut out = Vec::new();
        let start = SOURCE.as_bytes();
        let routing = self.graph.route(start, &message, &[], &mut self.draws, &mut out).unwrap();
        assert!(out.len() <= 1, "one destination at most, not {out:?}");
        assert_eq!(routing.is_routed, !out.is_empty());
        (out.first().map(|queue| queue.0), routing.basis)
    }

    fn place(&mut self, key: &str) -> Option<u64> {
        self.route(key, Properties::default()).0
    }

    fn places(&mut self, keys: usize) -> Vec<u64> {
        (0..keys).map(|number| self.place(&format!("key.{number}")).unwrap()).collect()
    }
}

fn binding(queue: u64, key: &str) -> Binding {
    let destination = Destination::Queue(QueueName::try_from(format!("q{queue}")).unwrap());
    let key = RoutingKey::try_from(key).unwrap();
    Binding::new(&ExchangeName::from_static(SOURCE), &destination, &key, &FieldTable::new())
}

fn shares(places: &[u64]) -> BTreeMap<u64, f64> {
    let mut shares = BTreeMap::new();
    for place in places {
        *shares.entry(*place).or_default() += 1.0 / places.len() as f64;
    }
    shares
}

fn arguments<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> FieldTable {
    pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)).collect()
}

fn consistent(queues: u64) -> Bench {
    let mut bench = Bench::new(ExchangeKind::ConsistentHash, &FieldTable::new());
    (1..=queues).for_each(|queue| bench.bind(queue, "1"));
    bench
}

#[test]
fn a_queue_more_takes_its_share_of_the_keys_and_moves_no_other() {
    const KEYS: usize = 20_000;
    let mut random = Random::new(3);
    for _ in 0..6 {
        let queues = 1 + random.below(20) as u64;
        let mut bench = consistent(queues);
        let before = bench.places(KEYS);
        bench.bind(99, "1");
        let after = bench.places(KEYS);
        let moved = before.iter().zip(&after).filter(|(one, other)| one != other).count();
        let expected = KEYS as f64 / (queues + 1) as f64;
        let taken = after.iter().filter(|place| **place == 99).count();
        assert_eq!(moved, taken, "{queues} queues: what moves, moves to the new one");
        assert!((moved as f64 - expected).abs() < 0.15 * expected + 50.0, "{queues}: {moved}");
        bench.unbind(99, "1");
        assert_eq!(bench.places(KEYS), before, "{queues} queues: all is as before");
    }
}

#[test]
fn a_queue_less_leaves_its_keys_to_the_others_and_moves_no_other() {
    let mut bench = consistent(5);
    let before = bench.places(10_000);
    bench.unbind(2, "1");
    for (before, after) in before.iter().zip(bench.places(10_000)) {
        assert!(*before == after || *before == 2);
    }
}

#[test]
fn keys_are_shared_by_weight() {
    let mut bench = Bench::new(ExchangeKind::ConsistentHash, &FieldTable::new());
    for (queue, weight) in [(1, "1"), (2, "2"), (3, "7")] {
        bench.bind(queue, weight);
    }
    let shares = shares(&bench.places(40_000));
    for (queue, expected) in [(1, 0.1), (2, 0.2), (3, 0.7)] {
        assert!((shares[&queue] - expected).abs() < 0.01, "{shares:?}");
    }
}

#[test]
fn places_depend_on_names_and_not_on_the_order_of_binding() {
    let mut one = consistent(6);
    let mut other = Bench::new(ExchangeKind::ConsistentHash, &FieldTable::new());
    (1..=6).rev().for_each(|queue| other.bind(queue, "1"));
    assert_eq!(one.places(1000), other.places(1000));
}

#[test]
fn of_two_bindings_of_one_queue_the_first_counts_while_it_is_there() {
    let mut bench = consistent(1);
    bench.bind(2, "1");
    bench.bind(2, "1000");
    let equal = shares(&bench.places(10_000));
    assert!((equal[&1] - 0.5).abs() < 0.03, "{equal:?}");
    bench.unbind(2, "1");
    let unequal = shares(&bench.places(10_000));
    assert!(unequal[&2] > 0.99, "{unequal:?}");
    bench.unbind(2, "1000");
    assert_eq!(shares(&bench.places(100)).len(), 1);
}

#[test]
fn a_hash_is_taken_of_what_the_arguments_name() {
    type Vary = fn(String) -> Properties;
    let header: Vary = |value| Properties {
        headers: Some(arguments([("who", FieldValue::from(value.as_str()))])),
        ..Properties::default()
    };
    let correlation: Vary =
        |value| Properties { correlation_id: value.try_into().ok(), ..Properties::default() };
    let message: Vary =
        |value| Properties { message_id: value.try_into().ok(), ..Properties::default() };
    let timestamp: Vary =
        |value| Properties { timestamp: value.parse().ok(), ..Properties::default() };
    for (asked, vary) in [
        (("hash-header", "who"), header),
        (("hash-property", "correlation_id"), correlation),
        (("hash-property", "message_id"), message),
        (("hash-property", "timestamp"), timestamp),
    ] {
        let by = arguments([(asked.0, asked.1.into())]);
        let mut bench = Bench::new(ExchangeKind::ConsistentHash, &by);
        (1..=4).for_each(|queue| bench.bind(queue, "1"));
        let mut seen = BTreeSet::new();
        for number in 0..100 {
            let properties = || vary(number.to_string());
            let (place, basis) = bench.route("one", properties());
            assert_eq!(bench.route("another", properties()).0, place, "{asked:?}");
            assert_eq!(basis, Basis::Headers, "{asked:?}");
            seen.insert(place);
        }
        assert_eq!(seen.len(), 4, "{asked:?}");
        assert_eq!(bench.places(100).into_iter().collect::<BTreeSet<_>>().len(), 1, "{asked:?}");
    }
}

#[test]
fn a_number_has_one_place_in_whatever_width() {
    let by = arguments([("hash-header", "n".into())]);
    let mut bench = Bench::new(ExchangeKind::ConsistentHash, &by);
    (1..=8).for_each(|queue| bench.bind(queue, "1"));
    for number in 0..100_i8 {
        let mut place = |value| {
            let headers = Some(arguments([("n", value)]));
            bench.route("k", Properties { headers, ..Properties::default() }).0
        };
        let small = place(FieldValue::Int8(number));
        assert_eq!(small, place(FieldValue::Int64(number.into())));
        assert_eq!(small, place(FieldValue::UInt16(number.unsigned_abs().into())));
    }
}

#[test]
fn what_is_no_weight_is_refused() {
    let check = |key: &str| check_weight(&RoutingKey::try_from(key).unwrap());
    for good in ["1", "+1", "007", "10000"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in ["", "0", "-1", "-0", "1.5", " 1", "abc", "10001", "99999999999999999999", "--1"] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_modulus_of_the_hash_chooses_among_all_bindings_evenly() {
    let mut bench = Bench::new(ExchangeKind::ModulusHash, &FieldTable::new());
    assert_eq!(bench.place("k"), None);
    (1..=4).for_each(|queue| bench.bind(queue, ""));
    let places = bench.places(8000);
    assert_eq!(bench.places(8000), places);
    for (queue, share) in shares(&places) {
        assert!((share - 0.25).abs() < 0.03, "{queue}: {share}");
    }
    let mut again = Bench::new(ExchangeKind::ModulusHash, &FieldTable::new());
    (1..=4).rev().for_each(|queue| again.bind(queue, ""));
    assert_eq!(again.places(8000), places, "whatever the order of binding");
}

#[test]
fn chance_takes_every_binding_alike_whatever_the_key() {
    for kind in [ExchangeKind::Random, ExchangeKind::LocalRandom] {
        let mut bench = Bench::new(kind, &FieldTable::new());
        assert_eq!(bench.place("k"), None);
        bench.bind(1, "");
        assert_eq!(bench.route("k", Properties::default()), (Some(1), Basis::Address));
        (2..=4).for_each(|queue| bench.bind(queue, ""));
        assert_eq!(bench.route("k", Properties::default()).1, Basis::Chance);
        let places: Vec<_> = (0..20_000).map(|_| bench.place("k").unwrap()).collect();
        for (queue, share) in shares(&places) {
            assert!((share - 0.25).abs() < 0.02, "{queue}: {share}");
        }
    }
}
