//! Puts chunks into journal files: written, synced, and a new file when one is full.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    disk::{Disk, DiskFile},
    error::{Error, Operation},
    journal::Chunk,
    journal_file::{BLOCK, Head},
    names::FileName,
    record,
};

/// The journal files that are full, and the room kept ready for those to come.
#[derive(Debug, Default)]
pub(super) struct JournalFiles {
    state: Mutex<FilesState>,
}

#[derive(Debug, Default)]
struct FilesState {
    full: VecDeque<FullFile>,
    spares: BTreeSet<u64>,
    next_spare: u64,
    /// The file in use is more than a quarter full, or there is none: have the next one ready.
    filling: bool,
    /// The file in use, as far as it is durable.
    current: Option<FullFile>,
}

/// A journal file that nothing is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FullFile {
    pub sequence: u64,
    /// Where its last chunk ends.
    pub end: u64,
    pub first_log: u64,
    /// The number of the record after its last.
    pub next_log: u64,
}

impl JournalFiles {
    pub(super) fn new(full: Vec<FullFile>) -> Self {
        // The first file is wanted ready as well: then its syncs touch no metadata either.
        let (full, filling) = (full.into(), true);
        Self { state: Mutex::new(FilesState { full, filling, ..FilesState::default() }) }
    }

    pub(super) fn full(&self) -> Vec<FullFile> {
        self.state().full.iter().copied().collect()
    }

    /// The full files and the one in use, as far as it is durable.
    pub(super) fn all(&self) -> (Vec<FullFile>, Option<FullFile>) {
        let state = self.state();
        let last = state.full.back().map_or(0, |file| file.sequence);
        (
            state.full.iter().copied().collect(),
            state.current.filter(|current| current.sequence > last),
        )
    }

    pub(super) fn full_count(&self) -> usize {
        self.state().full.len()
    }

    pub(super) fn add_full(&self, file: FullFile) {
        self.state().full.push_back(file);
    }

    /// Takes the oldest full file off the list: its records are elsewhere.
    pub(super) fn retired(&self, sequence: u64) {
        self.state().full.retain(|file| file.sequence > sequence);
    }

    pub(super) fn spare_count(&self) -> usize {
        self.state().spares.len()
    }

    pub(super) fn new_spare(&self) -> u64 {
        let mut state = self.state();
        state.next_spare += 1;
        state.next_spare - 1
    }

    pub(super) fn add_spare(&self, number: u64) {
        let mut state = self.state();
        state.spares.insert(number);
        state.next_spare = state.next_spare.max(number.saturating_add(1));
    }

    pub(super) fn is_spare_wanted(&self) -> bool {
        let state = self.state();
        state.filling && state.spares.is_empty()
    }

    pub(super) fn take_spare(&self) -> Option<u64> {
        self.state().spares.pop_first()
    }

    fn state(&self) -> MutexGuard<'_, FilesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the journal is being written.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    files: Arc<JournalFiles>,
    store: u64,
    file_size: u64,
    /// The head of the file being written; the file is opened with its first chunk.
    head: Head,
    file: Option<Arc<dyn DiskFile>>,
    offset: u64,
    /// A sync or a write has failed: what the disk holds is unknown.
    failed: Option<Error>,
}

impl Writer {
    /// A writer that begins with the file of this head, which does not hold anything yet.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        files: Arc<JournalFiles>,
        head: Head,
        file_size: u64,
    ) -> Self {
        let (store, offset) = (head.store, BLOCK as u64);
        Self { disk, files, store, file_size, head, file: None, offset, failed: None }
    }

    /// Writes a chunk and syncs it. `Ok` says that it is durable.
    ///
    /// A full disk leaves everything as it was, and the same chunk may be tried again. After any
    /// other error nothing is ever written again: what a failed sync left behind cannot be known.
    pub(super) fn commit(&mut self, chunk: &mut Chunk) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self.try_commit(chunk);
        match &outcome {
            // A file that there was no room for holds nothing: the next attempt may find a spare.
            Err(error) if error.is_full() && self.is_new() => self.file = None,
            Err(error) if !error.is_full() => self.failed = Some(error.clone()),
            _ => {}
        }
        outcome
    }

    fn try_commit(&mut self, chunk: &mut Chunk) -> Result<(), Error> {
        let padded = chunk.octets.len().next_multiple_of(BLOCK) as u64;
        if self.offset + padded > self.file_size && !self.is_new() {
            self.seal(chunk);
        }
        let file = self.file()?;
        let name = FileName::Journal(self.head.sequence).to_string();
        let failed = |operation| {
            let name = &name;
            move |error: std::io::Error| Error::disk(name, operation, &error)
        };
        record::seal_chunk(&mut chunk.octets, record::seed(self.store, self.head.sequence));
        let length = chunk.octets.len();
        chunk.octets.resize(padded as usize, 0);
        let written = self.write(&*file, chunk).map_err(failed(Operation::Write));
        chunk.octets.truncate(length);
        written?;
        file.sync().map_err(failed(Operation::Sync))?;
        self.offset += padded;
        let Head { sequence, first_log, .. } = self.head;
        let (end, next_log) = (self.offset, chunk.last.0 + 1);
        let mut state = self.files.state();
        state.filling = end > self.file_size / 4;
        state.current = Some(FullFile { sequence, end, first_log, next_log });
        Ok(())
    }

    fn write(&self, file: &dyn DiskFile, chunk: &Chunk) -> std::io::Result<()> {
        if self.is_new() {
            file.write_at(&self.head.encode(), 0)?;
        }
        file.write_at(&chunk.octets, self.offset)
    }

    fn is_new(&self) -> bool {
        self.offset == BLOCK as u64
    }

    /// Ends the file being written and turns to the next.
    fn seal(&mut self, chunk: &Chunk) {
        let Head { sequence, first_log, .. } = self.head;
        let (end, next_log) = (self.offset, first_log_of(chunk));
        self.files.add_full(FullFile { sequence, end, first_log, next_log });
        self.head = Head {
            store: self.store,
            sequence: sequence + 1,
            previous_end: self.offset,
            first_log: next_log,
        };
        self.file = None;
        self.offset = BLOCK as u64;
    }

    /// The file being written: a spare one under its new name, or else an empty one.
    fn file(&mut self) -> Result<Arc<dyn DiskFile>, Error> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let name = FileName::Journal(self.head.sequence).to_string();
        let failed = |operation| {
            let name = &name;
            move |error: std::io::Error| Error::disk(name, operation, &error)
        };
        let file = match self.files.take_spare() {
            Some(spare) => {
                let spare = FileName::Spare(spare).to_string();
                self.disk.rename(&spare, &name).map_err(failed(Operation::Rename))?;
                self.disk.open(&name).map_err(failed(Operation::Open))?
            }
            None => self.disk.create(&name, self.file_size).map_err(failed(Operation::Create))?,
        };
        self.disk.sync_folder().map_err(failed(Operation::Sync))?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// The number of the first record of a chunk, which stands in its header.
fn first_log_of(chunk: &Chunk) -> u64 {
    let octets = chunk.octets.get(16..24).and_then(|octets| octets.try_into().ok());
    u64::from_le_bytes(octets.expect("a chunk holds at least one record"))
}
