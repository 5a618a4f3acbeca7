//! Messages between replicas, and what a journal keeps of them, as octets.
//!
//! Numbers are in groups of seven bits, the lowest first; octets stand behind their number.
//!
//! ```text
//! message  kind u8 | group | from | to | term | (kind 0 ends here)
//!          flags u8 | index | log term | commit | commit term | reject hint | priority, zigzag
//!          entries: count, each kind u8 | term | octets; their indices follow the message's
//!          kind 9 only: snapshot index | snapshot term | members | token
//! members  voters | learners | outgoing | learners next: each count, replicas
//! entry    kind u8 | index | term | octets
//! ```

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType, Snapshot};
use thiserror::Error;

use super::{
    GroupId, GroupMessage, Index, LogContent, LogEntry, Members, ReplicaId, Term, message::Body,
};
use crate::model::compact::{Reader, put_octets, put_varint};

/// Why octets are no message, entry or members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Garbled {
    #[error("the octets end too early, or a number is out of range")]
    Truncated,
    #[error("octets follow what was read")]
    Trailing,
    #[error("there is no {0} of that kind")]
    Kind(&'static str),
    #[error("the {0} contradict themselves")]
    Contradiction(&'static str),
}

/// Terms and indices are counted up, so that larger ones are made up.
const LARGEST: u64 = 1 << 56;
/// More than any group has.
const MOST_MEMBERS: usize = 1024;
/// What the library writes into a call for votes of a leader's chosen successor.
const TRANSFER: &[u8] = b"CampaignTransfer";

const REJECT: u8 = 1;
const SUCCESSION: u8 = 2;

const LEADER_GONE: u8 = 0;
const KINDS: [MessageType; 10] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgTimeoutNow,
];

/// Appends a message.
pub fn put_message(octets: &mut Vec<u8>, message: &GroupMessage) {
    let GroupMessage { group, from, to, body } = message;
    let (kind, term) = match body {
        Body::LeaderGone { term } => (LEADER_GONE, term.0),
        Body::Raft(message) => {
            let kind = KINDS.iter().position(|kind| *kind == message.get_msg_type());
            (kind.map_or(LEADER_GONE, |place| place as u8 + 1), message.term)
        }
    };
    octets.push(kind);
    for number in [group.0, from.0, to.0, term] {
        put_varint(octets, number);
    }
    if let Body::Raft(message) = body {
        put_raft(octets, message);
    }
}

fn put_raft(octets: &mut Vec<u8>, message: &Message) {
    let succession = message.context.as_ref() == TRANSFER;
    octets.push(u8::from(message.reject) * REJECT + u8::from(succession) * SUCCESSION);
    let Message { index, log_term, commit, commit_term, reject_hint, priority, .. } = message;
    let zigzag = (priority << 1 ^ priority >> 63) as u64;
    for number in [*index, *log_term, *commit, *commit_term, *reject_hint, zigzag] {
        put_varint(octets, number);
    }
    put_varint(octets, message.entries.len() as u64);
    for entry in message.entries.iter().map(LogEntry::from_raft) {
        octets.push(kind_of(&entry.content));
        put_varint(octets, entry.term.0);
        put_octets(octets, content_of(&entry.content));
    }
    if message.get_msg_type() == MessageType::MsgSnapshot {
        let snapshot = message.get_snapshot();
        put_varint(octets, snapshot.get_metadata().index);
        put_varint(octets, snapshot.get_metadata().term);
        put_members(octets, &Members::from_raft(snapshot.get_metadata().get_conf_state()));
        put_octets(octets, &snapshot.data);
    }
}

/// Reads a message. The payloads share the memory of the octets.
pub fn message(octets: &Bytes) -> Result<GroupMessage, Garbled> {
    let mut fields = Fields::of(octets);
    let kind = fields.u8()?;
    let group = GroupId(fields.number()?);
    let (from, to) = (ReplicaId(fields.number()?), ReplicaId(fields.number()?));
    let term = fields.count()?;
    if from == ReplicaId(0) || to == ReplicaId(0) || term == 0 {
        return Err(Garbled::Contradiction("members"));
    }
    let body = if kind == LEADER_GONE {
        Body::LeaderGone { term: Term(term) }
    } else {
        let kind = KINDS.get(usize::from(kind) - 1).ok_or(Garbled::Kind("message"))?;
        let mut message = Message::default();
        message.set_msg_type(*kind);
        (message.from, message.to, message.term) = (from.0, to.0, term);
        fields.raft(&mut message)?;
        Body::Raft(Box::new(message))
    };
    fields.end()?;
    Ok(GroupMessage { group, from, to, body })
}

/// Appends an entry, for a journal.
pub fn put_entry(octets: &mut Vec<u8>, entry: &LogEntry) {
    octets.push(kind_of(&entry.content));
    put_varint(octets, entry.index.0);
    put_varint(octets, entry.term.0);
    put_octets(octets, content_of(&entry.content));
}

