//! A disk in memory that forgets what was not synced, tears what it was writing, and fails on
//! demand.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Disk, DiskFile, Guard};

/// What a sector is to this disk: unsynced writes survive a power cut sector by sector.
const SECTOR: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

/// When the disk stops doing as it is told. Operations that change something are counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The power fails during this operation: nothing works until [`MemoryDisk::power_on`].
    pub power_cut_at: Option<u64>,
    /// This operation fails; a write may have been done in part.
    pub failure_at: Option<u64>,
    /// No more than so many octets fit.
    pub capacity: Option<u64>,
}

impl MemoryDisk {
    /// Sets what goes wrong, counted from here on.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        state.operations = 0;
    }

    /// How many operations changed something since the faults were set.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the power has failed.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// The process died and the machine did not: everything written is there, synced or not.
    pub fn kill(&self) {
        let mut state = self.state();
        state.off = false;
        state.locked = false;
        state.faults = Faults::default();
    }

    /// The power failed and is back: of what was not synced, the seed says what is left.
    pub fn power_on(&self, seed: u64) {
        self.kill();
        let mut state = self.state();
        let mut chance = Chance(seed);
        let unsynced = chance.below(state.unsynced_names.len() as u64 + 1);
        let State { names, durable_names, unsynced_names, files, .. } = &mut *state;
        for change in unsynced_names.drain(..).take(unsynced as usize) {
            change.apply(durable_names);
        }
        *names = durable_names.clone();
        for file in files.values_mut() {
            file.lose_power(&mut chance);
        }
    }

    /// Flips one bit of a file, as a failing disk does.
    pub fn corrupt(&self, name: &str, offset: u64) {
        let mut state = self.state();
        let Some(file) = state.file_of(name) else { return };
        for octets in [&mut file.octets, &mut file.durable] {
            if let Some(octet) = octets.get_mut(offset as usize) {
                *octet ^= 0x10;
            }
        }
    }

    /// The octets of a file, none when it is not there.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.state().file_of(name).map(|file| file.octets.clone())
    }

    /// Puts a file there, as somebody else might.
    pub fn place(&self, name: &str, octets: &[u8]) {
        let mut state = self.state();
        state.serial += 1;
        let serial = state.serial;
        let file = File { octets: octets.to_vec(), durable: octets.to_vec(), unsynced: Vec::new() };
        state.files.insert(serial, file);
        state.names.insert(name.to_owned(), serial);
        state.durable_names.insert(name.to_owned(), serial);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    files: BTreeMap<u64, File>,
    serial: u64,
    operations: u64,
    faults: Faults,
    off: bool,
    locked: bool,
}

impl State {
    /// Counts an operation that changes something, and says whether it fails.
    fn operate(&mut self) -> io::Result<()> {
        self.is_on()?;
        self.operations += 1;
        if self.faults.power_cut_at == Some(self.operations) {
            self.off = true;
            return Err(no_power());
        }
        match self.faults.failure_at == Some(self.operations) {
            true => Err(io::Error::other("the simulated disk failed")),
            false => Ok(()),
        }
    }

    fn is_on(&self) -> io::Result<()> {
        if self.off { Err(no_power()) } else { Ok(()) }
    }

