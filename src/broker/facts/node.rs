//! The fact of a node of a cluster.

use crate::model::{
    NodeRecord,
    compact::{Reader, put_octets},
};

pub(super) fn put(value: &mut Vec<u8>, node: &NodeRecord) {
    value.extend_from_slice(&node.store.to_be_bytes());
    value.push(node.is_gone.into());
    put_octets(value, node.name.as_bytes());
    put_octets(value, node.address.as_bytes());
}

pub(super) fn read(value: &[u8]) -> Option<NodeRecord> {
    let (store, rest) = value.split_first_chunk()?;
    let mut reader = Reader::new(rest);
    let is_gone = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut text = || Some(str::from_utf8(reader.octets()?).ok()?.to_owned());
    let (name, address) = (text()?, text()?);
    let store = u128::from_be_bytes(*store);
    reader.is_empty().then_some(NodeRecord { name, address, store, is_gone })
}
