//! One virtual host: its topology behind a lock, and a version that route caches compare.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU64, Ordering},
};

use super::topology::{Change, Topology};
use crate::model::{Refusal, VirtualHostName};

/// A name space of exchanges, queues and bindings.
#[derive(Debug)]
pub(super) struct VirtualHost {
    pub(super) name: VirtualHostName,
    topology: RwLock<Topology>,
    version: AtomicU64,
}

impl VirtualHost {
    pub(super) fn new(name: VirtualHostName) -> Self {
        let topology = Topology::new(name.clone());
        let version = AtomicU64::new(topology.version());
        Self { name, topology: RwLock::new(topology), version }
    }

    /// The topology, to look things up. No queue's lock may be held.
    pub(super) fn topology(&self) -> RwLockReadGuard<'_, Topology> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on the topology as it is, and applies what was decided before anyone else decides.
    /// No queue's lock may be held.
    pub(super) fn change<T>(
        &self,
        decide: impl FnOnce(&Topology) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<T, Refusal> {
        let mut topology = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        let (result, changes) = decide(&topology)?;
        topology.apply_all(&changes);
        self.version.store(topology.version(), Ordering::Release);
        Ok(result)
    }

    /// Differs from an earlier one when a route may have changed since.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
