//! What is known of an exchange or a queue, and what was asked for when it was declared.

use crate::{
    broker::routing::ExchangeKind,
    model::{
        ConnectionId, ExchangeName, ExchangeOptions, FieldTable, QueueId, QueueKind, QueueName,
        QueueOptions, Resource, ResourceKind, ShortString, VirtualHostName,
    },
};

/// `exchange.declare`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeDeclaration {
    pub name: ExchangeName,
    pub kind: ShortString,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
}

/// An exchange that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeRecord {
    pub name: ExchangeName,
    pub kind: ExchangeKind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    pub options: ExchangeOptions,
}

/// `queue.declare`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueDeclaration {
    pub name: QueueName,
    /// The server chose the name.
    pub generated: bool,
    pub durable: bool,
    pub auto_delete: bool,
    /// The declaring connection, when it wants the queue for itself.
    pub exclusive: Option<ConnectionId>,
    pub arguments: FieldTable,
}

/// A queue that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueRecord {
    pub id: QueueId,
    pub name: QueueName,
    /// An exclusive queue never is.
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that the queue is exclusive to.
    pub owner: Option<ConnectionId>,
    /// As declared, and `x-queue-type` with the type that a declaration without it came to.
    pub arguments: FieldTable,
    pub options: QueueOptions,
}

impl QueueDeclaration {
    /// An exclusive queue cannot outlive its connection: `durable` is dropped.
    pub(super) fn is_durable(&self) -> bool {
        self.durable && self.exclusive.is_none()
    }

    /// The arguments with the type that the queue will have. Only a queue of which the default
    /// type might be another than classic gets it (RabbitMQ 4.x).
    pub(super) fn resolved_arguments(&self, default: QueueKind) -> FieldTable {
        let mut arguments = self.arguments.detached();
        let is_open = match arguments.lookup(QUEUE_TYPE) {
            None => true,
            Some(value) => {
                value.as_text().is_some_and(|kind| matches!(&**kind, b"" | b"undefined"))
            }
        };
        if is_open && self.is_durable() && !self.auto_delete {
            arguments.remove(QUEUE_TYPE);
            arguments.insert(ShortString::from_static(QUEUE_TYPE), default.as_str().into());
        }
        arguments
    }
}

pub(super) const QUEUE_TYPE: &str = "x-queue-type";

/// Names a queue of `virtual_host` in a refusal.
pub(in crate::broker) fn queue_resource(virtual_host: &VirtualHostName, name: &[u8]) -> Resource {
    resource(ResourceKind::Queue, virtual_host, name)
}

/// Names an exchange of `virtual_host` in a refusal.
pub(in crate::broker) fn exchange_resource(
    virtual_host: &VirtualHostName,
    name: &[u8],
) -> Resource {
    resource(ResourceKind::Exchange, virtual_host, name)
}

fn resource(kind: ResourceKind, virtual_host: &VirtualHostName, name: &[u8]) -> Resource {
    let name = name[..name.len().min(255)].to_vec();
    let name = ShortString::new(name.into()).expect("cut to 255 octets");
    Resource { kind, name, virtual_host: virtual_host.clone() }
}
