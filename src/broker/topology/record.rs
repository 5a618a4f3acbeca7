//! What is known of an exchange or a queue, and what was asked for when it was declared.

use std::sync::Arc;

use crate::{
    broker::routing::{AnnexPlan, ExchangeKind, Plan},
    model::{
        ConnectionId, ExchangeName, ExchangeOptions, FieldTable, Placement, QueueId, QueueKind,
        QueueName, QueueOptions, Resource, ResourceKind, ShortString, VirtualHostName,
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
    /// What its type asks of it.
    pub plan: Plan,
    /// Where it keeps what its plan has it keep; empty until it is hosted.
    pub annexes: Vec<QueueId>,
}

impl ExchangeRecord {
    /// Whether something is to be kept that has no place yet.
    pub(in crate::broker) fn lacks_annexes(&self) -> bool {
        self.annexes.is_empty() && !self.plan.annexes().is_empty()
    }

    /// The same exchange with places for what it keeps.
    pub(in crate::broker) fn with_annexes(&self, numbers: impl Iterator<Item = QueueId>) -> Self {
        let annexes = numbers.take(self.plan.annexes().len()).collect();
        Self { annexes, ..self.clone() }
    }

    /// The queues that are its annexes.
    pub(in crate::broker) fn annex_records(&self) -> impl Iterator<Item = Arc<QueueRecord>> {
        let plans = self.plan.annexes().into_iter();
        plans.zip(&self.annexes).map(|(plan, id)| {
            let persists = match &plan {
                AnnexPlan::Delays | AnnexPlan::Recent(_) => true,
                AnnexPlan::Keys(cache) => cache.persists,
            };
            Arc::new(QueueRecord {
                id: *id,
                name: QueueName::default(),
                durable: self.durable && persists,
                auto_delete: false,
                owner: None,
                arguments: FieldTable::default(),
                options: QueueOptions::default(),
                annex: Some(Annex { exchange: self.name.clone(), plan }),
                placement: Placement::default(),
            })
        })
    }

    /// Where messages are kept for destinations that are bound later.
    pub(in crate::broker) fn history(&self) -> Option<QueueId> {
        let is_history = |plan: &AnnexPlan| matches!(plan, AnnexPlan::Recent(_));
        self.annexes.get(self.plan.annexes().iter().position(is_history)?).copied()
    }
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
    /// It is none that clients see, but what an exchange keeps.
    pub annex: Option<Annex>,
    /// Where in the cluster it lives. What an exchange keeps is on every node.
    pub placement: Placement,
}

impl QueueRecord {
    /// The same queue elsewhere.
    pub(in crate::broker) fn placed(&self, placement: Placement) -> Self {
        Self { placement, ..self.clone() }
    }
}

/// What makes a queue the annex of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annex {
    pub exchange: ExchangeName,
    pub plan: AnnexPlan,
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
