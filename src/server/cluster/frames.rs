//! What travels between nodes, beside heartbeats.

use bytes::Bytes;

use crate::{
    cluster::{GroupId, ReplicaId, Term},
    cluster::{GroupMessage, codec, host::Belief},
    model::compact::{Reader, put_octets, put_varint},
};

/// Messages of groups, one behind the other.
pub(super) const GROUPS: u8 = 1;
/// Something about a queue.
pub(super) const PARCEL: u8 = 2;
/// What is sent arrives from here on; if it is not empty, the same is to be said in return.
pub(super) const GREETING: u8 = 3;
/// A command for the leader of the metadata.
pub(super) const COMMAND: u8 = 4;
/// A command of the receiver's has been applied by the sender.
pub(super) const APPLIED: u8 = 5;
/// Which replicas of the sender believe that the receiver leads them.
pub(super) const BELIEFS: u8 = 6;

/// Messages of a queue, of a copy for a replica that lags behind.
pub(super) const COPY: u8 = 7;

/// Appends a message to a frame of them.
pub(super) fn put_message(frame: &mut Vec<u8>, message: &GroupMessage) {
    let mut octets = Vec::new();
    codec::put_message(&mut octets, message);
    put_octets(frame, &octets);
}

/// The messages of a frame; what makes no sense ends it.
pub(super) fn messages(frame: &Bytes) -> Vec<GroupMessage> {
    let mut reader = Reader::new(frame);
    let mut messages = Vec::new();
    while let Some(octets) = reader.octets() {
        match codec::message(&frame.slice_ref(octets)) {
            Ok(message) => messages.push(message),
            Err(_) => break,
        }
    }
    messages
}

pub(super) fn put_beliefs(beliefs: &[Belief]) -> Vec<u8> {
    let mut octets = Vec::new();
    for Belief { group, leader, believer, term } in beliefs {
        for number in [group.0, leader.0, believer.0, term.0] {
            put_varint(&mut octets, number);
        }
    }
    octets
}

pub(super) fn beliefs(frame: &Bytes) -> Vec<Belief> {
    let mut reader = Reader::new(frame);
    let mut next = || {
        Some(Belief {
            group: GroupId(reader.varint()?),
            leader: ReplicaId(reader.varint()?),
            believer: ReplicaId(reader.varint()?),
            term: Term(reader.varint()?),
        })
    };
    std::iter::from_fn(&mut next).collect()
}

/// A number alone.
pub(super) fn number(frame: &Bytes) -> Option<u64> {
    Reader::new(frame).varint()
}

pub(super) fn put_number(number: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    put_varint(&mut octets, number);
    octets
}
