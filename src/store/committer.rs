//! The store's two threads: one writes and syncs what has piled up, the other keeps house.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use super::{Store, Witness};

/// The running threads. Dropping it writes what was appended, then stops them.
pub struct Committer {
    store: Store,
    work: Arc<Work>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// Starts the threads. A sync starts when the one before has ended and takes along whatever has
/// piled up meanwhile; `witness` learns of each.
pub fn start(store: &Store, witness: Arc<dyn Witness>) -> io::Result<Committer> {
    let work = Arc::new(Work::default());
    let writer = {
        let (store, work, witness) = (store.clone(), Arc::clone(&work), Arc::clone(&witness));
        let name = "leveret-journal".to_owned();
        thread::Builder::new().name(name).spawn(move || write(&store, &work, &*witness))?
    };
    let keeper = {
        let (store, work) = (store.clone(), Arc::clone(&work));
        let name = "leveret-keeper".to_owned();
        thread::Builder::new().name(name).spawn(move || keep(&store, &work, &*witness))
    };
    let mut committer =
        Committer { store: store.clone(), work, writer: Some(writer), keeper: None };
    committer.keeper = Some(keeper?);
    // A start may find more full files than are kept.
    committer.work.arrives();
    Ok(committer)
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.store.journal().close();
        self.work.finish();
        for thread in [self.writer.take(), self.keeper.take()].into_iter().flatten() {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

fn write(store: &Store, work: &Work, witness: &dyn Witness) {
    loop {
        let resumptions = store.journal().resumptions();
        match store.wait_and_commit() {
            Ok(Some(up_to)) => witness.durable(up_to),
            Ok(None) => return,
            Err(error) if error.is_full() => {
                witness.full(&error);
                if !store.journal().wait_for_room(resumptions) {
                    return;
                }
            }
            Err(error) => return witness.failed(&error),
        }
        if store.needs_keeping() {
            work.arrives();
        }
        let mut seen = Some(work.state().done);
        while let Some(done) = seen
            && store.must_wait_for_keeper()
        {
            seen = work.wait_for_progress(done);
        }
    }
}

fn keep(store: &Store, work: &Work, witness: &dyn Witness) {
    while work.wait() {
        let resumptions = store.journal().resumptions();
        let prepared = store.prepare();
        let outcome = keep_all(store, work, witness).and(prepared);
        match outcome {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                witness.full(&error);
                work.progresses();
                if store.journal().wait_for_room(resumptions) {
                    work.arrives();
                }
            }
            Err(error) => {
                witness.failed(&error);
                return work.finish();
            }
        }
    }
}

fn keep_all(store: &Store, work: &Work, witness: &dyn Witness) -> Result<(), super::Error> {
    while let Some(moved) = store.keep_house()? {
        witness.moved(&moved);
        work.progresses();
        store.prepare()?;
    }
    Ok(())
}

/// Tells the keeper that there is work, and the writer that some of it is done.
#[derive(Default)]
struct Work {
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    has_arrived: bool,
    is_finished: bool,
    /// How often something was done.
    done: u64,
}

impl Work {
    fn arrives(&self) {
        self.state().has_arrived = true;
        self.changed.notify_all();
    }

    fn progresses(&self) {
        self.state().done += 1;
        self.changed.notify_all();
    }

    fn finish(&self) {
        self.state().is_finished = true;
        self.changed.notify_all();
    }

    /// Waits for work. False: finish.
    fn wait(&self) -> bool {
        let idle = |state: &mut Progress| !state.has_arrived && !state.is_finished;
        let mut state =
            self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.has_arrived = false;
        !state.is_finished
    }

    /// Waits until the keeper has done more than `seen`, and says how much. None: it does nothing
    /// any more.
    fn wait_for_progress(&self, seen: u64) -> Option<u64> {
        let idle = |state: &mut Progress| state.done == seen && !state.is_finished;
        let state =
            self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        (!state.is_finished).then_some(state.done)
    }

    fn state(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::mpsc};

    use super::super::{
        Batch, Error, Moved, Options,
        disk::{
            file::Folder,
            memory::{Faults, MemoryDisk},
        },
    };
    use super::*;
    use crate::model::{LogPosition, Position, QueueId};

    /// Sends on what it is told.
    struct Teller(mpsc::Sender<Result<LogPosition, Error>>);

    impl Witness for Teller {
        fn durable(&self, up_to: LogPosition) {
            drop(self.0.send(Ok(up_to)));
        }

        fn moved(&self, _: &[Moved]) {}

        fn full(&self, error: &Error) {
            drop(self.0.send(Err(error.clone())));
        }

        fn failed(&self, error: &Error) {
            drop(self.0.send(Err(error.clone())));
        }
    }

    fn enqueue(store: &Store, position: u64) -> Result<LogPosition, Error> {
        let mut batch = Batch::default();
        batch.enqueue(&[(QueueId(1), Position(position))], &[b"a message"]);
        store.append(&mut batch)
    }

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_directory_keeps_what_its_threads_made_durable_and_has_one_owner() {
        let name = format!("leveret-committer-{}", std::process::id());
        let scratch = Scratch(std::env::temp_dir().join(name));
        let open =
            || Store::open(Arc::new(Folder::create(&scratch.0).unwrap()), Options::default());
        let (store, _) = open().unwrap();
        let (sender, told) = mpsc::channel();
        let committer = start(&store, Arc::new(Teller(sender))).unwrap();
        for position in 0..1_000 {
            enqueue(&store, position).unwrap();
        }
        let last = told.iter().map(Result::unwrap).find(|up_to| up_to.0 == 1_000);
        assert_eq!(last, Some(LogPosition(1_000)));
        let refused = open().map(drop).unwrap_err().to_string();
        let directory = scratch.0.display();
        assert_eq!(refused, format!("the data directory {directory} is in use by another process"));
        enqueue(&store, 1_000).unwrap();
        drop(committer);
        assert_eq!(enqueue(&store, 1_001), Err(Error::Closed));
        drop(store);
        let (_, recovered) = open().unwrap();
        assert_eq!(recovered.records.count(), 1_001);
    }

    #[test]
    fn a_failed_disk_is_told_and_ends_the_journal() {
        for failure in 1..=8 {
            let disk = MemoryDisk::default();
            let (store, _) = Store::open(Arc::new(disk.clone()), Options::default()).unwrap();
            disk.set_faults(Faults { failure_at: Some(failure), ..Faults::default() });
            let (sender, told) = mpsc::channel();
            let committer = start(&store, Arc::new(Teller(sender))).unwrap();
            drop(enqueue(&store, 0));
            // Whichever thread met it first.
            let error = told.iter().find_map(Result::err).unwrap().to_string();
            assert!(error.contains("the simulated disk failed"), "{error}");
            assert!(matches!(enqueue(&store, 1), Err(Error::Failed { .. })));
            drop(committer);
        }
    }
}
