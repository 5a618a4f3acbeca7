//! What a queue is to be, and since when.

use crate::{
    broker::topology::{QueueRecord, Topology},
    model::QueueOptions,
};

/// A queue's options, its policies' part in them included.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Configuration {
    pub(in crate::broker) options: QueueOptions,
    /// The version of the topology that they are from.
    pub(in crate::broker) version: u64,
}

impl Configuration {
    /// As the topology has it, for a queue that may be about to be declared.
    pub(in crate::broker) fn of(queue: &QueueRecord, topology: &Topology) -> Self {
        Self { options: topology.options_of(queue), version: topology.version() }
    }
}
