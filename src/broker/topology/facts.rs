//! What of a change must survive a restart.

use std::sync::Arc;

use crate::{
    broker::{
        facts::{Fact, Key},
        policy::PolicyKind,
        routing::{Binding, Destination},
    },
    model::{Batch, ExchangeName, QueueId, VirtualHostName},
};

use super::{Change, ExchangeRecord, QueueRecord, Topology, declaring::RESERVED};

impl Topology {
    /// Writes what of `change`, which is to be applied to this topology next, must survive a
    /// restart, and says whether anything of the topology was written. A restart builds what is
    /// durable; a binding is when both its ends are (RabbitMQ 3.10).
    pub(in crate::broker) fn record(&self, change: &Change, batch: &mut Batch) -> bool {
        match change {
            Change::ExchangeDeclared(exchange) => {
                let survives = self.keeps(exchange.durable);
                if survives {
                    self.put(batch, |home| Fact::Exchange(home, Arc::clone(exchange)));
                }
                survives
            }
            Change::ExchangeDeleted(name) => self.record_exchange_deleted(name, batch),
            Change::QueueDeclared(queue) => {
                let survives = self.keeps(queue.durable);
                if survives {
                    self.put(batch, |home| Fact::Queue(home, Arc::clone(queue)));
                }
                survives
            }
            Change::QueueDeleted(id) => self.record_queue_deleted(*id, batch),
            Change::QueuePlaced(id, placement) => {
                let queue = self.queue(*id).filter(|queue| self.keeps(queue.durable));
                if let Some(queue) = queue {
                    let queue = Arc::new(queue.placed(placement.clone()));
                    self.put(batch, |home| Fact::Queue(home, queue));
                }
                queue.is_some()
            }
            Change::Bound(binding) => {
                let durable = self.is_durable(binding);
                if durable {
                    self.put(batch, |home| Fact::Binding(home, Arc::clone(binding)));
                }
                durable
            }
            Change::Unbound(binding) => self.record_unbound(binding, batch),
            Change::Described(options) => {
                self.put(batch, |home| Fact::VirtualHost(home, Arc::clone(options)));
                true
            }
            Change::PolicySet(kind, policy) => {
                self.put(batch, |home| Fact::Policy(home, *kind, Arc::clone(policy)));
                true
            }
            Change::PolicyCleared(kind, name) => {
                let is_known = self.policies().find(*kind, name).is_some();
                if is_known {
                    Key::Policy(self.virtual_host.clone(), *kind, name.clone()).delete(batch);
                }
                is_known
            }
        }
    }

    /// Everything that must survive a restart.
    pub(in crate::broker) fn facts(&self) -> Vec<Fact> {
        let home = || self.virtual_host.clone();
        let mut facts = vec![Fact::VirtualHost(home(), Arc::clone(self.options()))];
        let is_kept = |exchange: &&Arc<ExchangeRecord>| self.keeps(exchange.durable);
        let exchanges = self.exchanges().filter(is_kept).filter(|exchange| !is_given(exchange));
        facts.extend(exchanges.map(|it| Fact::Exchange(home(), Arc::clone(it))));
        let queues = self.queues().filter(|queue| self.keeps(queue.durable));
        facts.extend(queues.map(|it| Fact::Queue(home(), Arc::clone(it))));
        let bindings = self.bindings().filter(|binding| self.is_durable(binding));
        facts.extend(bindings.map(|it| Fact::Binding(home(), Arc::clone(it))));
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            let policies = self.policies().all(kind);
            facts.extend(policies.map(|it| Fact::Policy(home(), kind, Arc::clone(it))));
        }
        facts
    }

    /// Writes that nothing of this topology holds any longer, itself included.
    pub(in crate::broker) fn erase(&self, batch: &mut Batch) {
        for binding in self.bindings() {
            self.record_unbound(binding, batch);
        }
        for queue in self.queues().filter(|queue| self.keeps(queue.durable)) {
            forget(queue, batch);
            Key::Queue(self.virtual_host.clone(), queue.name.clone()).delete(batch);
        }
        let is_kept = |exchange: &&Arc<ExchangeRecord>| self.keeps(exchange.durable);
        for exchange in self.exchanges().filter(is_kept).filter(|exchange| !is_given(exchange)) {
            forget_annexes(exchange, batch);
            Key::Exchange(self.virtual_host.clone(), exchange.name.clone()).delete(batch);
        }
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            for policy in self.policies().all(kind) {
                Key::Policy(self.virtual_host.clone(), kind, policy.name.clone()).delete(batch);
            }
        }
        Key::VirtualHost(self.virtual_host.clone()).delete(batch);
    }

    fn record_exchange_deleted(&self, name: &ExchangeName, batch: &mut Batch) -> bool {
        if !self.has_durable_exchange(name) {
            return false;
        }
        self.exchange(name).into_iter().for_each(|exchange| forget_annexes(exchange, batch));
        let destination = Destination::Exchange(name.clone());
        let to_it = self.bindings.to(&destination).filter(|binding| binding.source != *name);
        for binding in self.bindings.from(name).chain(to_it) {
            self.record_unbound(binding, batch);
        }
        Key::Exchange(self.virtual_host.clone(), name.clone()).delete(batch);
        true
    }

    /// What was written to save memory is forgotten by who knows whether there is any.
    fn record_queue_deleted(&self, id: QueueId, batch: &mut Batch) -> bool {
        let Some(queue) = self.queue(id).filter(|queue| self.keeps(queue.durable)) else {
            return false;
        };
        forget(queue, batch);
        for binding in self.bindings.to(&Destination::Queue(queue.name.clone())) {
            self.record_unbound(binding, batch);
        }
        Key::Queue(self.virtual_host.clone(), queue.name.clone()).delete(batch);
        true
    }

    fn record_unbound(&self, binding: &Arc<Binding>, batch: &mut Batch) -> bool {
        let durable = self.is_durable(binding);
        if durable {
            Key::Binding(self.virtual_host.clone(), Arc::clone(binding)).delete(batch);
        }
        durable
    }

    fn put(&self, batch: &mut Batch, fact: impl FnOnce(VirtualHostName) -> Fact) {
        fact(self.virtual_host.clone()).put(batch);
    }

    fn is_durable(&self, binding: &Binding) -> bool {
        let destination = match &binding.destination {
            Destination::Queue(name) => {
                self.queue_named(name).is_some_and(|queue| self.keeps(queue.durable))
            }
            Destination::Exchange(name) => self.has_durable_exchange(name),
        };
        destination && self.has_durable_exchange(&binding.source)
    }

    fn has_durable_exchange(&self, name: &ExchangeName) -> bool {
        self.exchange(name).is_some_and(|exchange| self.keeps(exchange.durable))
    }

    fn keeps(&self, is_durable: bool) -> bool {
        is_durable || self.keeps_all
    }
}

/// Nothing is kept of what was in a queue. Of a transient one nothing was but what was written to
/// save memory.
fn forget(queue: &QueueRecord, batch: &mut Batch) {
    if queue.durable {
        batch.forget(queue.id);
    }
}

fn forget_annexes(exchange: &ExchangeRecord, batch: &mut Batch) {
    if exchange.durable {
        exchange.annexes.iter().for_each(|annex| batch.forget(*annex));
    }
}

/// Whether every virtual host has the exchange, so that no fact says so.
fn is_given(exchange: &ExchangeRecord) -> bool {
    exchange.name.starts_with(RESERVED)
}
