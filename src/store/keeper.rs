//! Keeps house: retires parts of the journal, merges segments, has room ready, clears away
//! leftovers.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use crate::model::{Position, QueueId};

use super::{
    backlog::Backlog,
    checkpoint::{self, Summary},
    disk::Disk,
    error::{Error, Operation},
    names::{CHECKPOINT, FileName, NEW_CHECKPOINT},
    retirement::{self, NewSegment, ReadAhead},
    writer::{FullFile, JournalFiles},
};

/// Files kept ready for the journal.
const SPARES: usize = 2;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The one who changes which files there are, beside the journal's writer.
pub(super) struct Keeper {
    pub disk: Arc<dyn Disk>,
    pub files: Arc<JournalFiles>,
    pub backlog: Arc<RwLock<Backlog>>,
    pub summary: Summary,
    pub file_size: u64,
    /// Parts of the journal left alone for a while: what is consumed soon never reaches a segment.
    pub parts_kept: usize,
    /// Damage that the operator knows of is left out.
    pub lenient: bool,
    /// Room is short: no more is kept ready than must be.
    pub reclaiming: bool,
    pub read_ahead: ReadAhead,
}

/// Messages of a queue below this position are alive in segments only, not in the journal's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub queue: QueueId,
    pub below: Position,
}

impl Keeper {
    /// Retires the oldest part of the journal if there are more than are kept, or any to reclaim
    /// room; otherwise merges sparse segments if that is worth it. None: there was nothing to do.
    pub(super) fn step(&mut self, reclaiming: bool) -> Result<Option<Vec<Moved>>, Error> {
        self.reclaiming = reclaiming;
        let (mut parts, current) = self.files.all();
        let kept = if reclaiming { 0 } else { self.parts_kept };
        if parts.len() > kept {
            // What was settled last may be what makes room.
            parts.extend(current.filter(|_| reclaiming));
            let retired = match self.retire(&parts) {
                // Room that was kept ready for the journal lets what waits move on; the part that
                // is retired then takes its place.
                Err(error) if error.is_full() && self.give_up_spare()? => self.retire(&parts),
                retired => retired,
            };
            return retired.map(Some);
        }
        if let Some(current) = current.filter(|_| reclaiming)
            && self.settle(current)?
        {
            return Ok(Some(Vec::new()));
        }
        let sparse = self.backlog().sparse(self.file_size);
        if sparse.is_empty() {
            return Ok(None);
        }
        self.merge(&sparse)?;
        Ok(Some(Vec::new()))
    }

    /// Has one file ready for the journal, written through so that a sync touches no metadata.
    pub(super) fn prepare_spare(&self) -> Result<(), Error> {
        if self.files.spare_count() > 0 {
            return Ok(());
        }
        let number = self.files.new_spare();
        let name = FileName::Spare(number).to_string();
        let prepared = self.write_zeros(&name);
        match &prepared {
            Ok(()) => self.files.add_spare(number),
            Err(_) => drop(self.disk.remove(&name)),
        }
        prepared
    }

