//! Which node of which cluster this is, and how often it has started.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{
    Batch, NodeNumber,
    compact::{Reader, put_varint},
};

/// The key of the fact.
const IDENTITY: &[u8] = &[42];

/// A node's place in its cluster; kept in its data directory, and lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: u128,
    pub(super) node: NodeNumber,
    /// Counts the starts of the node.
    pub(super) incarnation: u64,
}

impl Identity {
    pub(super) fn put(&self, batch: &mut Batch) {
        let mut value = self.cluster.to_be_bytes().to_vec();
        put_varint(&mut value, self.node.0.into());
        put_varint(&mut value, self.incarnation);
        batch.put(IDENTITY, &value);
    }

    /// `None` when the node has never been one of a cluster.
    pub(super) fn find(facts: &BTreeMap<Bytes, Bytes>) -> Option<Self> {
        let value = facts.get(IDENTITY)?;
        let (cluster, rest) = value.split_first_chunk()?;
        let mut reader = Reader::new(rest);
        let node = NodeNumber(u32::try_from(reader.varint()?).ok()?);
        let cluster = u128::from_be_bytes(*cluster);
        Some(Self { cluster, node, incarnation: reader.varint()? })
    }
}
