//! What exchanges keep, through the broker's face.

use super::*;
use crate::{broker::Journal, model::Batch};

/// A disk that is never done with its last record.
#[derive(Debug, Default)]
struct Slow(AtomicU64);

impl Journal for Slow {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        batch.clear();
        LogPosition(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn durable(&self) -> LogPosition {
        LogPosition(self.0.load(Ordering::Relaxed).saturating_sub(1))
    }
    fn wake_when_durable(&self, _: LogPosition, _: QueueId) {}
    fn read(&self, _: QueueId, _: Position) -> Option<Vec<(Position, Bytes)>> {
        Some(Vec::new())
    }
}

const HOME: &str = "/";
/// The first number that the broker gives goes to the annex of the first exchange.
const ANNEX: QueueId = QueueId(1);

fn node(journal: Option<Arc<dyn Journal>>) -> (Arc<Broker>, Client) {
    let broker = Arc::new(Broker::new(Arc::new(Nowhere), Directory::default(), journal));
    broker.establish(origins("guest"));
    let client = client_of(&broker, 1);
    (broker, client)
}

/// A durable exchange, bound to a durable queue, both named `x`.
fn declare_bound(client: &mut Client, kind: &'static str, arguments: FieldTable) {
    let name = ExchangeName::from_static("x");
    let declaration = ExchangeDeclaration {
        name: name.clone(),
        kind: ShortString::from_static(kind),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    };
    client.declare_exchange(&declaration).unwrap();
    let queue = QueueName::from_static("x");
    let declaration = QueueDeclaration {
        name: queue.clone(),
        generated: false,
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: FieldTable::new(),
    };
    client.declare_queue(&declaration, at(0)).unwrap();
    let destination = Destination::Queue(queue);
    let key = RoutingKey::default();
    let binding = Binding::new(&name, &destination, &key, &FieldTable::new());
    client.bind(binding, at(0)).unwrap();
}

fn table<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> FieldTable {
    pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)).collect()
}

fn publish_with(client: &mut Client, headers: FieldTable, number: u64) -> Vec<Published> {
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    let publication = Publication {
        channel: ChannelNumber(1),
        message: Message::new(b"x", b"k", &properties.to_bytes(), BODY),
        mandatory: false,
        confirm: Some(number),
        transactional: false,
    };
    client.publish(vec![publication], at(0))
}

#[test]
fn delayed_messages_are_counted_until_they_are_due() {
    let (broker, mut client) = node(None);
    declare_bound(&mut client, "x-delayed-message", table([("x-delayed-type", "fanout".into())]));
    let home = VirtualHostName::from_static(HOME);
    assert_eq!(broker.messages_delayed(&home, b"amq.fanout"), None);
    for seconds in [1, 2, 3] {
        publish_with(&mut client, table([("x-delay", (1000 * seconds).into())]), 1);
    }
    assert_eq!(broker.messages_delayed(&home, b"x"), Some(3));
    broker.wake(ANNEX, at(2));
    assert_eq!(broker.messages_delayed(&home, b"x"), Some(1));
    assert_eq!(messages(&mut client, "x", at(2)), Some(2));
    client.delete_exchange(&ExchangeName::from_static("x"), false).unwrap();
    broker.wake(ANNEX, at(9));
    assert_eq!(broker.messages_delayed(&home, b"x"), None);
    assert_eq!(messages(&mut client, "x", at(9)), Some(2), "the last one went with its exchange");
}

#[test]
fn a_delayed_message_is_confirmed_when_it_is_safe() {
    let (_, mut client) = node(Some(Arc::new(Slow::default())));
    declare_bound(&mut client, "x-delayed-message", table([("x-delayed-type", "fanout".into())]));
    let said = publish_with(&mut client, table([("x-delay", 1000.into())]), 1);
    assert_eq!((said, client.next_awaited_confirm().is_some()), (vec![], true));
}

#[test]
fn a_duplicate_is_confirmed_no_sooner_than_what_it_repeats() {
    let (_, mut client) = node(Some(Arc::new(Slow::default())));
    declare_bound(&mut client, "x-message-deduplication", table([("x-cache-size", 10.into())]));
    let keyed = || table([("x-deduplication-header", "a".into())]);
    let persistent = Properties {
        headers: Some(keyed()),
        delivery_mode: Some(PERSISTENT),
        ..Properties::default()
    };
    let publication = |number| Publication {
        channel: ChannelNumber(1),
        message: Message::new(b"x", b"k", &persistent.to_bytes(), BODY),
        mandatory: false,
        confirm: Some(number),
        transactional: false,
    };
    let said = client.publish(vec![publication(1), publication(2)], at(0));
    assert_eq!(said, []);
    let mut confirmed = Vec::new();
    client.confirmed(LogPosition::NEVER, &mut confirmed);
    let numbers: Vec<_> = confirmed.iter().map(|run| (run.first, run.last)).collect();
    assert_eq!(numbers, [(1, 1), (2, 2)]);
    assert_eq!(messages(&mut client, "x", at(0)), Some(1));
}
