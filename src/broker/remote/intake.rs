//! Which publications of each node a mirrored queue has taken: none is taken twice, whatever is
//! sent again to whichever leader.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    NodeNumber,
    compact::{Reader, put_varint},
};

/// What is known of one node's publications to the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producer {
    /// The node's incarnation: what an earlier one has published is not sent again.
    pub(super) incarnation: u64,
    /// The number of the last that was decided on.
    pub(super) last: u64,
    /// Those that were refused, as far as the node may not have heard of it.
    pub(super) refused: BTreeSet<u64>,
}

/// All nodes that have published to a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producers(BTreeMap<NodeNumber, Producer>);

impl Producers {
    /// The producer, as of its present incarnation; one that is older is gone for good.
    pub(super) fn of(&mut self, node: NodeNumber, incarnation: u64) -> Option<&mut Producer> {
        let producer = self.0.entry(node).or_default();
        if producer.incarnation < incarnation {
            *producer = Producer { incarnation, ..Producer::default() };
        }
        (producer.incarnation == incarnation).then_some(producer)
    }

    pub(super) fn set(&mut self, node: NodeNumber, producer: Producer) {
        self.0.insert(node, producer);
    }

    pub(super) fn put(&self, octets: &mut Vec<u8>) {
        put_varint(octets, self.0.len() as u64);
        for (node, producer) in &self.0 {
            put_varint(octets, node.0.into());
            producer.put(octets);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut producers = Self::default();
        for _ in 0..reader.varint()? {
            let node = read_node(reader)?;
            producers.set(node, Producer::read(reader)?);
        }
        Some(producers)
    }
}

impl Producer {
    /// The node has heard what became of all below.
    pub(super) fn heard(&mut self, below: u64) {
        self.refused = self.refused.split_off(&below);
    }

    pub(super) fn put(&self, octets: &mut Vec<u8>) {
        put_varint(octets, self.incarnation);
        put_varint(octets, self.last);
        put_varint(octets, self.refused.len() as u64);
        self.refused.iter().for_each(|number| put_varint(octets, *number));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (incarnation, last) = (reader.varint()?, reader.varint()?);
        let mut refused = BTreeSet::new();
        for _ in 0..reader.varint()? {
            refused.insert(reader.varint()?);
        }
        Some(Self { incarnation, last, refused })
    }
}

/// The key under which a batch says what has become of a node's publications.
const PRODUCER: u8 = 1;

/// The key of what follows of a node's publications, inside a group's command.
pub(super) fn producer_key(node: NodeNumber) -> Vec<u8> {
    let mut key = vec![PRODUCER];
    put_varint(&mut key, node.0.into());
    key
}

/// The node that such a key names.
pub(super) fn read_producer_key(key: &[u8]) -> Option<NodeNumber> {
    let mut reader = Reader::new(key);
    if reader.u8()? != PRODUCER {
        return None;
    }
    read_node(&mut reader)
}

fn read_node(reader: &mut Reader<'_>) -> Option<NodeNumber> {
    u32::try_from(reader.varint()?).ok().map(NodeNumber)
}
