//! Brings the messages of a queue to a replica that lags behind what its group's log has.

use std::time::Duration;

use bytes::Bytes;

use super::{frames, switchboard::Switchboard};
use crate::{
    broker::{Journal, QueueCopy},
    cluster::{GroupId, ReplicaId},
    model::{
        Position,
        compact::{Reader, put_octets, put_varint},
    },
    net::peers::Class,
};

/// Octets of messages in one frame, more or less.
const PART: usize = 256 << 10;

/// Octets that may wait for the connection before more is read.
const QUEUED: usize = 8 << 20;

/// The longest wait for that: then the part is added to what waits.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends a copy, and behind it the frame that makes it the receiver's. Blocks its thread. False
/// when it cannot all be sent.
pub(super) fn send(
    (group, to): (GroupId, ReplicaId),
    copy: QueueCopy,
    last: Vec<u8>,
    switchboard: &Switchboard,
    journal: &dyn Journal,
) -> bool {
    let mut is_first = true;
    let all_sent = copy.for_each_part(journal, PART, |messages| {
        let frame = part(group, is_first, &messages);
        is_first = false;
        switchboard.wait_for_room((to.node(), Class::Bulk), QUEUED, PAUSE);
        switchboard.try_send(to.node(), Class::Bulk, frames::COPY, &[frame.into()])
    });
    all_sent && switchboard.try_send(to.node(), Class::Bulk, frames::GROUPS, &[last.into()])
}

fn part(group: GroupId, is_first: bool, messages: &[(Position, Bytes)]) -> Vec<u8> {
    let mut octets = Vec::new();
    put_varint(&mut octets, group.0);
    octets.push(is_first.into());
    for (position, message) in messages {
        put_varint(&mut octets, position.0);
        put_octets(&mut octets, message);
    }
    octets
}

/// Messages of a queue, of a copy that is on its way here.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) group: GroupId,
    pub(super) is_first: bool,
    pub(super) messages: Vec<(Position, Bytes)>,
}

/// Reads such a part.
pub(super) fn read_part(frame: &Bytes) -> Option<Part> {
    let mut reader = Reader::new(frame);
    let (group, is_first) = (GroupId(reader.varint()?), reader.u8()? != 0);
    let mut messages = Vec::new();
    while !reader.is_empty() {
        let position = Position(reader.varint()?);
        // A copy, so that one message does not keep its neighbours in memory.
        messages.push((position, Bytes::copy_from_slice(reader.octets()?)));
    }
    Some(Part { group, is_first, messages })
}
