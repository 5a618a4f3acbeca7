//! Which node of which cluster this is, how often it has started, and whom it has met.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::enquiry::{put_members, read_members};
use crate::{
    model::{
        Batch, NodeNumber,
        compact::{Reader, put_varint},
    },
    net::peers::Member,
};

/// The keys of the facts.
const IDENTITY: &[u8] = &[42];
const ACQUAINTANCES: &[u8] = &[43];

/// A node's place in its cluster; kept in its data directory, and lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: u128,
    pub(super) node: NodeNumber,
    /// Drawn when the data directory was empty.
    pub(super) store: u128,
    /// Counts the starts of the node.
    pub(super) incarnation: u64,
}

impl Identity {
    pub(super) fn put(&self, batch: &mut Batch) {
        let mut value = self.cluster.to_be_bytes().to_vec();
        value.extend_from_slice(&self.store.to_be_bytes());
        put_varint(&mut value, self.node.0.into());
        put_varint(&mut value, self.incarnation);
        batch.put(IDENTITY, &value);
    }

    /// `None` when the node has never been one of a cluster.
    pub(super) fn find(facts: &BTreeMap<Bytes, Bytes>) -> Option<Self> {
        let value = facts.get(IDENTITY)?;
        let (cluster, rest) = value.split_first_chunk()?;
        let (store, rest) = rest.split_first_chunk()?;
        let mut reader = Reader::new(rest);
        let node = NodeNumber(u32::try_from(reader.varint()?).ok()?);
        let (cluster, store) = (u128::from_be_bytes(*cluster), u128::from_be_bytes(*store));
        Some(Self { cluster, node, store, incarnation: reader.varint()? })
    }

    /// Whether it was the first node, which made the cluster. No other ever gets its number.
    pub(super) fn is_founder(&self) -> bool {
        self.node == FOUNDER
    }
}

/// The number of the node that makes a cluster.
pub(super) const FOUNDER: NodeNumber = NodeNumber(1);

/// Keeps the nodes that a newcomer was told of, until it has learnt what all have agreed on.
pub(super) fn put_acquaintances(members: &BTreeMap<NodeNumber, Member>, batch: &mut Batch) {
    let mut value = Vec::new();
    put_members(&mut value, members);
    batch.put(ACQUAINTANCES, &value);
}

/// Those nodes.
pub(super) fn acquaintances(facts: &BTreeMap<Bytes, Bytes>) -> BTreeMap<NodeNumber, Member> {
    let kept = facts.get(ACQUAINTANCES).and_then(|value| read_members(&mut Reader::new(value)));
    kept.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, entries};

    #[test]
    fn an_identity_comes_back_with_its_acquaintances() {
        let identity = Identity { cluster: 7, node: NodeNumber(4), store: 9, incarnation: 300 };
        let met = Member { name: "rabbit@b".to_owned(), address: "b:1".to_owned() };
        let members = BTreeMap::from([(NodeNumber(2), met)]);
        let mut batch = Batch::default();
        identity.put(&mut batch);
        put_acquaintances(&members, &mut batch);
        let mut facts = BTreeMap::new();
        for entry in entries(batch.octets()) {
            if let Ok(Entry::Put { key, value }) = entry {
                facts.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            }
        }
        assert_eq!(Identity::find(&facts), Some(identity));
        assert_eq!(acquaintances(&facts), members);
        assert_eq!(Identity::find(&BTreeMap::new()), None);
    }
}
