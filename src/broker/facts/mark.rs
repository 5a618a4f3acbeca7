//! How far the nodes of a cluster have agreed: kept among the facts, so that a node that starts
//! again judges the next command as the others do.

use super::key::own;
use crate::model::{
    NodeNumber, QueueId, ShortString, VirtualHostName,
    compact::{Reader, put_octets, put_varint},
};

/// What an index, or another number, is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Mark {
    /// The last command that was applied.
    Index,
    /// The last one that changed users, permissions, parameters, or which virtual hosts there are.
    Registry,
    /// The last one that changed what is in a virtual host, or made it.
    Home(VirtualHostName),
    /// The greatest number that a node has given a queue.
    Numbers(NodeNumber),
}

pub(super) const MARK: u8 = 11;

const INDEX: u8 = 1;
const REGISTRY: u8 = 2;
const HOME: u8 = 3;
const NUMBERS: u8 = 4;

impl Mark {
    pub(super) fn put(&self, octets: &mut Vec<u8>) {
        octets.push(MARK);
        match self {
            Self::Index => octets.push(INDEX),
            Self::Registry => octets.push(REGISTRY),
            Self::Home(name) => {
                octets.push(HOME);
                put_octets(octets, name);
            }
            Self::Numbers(node) => {
                octets.push(NUMBERS);
                put_varint(octets, node.0.into());
            }
        }
    }

    /// Whether it can be of this number.
    pub(super) fn check(&self, number: u64) -> Option<()> {
        let id = QueueId(number);
        match self {
            Self::Index | Self::Registry | Self::Home(_) => Some(()),
            Self::Numbers(node) => (id.node() == *node && !id.is_spilled()).then_some(()),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        match reader.u8()? {
            INDEX => Some(Self::Index),
            REGISTRY => Some(Self::Registry),
            HOME => Some(Self::Home(ShortString::new(own(reader.octets()?)).ok()?.into())),
            NUMBERS => Some(Self::Numbers(NodeNumber(u32::try_from(reader.varint()?).ok()?))),
            _ => None,
        }
    }
}
