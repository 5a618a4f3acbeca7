//! Random declarations, bindings and deletions: after each, what is durable is what the facts say.

use super::*;
use crate::{broker::random::Random, model::Refusal};

pub(in crate::broker) const EXCHANGES: [&str; 6] = ["a", "b", "c", "d", "amq.direct", "amq.topic"];
pub(in crate::broker) const QUEUES: [&str; 5] = ["p", "q", "r", "s", "t"];
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const KEYS: [&str; 3] = ["", "k", "l.*"];
const NAMES: [&str; 3] = ["x-one", "", "two"];

/// Two clients of one node, the second of whom leaves now and then.
struct Play {
    random: Random,
    clients: [Client; 2],
    connections: u64,
}

impl Play {
    fn act(&mut self, node: &Node) -> Result<(), Refusal> {
        let random = &mut self.random;
        let (exchange, queue) = (word(random, &EXCHANGES), word(random, &QUEUES));
        let actor = random.below(2);
        let choice = random.below(20);
        let client = &mut self.clients[actor];
        match choice {
            0..4 => client.declare_exchange(&an_exchange(exchange, random)),
            4..8 => client.declare_queue(&a_queue(queue, client.id(), random), NOW).map(drop),
            8..14 => client.bind(a_binding(random), Moment::default()),
            14..16 => {
                let bindings: Vec<_> = node.home().topology().bindings().cloned().collect();
                let choice = random.below(bindings.len().max(1));
                bindings.get(choice).map_or(Ok(()), |binding| client.unbind(binding))
            }
            16 => client.delete_exchange(&ExchangeName::from_static(exchange), false),
            17..19 => {
                client.delete_queue(&QueueName::from_static(queue), false, false, NOW).map(drop)
            }
            _ => {
                self.clients[1].leave(NOW);
                self.connections += 1;
                self.clients[1] = node.client(self.connections);
                Ok(())
            }
        }
    }
}

