//! What it costs to find a message's queues: `cargo bench --bench routing`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use leveret::{
    broker::{
        routing::{Binding, Destination, Draws},
        topology::{Change, Declared, QueueDeclaration, Topology},
    },
    model::{
        ConnectionId, ExchangeName, FieldTable, FieldValue, Message, Properties, QueueId,
        QueueName, RoutingKey, ShortString, VirtualHostName,
    },
};

const ROUNDS: u32 = 1_000_000;

fn main() {
    let mut topology = Topology::new(VirtualHostName::from_static("/"));
    for number in 0..5000 {
        declare(&mut topology, number);
        let name = format!("q{number}");
        bind(&mut topology, "amq.direct", &name, &name, &FieldTable::default());
        let pattern = format!("site.{}.*.{}.#", number / 50, number % 50);
        bind(&mut topology, "amq.topic", &name, &pattern, &FieldTable::default());
    }
    for number in 0..10 {
        let name = format!("q{number}");
        bind(&mut topology, "amq.fanout", &name, "", &FieldTable::default());
        bind(&mut topology, "amq.headers", &name, "", &headers(number));
    }
    let plain = |exchange: &str, key: &str| message(exchange, key, FieldTable::default());
    report(&topology, "default", &plain("", "q2500"));
    report(&topology, "default, no such queue", &plain("", "nobody"));
    report(&topology, "direct, 5,000 keys", &plain("amq.direct", "q2500"));
    report(&topology, "fanout to 10", &plain("amq.fanout", "any"));
    report(&topology, "topic, 5,000 patterns", &plain("amq.topic", "site.50.rack.7.temperature"));
    report(&topology, "topic, 5,000 patterns, no match", &plain("amq.topic", "other.50.rack.7"));
    report(&topology, "headers, 10 bindings", &message("amq.headers", "", headers(7)));
    for pattern in ["#", "#.temperature", "*.*.rack.#"] {
        bind(&mut topology, "amq.topic", "q1", pattern, &FieldTable::default());
    }
    report(
        &topology,
        "topic, and 3 wide patterns",
        &plain("amq.topic", "site.50.rack.7.temperature"),
    );
}

fn report(topology: &Topology, name: &str, message: &Message) {
    let (mut out, mut draws) = (Vec::new(), Draws::new(1));
    let best = (0..5).map(|_| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let routing = topology.route(black_box(message), &[], &mut draws, &mut out);
            black_box((routing, &out));
        }
        start.elapsed() / ROUNDS
    });
    let best = best.min().unwrap_or_default();
    println!("{name:34} {:5} ns  {} queues", best.as_nanos(), out.len());
}

fn declare(topology: &mut Topology, number: u64) {
    let declaration = QueueDeclaration {
        name: QueueName::try_from(format!("q{number}")).expect("short"),
        generated: false,
        durable: false,
        auto_delete: false,
        exclusive: None,
        arguments: FieldTable::default(),
    };
    match topology.declare_queue(&declaration, QueueId(number)) {
        Ok(Declared::New(queue)) => topology.apply(&Change::QueueDeclared(queue)),
        other => panic!("a new queue, not {other:?}"),
    }
}

fn bind(topology: &mut Topology, source: &str, queue: &str, key: &str, arguments: &FieldTable) {
    let source = ExchangeName::try_from(source).expect("short");
    let destination = Destination::Queue(QueueName::try_from(queue).expect("short"));
    let key = RoutingKey::try_from(key).expect("short");
    let binding = Binding::new(&source, &destination, &key, arguments);
    let change = topology.bind(binding, ConnectionId(1)).expect("allowed").expect("new");
    topology.apply(&change);
}

fn headers(number: i32) -> FieldTable {
    let pair = |name, value| (ShortString::from_static(name), value);
    let number = FieldValue::Int32(number);
    FieldTable::from_pairs([pair("kind", "reading".into()), pair("number", number)])
}

fn message(exchange: &str, key: &str, headers: FieldTable) -> Message {
    let headers = Some(headers).filter(|headers| !headers.is_empty());
    let properties = Properties { headers, ..Properties::default() }.to_bytes();
    Message::new(exchange.as_bytes(), key.as_bytes(), &properties, Bytes::new())
}
