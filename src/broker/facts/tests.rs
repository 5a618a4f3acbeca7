//! Facts, written by a broker and read back by another.

mod octets;
pub(in crate::broker) mod random;
mod restarts;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::*;
use crate::{
    broker::{
        Broker, Client, Directory, ExchangeDeclaration, Hashing, Origins, PasswordHash,
        PolicyDraft, QueueDeclaration, TopicPermissionView,
        routing::{Destination, Plan},
        tests::{Nowhere, client_of, origins},
        topology::Topology,
    },
    model::{
        ConnectionId, Entry, FieldValue, Limit, Moment, Position, QueueKind, RoutingKey, entries,
    },
};

/// A journal that keeps what it is told, and nothing of messages.
#[derive(Debug, Default)]
pub(in crate::broker) struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
pub(in crate::broker) struct Pages {
    facts: BTreeMap<Bytes, Bytes>,
    forgotten: BTreeSet<QueueId>,
    records: u64,
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    /// One that an earlier broker has left behind.
    pub(in crate::broker) fn inherited(facts: BTreeMap<Bytes, Bytes>) -> Self {
        Self(Mutex::new(Pages { facts, ..Pages::default() }))
    }

    pub(in crate::broker) fn facts(&self) -> BTreeMap<Bytes, Bytes> {
        self.pages().facts.clone()
    }
}

impl Journal for Ledger {
    fn append(&self, batch: &mut Batch) -> LogPosition {
        let mut pages = self.pages();
        for entry in entries(batch.octets()) {
            match entry.expect("a batch is well-formed") {
                Entry::Put { key, value } => {
                    pages.facts.insert(key::own(key), key::own(value));
                }
                Entry::Delete { key } => {
                    assert!(pages.facts.remove(key).is_some(), "{:?} stood", Key::read(key));
                }
                Entry::Forget { queue } => assert!(pages.forgotten.insert(queue), "once"),
                Entry::Enqueue { .. } | Entry::Settle { .. } => {}
                Entry::Return { .. } | Entry::Delivered { .. } => {}
            }
        }
        batch.clear();
        pages.records += 1;
        LogPosition(pages.records)
    }

    fn durable(&self) -> LogPosition {
        LogPosition(self.pages().records)
    }

    fn wake_when_durable(&self, _: LogPosition, _: QueueId) {}

    fn read(&self, _: QueueId, _: Position) -> Option<Vec<(Position, Bytes)>> {
        Some(Vec::new())
    }
}

pub(in crate::broker) const NOW: Moment = Moment::from_unix(Duration::from_secs(1));
pub(in crate::broker) const HOME: VirtualHostName = VirtualHostName::from_static("/");
const GUEST: ShortString = ShortString::from_static("guest");

/// A broker of which nothing is left but what its ledger says.
struct Node {
    broker: Arc<Broker>,
    ledger: Arc<Ledger>,
}

impl Node {
    fn new() -> Self {
        let ledger = Arc::new(Ledger::default());
        let journal: Arc<dyn Journal> = Arc::<Ledger>::clone(&ledger);
        let broker = Broker::new(Arc::new(Nowhere), Directory::new(["guest"]), Some(journal));
        Self { broker: Arc::new(broker), ledger }
    }

    fn established() -> Self {
        let node = Self::new();
        node.broker.establish(origins("guest"));
        node
    }

    /// What comes up after this one has gone.
    fn restarted(&self) -> Self {
        let node = Self::new();
        node.broker.restore_topology(&self.ledger.facts()).expect("well-formed facts");
        node
    }

    fn client(&self, connection: u64) -> Client {
        client_of(&self.broker, connection)
    }

    fn home(&self) -> Arc<crate::broker::virtual_host::VirtualHost> {
        self.broker.virtual_host(&HOME).expect("the virtual host exists")
    }
}

pub(in crate::broker) fn policy(kind: PolicyKind, pattern: &str, length: i64) -> Policy {
    let draft = PolicyDraft {
        name: ShortString::from_static("p"),
        pattern: pattern.into(),
        apply_to: "queues".into(),
        priority: FieldValue::Int64(-3),
        definition: table([("max-length", FieldValue::Int64(length))]),
    };
    Policy::parse(kind, draft).expect("a valid policy")
}

pub(in crate::broker) fn guest(password: &[u8]) -> User {
    let password = PasswordHash::new(Hashing::default(), password, [1, 2, 3, 4]);
    let tags = vec![ShortString::from_static("administrator")];
    User { password: Some(password), tags, ..User::default() }
}

pub(in crate::broker) fn exchange(name: &'static str) -> ExchangeDeclaration {
    ExchangeDeclaration {
        name: ExchangeName::from_static(name),
        kind: ShortString::from_static("direct"),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

pub(in crate::broker) fn queue(name: &'static str) -> QueueDeclaration {
    QueueDeclaration {
        name: QueueName::from_static(name),
        generated: false,
        durable: true,
        auto_delete: false,
        exclusive: None,
        arguments: FieldTable::default(),
    }
}

pub(in crate::broker) fn binding(
    source: &'static str,
    destination: Destination,
    key: &'static str,
) -> Binding {
    let source = ExchangeName::from_static(source);
    Binding::new(&source, &destination, &RoutingKey::from_static(key), &FieldTable::default())
}

pub(in crate::broker) fn to_queue(name: &'static str) -> Destination {
    Destination::Queue(QueueName::from_static(name))
}

fn to_exchange(name: &'static str) -> Destination {
    Destination::Exchange(ExchangeName::from_static(name))
}

pub(in crate::broker) fn table<const N: usize>(
    pairs: [(&'static str, FieldValue); N],
) -> FieldTable {
    pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)).collect()
}
