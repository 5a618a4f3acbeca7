//! The bindings of a virtual host, found from either end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    broker::routing::{Binding, Destination},
    model::ExchangeName,
};

/// A set of bindings, ordered.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    by_source: BTreeMap<ExchangeName, BTreeSet<Arc<Binding>>>,
    by_destination: BTreeMap<Destination, BTreeSet<Arc<Binding>>>,
}

impl Bindings {
    pub(super) fn insert(&mut self, binding: Arc<Binding>) {
        let source = binding.source.clone();
        self.by_source.entry(source).or_default().insert(Arc::clone(&binding));
        self.by_destination.entry(binding.destination.clone()).or_default().insert(binding);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        take(&mut self.by_source, &binding.source, binding);
        take(&mut self.by_destination, &binding.destination, binding);
    }

    pub(super) fn contains(&self, binding: &Binding) -> bool {
        self.by_source.get(&binding.source).is_some_and(|bindings| bindings.contains(binding))
    }

    /// How many bindings have this source.
    pub(super) fn count_from(&self, source: &ExchangeName) -> usize {
        self.by_source.get(source).map_or(0, BTreeSet::len)
    }

    pub(super) fn from(&self, source: &ExchangeName) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_source.get(source).into_iter().flatten()
    }

    pub(super) fn to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_destination.get(destination).into_iter().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_source.values().flatten()
    }
}

fn take<Key: Ord>(sets: &mut BTreeMap<Key, BTreeSet<Arc<Binding>>>, key: &Key, binding: &Binding) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(binding);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
