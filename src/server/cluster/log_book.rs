//! The logs of a node's groups, as records of its one journal.
//!
//! A group's log is a queue of the store: an entry is a message, at a position that only counts up.
//! What else a replica must not forget are facts.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use crate::{
    broker::{Journal, queue::Restored},
    cluster::{
        GroupId, HardState, Index, LogEntry, Members, ReplicaId, Term, codec,
        host::{GroupState, Record, Snapshot, Write},
    },
    model::{
        Batch, Position, PositionRange, QueueId,
        compact::{Reader, put_octets, put_varint},
    },
};

/// The first octets of the keys of the facts.
const REPLICA: u8 = 40;
const HARD_STATE: u8 = 41;

/// The bit that the numbers of logs have among the store's queues.
const LOG: u64 = 1 << 62;

/// Whether a queue of the store is a group's log.
pub(super) fn is_log(queue: QueueId) -> bool {
    queue.0 & LOG != 0 && !queue.is_spilled()
}

fn log_of(group: GroupId) -> QueueId {
    QueueId(group.0 | LOG)
}

fn key(kind: u8, group: GroupId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&group.0.to_be_bytes());
    key
}

/// Where the entries of each log are.
#[derive(Debug, Default)]
pub(super) struct LogBook(HashMap<GroupId, Chapter>);

/// One group's part.
#[derive(Debug)]
struct Chapter {
    replica: ReplicaId,
    priority: i64,
    members: Members,
    /// The entry since which these are the members.
    members_since: Index,
    hard_state: HardState,
    compacted: (Index, Term),
    /// The entries that are kept, with their positions in the store.
    entries: VecDeque<(Index, Position)>,
    next: Position,
}

impl LogBook {
    /// Adds to `batch` what the writes of a host say.
    pub(super) fn write(&mut self, writes: Vec<Write>, batch: &mut Batch) {
        for Write { group, record, .. } in writes {
            self.write_one(group, record, batch);
        }
    }

    fn write_one(&mut self, group: GroupId, record: Record, batch: &mut Batch) {
        match record {
            Record::Created { replica, members, priority } => {
                let chapter = Chapter::new(GroupState::created(group, replica, members, priority));
                chapter.put(group, batch);
                self.0.insert(group, chapter);
            }
            Record::Destroyed => {
                self.0.remove(&group);
                batch.forget(log_of(group));
                batch.delete(&key(REPLICA, group));
                batch.delete(&key(HARD_STATE, group));
            }
            Record::HardState(state) => {
                if let Some(chapter) = self.0.get_mut(&group) {
                    chapter.set_hard_state(group, state, batch);
                }
            }
            Record::Append { entries, commit } => {
                if let Some(chapter) = self.0.get_mut(&group) {
                    let state = HardState { commit, ..chapter.hard_state };
                    chapter.set_hard_state(group, state, batch);
                    chapter.append(group, &entries, batch);
                }
            }
            Record::Compacted { index, term } => {
                if let Some(chapter) = self.0.get_mut(&group) {
                    chapter.compact(group, (index, term), batch);
                }
            }
            Record::Installed(Snapshot { index, term, members, .. }) => {
                if let Some(chapter) = self.0.get_mut(&group) {
                    chapter.truncate(group, Index(0), batch);
                    chapter.compacted = (index, term);
                    (chapter.members, chapter.members_since) = (members, index);
                    chapter.put(group, batch);
                }
            }
        }
    }

    /// The members of a group are these since an entry.
    pub(super) fn set_members(
        &mut self,
        group: GroupId,
        since: Index,
        members: Members,
        batch: &mut Batch,
    ) {
        if let Some(chapter) = self.0.get_mut(&group) {
            (chapter.members, chapter.members_since) = (members, since);
            chapter.put(group, batch);
        }
    }

    /// The groups that have a replica here.
    pub(super) fn has(&self, group: GroupId) -> bool {
        self.0.contains_key(&group)
    }

    /// Reads it all again: the facts, and what the store has of the logs. `applied` says how far
    /// the node's own state of a group has come. What makes no sense is left out, and named.
    pub(super) fn restore(
        facts: &BTreeMap<Bytes, Bytes>,
        mut logs: BTreeMap<QueueId, Restored>,
        journal: &dyn Journal,
        applied: impl Fn(GroupId) -> u64,
    ) -> Result<(Self, Vec<GroupState>), String> {
        let mut book = Self::default();
        let mut states = Vec::new();
        for (name, value) in facts.iter().filter(|(name, _)| name.first() == Some(&REPLICA)) {
            let group = group_of(name).ok_or("a replica without a name")?;
            let mut chapter =
                Chapter::read(value).ok_or_else(|| format!("the replica of group {group}"))?;
            let log = logs.remove(&log_of(group)).unwrap_or_default();
            let entries = chapter.read_log(group, log, journal)?;
            if let Some(value) = facts.get(&key(HARD_STATE, group)[..]) {
                let state = read_hard_state(value);
                chapter.hard_state = state.ok_or_else(|| format!("the state of group {group}"))?;
            }
            let (compacted, _) = chapter.compacted;
            let last = entries.last().map_or(compacted, |entry| entry.index);
            // What an earlier replica of the group left here may be ahead of this one's log.
            let applied = Index(applied(group)).max(chapter.members_since).min(last).max(compacted);
            states.push(GroupState {
                group,
                replica: chapter.replica,
                priority: chapter.priority,
                members: chapter.members.clone(),
                hard_state: chapter.hard_state,
                compacted: chapter.compacted,
                entries,
                applied,
            });
            book.0.insert(group, chapter);
        }
        Ok((book, states))
    }
}

