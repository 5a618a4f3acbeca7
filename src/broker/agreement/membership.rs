//! Which nodes the cluster has: agreed on like everything else. A number is never given twice.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Cluster, command::Registration};
use crate::{
    broker::{Broker, facts::Fact},
    model::{LogPosition, NodeNumber, NodeRecord},
};

/// Why a node is not taken in, or not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    #[error("no majority of the cluster has agreed in time")]
    NoQuorum,
    #[error("the cluster is only being made")]
    TooEarly,
    #[error("the node was removed from the cluster")]
    Gone,
    #[error("there is no such node in the cluster")]
    Unknown,
}

impl Broker {
    /// Every node that the cluster has or has had, as agreed on so far; nothing without a cluster.
    pub fn nodes_agreed(&self) -> BTreeMap<NodeNumber, NodeRecord> {
        self.cluster.as_ref().map(|cluster| cluster.marks().nodes.clone()).unwrap_or_default()
    }

    /// Grows with every change of [`Self::nodes_agreed`], and of other things.
    pub fn registry_index(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.marks().registry)
    }

    /// Makes this node, which has made the cluster, its first one. Blocks its thread.
    ///
    /// # Errors
    /// [`NotAdmitted::NoQuorum`].
    pub fn found(&self, name: &str, address: &str, store: u128) -> Result<(), NotAdmitted> {
        let cluster = self.cluster.as_ref().ok_or(NotAdmitted::Unknown)?;
        self.agree_on_nodes(cluster, |nodes| match nodes.is_empty() {
            true => Ok(admission(nodes, name, address, store)),
            false => Ok(Vec::new()),
        })
    }

    /// Has all nodes agree that there is a node of this name whose store is this one, and gives it
    /// a number. A node that had the name before is gone from then on. The same store gets the
    /// same number again. Blocks its thread.
    ///
    /// # Errors
    /// As [`NotAdmitted`] tells. Without a quorum the node may be taken in later for all that.
    pub fn admit(
        &self,
        name: &str,
        address: &str,
        store: u128,
    ) -> Result<(NodeNumber, BTreeMap<NodeNumber, NodeRecord>), NotAdmitted> {
        let cluster = self.cluster.as_ref().ok_or(NotAdmitted::Unknown)?;
        let known = |nodes: &BTreeMap<NodeNumber, NodeRecord>| {
            nodes.iter().find(|(_, node)| node.store == store).map(|(number, _)| *number)
        };
        self.agree_on_nodes(cluster, |nodes| match known(nodes).map(|number| &nodes[&number]) {
            Some(node) if node.is_gone => Err(NotAdmitted::Gone),
            Some(_) => Ok(Vec::new()),
            None if nodes.is_empty() => Err(NotAdmitted::TooEarly),
            None => Ok(admission(nodes, name, address, store)),
        })?;
        let nodes = self.nodes_agreed();
        Ok((known(&nodes).ok_or(NotAdmitted::NoQuorum)?, nodes))
    }

    /// Has all nodes agree that this one never comes back. Blocks its thread.
    ///
    /// # Errors
    /// As [`NotAdmitted`] tells.
    pub fn expel(&self, number: NodeNumber) -> Result<(), NotAdmitted> {
        let cluster = self.cluster.as_ref().ok_or(NotAdmitted::Unknown)?;
        self.agree_on_nodes(cluster, |nodes| match nodes.get(&number) {
            None => Err(NotAdmitted::Unknown),
            Some(node) if node.is_gone => Ok(Vec::new()),
            Some(node) => Ok(vec![(number, NodeRecord { is_gone: true, ..node.clone() })]),
        })
    }

    fn agree_on_nodes(
        &self,
        cluster: &Cluster,
        decide: impl Fn(
            &BTreeMap<NodeNumber, NodeRecord>,
        ) -> Result<Vec<(NodeNumber, NodeRecord)>, NotAdmitted>,
    ) -> Result<(), NotAdmitted> {
        let entry = |(number, node)| Registration::Put(Box::new(Fact::Node(number, node)));
        let position = self.agree_on_entries(cluster, || {
            let changes = decide(&cluster.marks().nodes)?;
            Ok(changes.into_iter().map(entry).collect())
        })?;
        if position == LogPosition::NEVER { Err(NotAdmitted::NoQuorum) } else { Ok(()) }
    }

    pub(super) fn note_node(&self, number: NodeNumber, node: NodeRecord) {
        if let Some(cluster) = &self.cluster {
            cluster.marks().nodes.insert(number, node);
        }
    }

    pub(in crate::broker) fn restore_nodes(&self, nodes: BTreeMap<NodeNumber, NodeRecord>) {
        if let Some(cluster) = &self.cluster {
            cluster.marks().nodes = nodes;
        }
    }
}

/// The newcomer under the next number, and those of its name, who are gone.
fn admission(
    nodes: &BTreeMap<NodeNumber, NodeRecord>,
    name: &str,
    address: &str,
    store: u128,
) -> Vec<(NodeNumber, NodeRecord)> {
    let last = nodes.keys().next_back().map_or(0, |number| number.0);
    let (name, address) = (name.to_owned(), address.to_owned());
    let former = nodes.iter().filter(|(_, node)| node.name == name && !node.is_gone);
    let mut changes: Vec<_> = former
        .map(|(number, node)| (*number, NodeRecord { is_gone: true, ..node.clone() }))
        .collect();
    changes.push((NodeNumber(last + 1), NodeRecord { name, address, store, is_gone: false }));
    changes
}
