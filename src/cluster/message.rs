//! What the replicas of a group say to each other, opaque to those who carry it.

use raft::eraftpb::{Message, MessageType};

use super::identity::{GroupId, ReplicaId, Term};

/// A message from one replica of a group to another. It may be lost, doubled and overtaken; it must
/// not be changed, and must come from the node of `from`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMessage {
    pub(super) group: GroupId,
    pub(super) from: ReplicaId,
    pub(super) to: ReplicaId,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Raft(Box<Message>),
    /// The replica that sends this does not lead, whatever was heard before about `term`.
    LeaderGone {
        term: Term,
    },
}

/// How a message should travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageClass {
    /// Short, and must not wait behind the others: votes and heartbeats.
    Control,
    /// Entries and their acknowledgements.
    Data,
    /// The last message of a snapshot, behind what it promises.
    Snapshot,
}

impl GroupMessage {
    pub fn group(&self) -> GroupId {
        self.group
    }

    pub fn from(&self) -> ReplicaId {
        self.from
    }

    pub fn to(&self) -> ReplicaId {
        self.to
    }

    pub fn class(&self) -> MessageClass {
        let Body::Raft(message) = &self.body else { return MessageClass::Control };
        match message.get_msg_type() {
            MessageType::MsgAppend | MessageType::MsgAppendResponse => MessageClass::Data,
            MessageType::MsgSnapshot => MessageClass::Snapshot,
            _ => MessageClass::Control,
        }
    }

    /// Roughly the octets that it takes.
    pub fn size(&self) -> usize {
        let Body::Raft(message) = &self.body else { return FRAME };
        let entries = message.entries.iter().map(|entry| entry.data.len() + entry.context.len());
        FRAME + entries.map(|octets| octets + ENTRY).sum::<usize>()
    }

    pub(super) fn raft(group: GroupId, message: Message) -> Self {
        let (from, to) = (ReplicaId(message.from), ReplicaId(message.to));
        Self { group, from, to, body: Body::Raft(Box::new(message)) }
    }
}

/// About the octets of a message without entries, and of an entry without content.
const FRAME: usize = 32;
const ENTRY: usize = 8;
