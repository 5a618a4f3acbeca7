//! What a node without a number asks another one, and what that one says.
//!
//! A question: u8 version, 1; u8 what is asked, and its parts. Numbers are varints, texts stand
//! behind their lengths.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    model::{
        NodeNumber,
        compact::{Reader, put_octets, put_varint},
    },
    net::peers::Member,
};

const VERSION: u8 = 1;
const WHEREABOUTS: u8 = 1;
const JOIN: u8 = 2;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Enquiry {
    /// Whether the node is of a cluster.
    Whereabouts,
    /// To be taken in: reached at this address, with this store.
    Join { address: String, store: u128 },
}

/// Whether a node is of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// Not yet; it waits for these nodes, itself among them.
    Nowhere {
        listed: Vec<String>,
    },
    Member {
        cluster: u128,
    },
}

/// How a node was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) cluster: u128,
    pub(super) node: NodeNumber,
    /// The nodes of the cluster, the new one among them.
    pub(super) members: BTreeMap<NodeNumber, Member>,
}

impl Enquiry {
    pub(super) fn octets(&self) -> Bytes {
        let mut octets = vec![VERSION];
        match self {
            Self::Whereabouts => octets.push(WHEREABOUTS),
            Self::Join { address, store } => {
                octets.push(JOIN);
                octets.extend_from_slice(&store.to_be_bytes());
                put_octets(&mut octets, address.as_bytes());
            }
        }
        octets.into()
    }

    /// `None`: a later version asks, or nobody sensible.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let rest = octets.strip_prefix(&[VERSION])?;
        match rest.split_first()? {
            (&WHEREABOUTS, _) => Some(Self::Whereabouts),
            (&JOIN, rest) => {
                let (store, rest) = rest.split_first_chunk()?;
                let address = text(&mut Reader::new(rest))?;
                Some(Self::Join { address, store: u128::from_be_bytes(*store) })
            }
            _ => None,
        }
    }
}

impl Whereabouts {
    pub(super) fn octets(&self) -> Bytes {
        let mut octets = Vec::new();
        match self {
            Self::Nowhere { listed } => {
                octets.push(0);
                listed.iter().for_each(|name| put_octets(&mut octets, name.as_bytes()));
            }
            Self::Member { cluster } => {
                octets.push(1);
                octets.extend_from_slice(&cluster.to_be_bytes());
            }
        }
        octets.into()
    }

    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        match octets.split_first()? {
            (0, rest) => {
                let mut reader = Reader::new(rest);
                let mut listed = Vec::new();
                while !reader.is_empty() {
                    listed.push(text(&mut reader)?);
                }
                Some(Self::Nowhere { listed })
            }
            (1, rest) => {
                let cluster = u128::from_be_bytes(rest.try_into().ok()?);
                Some(Self::Member { cluster })
            }
            _ => None,
        }
    }
}

impl Admission {
    pub(super) fn octets(&self) -> Bytes {
        let mut octets = self.cluster.to_be_bytes().to_vec();
        put_varint(&mut octets, self.node.0.into());
        put_members(&mut octets, &self.members);
        octets.into()
    }

    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (cluster, rest) = octets.split_first_chunk()?;
        let mut reader = Reader::new(rest);
        let node = number(&mut reader)?;
        let members = read_members(&mut reader)?;
        let cluster = u128::from_be_bytes(*cluster);
        Some(Self { cluster, node, members })
    }
}

/// Appends nodes; nothing may follow them.
pub(super) fn put_members(octets: &mut Vec<u8>, members: &BTreeMap<NodeNumber, Member>) {
    for (node, Member { name, address }) in members {
        put_varint(octets, node.0.into());
        put_octets(octets, name.as_bytes());
        put_octets(octets, address.as_bytes());
    }
}

/// Reads the nodes that are the rest.
pub(super) fn read_members(reader: &mut Reader<'_>) -> Option<BTreeMap<NodeNumber, Member>> {
    let mut members = BTreeMap::new();
    while !reader.is_empty() {
        let node = number(reader)?;
        members.insert(node, Member { name: text(reader)?, address: text(reader)? });
    }
    Some(members)
}

fn number(reader: &mut Reader<'_>) -> Option<NodeNumber> {
    Some(NodeNumber(u32::try_from(reader.varint()?).ok()?))
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    Some(str::from_utf8(reader.octets()?).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_said_arrives() {
        let (address, store) = ("b:25672".to_owned(), u128::MAX - 3);
        for asked in [Enquiry::Whereabouts, Enquiry::Join { address, store }] {
            assert_eq!(Enquiry::read(&asked.octets()), Some(asked));
        }
        let listed = vec!["rabbit@a".to_owned(), "rabbit@b".to_owned()];
        for said in [Whereabouts::Nowhere { listed }, Whereabouts::Member { cluster: 9 }] {
            assert_eq!(Whereabouts::read(&said.octets()), Some(said));
        }
        let member = |name: &str| Member { name: name.to_owned(), address: format!("{name}:1") };
        let members = BTreeMap::from([(NodeNumber(1), member("a")), (NodeNumber(7), member("b"))]);
        let admission = Admission { cluster: 5, node: NodeNumber(7), members };
        assert_eq!(Admission::read(&admission.octets()), Some(admission.clone()));
        for cut in 0..admission.octets().len() {
            drop(Admission::read(&admission.octets()[..cut]));
        }
    }

    #[test]
    fn a_later_version_is_not_understood() {
        for octets in [&[][..], &[2, 1], &[1, 9], &[1, 2, 0]] {
            assert_eq!(Enquiry::read(octets), None);
        }
    }
}
