//! What a group's log is made of, as a journal keeps it.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::identity::{Index, ReplicaId, Term};

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub index: Index,
    pub term: Term,
    pub content: LogContent,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogContent {
    /// What was proposed. A new leader's first entry, and a proposal of nothing, are empty.
    Payload(Bytes),
    /// A change of the members, in the host's own words.
    Change(Bytes),
}

/// What a replica must never forget, or two leaders could have one term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    /// Who got this replica's vote in the term; zero for nobody.
    pub vote: ReplicaId,
    /// An entry up to which the log was known to be committed. It may lag behind what has been
    /// applied, and be ahead of a log whose end was not written.
    pub commit: Index,
}

impl LogEntry {
    /// Only what the host itself wrote into the context of a change is kept: what the raft library
    /// keeps of it besides serves only while it is proposed.
    pub(super) fn from_raft(entry: &Entry) -> Self {
        let content = match entry.get_entry_type() {
            EntryType::EntryNormal => LogContent::Payload(entry.data.clone()),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                LogContent::Change(entry.context.clone())
            }
        };
        Self { index: Index(entry.index), term: Term(entry.term), content }
    }

    pub(super) fn into_raft(self) -> Entry {
        let mut entry = Entry { index: self.index.0, term: self.term.0, ..Entry::default() };
        match self.content {
            LogContent::Payload(payload) => entry.data = payload,
            LogContent::Change(change) => {
                entry.set_entry_type(EntryType::EntryConfChangeV2);
                entry.context = change;
            }
        }
        entry
    }
}

impl HardState {
    pub(super) fn from_raft(state: &raft::eraftpb::HardState) -> Self {
        Self { term: Term(state.term), vote: ReplicaId(state.vote), commit: Index(state.commit) }
    }

    pub(super) fn to_raft(self) -> raft::eraftpb::HardState {
        raft::eraftpb::HardState {
            term: self.term.0,
            vote: self.vote.0,
            commit: self.commit.0,
            ..Default::default()
        }
    }
}
