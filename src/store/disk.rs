//! What the store asks of a disk: one folder of files, and the promise that a sync makes.

pub mod file;
pub mod memory;

use std::{io, sync::Arc};

/// One folder of files. What was not synced may be lost, in any order, whole or in part.
pub trait Disk: Send + Sync {
    /// Keeps every other process out of the folder until the guard is dropped.
    fn lock(&self) -> io::Result<Box<dyn Guard>>;

    /// The name of every file, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file of so many octets, all of them zero; one of this name that is there is emptied.
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, taking the place of one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; who has it open may go on reading.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: those of created, renamed and removed files.
    fn sync_folder(&self) -> io::Result<()>;

    /// What an operator calls the folder.
    fn describe(&self) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    fn length(&self) -> io::Result<u64>;

    /// Writes all of `octets` at `offset`, making the file longer if need be.
    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer` from `offset` as far as the file goes, and says how far that was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written before durable.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// What [`Disk::lock`] gives: dropping it unlocks.
pub trait Guard: Send + Sync {}