pub(in crate::broker) fn word(random: &mut Random, choices: &[&'static str]) -> &'static str {
    choices[random.below(choices.len())]
}

pub(in crate::broker) fn an_exchange(
    name: &'static str,
    random: &mut Random,
) -> ExchangeDeclaration {
    ExchangeDeclaration {
        kind: ShortString::from_static(word(random, &KINDS)),
        durable: random.below(3) > 0,
        auto_delete: random.below(2) == 0,
        internal: random.below(4) == 0,
        arguments: match random.below(3) {
            0 => table([("alternate-exchange", word(random, &EXCHANGES).into())]),
            _ => a_table(random, 3),
        },
        ..exchange(name)
    }
}

pub(in crate::broker) fn a_queue(
    name: &'static str,
    by: ConnectionId,
    random: &mut Random,
) -> QueueDeclaration {
    QueueDeclaration {
        durable: random.below(3) > 0,
        auto_delete: random.below(3) == 0,
        exclusive: (random.below(4) == 0).then_some(by),
        arguments: match random.below(4) {
            0 => table([("x-queue-type", "quorum".into()), ("x-delivery-limit", 3.into())]),
            1 => table([("x-max-priority", 9.into()), ("x-dead-letter-exchange", "a".into())]),
            2 => table([("x-queue-type", "".into()), ("x-message-ttl", 1_000_000_i64.into())]),
            _ => a_table(random, 3),
        },
        ..queue(name)
    }
}

pub(in crate::broker) fn a_binding(random: &mut Random) -> Binding {
    let destination = match random.below(3) {
        0 => to_exchange(word(random, &EXCHANGES)),
        _ => to_queue(word(random, &QUEUES)),
    };
    let plain = binding(word(random, &EXCHANGES), destination, word(random, &KEYS));
    let arguments = if random.below(2) == 0 { FieldTable::new() } else { a_table(random, 3) };
    Binding::new(&plain.source, &plain.destination, &plain.routing_key, &arguments)
}

/// A table of values of every type.
pub(in crate::broker) fn a_table(random: &mut Random, depth: usize) -> FieldTable {
    let count = random.below(4);
    let pairs = (0..count).map(|_| {
        let name = ShortString::from_static(word(random, &NAMES));
        (name, a_value(random, depth))
    });
    pairs.collect()
}

fn a_value(random: &mut Random, depth: usize) -> FieldValue {
    let number = random.below(1 << 40) as u64;
    let limit = if depth == 0 { 13 } else { 15 };
    match random.below(limit) {
        0 => FieldValue::Boolean(number.is_multiple_of(2)),
        1 => FieldValue::Int8(number as i8),
        2 => FieldValue::UInt8(number as u8),
        3 => FieldValue::Int16(number as i16),
        4 => FieldValue::UInt16(number as u16),
        5 => FieldValue::Int32(number as i32),
        6 => FieldValue::UInt32(number as u32),
        7 => FieldValue::Int64(-number.cast_signed()),
        8 => FieldValue::Float32(number as f32 / 7.0),
        9 => FieldValue::Float64(number as f64 / 7.0),
        10 => FieldValue::Decimal { scale: number as u8, value: number as u32 },
        11 => FieldValue::Timestamp(number),
        12 => FieldValue::ByteArray(Bytes::from(vec![number as u8; random.below(200)]).into()),
        13 => FieldValue::Array((0..random.below(3)).map(|_| a_value(random, depth - 1)).collect()),
        _ => FieldValue::Table(a_table(random, depth - 1)),
    }
}

/// Exchanges, queues and bindings that a restart may not lose, worked out without looking at facts.
type Durable = (Vec<Arc<ExchangeRecord>>, Vec<Arc<QueueRecord>>, Vec<Arc<Binding>>);

fn durable(topology: &Topology) -> Durable {
    let exchanges: Vec<_> = topology.exchanges().filter(|it| it.durable).cloned().collect();
    let queues: Vec<_> = topology.queues().filter(|it| it.durable).cloned().collect();
    let has_exchange = |name: &ExchangeName| exchanges.iter().any(|it| it.name == *name);
    let survives = |binding: &&Arc<Binding>| {
        let destination = match &binding.destination {
            Destination::Queue(name) => queues.iter().any(|it| it.name == *name),
            Destination::Exchange(name) => has_exchange(name),
        };
        destination && has_exchange(&binding.source)
    };
    let bindings = topology.bindings().filter(survives).cloned().collect();
    (exchanges, queues, bindings)
}

#[test]
fn whatever_clients_do_the_facts_say_what_is_durable() {
    for seed in 1..=12 {
        let node = Node::established();
        let clients = [node.client(1), node.client(2)];
        let mut play = Play { random: Random::new(seed * 0x9e37_79b9), clients, connections: 2 };
        for step in 0..300 {
            let step = format!("seed {seed}, step {step}");
            let before = durable(&node.home().topology());
            let (records, connections) = (node.ledger.pages().records, play.connections);
            let _whether_it_was_refused = play.act(&node);
            let after = durable(&node.home().topology());
            let awaited = play.clients.each_mut().map(Client::take_awaited);
            let is_awaited = awaited.iter().any(|position| position.0 > records);
            let has_left = play.connections > connections;
            assert!(before == after || is_awaited || has_left, "{step}");
            let restored = node.restarted();
            assert_eq!(durable(&restored.home().topology()), after, "{step}");
            assert_eq!(restored.broker.users(), node.broker.users(), "{step}");
        }
        every_lost_queue_is_forgotten(&node, seed);
    }
}

fn every_lost_queue_is_forgotten(node: &Node, seed: u64) {
    let pages = node.ledger.pages();
    let home = node.home();
    let present: BTreeSet<_> = home.topology().queues().map(|queue| queue.id).collect();
    assert!(!pages.forgotten.is_empty(), "seed {seed}: the play was too short");
    for id in &pages.forgotten {
        assert!(!present.contains(id), "seed {seed}: {id}");
    }
}
