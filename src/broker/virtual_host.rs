//! One virtual host: its topology behind a lock, and a version that route caches compare.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    facts,
    ports::Journal,
    topology::{Change, Reconfigured, Topology},
};
use crate::model::{Batch, LogPosition, Refusal, VirtualHostName};

/// A name space of exchanges, queues and bindings.
#[derive(Debug)]
pub(super) struct VirtualHost {
    pub(super) name: VirtualHostName,
    topology: RwLock<Topology>,
    /// Deleted: nothing changes in it any more. Set under the topology's lock.
    is_closed: AtomicBool,
    version: AtomicU64,
    journal: Option<Arc<dyn Journal>>,
    /// The position of the topology's last record; set under its lock.
    written: AtomicU64,
    /// The index of the last change that the nodes of a cluster have agreed on; set under the
    /// topology's lock.
    agreed: AtomicU64,
}

impl VirtualHost {
    pub(super) fn new(topology: Topology, journal: Option<Arc<dyn Journal>>) -> Self {
        Self {
            name: topology.virtual_host().clone(),
            version: AtomicU64::new(topology.version()),
            topology: RwLock::new(topology),
            is_closed: AtomicBool::new(false),
            journal,
            written: AtomicU64::new(0),
            agreed: AtomicU64::new(0),
        }
    }

    /// The same virtual host, of which the last change was agreed on at that index.
    pub(super) fn agreed_at(self, index: u64) -> Self {
        Self { agreed: AtomicU64::new(index), ..self }
    }

    /// The topology, to look things up. No queue's lock may be held.
    pub(super) fn topology(&self) -> RwLockReadGuard<'_, Topology> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on the topology as it is, and applies what was decided before anyone else decides.
    /// No queue's lock may be held.
    ///
    /// The position is the one that must be durable before the result may be relied on; 0 when
    /// only transient things changed. What had been done before may not be durable yet either.
    pub(super) fn change<T>(
        &self,
        decide: impl FnOnce(&Topology) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<(T, LogPosition), Refusal> {
        self.change_by(decide, Topology::apply)
    }

    /// Sets or clears a policy, and says what that has changed for queues.
    pub(super) fn change_policies(
        &self,
        change: &Change,
    ) -> Result<(Reconfigured, LogPosition), Refusal> {
        let mut reconfigured = Reconfigured::default();
        let decide = |_: &Topology| Ok(((), vec![change.clone()]));
        let ((), position) = self.change_by(decide, |topology, change| {
            reconfigured = topology.apply_policy(change);
        })?;
        Ok((reconfigured, position))
    }

    fn change_by<T>(
        &self,
        decide: impl FnOnce(&Topology) -> Result<(T, Vec<Change>), Refusal>,
        mut apply: impl FnMut(&mut Topology, &Change),
    ) -> Result<(T, LogPosition), Refusal> {
        let mut topology = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Refusal::VirtualHostNotFound(self.name.clone()));
        }
        let (result, changes) = decide(&topology)?;
        let mut batch = Batch::default();
        let mut survives = false;
        for change in &changes {
            if self.journal.is_some() {
                survives |= topology.record(change, &mut batch);
            }
            apply(&mut topology, change);
        }
        let position = facts::append(self.journal.as_deref(), &mut batch);
        if survives {
            self.written.store(position.0, Ordering::Release);
        }
        self.version.store(topology.version(), Ordering::Release);
        let awaited = if survives || changes.is_empty() { self.written() } else { NOTHING };
        Ok((result, awaited))
    }

    /// Decides on the topology as it is, and changes nothing yet. With the decision comes the index
    /// of the last change that it has seen.
    pub(super) fn decide<T>(
        &self,
        decide: impl FnOnce(&Topology) -> Result<T, Refusal>,
    ) -> Result<(T, u64), Refusal> {
        let topology = self.topology();
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Refusal::VirtualHostNotFound(self.name.clone()));
        }
        Ok((decide(&topology)?, self.agreed()))
    }

    /// Applies what was agreed on at `index`, and writes it behind what `batch` holds.
    pub(super) fn apply_agreed<T>(
        &self,
        index: u64,
        batch: &mut Batch,
        apply: impl FnOnce(&mut Topology, &mut Batch) -> T,
    ) -> T {
        let mut topology = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        let result = apply(&mut topology, batch);
        facts::append(self.journal.as_deref(), batch);
        self.version.store(topology.version(), Ordering::Release);
        self.agreed.store(index, Ordering::Release);
        result
    }

    /// The index of the last change that was agreed on.
    pub(super) fn agreed(&self) -> u64 {
        self.agreed.load(Ordering::Acquire)
    }

    /// The end of the virtual host: writes behind what `batch` holds that nothing of it survives.
    pub(super) fn close(&self, batch: &mut Batch) {
        let topology = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        self.is_closed.store(true, Ordering::Relaxed);
        topology.erase(batch);
    }

    /// Once this is durable, so is all that has been changed.
    pub(super) fn written(&self) -> LogPosition {
        LogPosition(self.written.load(Ordering::Acquire))
    }

    /// Differs from an earlier one when a route may have changed since.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// Durable from the start.
const NOTHING: LogPosition = LogPosition(0);
