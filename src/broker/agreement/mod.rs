//! What all nodes of a cluster must know: decided on one of them, agreed on, and applied on each in
//! the same order.
//!
//! ```text
//! a client's request ──► decide ──► command ──► Agreement::agree ──► apply_agreed, on every node
//!                          ▲                                             │
//!                          └────────── void: it has changed since ◄──────┘
//! ```

mod command;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::command::Unreadable;
use super::{
    Broker,
    ports::{Agreed, Agreement, Job},
};
use crate::model::{Moment, NodeNumber, Refusal};

/// What makes a node one of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) node: NodeNumber,
    pub(super) agreement: Arc<dyn Agreement>,
    marks: Mutex<Marks>,
}

/// How far everything agreed on has come here.
#[derive(Debug, Default)]
struct Marks {
    index: u64,
}

impl Cluster {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// The same broker as a node of a cluster: whatever all nodes must know is agreed on. To be
    /// said before anything is restored.
    #[must_use]
    pub fn in_cluster(self, node: NodeNumber, agreement: Arc<dyn Agreement>) -> Self {
        let cluster = Cluster { node, agreement, marks: Mutex::default() };
        Self { cluster: Some(cluster), ..self }
    }

    /// The number of this node; 0 without a cluster.
    pub fn node(&self) -> NodeNumber {
        self.cluster.as_ref().map_or(NodeNumber::default(), |cluster| cluster.node)
    }

    /// Everything that was agreed on up to this index has been applied here.
    pub fn agreed_index(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.marks().index)
    }

    /// Applies a command that the nodes have agreed on. To be called on every node, by one thread,
    /// in the order of the indexes; what has been applied already is passed over as void. What
    /// survives of it is written together with its index.
    ///
    /// # Errors
    /// When the command makes no sense, or is a later program's: the node cannot go on.
    pub fn apply_agreed(
        &self,
        _index: u64,
        _command: &[u8],
        _now: Moment,
    ) -> Result<Agreed, Unreadable> {
        Ok(Agreed::Void)
    }

    /// All that was agreed on, as of [`Self::agreed_index`]: the same octets on every node. To be
    /// called by the thread that applies.
    pub fn agreed_state(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Brings this node to what another one had agreed on at `index`: what is not in it is removed;
    /// queues of the same number stay as they are. To be called by the thread that applies.
    ///
    /// # Errors
    /// When the state makes no sense. Nothing has been done then.
    pub fn install_agreed(
        &self,
        _index: u64,
        _state: &[u8],
        _now: Moment,
    ) -> Result<(), Unreadable> {
        Ok(())
    }

    /// Does what was put off ([`Agreement::later`]), one or several. Blocks its thread.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`]: it is to be tried again.
    pub fn perform(&self, _jobs: &[Job]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Has the transient queues removed that lived on a node before it was started again, or was
    /// taken out of the cluster. Blocks its thread; to be called before clients come.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`]: it is to be tried again.
    pub fn forget_transients(&self, _node: NodeNumber) -> Result<(), Refusal> {
        Ok(())
    }
}
