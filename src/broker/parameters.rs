//! What tools keep in the broker for the whole cluster, by name.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    facts::{self, Fact, Key},
    ports::Journal,
};
use crate::model::{Batch, FieldValue, LogPosition, ShortString};

/// Global parameters: the broker keeps them and does not look at them.
#[derive(Debug, Default)]
pub(super) struct Parameters(RwLock<BTreeMap<ShortString, FieldValue>>);

impl Parameters {
    pub(super) fn all(&self) -> Vec<(ShortString, FieldValue)> {
        self.read().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<FieldValue> {
        self.read().get(name).cloned()
    }

    pub(super) fn restore(&self, name: ShortString, value: FieldValue) {
        self.write().insert(name, value);
    }

    pub(super) fn put(
        &self,
        name: ShortString,
        value: FieldValue,
        journal: Option<&dyn Journal>,
    ) -> LogPosition {
        let mut known = self.write();
        let mut batch = Batch::default();
        Fact::GlobalParameter(name.clone(), value.clone()).put(&mut batch);
        known.insert(name, value);
        facts::append(journal, &mut batch)
    }

    /// Forgets everything, and takes up these, which are written already.
    pub(super) fn replace(&self, all: Vec<(ShortString, FieldValue)>) {
        *self.write() = all.into_iter().collect();
    }

    /// Removes one, and writes that to `batch`.
    pub(super) fn forget(&self, name: &ShortString, batch: &mut Batch) {
        if self.write().remove(name).is_some() {
            Key::GlobalParameter(name.clone()).delete(batch);
        }
    }

    /// Says whether it was there.
    pub(super) fn delete(
        &self,
        name: &ShortString,
        journal: Option<&dyn Journal>,
    ) -> Option<LogPosition> {
        let mut known = self.write();
        known.remove(name)?;
        let mut batch = Batch::default();
        Key::GlobalParameter(name.clone()).delete(&mut batch);
        Some(facts::append(journal, &mut batch))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ShortString, FieldValue>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<ShortString, FieldValue>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
