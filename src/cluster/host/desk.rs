//! Where the replicas of a host put what they ask for.

use raft::eraftpb::{Message, MessageType};

use super::{
    super::{GroupId, GroupMessage, NodeNumber, ReplicaId, WriteNumber},
    Event, Outbox, Record, SnapshotToSend, Write,
};

/// The outbox of the turn, and the count of all writes.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) outbox: Outbox,
    written: WriteNumber,
    persisted: WriteNumber,
}

impl Desk {
    pub(super) fn write(&mut self, group: GroupId, record: Record) -> WriteNumber {
        self.written.0 += 1;
        self.outbox.writes.push(Write { number: self.written, group, record });
        self.written
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outbox.events.push(event);
    }

    /// Sends what the library says, in the words that travel; the others are for itself.
    pub(super) fn send(&mut self, group: GroupId, messages: Vec<Message>) {
        for mut message in messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.send_snapshot(group, message);
                continue;
            }
            if travels(message.get_msg_type()) {
                message.entries.iter_mut().for_each(strip);
                self.post(GroupMessage::raft(group, message));
            }
        }
    }

    pub(super) fn post(&mut self, message: GroupMessage) {
        self.outbox.messages.push((message.to.node(), message));
    }

    pub(super) fn note_persisted(&mut self, number: WriteNumber) {
        self.persisted = self.persisted.max(number.min(self.written));
    }

    pub(super) fn is_persisted(&self, number: WriteNumber) -> bool {
        number <= self.persisted
    }

    fn send_snapshot(&mut self, group: GroupId, message: Message) {
        self.outbox.snapshots_to_send.push(SnapshotToSend {
            group,
            to: ReplicaId(message.to),
            token: message.get_snapshot().data.clone(),
            message: GroupMessage::raft(group, message),
        });
    }
}

/// Whether messages of this type go from node to node.
pub(in super::super) fn travels(kind: MessageType) -> bool {
    use MessageType as M;
    match kind {
        M::MsgAppend
        | M::MsgAppendResponse
        | M::MsgRequestVote
        | M::MsgRequestVoteResponse
        | M::MsgRequestPreVote
        | M::MsgRequestPreVoteResponse
        | M::MsgSnapshot
        | M::MsgHeartbeat
        | M::MsgHeartbeatResponse
        | M::MsgTimeoutNow => true,
        M::MsgHup
        | M::MsgBeat
        | M::MsgPropose
        | M::MsgUnreachable
        | M::MsgSnapStatus
        | M::MsgCheckQuorum
        | M::MsgTransferLeader
        | M::MsgReadIndex
        | M::MsgReadIndexResp => false,
    }
}

/// Leaves of a change of members what everybody needs: the host's own words.
fn strip(entry: &mut raft::eraftpb::Entry) {
    if entry.get_entry_type() != raft::eraftpb::EntryType::EntryNormal {
        entry.data = bytes::Bytes::new();
    }
}

/// Nodes that are down, in order.
pub(super) type Down = std::collections::BTreeSet<NodeNumber>;
