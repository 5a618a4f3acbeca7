//! A group's log in memory, as the raft library reads it: all entries that it may still ask for.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use raft::{
    Error, GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{Entry, Snapshot},
};

use super::super::{Index, Term};

/// What an entry takes in memory besides its octets.
const ENTRY_OVERHEAD: usize = size_of::<Entry>();

/// The entries behind what the log has forgotten.
pub(super) struct Log {
    /// What the library reads once, when it starts.
    initial: RaftState,
    /// Index and term of the last entry that is not here any more.
    compacted: (u64, u64),
    entries: VecDeque<Entry>,
    octets: usize,
    /// Snapshots made on demand, by receiver; each is good for one sending. The library reads
    /// through a shared reference, hence the cells.
    captured: RefCell<BTreeMap<u64, Snapshot>>,
    wanted: RefCell<Vec<u64>>,
    /// Breaks the rule that a snapshot is made for its receiver.
    keep_snapshots: bool,
}

impl Log {
    pub(super) fn new(initial: RaftState, compacted: (Index, Term), entries: Vec<Entry>) -> Self {
        let octets = entries.iter().map(octets_of).sum();
        Self {
            initial,
            compacted: (compacted.0.0, compacted.1.0),
            entries: entries.into(),
            octets,
            captured: RefCell::default(),
            wanted: RefCell::default(),
            keep_snapshots: false,
        }
    }

    #[doc(hidden)]
    pub(super) fn keep_snapshots(&mut self) {
        self.keep_snapshots = true;
    }

    /// Gives back what only the start needed.
    pub(super) fn forget_initial(&mut self) {
        self.initial = RaftState::default();
    }

    /// Puts the entries into their places; what was there, and all behind it, goes.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = (first.index - self.compacted.0 - 1) as usize;
        let replaced = self.entries.iter().skip(keep).map(octets_of).sum::<usize>();
        self.octets -= replaced;
        self.entries.truncate(keep);
        self.octets += entries.iter().map(octets_of).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Starts anew behind a snapshot.
    pub(super) fn install(&mut self, index: u64, term: u64) {
        self.entries = VecDeque::new();
        self.octets = 0;
        self.compacted = (index, term);
    }

    /// Forgets all entries up to `index`, and gives the place of the last with its term.
    pub(super) fn compact(&mut self, index: u64) -> (Index, Term) {
        while self.compacted.0 < index
            && let Some(entry) = self.entries.pop_front()
        {
            self.octets -= octets_of(&entry);
            self.compacted = (entry.index, entry.term);
        }
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
        (Index(self.compacted.0), Term(self.compacted.1))
    }

    /// The first index up to which one may compact, so that at most `limit` octets of entries up to
    /// `up_to` stay.
    pub(super) fn cut_for(&self, up_to: u64, limit: usize) -> u64 {
        let applied = (up_to.saturating_sub(self.compacted.0) as usize).min(self.entries.len());
        let mut kept = 0;
        for entry in self.entries.range(..applied).rev() {
            kept += octets_of(entry);
            if kept > limit {
                return entry.index;
            }
        }
        self.compacted.0
    }

    /// Offers a snapshot to the library, for one sending to `to`.
    pub(super) fn offer(&mut self, to: u64, snapshot: Snapshot) {
        let to = if self.keep_snapshots { 0 } else { to };
        self.captured.get_mut().insert(to, snapshot);
    }

    /// Who could not be sent a snapshot since this was last asked.
    pub(super) fn take_wanted(&mut self) -> Vec<u64> {
        std::mem::take(self.wanted.get_mut())
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted.0
    }

    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    fn last(&self) -> u64 {
        self.compacted.0 + self.entries.len() as u64
    }

    /// A snapshot for `to`, if there is one that it would accept.
    fn take_captured(&self, request: u64, to: u64) -> Option<Snapshot> {
        let mut captured = self.captured.borrow_mut();
        if self.keep_snapshots {
            return captured.get(&0).filter(|kept| kept.get_metadata().index >= request).cloned();
        }
        let snapshot = captured.remove(&to)?;
        let metadata = snapshot.get_metadata();
        let members = metadata.get_conf_state();
        let belongs = [&members.voters, &members.learners, &members.voters_outgoing]
            .iter()
            .any(|list| list.contains(&to));
        let recent = metadata.index >= request.max(self.compacted.0);
        (belongs && recent).then_some(snapshot)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.compacted.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let from = (low - self.compacted.0 - 1) as usize;
        let to = (high - self.compacted.0 - 1) as usize;
        let mut taken = Vec::new();
        let mut octets = 0;
        for entry in self.entries.range(from..to) {
            octets += (entry.data.len() + entry.context.len() + 16) as u64;
            if !taken.is_empty() && octets > limit {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.compacted.0 {
            return Ok(self.compacted.1);
        }
        if index < self.compacted.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get((index - self.compacted.0 - 1) as usize);
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        self.take_captured(request_index, to).ok_or_else(|| {
            self.wanted.borrow_mut().push(to);
            Error::Store(StorageError::SnapshotTemporarilyUnavailable)
        })
    }
}

fn octets_of(entry: &Entry) -> usize {
    ENTRY_OVERHEAD + entry.data.len() + entry.context.len()
}
