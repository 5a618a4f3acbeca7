//! Which auto-delete exchanges go when bindings go, and which go because these went.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    broker::routing::{Binding, Destination},
    model::ExchangeName,
};

use super::{Topology, change::Change};

/// Works out, without changing anything, what the loss of bindings leads to: an auto-delete
/// exchange is deleted with the last binding of which it was the source, and takes the bindings
/// that lead to it with it.
pub(super) struct Cascade<'a> {
    topology: &'a Topology,
    lost: BTreeMap<&'a ExchangeName, usize>,
    deleted: BTreeSet<ExchangeName>,
    changes: Vec<Change>,
}

impl<'a> Cascade<'a> {
    /// What follows after `changes`.
    pub(super) fn after(topology: &'a Topology, changes: Vec<Change>) -> Self {
        Self { topology, lost: BTreeMap::new(), deleted: BTreeSet::new(), changes }
    }

    /// A binding goes.
    pub(super) fn lose(&mut self, binding: &'a Binding) {
        let deleted = self.count(binding);
        self.follow(deleted);
    }

    /// All bindings to a queue or an exchange go; the exchange itself is deleted already.
    pub(super) fn lose_all_to(&mut self, destination: &Destination) {
        if let Destination::Exchange(name) = destination {
            self.deleted.insert(name.clone());
        }
        for binding in self.topology.bindings.to(destination) {
            let deleted = self.count(binding);
            self.follow(deleted);
        }
    }

    pub(super) fn finish(self) -> Vec<Change> {
        self.changes
    }

    fn follow(&mut self, deleted: Option<&'a ExchangeName>) {
        let mut waiting: Vec<_> = deleted.into_iter().collect();
        while let Some(name) = waiting.pop() {
            self.deleted.insert(name.clone());
            self.changes.push(Change::ExchangeDeleted(name.clone()));
            let topology = self.topology;
            for binding in topology.bindings.to(&Destination::Exchange(name.clone())) {
                waiting.extend(self.count(binding));
            }
        }
    }

    /// Counts a binding as lost, and gives its source when that was the last.
    fn count(&mut self, binding: &'a Binding) -> Option<&'a ExchangeName> {
        let source = &binding.source;
        let exchange = self.topology.exchanges.get(source)?;
        if !exchange.auto_delete || self.deleted.contains(source) {
            return None;
        }
        let lost = self.lost.entry(source).or_default();
        *lost += 1;
        (*lost == self.topology.bindings.count_from(source)).then_some(source)
    }
}
