//! What clients may do to a topology: declare, delete, bind and unbind, checked in RabbitMQ's
//! order.

use std::sync::Arc;

use crate::{
    broker::routing::{self, Binding, Destination, ExchangeKind, Plan},
    model::{
        BindingFault, ConnectionId, ExchangeName, ExchangeOptions, FieldTable, Limit, Placement,
        QueueId, QueueKind, QueueOptions, Refusal, ShortString,
    },
};

use super::{
    Topology,
    cascade::Cascade,
    change::Change,
    equivalence,
    record::{ExchangeDeclaration, ExchangeRecord, QueueDeclaration, QueueRecord},
};

/// Names that begin so are the server's.
pub(super) const RESERVED: &[u8] = b"amq.";

/// The outcome of a queue's declaration.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {
    /// It exists, and is what it was declared to be.
    Present(Arc<QueueRecord>),
    /// It will exist once [`Change::QueueDeclared`] of this record is applied.
    New(Arc<QueueRecord>),
}

impl Topology {
    /// `exchange.declare`; no change when the exchange exists and is the same.
    pub fn declare_exchange(
        &self,
        declaration: &ExchangeDeclaration,
    ) -> Result<Option<Change>, Refusal> {
        let kind = exchange_kind(&declaration.kind)?;
        not_default(&declaration.name)?;
        let resource = self.exchange_resource(&declaration.name);
        if let Some(current) = self.exchange(&declaration.name) {
            equivalence::check_exchange(&resource, current, kind, declaration)?;
            return Ok(None);
        }
        if declaration.name.starts_with(RESERVED) {
            return Err(Refusal::ReservedName(resource));
        }
        let options = ExchangeOptions::parse(&resource, &declaration.arguments)?;
        let arguments = declaration.arguments.detached();
        let plan = Plan::parse(&resource, kind, &arguments)?;
        Ok(Some(Change::ExchangeDeclared(Arc::new(ExchangeRecord {
            name: declaration.name.detached(),
            kind,
            durable: declaration.durable,
            auto_delete: declaration.auto_delete,
            internal: declaration.internal,
            arguments,
            options,
            plan,
            annexes: Vec::new(),
        }))))
    }

    /// A passive `exchange.declare`.
    pub fn check_exchange(&self, name: &ExchangeName) -> Result<&Arc<ExchangeRecord>, Refusal> {
        not_default(name)?;
        self.exchange(name).ok_or_else(|| Refusal::NotFound(self.exchange_resource(name)))
    }

    /// `exchange.delete`; no change when there is no such exchange.
    pub fn delete_exchange(
        &self,
        name: &ExchangeName,
        if_unused: bool,
    ) -> Result<Vec<Change>, Refusal> {
        self.check_deletable(name)?;
        let Some(exchange) = self.exchange(name) else { return Ok(Vec::new()) };
        if if_unused && self.bindings.count_from(name) > 0 {
            return Err(Refusal::InUse(self.exchange_resource(name)));
        }
        let deleted = Change::ExchangeDeleted(exchange.name.clone());
        let mut cascade = Cascade::after(self, vec![deleted]);
        cascade.lose_all_to(&Destination::Exchange(exchange.name.clone()));
        Ok(cascade.finish())
    }

    /// `queue.declare`. A queue that is new gets `id_if_new`.
    ///
    /// What exists is only compared, not checked: a mistyped argument is then a different one.
    pub fn declare_queue(
        &self,
        declaration: &QueueDeclaration,
        id_if_new: QueueId,
    ) -> Result<Declared, Refusal> {
        self.check_queue_name(declaration)?;
        let resource = self.queue_resource(&declaration.name);
        let default = self.options.default_queue_type.unwrap_or_default();
        if let Some(current) = self.queue_named(&declaration.name) {
            equivalence::check_queue(&resource, current, declaration, default)?;
            return Ok(Declared::Present(Arc::clone(current)));
        }
        let arguments = declaration.resolved_arguments(default);
        let options = QueueOptions::parse(&resource, &arguments)?;
        if let Some(property) = unfit_property(options.kind, declaration) {
            return Err(Refusal::InvalidProperty { resource, property });
        }
        if let Some(limit) = self.options.limits.most(Limit::Queues)
            && self.queues.len() as u64 >= limit
        {
            return Err(Refusal::TooManyQueues { queue: resource, limit });
        }
        Ok(Declared::New(Arc::new(QueueRecord {
            id: id_if_new,
            name: declaration.name.detached(),
            durable: declaration.is_durable(),
            auto_delete: declaration.auto_delete,
            owner: declaration.exclusive,
            arguments,
            options,
            annex: None,
            placement: Placement::default(),
        })))
    }

