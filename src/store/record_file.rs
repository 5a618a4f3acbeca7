//! Files that are written once, in full, and never changed: segments, topologies, checkpoints.

use std::sync::Arc;

use crate::model::compact::Reader;

use super::{
    disk::{Disk, DiskFile},
    error::{Damage, Error, Operation},
    record::{self, FORMAT_VERSION, HEADER, Header, Identity, Kind},
};

const HEAD: usize = 32;
const TRAILER: usize = 24;
const TRAILER_MAGIC: &[u8; 8] = b"LEVERETE";
const WRITE_SIZE: usize = 1 << 20;

/// What a file of this kind is for; the last octet of its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Segment,
    Topology,
    Checkpoint,
}

impl Sort {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Segment => b"LEVERETS",
            Self::Topology => b"LEVERETT",
            Self::Checkpoint => b"LEVERETC",
        }
    }
}

/// Writes such a file.
pub(super) struct RecordFileWriter {
    file: Arc<dyn DiskFile>,
    name: String,
    seed: u32,
    buffer: Vec<u8>,
    written: u64,
    log: u64,
}

impl RecordFileWriter {
    pub(super) fn create(
        disk: &dyn Disk,
        name: &str,
        sort: Sort,
        store: u64,
        number: u64,
    ) -> Result<Self, Error> {
        let file =
            disk.create(name, 0).map_err(|error| Error::disk(name, Operation::Create, &error))?;
        let mut buffer = Vec::with_capacity(2 * HEADER);
        buffer.extend_from_slice(sort.magic());
        buffer.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&store.to_le_bytes());
        buffer.extend_from_slice(&number.to_le_bytes());
        let check = head_check(&buffer);
        buffer[12..16].copy_from_slice(&check.to_le_bytes());
        let (name, seed) = (name.to_owned(), record::seed(store, number));
        Ok(Self { file, name, seed, buffer, written: 0, log: 0 })
    }

    /// Appends a record and says where it begins.
    pub(super) fn append(
        &mut self,
        kind: Kind,
        identity: Identity,
        payload: &[u8],
    ) -> Result<u64, Error> {
        let offset = self.length();
        let mut header = Header::of(kind, self.log, identity, payload).unsealed();
        record::seal(&mut header, self.seed);
        self.log += 1;
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(payload);
        if self.buffer.len() >= WRITE_SIZE {
            self.flush()?;
        }
        Ok(offset)
    }

    /// Appends the last record and makes the file durable, but not yet its name. Gives its length.
    pub(super) fn finish(mut self, kind: Kind, payload: &[u8]) -> Result<u64, Error> {
        let last = self.append(kind, Identity::default(), payload)?;
        self.buffer.extend_from_slice(&trailer(last, self.seed));
        self.flush()?;
        let failed = |error| Error::disk(&self.name, Operation::Sync, &error);
        self.file.sync().map_err(failed)?;
        Ok(self.written)
    }

    pub(super) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> Result<(), Error> {
        let failed = |error| Error::disk(&self.name, Operation::Write, &error);
        self.file.write_at(&self.buffer, self.written).map_err(failed)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn trailer(last: u64, seed: u32) -> [u8; TRAILER] {
    let mut octets = [0; TRAILER];
    octets[..8].copy_from_slice(TRAILER_MAGIC);
    octets[8..16].copy_from_slice(&last.to_le_bytes());
    let check = crc32c::crc32c_append(seed, &octets[..16]);
    octets[16..20].copy_from_slice(&check.to_le_bytes());
    octets
}

fn head_check(head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..12]), &head[16..HEAD])
}

/// Reads such a file.
pub(super) struct RecordFile {
    file: Arc<dyn DiskFile>,
    name: String,
    seed: u32,
    pub(super) store: u64,
    pub(super) number: u64,
    length: u64,
}

