//! Declaring, binding and routing, through the topology's face.

mod declaring;
mod model;
mod placement;
mod routes;

use super::*;
use crate::{
    broker::routing::{Draws, Recipients},
    model::{FieldTable, FieldValue, Properties, QueueName, ResourceKind, RoutingKey, ShortString},
};

/// Two connections.
const OURS: ConnectionId = ConnectionId(1);
const THEIRS: ConnectionId = ConnectionId(2);

/// A topology and short ways to change and ask it.
struct Bench {
    topology: Topology,
    next_queue: u64,
}

impl Bench {
    fn new() -> Self {
        Self { topology: Topology::new(VirtualHostName::from_static("/")), next_queue: 1 }
    }

    /// Declares or fails the test.
    fn with_exchange(mut self, name: &str, kind: &str) -> Self {
        self.declare_exchange(exchange(name, kind)).expect("a new exchange");
        self
    }

    fn with_queue(mut self, name: &str) -> Self {
        self.declare_queue(queue(name)).expect("a new queue");
        self
    }

    fn with_binding(mut self, source: &str, destination: Destination, key: &str) -> Self {
        self.bind(binding(source, destination, key)).expect("a new binding");
        self
    }

    fn declare_exchange(&mut self, declaration: ExchangeDeclaration) -> Result<bool, Refusal> {
        let change = self.topology.declare_exchange(&declaration)?;
        change.iter().for_each(|change| self.topology.apply(change));
        Ok(change.is_some())
    }

    fn declare_queue(&mut self, declaration: QueueDeclaration) -> Result<bool, Refusal> {
        let declared = self.topology.declare_queue(&declaration, QueueId(self.next_queue))?;
        let Declared::New(record) = declared else { return Ok(false) };
        self.next_queue += 1;
        self.topology.apply(&Change::QueueDeclared(record));
        Ok(true)
    }

    fn bind(&mut self, binding: Binding) -> Result<bool, Refusal> {
        let change = self.topology.bind(binding, OURS)?;
        change.iter().for_each(|change| self.topology.apply(change));
        Ok(change.is_some())
    }

    fn unbind(&mut self, binding: &Binding) -> Result<usize, Refusal> {
        let changes = self.topology.unbind(binding, OURS)?;
        self.topology.apply_all(&changes);
        Ok(changes.len())
    }

    fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<usize, Refusal> {
        let changes = self.topology.delete_exchange(&exchange_name(name), if_unused)?;
        self.topology.apply_all(&changes);
        Ok(changes.len())
    }

    fn delete_queue(&mut self, name: &str) {
        let queue = self.topology.queue_named(name.as_bytes()).expect("the queue exists").id;
        let changes = self.topology.delete_queue(queue);
        self.topology.apply_all(&changes);
    }

    /// The names of the queues that a message goes to.
    fn route(&self, exchange: &str, key: &str, headers: FieldTable) -> Vec<String> {
        let headers = Some(headers).filter(|headers| !headers.is_empty());
        let properties = Properties { headers, ..Properties::default() }.to_bytes();
        let body = bytes::Bytes::new();
        let message = Message::new(exchange.as_bytes(), key.as_bytes(), &properties, body);
        let (message, recipients) = Recipients::separate(message).expect("well-formed recipients");
        let mut out = Vec::new();
        let mut draws = Draws::new(1);
        let routing = self.topology.route(&message, &recipients.into_keys(), &mut draws, &mut out);
        assert_eq!(routing.expect("the exchange").is_routed, !out.is_empty());
        let name = |queue: &QueueId| self.topology.queue(*queue).expect("exists").name.to_string();
        out.iter().map(name).collect()
    }

    fn has(&self, exchange: &str) -> bool {
        self.topology.exchange(exchange.as_bytes()).is_some()
    }
}

fn exchange(name: &str, kind: &str) -> ExchangeDeclaration {
    ExchangeDeclaration {
        name: exchange_name(name),
        kind: ShortString::try_from(kind).unwrap(),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

fn queue(name: &str) -> QueueDeclaration {
    QueueDeclaration {
        name: QueueName::try_from(name).unwrap(),
        generated: false,
        durable: false,
        auto_delete: false,
        exclusive: None,
        arguments: FieldTable::default(),
    }
}

fn binding(source: &str, destination: Destination, key: &str) -> Binding {
    binding_with(source, destination, key, &FieldTable::default())
}

fn binding_with(
    source: &str,
    destination: Destination,
    key: &str,
    arguments: &FieldTable,
) -> Binding {
    let key = RoutingKey::try_from(key).unwrap();
    Binding::new(&exchange_name(source), &destination, &key, arguments)
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(QueueName::try_from(name).unwrap())
}

fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(exchange_name(name))
}

fn exchange_name(name: &str) -> ExchangeName {
    ExchangeName::try_from(name).unwrap()
}

fn table<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> FieldTable {
    pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)).collect()
}

fn none() -> FieldTable {
    FieldTable::default()
}

fn resource(kind: ResourceKind, name: &str) -> Resource {
    let name = ShortString::try_from(name).unwrap();
    Resource { kind, name, virtual_host: VirtualHostName::from_static("/") }
}

fn named_queue(name: &str) -> Resource {
    resource(ResourceKind::Queue, name)
}

fn named_exchange(name: &str) -> Resource {
    resource(ResourceKind::Exchange, name)
}