    /// What is asked of a declared queue's name before anything else.
    pub fn check_queue_name(&self, declaration: &QueueDeclaration) -> Result<(), Refusal> {
        let resource = self.queue_resource(&declaration.name);
        if declaration.generated {
            let kind = QueueKind::parse(&resource, &declaration.arguments)?;
            if kind == QueueKind::Quorum {
                return Err(Refusal::ServerNamedQueue { kind: kind.type_name() });
            }
        } else if declaration.name.starts_with(RESERVED) {
            return Err(Refusal::ReservedName(resource));
        }
        Ok(())
    }

    /// What is asked of a declared exchange's type and name before anything else.
    pub fn check_exchange_name(declaration: &ExchangeDeclaration) -> Result<(), Refusal> {
        exchange_kind(&declaration.kind)?;
        not_default(&declaration.name)
    }

    /// Whether clients may delete an exchange of that name, if it exists.
    pub fn check_deletable(&self, name: &ExchangeName) -> Result<(), Refusal> {
        not_default(name)?;
        if name.starts_with(RESERVED) {
            return Err(Refusal::SystemExchange(self.exchange_resource(name)));
        }
        Ok(())
    }

    /// Whether bindings between these two are anybody's to make.
    pub fn check_bindable(binding: &Binding) -> Result<(), Refusal> {
        if let Destination::Exchange(name) = &binding.destination {
            not_default(name)?;
        }
        not_default(&binding.source)
    }

    /// The queue of that name, if there is one and `by` may use it: a passive `queue.declare`, and
    /// the first check of whatever else is done with a queue.
    pub fn check_queue(&self, name: &[u8], by: ConnectionId) -> Result<&Arc<QueueRecord>, Refusal> {
        let queue = self.queue_named(name);
        let queue = queue.ok_or_else(|| Refusal::NotFound(self.queue_resource(name)))?;
        self.not_locked(queue, by)?;
        Ok(queue)
    }

    /// The end of a queue, for whatever reason; no change when there is no such queue.
    pub fn delete_queue(&self, id: QueueId) -> Vec<Change> {
        self.delete_queues(&[id])
    }

    /// The same of several queues at once, each of them named once.
    pub fn delete_queues(&self, ids: &[QueueId]) -> Vec<Change> {
        let queues: Vec<_> = ids.iter().filter_map(|id| self.queue(*id)).collect();
        let deleted = queues.iter().map(|queue| Change::QueueDeleted(queue.id)).collect();
        let mut cascade = Cascade::after(self, deleted);
        for queue in queues {
            cascade.lose_all_to(&Destination::Queue(queue.name.clone()));
        }
        cascade.finish()
    }

    /// `queue.bind` or `exchange.bind`; no change when the binding exists.
    pub fn bind(&self, binding: Binding, by: ConnectionId) -> Result<Option<Change>, Refusal> {
        Self::check_bindable(&binding)?;
        let source = self.check_exchange(&binding.source)?;
        let queue = match &binding.destination {
            Destination::Exchange(name) => self.check_exchange(name).map(|_| None)?,
            Destination::Queue(name) => Some(
                self.queue_named(name)
                    .ok_or_else(|| Refusal::NotFound(self.queue_resource(name)))?,
            ),
        };
        check_binding(source.plan.rule(), &binding, queue)?;
        if let Some(queue) = queue {
            self.not_locked(queue, by)?;
        }
        let is_new = !self.bindings.contains(&binding);
        Ok(is_new.then(|| Change::Bound(Arc::new(binding))))
    }