impl Chapter {
    fn new(created: GroupState) -> Self {
        let GroupState { replica, priority, members, compacted, hard_state, .. } = created;
        Self {
            replica,
            priority,
            members,
            members_since: Index(0),
            hard_state,
            compacted,
            entries: VecDeque::new(),
            next: Position(0),
        }
    }

    fn set_hard_state(&mut self, group: GroupId, state: HardState, batch: &mut Batch) {
        self.hard_state = state;
        let mut value = Vec::new();
        for number in [state.term.0, state.vote.0, state.commit.0] {
            put_varint(&mut value, number);
        }
        batch.put(&key(HARD_STATE, group), &value);
    }

    fn append(&mut self, group: GroupId, entries: &[LogEntry], batch: &mut Batch) {
        if let Some(first) = entries.first() {
            self.truncate(group, first.index, batch);
        }
        let mut octets = Vec::new();
        for entry in entries {
            octets.clear();
            codec::put_entry(&mut octets, entry);
            batch.enqueue(&[(log_of(group), self.next)], &[&octets]);
            self.entries.push_back((entry.index, self.next));
            self.next = Position(self.next.0 + 1);
        }
    }

    /// Drops the entries from `index` on.
    fn truncate(&mut self, group: GroupId, index: Index, batch: &mut Batch) {
        let keeps = self.entries.partition_point(|(at, _)| *at < index);
        let dropped = self.entries.split_off(keeps);
        settle(group, &dropped, batch);
    }

    fn compact(&mut self, group: GroupId, (index, term): (Index, Term), batch: &mut Batch) {
        let keeps = self.entries.partition_point(|(at, _)| *at <= index);
        let rest = self.entries.split_off(keeps);
        settle(group, &self.entries, batch);
        self.entries = rest;
        self.compacted = (index, term);
        self.put(group, batch);
    }

    fn put(&self, group: GroupId, batch: &mut Batch) {
        let mut value = Vec::new();
        let zigzag = (self.priority << 1 ^ self.priority >> 63).cast_unsigned();
        let (index, term) = self.compacted;
        let Self { replica, members_since, next, .. } = self;
        for number in [replica.0, zigzag, members_since.0, index.0, term.0, next.0] {
            put_varint(&mut value, number);
        }
        let mut members = Vec::new();
        codec::put_members(&mut members, &self.members);
        put_octets(&mut value, &members);
        batch.put(&key(REPLICA, group), &value);
    }

    fn read(value: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(value);
        let replica = ReplicaId(reader.varint()?);
        let zigzag = reader.varint()?;
        let priority = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        let members_since = Index(reader.varint()?);
        let compacted = (Index(reader.varint()?), Term(reader.varint()?));
        let next = Position(reader.varint()?);
        let members = codec::members(&value.slice_ref(reader.octets()?)).ok()?;
        let created = GroupState::created(GroupId(0), replica, members, priority);
        Some(Self { members_since, compacted, next, ..Self::new(created) })
    }

    /// The entries that count: a later one takes the place of all from its index on.
    fn read_log(
        &mut self,
        group: GroupId,
        log: Restored,
        journal: &dyn Journal,
    ) -> Result<Vec<LogEntry>, String> {
        let unreadable = || format!("the log of group {group}");
        let mut octets: Vec<(Position, Bytes)> = Vec::new();
        for range in log.stored.iter() {
            octets.extend(journal.read_range(log_of(group), range).ok_or_else(unreadable)?);
        }
        octets.extend(log.arrivals.into_iter().filter(|(_, octets)| !octets.is_empty()));
        octets.sort_unstable_by_key(|(position, _)| *position);
        // The store forgets the positions of what has left.
        self.next = self.next.max(log.next);
        let mut entries: Vec<LogEntry> = Vec::new();
        for (position, octets) in octets {
            let entry = codec::entry(&octets).map_err(|_| unreadable())?;
            if entry.index <= self.compacted.0 {
                continue;
            }
            entries.retain(|known| known.index < entry.index);
            self.entries.retain(|(known, _)| *known < entry.index);
            self.entries.push_back((entry.index, position));
            entries.push(entry);
        }
        let mut expected = (self.compacted.0.0 + 1..).zip(&entries);
        if expected.all(|(index, entry)| index == entry.index.0) {
            return Ok(entries);
        }
        Err(format!("a gap in the log of group {group}"))
    }
}

fn settle(group: GroupId, entries: &VecDeque<(Index, Position)>, batch: &mut Batch) {
    let mut ranges: Vec<PositionRange> = Vec::new();
    for (_, position) in entries {
        match ranges.last_mut() {
            Some(range) if range.last.0 + 1 == position.0 => range.last = *position,
            _ => ranges.push((*position).into()),
        }
    }
    if !ranges.is_empty() {
        batch.settle(log_of(group), &ranges);
    }
}

fn group_of(key: &[u8]) -> Option<GroupId> {
    Some(GroupId(u64::from_be_bytes(key.get(1..)?.try_into().ok()?)))
}

fn read_hard_state(value: &[u8]) -> Option<HardState> {
    let mut reader = Reader::new(value);
    let (term, vote) = (Term(reader.varint()?), ReplicaId(reader.varint()?));
    Some(HardState { term, vote, commit: Index(reader.varint()?) })
}
