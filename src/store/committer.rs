//! The store's two threads: one writes and syncs what has piled up, the other keeps house.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
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

/// Starts the threads. A sync starts when the one before has ended and takes along whatever has piled up
/// meanwhile; `witness` learns of each.
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
        match store.wait_and_commit() {
            Ok(Some(up_to)) => witness.durable(up_to),
            Ok(None) => return,
            Err(error) if error.is_full() => {
                witness.full(&error);
                if !store.journal().wait_for_room() {
                    return;
                }
            }
            Err(error) => return witness.failed(&error),
        }
        if store.needs_keeping() {
            work.arrives();
        }
    }
}

fn keep(store: &Store, work: &Work, witness: &dyn Witness) {
    while work.wait() {
        let outcome = store.prepare().and_then(|()| keep_all(store, witness));
        match outcome {
            Ok(()) => {}
            Err(error) if error.is_full() => witness.full(&error),
            Err(error) => return witness.failed(&error),
        }
    }
}

fn keep_all(store: &Store, witness: &dyn Witness) -> Result<(), super::Error> {
    while let Some(moved) = store.keep_house()? {
        witness.moved(&moved);
        store.prepare()?;
    }
    Ok(())
}

/// Tells the keeper that there is work.
#[derive(Default)]
struct Work {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Work {
    fn arrives(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        self.changed.notify_one();
    }

    fn finish(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_one();
    }

    /// False: finish.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |(arrived, finished): &mut (bool, bool)| !*arrived && !*finished;
        let mut state =
            self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        state.0 = false;
        !state.1
    }
}
