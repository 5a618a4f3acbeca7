//! A topology beside a plain list of bindings, through the same random operations.

use std::collections::BTreeSet;

use super::*;
use crate::broker::random::Random;

const EXCHANGES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const QUEUES: [&str; 4] = ["p", "q", "r", "s"];
const KEYS: [&str; 3] = ["k", "l", "m"];

/// Exchanges by name, whether auto-delete, and their alternates; queues; bindings. All direct.
#[derive(Default)]
struct Plain {
    exchanges: Vec<(&'static str, bool, Option<&'static str>)>,
    queues: BTreeSet<&'static str>,
    bindings: Vec<(&'static str, Destination, &'static str)>,
}

impl Plain {
    fn has(&self, exchange: &str) -> bool {
        self.exchanges.iter().any(|(name, ..)| *name == exchange)
    }

    /// Removes the bindings that `goes` chooses, and whatever must follow.
    fn unbind(&mut self, goes: impl Fn(&(&'static str, Destination, &'static str)) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.bindings).into_iter().partition(goes);
        self.bindings = kept;
        let gone: Vec<_> = gone;
        for (source, ..) in gone {
            let auto_delete =
                self.exchanges.iter().any(|(name, auto_delete, _)| *name == source && *auto_delete);
            if auto_delete && self.bindings.iter().all(|(other, ..)| *other != source) {
                self.delete_exchange(source);
            }
        }
    }

    fn delete_exchange(&mut self, exchange: &'static str) {
        self.exchanges.retain(|(name, ..)| *name != exchange);
        self.bindings.retain(|(source, ..)| *source != exchange);
        self.unbind(|(_, destination, _)| *destination == to_exchange(exchange));
    }

    fn route(&self, start: &'static str, key: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut visited = BTreeSet::new();
        let mut waiting = vec![start.to_owned()];
        while let Some(exchange) = waiting.pop() {
            if !self.has(&exchange) || !visited.insert(exchange.clone()) {
                continue;
            }
            let mut is_lost = true;
            let taken = |(source, _, bound): &&(&str, Destination, &str)| {
                *source == exchange && *bound == key
            };
            for (_, destination, _) in self.bindings.iter().filter(taken) {
                is_lost = false;
                match destination {
                    Destination::Queue(queue) => drop(found.insert(queue.to_string())),
                    Destination::Exchange(next) => waiting.push(next.to_string()),
                }
            }
            let of_it = self.exchanges.iter().find(|(name, ..)| *name == exchange);
            if is_lost && let Some((_, _, Some(alternate))) = of_it {
                waiting.push((*alternate).to_owned());
            }
        }
        found
    }
}

/// One random operation on both.
fn operate(random: &mut Random, bench: &mut Bench, plain: &mut Plain) {
    let exchange = *random.one_of(&EXCHANGES);
    let queue_name = *random.one_of(&QUEUES);
    let key = *random.one_of(&KEYS);
    let other = *random.one_of(&EXCHANGES);
    let destination = if random.below(2) == 0 { to_queue(queue_name) } else { to_exchange(other) };
    match random.below(20) {
        0..4 => {
            let auto_delete = random.below(2) == 0;
            let alternate = (random.below(3) == 0).then(|| *random.one_of(&EXCHANGES));
            let arguments = alternate.map(|name| table([("alternate-exchange", name.into())]));
            let arguments = arguments.unwrap_or_default();
            let declaration = ExchangeDeclaration {
                auto_delete,
                arguments,
                ..super::exchange(exchange, "direct")
            };
            if bench.declare_exchange(declaration) == Ok(true) {
                plain.exchanges.push((exchange, auto_delete, alternate));
            }
        }
        4..7 => {
            let is_new = bench.declare_queue(queue(queue_name)).unwrap();
            assert_eq!(is_new, plain.queues.insert(queue_name));
        }
        7..15 => {
            let bound = bench.bind(binding(exchange, destination.clone(), key));
            if bound == Ok(true) {
                plain.bindings.push((exchange, destination, key));
            }
        }
        15..18 => {
            let unbound = bench.unbind(&binding(exchange, destination.clone(), key)).unwrap();
            let gone = (exchange, destination, key);
            assert_eq!(unbound > 0, plain.bindings.contains(&gone));
            plain.unbind(|binding| *binding == gone);
        }
        18 => {
            bench.delete_exchange(exchange, false).unwrap();
            plain.delete_exchange(exchange);
        }
        _ if plain.queues.remove(queue_name) => {
            bench.delete_queue(queue_name);
            plain.unbind(|(_, destination, _)| *destination == to_queue(queue_name));
        }
        _ => {}
    }
}

#[test]
fn a_topology_agrees_with_a_plain_list_of_bindings() {
    for seed in 1..=60 {
        let (mut random, mut bench) = (Random::new(seed * 0x9e37_79b9), Bench::new());
        let mut plain = Plain::default();
        for step in 0..400 {
            operate(&mut random, &mut bench, &mut plain);
            let present: Vec<_> = EXCHANGES.iter().filter(|name| bench.has(name)).collect();
            let expected: Vec<_> = EXCHANGES.iter().filter(|name| plain.has(name)).collect();
            assert_eq!(present, expected, "seed {seed}, step {step}");
            assert_eq!(bench.topology.bindings().count(), plain.bindings.len(), "seed {seed}");
            for exchange in present {
                let key = *random.one_of(&KEYS);
                let found: BTreeSet<_> = bench.route(exchange, key, none()).into_iter().collect();
                assert_eq!(found, plain.route(exchange, key), "seed {seed}, step {step}");
            }
        }
    }
}

#[test]
fn applying_the_same_changes_again_builds_the_same_topology() {
    let (mut random, mut bench) = (Random::new(7), Bench::new());
    let mut plain = Plain::default();
    (0..300).for_each(|_| operate(&mut random, &mut bench, &mut plain));
    let mut copy = Topology::new(VirtualHostName::from_static("/"));
    for exchange in bench.topology.exchanges().filter(|it| !it.name.starts_with(b"amq.")) {
        copy.apply(&Change::ExchangeDeclared(Arc::clone(exchange)));
    }
    for queue in bench.topology.queues() {
        copy.apply(&Change::QueueDeclared(Arc::clone(queue)));
    }
    for binding in bench.topology.bindings() {
        copy.apply(&Change::Bound(Arc::clone(binding)));
    }
    assert!(copy.bindings().eq(bench.topology.bindings()));
    let copy = Bench { topology: copy, next_queue: 0 };
    for exchange in EXCHANGES.iter().filter(|name| bench.has(name)) {
        for key in KEYS {
            assert_eq!(copy.route(exchange, key, none()), bench.route(exchange, key, none()));
        }
    }
}