    fn rename(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn file_of(&mut self, name: &str) -> Option<&mut File> {
        let serial = self.names.get(name)?;
        self.files.get_mut(serial)
    }

    fn has_room_for(&self, more: u64) -> io::Result<()> {
        let Some(capacity) = self.faults.capacity else { return Ok(()) };
        let named = self.names.values().filter_map(|serial| self.files.get(serial));
        let used: u64 = named.map(|file| file.octets.len() as u64).sum();
        if used + more > capacity { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the simulated power is off")
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, serial) => {
                names.insert(name, serial);
            }
            Self::Rename(from, to) => {
                if let Some(serial) = names.remove(&from) {
                    names.insert(to, serial);
                }
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

#[derive(Debug, Default)]
struct File {
    octets: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Octets(usize, Vec<u8>),
    Length(usize),
}

impl File {
    fn write(&mut self, octets: &[u8], offset: usize) {
        write_into(&mut self.octets, octets, offset);
        self.unsynced.push(Write::Octets(offset, octets.to_vec()));
    }

    fn set_length(&mut self, length: usize) {
        self.octets.resize(length, 0);
        self.unsynced.push(Write::Length(length));
    }

    fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            write.apply(&mut self.durable);
        }
    }

    /// A sync that fails leaves some of the writes behind for good: the system believes them
    /// written.
    fn fail_to_sync(&mut self, chance: &mut Chance) {
        for write in self.unsynced.drain(..) {
            if chance.below(2) == 0 {
                write.apply_in_part(&mut self.durable, chance);
            }
        }
    }

    fn lose_power(&mut self, chance: &mut Chance) {
        let everything = chance.below(8) == 0;
        for write in self.unsynced.drain(..) {
            match everything {
                true => write.apply(&mut self.durable),
                false => write.apply_in_part(&mut self.durable, chance),
            }
        }
        self.octets.clone_from(&self.durable);
    }
}

impl Write {
    fn apply(self, octets: &mut Vec<u8>) {
        match self {
            Self::Octets(offset, written) => write_into(octets, &written, offset),
            Self::Length(length) => octets.resize(length, 0),
        }
    }

    /// Each sector of the write reaches the disk or does not; one of them may be torn anywhere.
    fn apply_in_part(self, octets: &mut Vec<u8>, chance: &mut Chance) {
        let Self::Octets(offset, written) = self else {
            return if chance.below(2) == 0 {
                self.apply(octets);
            };
        };
        let cut = chance.below(written.len() as u64 + 1) as usize;
        match chance.below(4) {
            0 => {}
            1 => write_into(octets, &written, offset),
            2 => write_into(octets, &written[..cut], offset),
            _ => {
                let sectors = written.chunks(SECTOR).enumerate();
                sectors.filter(|_| chance.below(3) > 0).for_each(|(number, sector)| {
                    write_into(octets, sector, offset + number * SECTOR);
                });
            }
        }
    }
}

fn write_into(octets: &mut Vec<u8>, written: &[u8], offset: usize) {
    let end = offset + written.len();
    if octets.len() < end {
        octets.resize(end, 0);
    }
    octets[offset..end].copy_from_slice(written);
}

impl Disk for MemoryDisk {
    fn lock(&self) -> io::Result<Box<dyn Guard>> {
        let mut state = self.state();
        state.is_on()?;
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(Lock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.is_on()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.is_on()?;
        let serial = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle { disk: self.clone(), serial }))
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.operate()?;
        state.has_room_for(length)?;
        state.serial += 1;
        let serial = state.serial;
        let mut file = File::default();
        file.set_length(length as usize);
        state.files.insert(serial, file);
        state.rename(NameChange::Set(name.to_owned(), serial));
        Ok(Arc::new(Handle { disk: self.clone(), serial }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let State { names, durable_names, unsynced_names, .. } = &mut *state;
        durable_names.clone_from(names);
        unsynced_names.clear();
        Ok(())
    }

    fn describe(&self) -> String {
        "(in memory)".to_owned()
    }
}

struct Handle {
    disk: MemoryDisk,
    serial: u64,
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut File, u64) -> T) -> io::Result<T> {
        let mut state = self.disk.state();
        let seed = state.operations;
        let file = state.files.get_mut(&self.serial).ok_or(io::ErrorKind::NotFound)?;
        Ok(work(file, seed))
    }
}

impl DiskFile for Handle {
    fn length(&self) -> io::Result<u64> {
        self.disk.state().is_on()?;
        self.with(|file, _| file.octets.len() as u64)
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + octets.len() as u64;
        let growth = end.saturating_sub(self.with(|file, _| file.octets.len() as u64)?);
        let outcome = {
            let mut state = self.disk.state();
            state.is_on()?;
            state.has_room_for(growth)?;
            state.operate()
        };
        self.with(|file, seed| {
            // What fails half-way has been done half-way.
            let done = match outcome {
                Ok(()) => octets.len(),
                Err(_) => Chance(seed ^ offset).below(octets.len() as u64 + 1) as usize,
            };
            file.write(&octets[..done], offset as usize);
        })?;
        outcome
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.state().is_on()?;
        self.with(|file, _| {
            let Some(rest) = file.octets.get(offset as usize..) else { return 0 };
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn sync(&self) -> io::Result<()> {
        let outcome = self.disk.state().operate();
        let off = self.disk.is_off();
        self.with(|file, seed| match &outcome {
            Ok(()) => file.sync(),
            Err(_) if off => {}
            Err(_) => file.fail_to_sync(&mut Chance(seed)),
        })?;
        outcome
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.state().operate()?;
        self.with(|file, _| file.set_length(length as usize))
    }
}

struct Lock(MemoryDisk);

impl Guard for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
