//! What becomes of entries: into the log when ready, to the driver when committed.

use std::collections::BTreeMap;

use raft::{
    StateRole,
    eraftpb::{Entry, EntryType, Snapshot as RaftSnapshot},
};

use super::{
    super::{HardState, Index, LogEntry, Members, Term, Ticket, members::Change},
    Broken, Committed, Content, Event, LeaderChange, Record, Snapshot,
    desk::Desk,
    replica::Replica,
};

impl Replica {
    /// Starts anew behind the snapshot, if there is one.
    pub(super) fn install(&mut self, snapshot: &RaftSnapshot, desk: &mut Desk) -> Option<u64> {
        let metadata = snapshot.get_metadata();
        if metadata.index == 0 {
            return None;
        }
        let members = Members::from_raft(metadata.get_conf_state());
        self.raft.mut_store().install(metadata.index, metadata.term);
        self.members = members.clone();
        self.members_since = metadata.index;
        self.applied = metadata.index;
        for (_, ticket) in self.past_proposals(metadata.index) {
            desk.event(Event::Unknown { group: self.group, ticket });
        }
        let snapshot = Snapshot {
            index: Index(metadata.index),
            term: Term(metadata.term),
            members,
            token: snapshot.data.clone(),
        };
        self.last_write = desk.write(self.group, Record::Installed(snapshot.clone()));
        desk.event(Event::Install { group: self.group, snapshot });
        Some(metadata.index)
    }

    /// Writes the term, the vote and the new entries, as far as they are new.
    ///
    /// What is committed could be learned again, but for one thing: with a change of members, that
    /// the change before it is committed must be on disk. Otherwise a replica that starts again
    /// might campaign among the members before both, who need not know each other's successors. It
    /// is written with the entries, neither before nor after: it speaks of the log that has them.
    pub(super) fn append(&mut self, entries: &[Entry], desk: &mut Desk) {
        let mut state = HardState::from_raft(&self.raft.raft.hard_state());
        let commit = state.commit;
        if let Some(first) = entries.first() {
            state.commit = commit.min(Index(first.index - 1));
        }
        if self.kept != (state.term, state.vote) {
            self.kept = (state.term, state.vote);
            self.last_write = desk.write(self.group, Record::HardState(state));
            self.term_write = self.last_write;
        }
        if !entries.is_empty() {
            self.raft.mut_store().append(entries);
            let entries = entries.iter().map(LogEntry::from_raft).collect();
            self.last_write = desk.write(self.group, Record::Append { entries, commit });
        }
    }

    /// Hands out committed entries, in order.
    pub(super) fn apply(&mut self, committed: Vec<Entry>, desk: &mut Desk) {
        if committed.is_empty() {
            return;
        }
        for entry in committed {
            let content = match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => Content::Empty,
                EntryType::EntryNormal => Content::Payload(entry.data.clone()),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    Content::Members(self.change_members(&entry))
                }
            };
            self.applied = entry.index;
            let ticket = self.ticket_of(&entry, desk);
            let (index, term) = (Index(entry.index), Term(entry.term));
            desk.event(Event::Committed(Committed {
                group: self.group,
                index,
                term,
                ticket,
                content,
            }));
            self.note_leader(desk);
        }
        self.raft.advance_apply_to(self.applied);
    }

    /// The ticket of the proposal that has become this entry. One that another entry has taken the
    /// place of is lost.
    fn ticket_of(&mut self, entry: &Entry, desk: &mut Desk) -> Option<Ticket> {
        let mut found = None;
        for (place, ticket) in self.past_proposals(entry.index) {
            if place == (entry.index, entry.term) {
                found = Some(ticket);
            } else {
                desk.event(Event::Lost { group: self.group, ticket });
            }
        }
        found
    }

    /// Takes out the proposals up to this index. Those of a later term may be at earlier places.
    fn past_proposals(&mut self, index: u64) -> BTreeMap<(u64, u64), Ticket> {
        if self.proposals.first_key_value().is_none_or(|((first, _), _)| *first > index) {
            return BTreeMap::new();
        }
        let later = self.proposals.split_off(&(index + 1, 0));
        std::mem::replace(&mut self.proposals, later)
    }

    /// A leader that the change takes its vote from stops to lead: the library does not see to it.
    fn change_members(&mut self, entry: &Entry) -> Members {
        let change = Change::from_octets(&entry.context).unwrap_or_default();
        if let Ok(state) = self.raft.apply_conf_change(&change.to_raft()) {
            self.members = Members::from_raft(&state);
            self.members_since = entry.index;
        }
        let deposed = self.leads() && !self.raft.raft.promotable();
        if deposed && self.broken != Some(Broken::RemoveSelf) {
            let term = self.raft.raft.term;
            self.raft.raft.become_follower(term, raft::INVALID_ID);
        }
        self.members.clone()
    }

    /// Says who leads, when that has changed. This replica itself is named when the first entry of
    /// its term has been handed out, and with it all that was committed before.
    pub(super) fn note_leader(&mut self, desk: &mut Desk) {
        let raft = &self.raft.raft;
        let (term, leads) = (Term(raft.term), raft.state == StateRole::Leader);
        if leads && self.leading.is_none_or(|(of, _)| of != raft.term) {
            let before = |index: &u64| raft.raft_log.term(index - 1).is_ok_and(|of| of == term.0);
            let mut first = raft.raft_log.last_index();
            while before(&first) {
                first -= 1;
            }
            self.leading = Some((term.0, first));
        }
        if !leads && let Some((of, _)) = self.leading.take() {
            self.tell_gone(Term(of), desk);
        }
        let ready = self.leading.is_some_and(|(_, first)| self.applied >= first);
        let leader = self.leader().filter(|leader| *leader != self.id || ready);
        let now = leader.map(|leader| (leader, term));
        if now == self.announced {
            return;
        }
        self.announced = now;
        let is_self = leader == Some(self.id);
        let change = LeaderChange { group: self.group, term, leader, is_self };
        desk.event(Event::Leader(change));
    }
}
