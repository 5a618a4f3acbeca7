//! One node's copy of one group: the library's machine, and the rules of those who drive it.
//!
//! What the library has ready goes out in one order: writes, then what happened. A *ready* counts
//! as written only when all its writes and all earlier ones are on disk; until then its messages
//! wait, and a replica that waits does not campaign.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::{
    Config, RaftState, RawNode, Ready, StateRole,
    eraftpb::{Entry, Message, MessageType},
};
use slog::{Discard, Logger, o};

use super::{
    super::{
        GroupId, HardState, Index, LogEntry, Members, ReplicaId, Term, Ticket, WriteNumber,
        members::Change,
    },
    Broken, Event, GroupState, Settings,
    desk::Desk,
    log::Log,
};

pub(super) struct Replica {
    pub(super) group: GroupId,
    pub(super) id: ReplicaId,
    pub(super) raft: RawNode<Log>,
    pub(super) members: Members,
    /// The entry that made these members.
    pub(super) members_since: u64,
    /// The last entry that was handed out.
    pub(super) applied: u64,
    /// Proposals whose end is not known, by index and term.
    pub(super) proposals: BTreeMap<(u64, u64), Ticket>,
    /// Readies that are not written, the oldest first.
    pub(super) unwritten: VecDeque<Unwritten>,
    pub(super) last_write: WriteNumber,
    /// The last write that the host was asked to tell of.
    awaited: WriteNumber,
    /// The write of the term and the vote, and what it says. A leader's messages wait for it: that
    /// of a group with one voter is elected before its term is on disk.
    pub(super) term_write: WriteNumber,
    pub(super) kept: (Term, ReplicaId),
    /// What was last said about who leads.
    pub(super) announced: Option<(ReplicaId, Term)>,
    /// While it leads: the term, and the first entry of it.
    pub(super) leading: Option<(u64, u64)>,
    /// Members for which a snapshot is being captured.
    pub(super) capturing: Vec<ReplicaId>,
    /// Elections that it has tried, and campaigns that it will still start before their time.
    pub(super) attempts: u32,
    pub(super) campaigns_left: u32,
    pub(super) broken: Option<Broken>,
}

/// A ready whose writes are under way.
pub(super) struct Unwritten {
    pub(super) last_write: WriteNumber,
    pub(super) ready: u64,
    pub(super) messages: Vec<Message>,
    pub(super) installed: Option<u64>,
}

impl Replica {
    pub(super) fn restored(state: GroupState, settings: &Settings) -> Self {
        let config = configuration(&state, settings);
        let GroupState { group, replica, members, compacted, .. } = state;
        let last = state.entries.last().map_or(compacted, |entry| (entry.index, entry.term));
        let hard_state = hardened(state.hard_state, last, state.applied);
        let initial = RaftState::new(hard_state.to_raft(), members.to_raft());
        let entries = state.entries.into_iter().map(LogEntry::into_raft).collect();
        let mut log = Log::new(initial, compacted, entries);
        if settings.broken == Some(Broken::KeepSnapshot) {
            log.keep_snapshots();
        }
        let mut raft = RawNode::new(&config, log, &Logger::root(Discard, o!()))
            .expect("a log without gaps, and settings that were checked");
        raft.mut_store().forget_initial();
        Self {
            group,
            id: replica,
            raft,
            members,
            members_since: state.applied.0,
            applied: state.applied.0,
            proposals: BTreeMap::new(),
            unwritten: VecDeque::new(),
            last_write: WriteNumber(0),
            awaited: WriteNumber(0),
            term_write: WriteNumber(0),
            kept: (hard_state.term, hard_state.vote),
            announced: None,
            leading: None,
            capturing: Vec::new(),
            attempts: 0,
            campaigns_left: 0,
            broken: settings.broken,
        }
    }

    /// Makes what follows wait for this write.
    pub(super) fn wait_for(&mut self, write: WriteNumber) {
        self.last_write = write;
        self.term_write = write;
    }