impl RecordFile {
    pub(super) fn open(disk: &dyn Disk, name: &str, sort: Sort) -> Result<Self, Error> {
        let file = disk.open(name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::damaged(name, 0, Damage::Missing),
            _ => Error::disk(name, Operation::Open, &error),
        })?;
        let length = file.length().map_err(|error| Error::disk(name, Operation::Read, &error))?;
        let head = read(&*file, name, 0, HEAD)?;
        let (version, store, number) =
            decode_head(&head, sort).ok_or_else(|| Error::damaged(name, 0, Damage::Head))?;
        if version != FORMAT_VERSION {
            let file = name.to_owned();
            return Err(Error::Version { file, found: version, expected: FORMAT_VERSION });
        }
        let (name, seed) = (name.to_owned(), record::seed(store, number));
        Ok(Self { file, name, seed, store, number, length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The last record, which says what the others are.
    pub(super) fn last(&self, kind: Kind) -> Result<Vec<u8>, Error> {
        let at = self.last_offset()?;
        let length = self.length - TRAILER as u64 - at;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let octets = read(&*self.file, &self.name, at, length)?;
        self.check(&octets, kind, at).map(|(_, payload)| payload.to_vec())
    }

    /// The payload of the record at `offset`, which must be of this kind and length.
    pub(super) fn payload_at(
        &self,
        offset: u64,
        length: usize,
        kind: Kind,
    ) -> Result<Vec<u8>, Error> {
        let mut octets = read(&*self.file, &self.name, offset, HEADER + length)?;
        self.check(&octets, kind, offset)?;
        octets.drain(..HEADER);
        Ok(octets)
    }

    /// The payload of the record at `offset`, of whatever length.
    pub(super) fn payload_found_at(&self, offset: u64, kind: Kind) -> Result<Vec<u8>, Error> {
        let head = read(&*self.file, &self.name, offset, HEADER)?;
        let header = record::read_header(&head, self.seed)
            .map_err(|what| Error::damaged(&self.name, offset, what))?;
        if offset + header.record_length() as u64 > self.length {
            return Err(Error::damaged(&self.name, offset, Damage::Short));
        }
        self.payload_at(offset, header.length as usize, kind)
    }

    /// Gives every record to `each` in order, the last one included.
    pub(super) fn walk(
        &self,
        mut each: impl FnMut(u64, &Header, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut at, last) = (HEAD as u64, self.last_offset()?);
        let mut log = 0;
        while at <= last {
            let head = read(&*self.file, &self.name, at, HEADER)?;
            let header = record::read_header(&head, self.seed)
                .map_err(|what| Error::damaged(&self.name, at, what))?;
            if header.log != log || at + header.record_length() as u64 > self.length {
                return Err(Error::damaged(&self.name, at, Damage::OutOfOrder));
            }
            let octets = read(&*self.file, &self.name, at, header.record_length())?;
            let (_, payload) = self.check(&octets, header.kind, at)?;
            each(at, &header, payload)?;
            at += header.record_length() as u64;
            log += 1;
        }
        match at == self.length - TRAILER as u64 {
            true => Ok(()),
            false => Err(Error::damaged(&self.name, at, Damage::OutOfOrder)),
        }
    }

    fn check<'a>(
        &self,
        octets: &'a [u8],
        kind: Kind,
        at: u64,
    ) -> Result<(Header, &'a [u8]), Error> {
        let damaged = |what| Error::damaged(&self.name, at, what);
        let (header, payload) = record::read(octets, self.seed).map_err(damaged)?;
        match header.kind == kind && header.record_length() == octets.len() {
            true => Ok((header, payload)),
            false => Err(damaged(Damage::OutOfOrder)),
        }
    }

    fn last_offset(&self) -> Result<u64, Error> {
        let at = self.length.saturating_sub(TRAILER as u64);
        let octets = read(&*self.file, &self.name, at, TRAILER)?;
        let mut reader = Reader::new(&octets[8..]);
        let last = reader.u64().filter(|last| (HEAD as u64..at).contains(last));
        match last {
            Some(last) if trailer(last, self.seed)[..] == octets[..] => Ok(last),
            _ => Err(Error::damaged(&self.name, at, Damage::Head)),
        }
    }
}

fn decode_head(head: &[u8], sort: Sort) -> Option<(u32, u64, u64)> {
    let mut reader = Reader::new(head.strip_prefix(sort.magic())?);
    let (version, check) = (reader.u32()?, reader.u32()?);
    let (store, number) = (reader.u64()?, reader.u64()?);
    (check == head_check(head)).then_some((version, store, number))
}

fn read(file: &dyn DiskFile, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::disk(name, Operation::Read, &error);
    // Lengths come from the disk: none is believed that exceeds the file.
    let whole = file.length().map_err(failed)?;
    if offset.checked_add(length as u64).is_none_or(|end| end > whole) {
        return Err(Error::damaged(name, offset, Damage::Short));
    }
    let mut octets = vec![0; length];
    let count = file.read_at(&mut octets, offset).map_err(failed)?;
    match count == length {
        true => Ok(octets),
        false => Err(Error::damaged(name, offset, Damage::Short)),
    }
}

/// Reads the whole of a journal file. None is nearly as long as what is refused here.
pub(super) fn read_whole(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, Error> {
    let file = disk.open(name).map_err(|error| Error::disk(name, Operation::Open, &error))?;
    let length = file.length().map_err(|error| Error::disk(name, Operation::Read, &error))?;
    match u32::try_from(length) {
        Ok(length) => read(&*file, name, 0, length as usize),
        Err(_) => Err(Error::damaged(name, u64::from(u32::MAX), Damage::OutOfOrder)),
    }
}
