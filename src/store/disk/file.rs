//! A folder of the real file system.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use super::{Disk, DiskFile, Guard};

const LOCK: &str = "lock";

/// A data directory.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Nothing in it is changed.
    is_looked_at: bool,
}

impl Folder {
    /// Opens the directory at `path`, making it and the ones above it.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, is_looked_at: false })
    }

    /// Opens the directory at `path`, which must be there, to look at it: whatever would change it
    /// fails.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        match std::fs::metadata(&path)?.is_dir() {
            true => Ok(Self { path, is_looked_at: true }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Where the file of this name is, if it may be changed.
    fn changed(&self, name: &str) -> io::Result<PathBuf> {
        match self.is_looked_at {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(self.path.join(name)),
        }
    }
}

impl Disk for Folder {
    fn lock(&self) -> io::Result<Box<dyn Guard>> {
        let file = match self.is_looked_at {
            false => {
                let path = self.path.join(LOCK);
                OpenOptions::new().create(true).truncate(false).write(true).open(path)?
            }
            true => match File::open(self.path.join(LOCK)) {
                // Who uses a directory has made this file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Box::new(NobodyElse));
                }
                opened => opened?,
            },
        };
        match file.try_lock() {
            Ok(()) => Ok(Box::new(Locked(file))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(!self.is_looked_at).open(self.path.join(name))?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(self.changed(name)?)?;
        file.set_len(length)?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.changed(from)?, self.changed(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.changed(name)?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

struct OpenFile(File);

impl DiskFile for OpenFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(octets, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// The lock goes with the file.
struct Locked(#[expect(dead_code, reason = "kept open, which keeps the lock")] File);

impl Guard for Locked {}

/// There was no lock to take.
struct NobodyElse;

impl Guard for NobodyElse {}
