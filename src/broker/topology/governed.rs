//! Which queues and exchanges of a virtual host policies hold for, and what follows for them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    broker::policy::{Policies, Policy, PolicyKind, Rules},
    model::{ExchangeName, QueueId, QueueOptions, ShortString},
};

use super::{
    Change, Topology,
    record::{ExchangeRecord, QueueRecord},
};

/// The policies, and what they come to for those that one holds for; for the others their own
/// options hold, and nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Governed {
    policies: Policies,
    queues: BTreeMap<QueueId, GovernedQueue>,
    exchanges: BTreeMap<ExchangeName, Rules>,
}

#[derive(Debug, PartialEq)]
struct GovernedQueue {
    rules: Rules,
    options: QueueOptions,
}

/// What a change of policies has changed for queues.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::broker) struct Reconfigured {
    /// The topology's version since then.
    pub(in crate::broker) version: u64,
    /// The options that hold now, of those queues for which others held before.
    pub(in crate::broker) queues: Vec<(QueueId, QueueOptions)>,
}

impl Governed {
    pub(super) fn set(&mut self, kind: PolicyKind, policy: &Arc<Policy>) {
        self.policies.set(kind, Arc::clone(policy));
    }

    pub(super) fn clear(&mut self, kind: PolicyKind, name: &ShortString) {
        self.policies.clear(kind, name);
    }

    pub(super) fn remove_queue(&mut self, id: QueueId) {
        self.queues.remove(&id);
    }

    pub(super) fn remove_exchange(&mut self, name: &ExchangeName) {
        self.exchanges.remove(name);
    }

    /// The policies that hold for a queue that is about to be declared.
    pub(super) fn rules_of_new(&self, queue: &QueueRecord) -> Rules {
        self.policies.for_queue(&queue.name, queue.options.kind)
    }

    /// Finds what holds for a queue, and gives the options that hold now, if others held before.
    pub(super) fn govern_queue(&mut self, queue: &QueueRecord) -> Option<QueueOptions> {
        let rules = self.policies.for_queue(&queue.name, queue.options.kind);
        let known = self.queues.get(&queue.id);
        if rules.is_empty() {
            let before = self.queues.remove(&queue.id)?;
            return (before.options != queue.options).then(|| queue.options.clone());
        }
        if known.is_some_and(|known| known.rules == rules) {
            return None;
        }
        let options = rules.queue(&queue.options, &queue.arguments);
        let before = known.map_or(&queue.options, |known| &known.options);
        let changed = (*before != options).then(|| options.clone());
        self.queues.insert(queue.id, GovernedQueue { rules, options });
        changed
    }

    /// Finds what holds for an exchange, and gives its alternate.
    pub(super) fn govern_exchange(&mut self, exchange: &ExchangeRecord) -> Option<ExchangeName> {
        let rules = self.policies.for_exchange(&exchange.name);
        let alternate = rules.exchange(&exchange.options).alternate;
        if rules.is_empty() {
            self.exchanges.remove(&exchange.name);
        } else {
            self.exchanges.insert(exchange.name.clone(), rules);
        }
        alternate
    }
}

impl Topology {
    /// The policies of the virtual host.
    pub(in crate::broker) fn policies(&self) -> &Policies {
        &self.governed.policies
    }

    /// The options that hold for a queue, which may be about to be declared.
    pub(in crate::broker) fn options_of(&self, queue: &QueueRecord) -> QueueOptions {
        match self.governed.queues.get(&queue.id) {
            Some(governed) => governed.options.clone(),
            // What exchanges keep is no matter of policy.
            None if queue.annex.is_some() || self.queues.contains_key(&queue.id) => {
                queue.options.clone()
            }
            None => self.governed.rules_of_new(queue).queue(&queue.options, &queue.arguments),
        }
    }

    /// The policies that hold for the queue of that name, if it exists.
    pub(in crate::broker) fn rules_of_queue(&self, name: &[u8]) -> Option<Rules> {
        let queue = self.queue_named(name)?;
        let governed = self.governed.queues.get(&queue.id);
        Some(governed.map(|governed| governed.rules.clone()).unwrap_or_default())
    }

    /// The policies that hold for the exchange of that name, if it exists.
    pub(in crate::broker) fn rules_of_exchange(&self, name: &[u8]) -> Option<Rules> {
        if name.is_empty() {
            return Some(self.governed.policies.for_exchange(name));
        }
        self.exchange(name)?;
        Some(self.governed.exchanges.get(name).cloned().unwrap_or_default())
    }

    /// Takes up policies that were there before a restart.
    pub(in crate::broker) fn restore_policies(
        &mut self,
        policies: impl IntoIterator<Item = (PolicyKind, Arc<Policy>)>,
    ) {
        for (kind, policy) in policies {
            self.governed.set(kind, &policy);
        }
        self.govern();
        self.version += 1;
    }

    /// Applies a change of policies, and says what it has changed.
    pub(in crate::broker) fn apply_policy(&mut self, change: &Change) -> Reconfigured {
        self.version += 1;
        if let Change::PolicySet(kind, policy) = change {
            self.governed.set(*kind, policy);
        }
        if let Change::PolicyCleared(kind, name) = change {
            self.governed.clear(*kind, name);
        }
        Reconfigured { queues: self.govern(), version: self.version }
    }

    /// Finds once for everything what holds now.
    fn govern(&mut self) -> Vec<(QueueId, QueueOptions)> {
        for exchange in self.exchanges.values() {
            let alternate = self.governed.govern_exchange(exchange);
            self.graph.set_alternate(&exchange.name, alternate);
        }
        let govern = |queue: &Arc<QueueRecord>| {
            self.governed.govern_queue(queue).map(|options| (queue.id, options))
        };
        self.queues.values().filter_map(govern).collect()
    }
}
