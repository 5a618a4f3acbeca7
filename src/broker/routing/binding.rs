//! A binding: what leads from an exchange to a queue or to another exchange.

use std::cmp::Ordering;

use bytes::{Bytes, BytesMut};

use crate::model::{
    ExchangeName, FieldTable, QueueName, RoutingKey,
    octets::{Field, Writer},
};

/// Messages of `source` that agree with the key or the arguments go on to `destination`.
///
/// All four parts identify it: bindings that differ in any of them exist side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    pub source: ExchangeName,
    pub destination: Destination,
    pub routing_key: RoutingKey,
    pub arguments: Arguments,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    Queue(QueueName),
    Exchange(ExchangeName),
}

/// A binding's arguments. Two tables are the same when they agree, sorted by name, in every name,
/// value and wire type (RabbitMQ 3.10).
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    table: FieldTable,
    encoded: Bytes,
}

impl Binding {
    /// A binding with memory of its own.
    pub fn new(
        source: &ExchangeName,
        destination: &Destination,
        routing_key: &RoutingKey,
        arguments: &FieldTable,
    ) -> Self {
        Self {
            source: source.detached(),
            destination: destination.detached(),
            routing_key: routing_key.detached(),
            arguments: Arguments::new(arguments),
        }
    }
}

impl Destination {
    fn detached(&self) -> Self {
        match self {
            Self::Queue(name) => Self::Queue(name.detached()),
            Self::Exchange(name) => Self::Exchange(name.detached()),
        }
    }
}

impl Arguments {
    pub fn new(table: &FieldTable) -> Self {
        if table.is_empty() {
            return Self::default();
        }
        let mut pairs: Vec<_> = table.detached().into_iter().collect();
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        let table = FieldTable::from_pairs(pairs);
        let mut encoded = BytesMut::new();
        table.write(&mut Writer::new(&mut encoded));
        Self { table, encoded: encoded.freeze() }
    }

    /// The same arguments have the same octets; no arguments have none.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The arguments, sorted by name.
    pub fn table(&self) -> &FieldTable {
        &self.table
    }
}

impl PartialEq for Arguments {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for Arguments {}

impl PartialOrd for Arguments {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arguments {
    fn cmp(&self, other: &Self) -> Ordering {
        self.encoded.cmp(&other.encoded)
    }
}