    /// Removes what the checkpoint does not name, and takes over files that may serve again.
    pub(super) fn clear(&self, sequence: u64) -> Result<(), Error> {
        let names = self.disk.list().map_err(|error| Error::disk("", Operation::List, &error))?;
        let segments: BTreeSet<_> = self.backlog().segments.keys().copied().collect();
        for name in names {
            let keeps = match FileName::parse(&name) {
                Some(FileName::Journal(number)) => {
                    number >= self.summary.first_journal && number < sequence
                }
                Some(FileName::Segment(number)) => segments.contains(&number),
                Some(FileName::Topology(number)) => number == self.summary.topology,
                Some(FileName::Spare(number)) => self.adopt(number)?,
                None => name != NEW_CHECKPOINT,
            };
            if !keeps {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Moves whatever the journal holds into segments.
    pub(super) fn retire_everything(&mut self) -> Result<(), Error> {
        loop {
            let parts = self.files.full();
            if parts.is_empty() {
                return Ok(());
            }
            self.retire(&parts)?;
        }
    }

    /// Whether there was a spare file to remove.
    fn give_up_spare(&self) -> Result<bool, Error> {
        let Some(number) = self.files.take_spare() else { return Ok(false) };
        self.remove(&FileName::Spare(number).to_string())?;
        Ok(true)
    }

    fn adopt(&self, number: u64) -> Result<bool, Error> {
        let name = FileName::Spare(number).to_string();
        let length = self.disk.open(&name).and_then(|file| file.length());
        let length = length.map_err(|error| Error::disk(&name, Operation::Open, &error))?;
        let adopted = length == self.file_size && self.files.spare_count() < SPARES;
        if adopted {
            self.files.add_spare(number);
        }
        Ok(adopted)
    }

    fn retire(&mut self, parts: &[FullFile]) -> Result<Vec<Moved>, Error> {
        let (disk, store) = (Arc::clone(&self.disk), self.summary.store);
        let mut changes =
            retirement::collect(&*disk, store, parts, self.lenient, &mut self.read_ahead)?;
        let mut summary = self.summary;
        summary.number += 1;
        summary.last_segment += 1;
        let (part, next) = (parts[0], parts.get(1));
        summary.first_journal = part.sequence + 1;
        summary.first_log = next.map_or(part.next_log, |next| next.first_log);
        let key = (store, summary.last_segment);
        let segment = NewSegment::of_movers(&*disk, key, &mut changes)
            .inspect_err(|_| self.discard(FileName::Segment(key.1)))?;
        if changes.changes_facts() {
            let mut facts = checkpoint::read_facts(&*disk, summary.topology)?;
            changes.apply_to_facts(&mut facts);
            summary.topology = summary.number;
            checkpoint::write_facts(&*disk, store, summary.topology, &facts)
                .inspect_err(|_| self.discard(FileName::Topology(summary.number)))?;
        }
        let mut backlog = self.backlog().clone();
        changes.apply(&mut backlog, segment.as_ref());
        self.commit(summary, backlog)?;
        self.files.retired(part.sequence);
        self.recycle(part)?;
        let moved = segment.iter().flat_map(NewSegment::queues);
        Ok(moved.map(|(queue, below)| Moved { queue, below }).collect())
    }

    /// Lets what was settled in the file in use count already; whether that made a segment dead.
    fn settle(&mut self, current: FullFile) -> Result<bool, Error> {
        let changes =
            retirement::collect_later(&*self.disk, self.summary.store, current, self.lenient)?;
        let mut backlog = self.backlog().clone();
        changes.apply(&mut backlog, None);
        if backlog.dead().is_empty() {
            return Ok(false);
        }
        let mut summary = self.summary;
        summary.number += 1;
        self.commit(summary, backlog)?;
        Ok(true)
    }

    fn merge(&mut self, sparse: &BTreeSet<u64>) -> Result<(), Error> {
        let mut summary = self.summary;
        summary.number += 1;
        summary.last_segment += 1;
        let mut backlog = self.backlog().clone();
        let key = (summary.store, summary.last_segment);
        let merged = NewSegment::of_segments(&*self.disk, key, sparse, &backlog)
            .inspect_err(|_| self.discard(FileName::Segment(key.1)))?;
        merged.replace(&mut backlog, sparse);
        self.commit(summary, backlog)
    }

    /// Makes the new state the one that a restart finds, then removes what it does not need.
    fn commit(&mut self, summary: Summary, mut backlog: Backlog) -> Result<(), Error> {
        for dead in backlog.dead() {
            backlog.segments.remove(&dead);
        }
        self.disk
            .sync_folder()
            .map_err(|error| Error::disk(CHECKPOINT, Operation::Sync, &error))?;
        checkpoint::write(&*self.disk, &summary, &backlog)?;
        let mut shared = self.backlog.write().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<_> = shared.segments.keys().copied().collect();
        *shared = backlog;
        let gone: Vec<_> =
            before.into_iter().filter(|number| !shared.segments.contains_key(number)).collect();
        drop(shared);
        let topology = self.summary.topology;
        let replaced = topology != summary.topology && topology > 0;
        self.summary = summary;
        for number in gone {
            self.remove(&FileName::Segment(number).to_string())?;
        }
        // A segment without a message was never part of the backlog.
        if replaced {
            self.remove(&FileName::Topology(topology).to_string())?;
        }
        Ok(())
    }

    /// A retired part of the journal becomes room for a part to come.
    fn recycle(&self, part: FullFile) -> Result<(), Error> {
        let name = FileName::Journal(part.sequence).to_string();
        let length = self.disk.open(&name).and_then(|file| file.length());
        let length = length.map_err(|error| Error::disk(&name, Operation::Open, &error))?;
        let spares = if self.reclaiming { 1 } else { SPARES };
        if length != self.file_size || self.files.spare_count() >= spares {
            return self.remove(&name);
        }
        let number = self.files.new_spare();
        let spare = FileName::Spare(number).to_string();
        let failed = |error| Error::disk(&name, Operation::Rename, &error);
        self.disk.rename(&name, &spare).map_err(failed)?;
        self.files.add_spare(number);
        Ok(())
    }

    fn write_zeros(&self, name: &str) -> Result<(), Error> {
        let failed = |operation| move |error| Error::disk(name, operation, &error);
        let file = self.disk.create(name, self.file_size).map_err(failed(Operation::Create))?;
        for offset in (0..self.file_size).step_by(ZEROS.len()) {
            let length = ZEROS.len().min((self.file_size - offset) as usize);
            file.write_at(&ZEROS[..length], offset).map_err(failed(Operation::Write))?;
        }
        file.sync().map_err(failed(Operation::Sync))
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.disk.remove(name).map_err(|error| Error::disk(name, Operation::Remove, &error))
    }

    /// Removes what was not finished; that it could not be is found out at the next start.
    fn discard(&self, file: FileName) {
        drop(self.disk.remove(&file.to_string()));
    }

    fn backlog(&self) -> std::sync::RwLockReadGuard<'_, Backlog> {
        self.backlog.read().unwrap_or_else(PoisonError::into_inner)
    }
}