    pub(super) fn leads(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    pub(super) fn leader(&self) -> Option<ReplicaId> {
        let leader = self.raft.raft.leader_id;
        (leader != raft::INVALID_ID).then_some(ReplicaId(leader))
    }

    pub(super) fn term(&self) -> Term {
        Term(self.raft.raft.term)
    }

    /// Whether everything that it has handed out for writing is written.
    pub(super) fn is_settled(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Puts payloads into the log, or gives the tickets back.
    pub(super) fn propose(&mut self, proposals: Vec<(Bytes, Ticket)>, desk: &mut Desk) {
        let before = self.raft.raft.raft_log.last_index();
        let entries: Vec<_> = proposals.iter().map(|(payload, _)| normal(payload)).collect();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.id.0;
        message.set_entries(entries.into());
        let taken = self.leads() && self.raft.raft.step(message).is_ok();
        for (number, (_, ticket)) in proposals.into_iter().enumerate() {
            if taken {
                self.expect(before + 1 + number as u64, ticket);
            } else {
                desk.event(Event::Lost { group: self.group, ticket });
            }
        }
    }

    /// Puts a change of members into the log, which the caller has found possible.
    pub(super) fn propose_change(&mut self, change: &Change, ticket: Option<Ticket>) -> bool {
        let before = self.raft.raft.raft_log.last_index();
        let taken = self.raft.propose_conf_change(change.to_octets(), change.to_raft()).is_ok();
        if let Some(ticket) = ticket.filter(|_| taken) {
            self.expect(before + 1, ticket);
        }
        taken
    }

    fn expect(&mut self, index: u64, ticket: Ticket) {
        self.proposals.insert((index, self.raft.raft.term), ticket);
    }

    /// Forgets all proposals, whose end nobody here will see.
    pub(super) fn abandon(&mut self, desk: &mut Desk) {
        for ticket in std::mem::take(&mut self.proposals).into_values() {
            desk.event(Event::Unknown { group: self.group, ticket });
        }
    }

    /// Lets go what waited for writes that are on disk.
    pub(super) fn persisted(&mut self, desk: &mut Desk) {
        while self.unwritten.front().is_some_and(|ready| desk.is_persisted(ready.last_write)) {
            let Some(ready) = self.unwritten.pop_front() else { return };
            self.raft.on_persist_ready(ready.ready);
            if let Some(index) = ready.installed {
                self.raft.advance_apply_to(index);
            }
            desk.send(self.group, ready.messages);
        }
    }

    /// Puts everything that is ready onto the desk. Gives the write that the rest waits for, if
    /// that is a new one.
    pub(super) fn drain(&mut self, desk: &mut Desk) -> Option<WriteNumber> {
        while self.raft.has_ready() {
            let ready = self.raft.ready();
            self.note_leader(desk);
            self.handle(ready, desk);
        }
        self.note_leader(desk);
        let last = self.unwritten.back()?.last_write;
        let new = last > self.awaited;
        self.awaited = last;
        new.then_some(last)
    }

    fn handle(&mut self, mut ready: Ready, desk: &mut Desk) {
        let number = ready.number();
        let installed = self.install(ready.snapshot(), desk);
        self.append(&ready.take_entries(), desk);
        let mut messages = ready.take_messages();
        let waiting = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.raft.advance_append_async(ready);
        if desk.is_persisted(self.term_write) {
            desk.send(self.group, std::mem::take(&mut messages));
        }
        messages.extend(waiting);
        match self.broken {
            Some(Broken::SendEarly) => desk.send(self.group, std::mem::take(&mut messages)),
            Some(Broken::DeclareEarly) => self.raft.on_persist_ready(number),
            Some(Broken::ApplyEarly) => {
                installed.into_iter().for_each(|index| self.raft.advance_apply_to(index));
            }
            _ => {}
        }
        let last_write = self.last_write;
        self.unwritten.push_back(Unwritten { last_write, ready: number, messages, installed });
        self.persisted(desk);
        self.apply(committed, desk);
    }
}

/// The library's settings for one replica.
fn configuration(state: &GroupState, settings: &Settings) -> Config {
    Config {
        id: state.replica.0,
        election_tick: settings.election_ticks,
        heartbeat_tick: settings.heartbeat_ticks,
        applied: state.applied.0,
        max_size_per_msg: settings.message_octets,
        max_inflight_msgs: settings.messages_in_flight,
        check_quorum: true,
        pre_vote: true,
        skip_bcast_commit: state.group != GroupId::METADATA,
        batch_append: settings.broken == Some(Broken::GlueMessages),
        priority: state.priority,
        max_uncommitted_size: settings.message_octets.max(settings.log_limit as u64),
        ..Config::default()
    }
}

/// The hard state that fits what was found beside it: records are written in order, and the last of
/// them may be missing. Of a term from which there is an entry but no hard state, nothing was ever
/// said to anybody.
fn hardened(state: HardState, last: (Index, Term), applied: Index) -> HardState {
    let (index, term) = last;
    let commit = state.commit.max(applied).min(index);
    if state.term < term {
        return HardState { term, vote: ReplicaId(0), commit };
    }
    HardState { commit, ..state }
}

fn normal(payload: &Bytes) -> Entry {
    Entry { data: payload.clone(), ..Entry::default() }
}
