//! A node's journal: lines reach the disk in order and late, and a crash takes the others.

use std::collections::{BTreeMap, VecDeque};

use leveret::cluster::{
    GroupId, HardState, Index, LogEntry, ReplicaId, Term, WriteNumber,
    host::{Committed, GroupState, Record, Write},
};

use super::judge::Toy;

/// What a driver writes: what the host asks for, and what it has applied.
#[derive(Clone)]
pub(crate) enum Line {
    Host(Write),
    Applied(Committed),
    /// The record that a snapshot was installed, with its data.
    Installed(Write, Toy),
}

#[derive(Default)]
pub(crate) struct Disk {
    written: BTreeMap<GroupId, Stored>,
    under_way: VecDeque<Line>,
}

struct Stored {
    replica: ReplicaId,
    priority: i64,
    hard_state: HardState,
    compacted: (Index, Term),
    entries: Vec<LogEntry>,
    state: Toy,
}

impl Disk {
    pub(crate) fn append(&mut self, line: Line) {
        self.under_way.push_back(line);
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The oldest lines reach the disk; gives the last write of the host among them.
    pub(crate) fn sync(&mut self, lines: usize) -> Option<WriteNumber> {
        let mut last = None;
        for _ in 0..lines {
            let Some(line) = self.under_way.pop_front() else { break };
            if let Line::Host(write) | Line::Installed(write, _) = &line {
                last = Some(write.number);
            }
            self.write(line);
        }
        last
    }

    /// The power fails; `lines` of those under way had got there.
    pub(crate) fn crash(&mut self, lines: usize) {
        self.sync(lines);
        self.under_way.clear();
    }

    /// The replicas that the disk knows, with the state of each.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = (GroupState, Toy)> {
        self.written.iter().map(|(group, stored)| {
            let state = GroupState {
                group: *group,
                replica: stored.replica,
                priority: stored.priority,
                members: stored.state.members.clone(),
                hard_state: stored.hard_state,
                compacted: stored.compacted,
                entries: stored.entries.clone(),
                applied: Index(stored.state.applied),
            };
            (state, stored.state.clone())
        })
    }

    /// How far the group's state is on the disk.
    pub(crate) fn applied(&self, group: GroupId) -> Option<Index> {
        self.written.get(&group).map(|stored| Index(stored.state.applied))
    }

    fn write(&mut self, line: Line) {
        match line {
            Line::Applied(committed) => {
                let Some(stored) = self.written.get_mut(&committed.group) else { return };
                let last = stored.compacted.0.0 + stored.entries.len() as u64;
                assert!(committed.index.0 <= last, "applied without an entry");
                stored.state.apply(&committed);
            }
            Line::Host(Write { group, record: Record::Destroyed, .. }) => {
                self.written.remove(&group);
            }
            Line::Host(Write {
                group,
                record: Record::Created { replica, members, priority },
                ..
            }) => {
                let state = GroupState::created(group, replica, members, priority);
                let stored = Stored {
                    replica,
                    priority,
                    hard_state: state.hard_state,
                    compacted: state.compacted,
                    entries: Vec::new(),
                    state: Toy::begun(&state.members),
                };
                self.written.insert(group, stored);
            }
            Line::Host(write) => self.stored(&write).write(write.record),
            Line::Installed(write, state) => {
                let stored = self.stored(&write);
                stored.state = state;
                stored.write(write.record);
            }
        }
    }

    fn stored(&mut self, write: &Write) -> &mut Stored {
        self.written.get_mut(&write.group).expect("a replica is created before it writes")
    }
}

impl Stored {
    fn write(&mut self, record: Record) {
        match record {
            Record::Append { entries, commit } => {
                self.append(entries);
                self.hard_state.commit = commit;
            }
            Record::HardState(state) => {
                let old = self.hard_state;
                assert!(state.term >= old.term, "a term went back");
                let again = state.term == old.term && old.vote != ReplicaId(0);
                assert!(!again || state.vote == old.vote, "two votes in one term");
                self.hard_state = state;
            }
            Record::Compacted { index, term } => {
                assert!(index.0 <= self.state.applied, "forgotten before it was applied");
                let gone = (index.0 - self.compacted.0.0) as usize;
                assert_eq!(self.entries[gone - 1].term, term);
                self.entries.drain(..gone);
                self.compacted = (index, term);
            }
            Record::Installed(snapshot) => {
                assert_eq!(self.state.applied, snapshot.index.0);
                assert_eq!(self.state.members, snapshot.members);
                self.entries.clear();
                self.compacted = (snapshot.index, snapshot.term);
            }
            Record::Created { .. } | Record::Destroyed => {}
        }
    }

    fn append(&mut self, entries: Vec<LogEntry>) {
        let first = entries[0].index.0;
        assert!(first > self.state.applied, "an applied entry was replaced");
        let keep = (first - self.compacted.0.0 - 1) as usize;
        assert!(keep <= self.entries.len(), "a hole in the log");
        self.entries.truncate(keep);
        self.entries.extend(entries);
        let follows = |pair: &[LogEntry]| {
            pair[1].index.0 == pair[0].index.0 + 1 && pair[1].term >= pair[0].term
        };
        assert!(self.entries[keep.saturating_sub(1)..].windows(2).all(follows), "not in order");
    }
}