/// Reads an entry. Its content shares the memory of the octets.
pub fn entry(octets: &Bytes) -> Result<LogEntry, Garbled> {
    let mut fields = Fields::of(octets);
    let kind = fields.u8()?;
    let (index, term) = (Index(fields.count()?), Term(fields.count()?));
    let content = fields.content(kind)?;
    fields.end()?;
    Ok(LogEntry { index, term, content })
}

/// Appends members, for a journal.
pub fn put_members(octets: &mut Vec<u8>, members: &Members) {
    for list in [&members.voters, &members.learners, &members.outgoing, &members.learners_next] {
        put_varint(octets, list.len() as u64);
        list.iter().for_each(|replica| put_varint(octets, replica.0));
    }
}

/// Reads members; there may be none.
pub fn members(octets: &Bytes) -> Result<Members, Garbled> {
    let mut fields = Fields::of(octets);
    let members = fields.members()?;
    fields.end()?;
    Ok(members)
}

fn kind_of(content: &LogContent) -> u8 {
    match content {
        LogContent::Payload(_) => 0,
        LogContent::Change(_) => 1,
    }
}

fn content_of(content: &LogContent) -> &Bytes {
    match content {
        LogContent::Payload(octets) | LogContent::Change(octets) => octets,
    }
}

/// A walk over octets that somebody else has sent.
struct Fields<'a> {
    whole: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    fn of(whole: &'a Bytes) -> Self {
        Self { whole, reader: Reader::new(whole) }
    }

    fn u8(&mut self) -> Result<u8, Garbled> {
        self.reader.u8().ok_or(Garbled::Truncated)
    }

    fn number(&mut self) -> Result<u64, Garbled> {
        self.reader.varint().ok_or(Garbled::Truncated)
    }

    /// A term or an index.
    fn count(&mut self) -> Result<u64, Garbled> {
        self.number().and_then(|it| if it < LARGEST { Ok(it) } else { Err(Garbled::Truncated) })
    }

    fn octets(&mut self) -> Result<Bytes, Garbled> {
        let octets = self.reader.octets().ok_or(Garbled::Truncated)?;
        Ok(self.whole.slice_ref(octets))
    }

    fn content(&mut self, kind: u8) -> Result<LogContent, Garbled> {
        match kind {
            0 => Ok(LogContent::Payload(self.octets()?)),
            1 => Ok(LogContent::Change(self.octets()?)),
            _ => Err(Garbled::Kind("entry")),
        }
    }

    fn raft(&mut self, message: &mut Message) -> Result<(), Garbled> {
        let flags = self.u8()?;
        if flags & !(REJECT | SUCCESSION) != 0 {
            return Err(Garbled::Kind("flag"));
        }
        message.reject = flags & REJECT != 0;
        if flags & SUCCESSION != 0 {
            message.context = Bytes::from_static(TRANSFER);
        }
        message.index = self.count()?;
        message.log_term = self.count()?;
        message.commit = self.count()?;
        message.commit_term = self.count()?;
        message.reject_hint = self.count()?;
        let zigzag = self.number()?;
        message.priority = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        message.deprecated_priority = message.priority.max(0) as u64;
        self.entries(message)?;
        if message.get_msg_type() == MessageType::MsgSnapshot {
            message.set_snapshot(self.snapshot()?);
        }
        Ok(())
    }

    /// The entries of a message: none is of a later term than the message or of an earlier one than
    /// the entry before it.
    fn entries(&mut self, message: &mut Message) -> Result<(), Garbled> {
        let count = self.count()?;
        if count > 0 && message.get_msg_type() != MessageType::MsgAppend {
            return Err(Garbled::Contradiction("entries"));
        }
        let mut entries = Vec::new();
        let mut least = message.log_term.max(1);
        for place in 1..=count {
            let kind = self.u8()?;
            let term = self.count()?;
            if term < least || term > message.term {
                return Err(Garbled::Contradiction("entries"));
            }
            least = term;
            let (index, content) = (Index(message.index + place), self.content(kind)?);
            entries.push(LogEntry { index, term: Term(term), content }.into_raft());
        }
        message.set_entries(entries.into());
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, Garbled> {
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = self.count()?;
        snapshot.mut_metadata().term = self.count()?;
        let members = self.members()?;
        if snapshot.get_metadata().index == 0 || !members.are_sound() {
            return Err(Garbled::Contradiction("members"));
        }
        snapshot.mut_metadata().set_conf_state(members.to_raft());
        snapshot.data = self.octets()?;
        Ok(snapshot)
    }

    fn members(&mut self) -> Result<Members, Garbled> {
        Ok(Members {
            voters: self.replicas()?,
            learners: self.replicas()?,
            outgoing: self.replicas()?,
            learners_next: self.replicas()?,
        })
    }

    fn replicas(&mut self) -> Result<Vec<ReplicaId>, Garbled> {
        let count = self.number()? as usize;
        if count > MOST_MEMBERS {
            return Err(Garbled::Truncated);
        }
        (0..count).map(|_| self.number().map(ReplicaId)).collect()
    }

    fn end(&self) -> Result<(), Garbled> {
        if self.reader.is_empty() { Ok(()) } else { Err(Garbled::Trailing) }
    }
}

#[cfg(test)]
mod tests;
