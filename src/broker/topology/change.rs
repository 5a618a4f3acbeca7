//! The facts that a topology is made of: applying them in order builds it again.

use std::sync::Arc;

use crate::{
    broker::{
        policy::{Policy, PolicyKind},
        routing::Binding,
    },
    model::{ExchangeName, Placement, QueueId, ShortString, VirtualHostOptions},
};

use super::record::{ExchangeRecord, QueueRecord};

/// One fact. It was decided once, when a client asked; applying it decides nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    ExchangeDeclared(Arc<ExchangeRecord>),
    /// Takes all bindings from and to the exchange with it.
    ExchangeDeleted(ExchangeName),
    QueueDeclared(Arc<QueueRecord>),
    /// Takes all bindings to the queue with it.
    QueueDeleted(QueueId),
    /// The queue is to be there from now on.
    QueuePlaced(QueueId, Placement),
    Bound(Arc<Binding>),
    Unbound(Arc<Binding>),
    /// What an operator has said of the virtual host.
    Described(Arc<VirtualHostOptions>),
    /// In place of the policy of that kind and name.
    PolicySet(PolicyKind, Arc<Policy>),
    PolicyCleared(PolicyKind, ShortString),
}