    /// `queue.unbind` or `exchange.unbind`; no change when there is no such binding, whatever else
    /// is missing.
    pub fn unbind(&self, binding: &Binding, by: ConnectionId) -> Result<Vec<Change>, Refusal> {
        Self::check_bindable(binding)?;
        if !self.bindings.contains(binding) {
            return Ok(Vec::new());
        }
        if let Destination::Queue(name) = &binding.destination
            && let Some(queue) = self.queue_named(name)
        {
            self.not_locked(queue, by)?;
        }
        let unbound = Change::Unbound(Arc::new(binding.clone()));
        let mut cascade = Cascade::after(self, vec![unbound]);
        cascade.lose(binding);
        Ok(cascade.finish())
    }

    fn not_locked(&self, queue: &QueueRecord, by: ConnectionId) -> Result<(), Refusal> {
        match queue.owner {
            Some(owner) if owner != by => Err(Refusal::Locked(self.queue_resource(&queue.name))),
            _ => Ok(()),
        }
    }
}

/// The exchanges of a new virtual host, beside the default one. All are durable.
pub(super) fn predeclared() -> impl Iterator<Item = ExchangeRecord> {
    let exchange = |(name, kind, plan, internal)| ExchangeRecord {
        name: ExchangeName::from_static(name),
        kind,
        plan,
        annexes: Vec::new(),
        durable: true,
        auto_delete: false,
        internal,
        arguments: FieldTable::default(),
        options: ExchangeOptions::default(),
    };
    [
        ("amq.direct", ExchangeKind::Direct, Plan::Direct, false),
        ("amq.fanout", ExchangeKind::Fanout, Plan::Fanout, false),
        ("amq.topic", ExchangeKind::Topic, Plan::Topic, false),
        ("amq.headers", ExchangeKind::Headers, Plan::Headers, false),
        ("amq.match", ExchangeKind::Headers, Plan::Headers, false),
        ("amq.rabbitmq.trace", ExchangeKind::Topic, Plan::Topic, true),
    ]
    .into_iter()
    .map(exchange)
}

/// RabbitMQ calls a type unknown that it has never heard of, and invalid when the word means
/// something else to it, which of all words only the empty one does for certain.
fn exchange_kind(name: &ShortString) -> Result<ExchangeKind, Refusal> {
    if name.is_empty() {
        return Err(Refusal::InvalidExchangeType(name.clone()));
    }
    ExchangeKind::parse(name).ok_or_else(|| Refusal::UnknownExchangeType(name.clone()))
}

fn not_default(name: &ExchangeName) -> Result<(), Refusal> {
    if name.is_empty() { Err(Refusal::DefaultExchange) } else { Ok(()) }
}

/// What the source's rule asks of a binding.
fn check_binding(
    rule: &Plan,
    binding: &Binding,
    queue: Option<&Arc<QueueRecord>>,
) -> Result<(), Refusal> {
    match rule {
        Plan::Headers => routing::check_headers_match(binding.arguments.table()),
        Plan::ConsistentHash(_) => routing::check_weight(&binding.routing_key),
        Plan::LocalRandom => check_local(binding, queue).map_err(Refusal::UnfitBinding),
        _ => Ok(()),
    }
}

/// RabbitMQ 4.0, `x-local-random`.
fn check_local(binding: &Binding, queue: Option<&Arc<QueueRecord>>) -> Result<(), BindingFault> {
    if !binding.routing_key.is_empty() {
        return Err(BindingFault::KeyNotEmpty((*binding.routing_key).clone()));
    }
    match queue.map(|queue| queue.options.kind) {
        None => Err(BindingFault::NotAQueue),
        Some(QueueKind::Classic) => Ok(()),
        Some(other) => Err(BindingFault::QueueKind(other.type_name())),
    }
}

/// The first property that queues of this kind cannot have.
fn unfit_property(kind: QueueKind, declaration: &QueueDeclaration) -> Option<&'static str> {
    match kind {
        QueueKind::Classic => None,
        QueueKind::Quorum if declaration.auto_delete => Some("auto-delete"),
        QueueKind::Quorum if declaration.exclusive.is_some() => Some("exclusive-owner"),
        QueueKind::Quorum if !declaration.durable => Some("non-durable"),
        QueueKind::Quorum => None,
    }
}
