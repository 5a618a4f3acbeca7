//! A record: a header with checksums, and a payload that is not interpreted here.

use super::{error::Damage, names::HIGHEST};
use crate::model::compact::Reader;

/// The octets of a record's header. See `docs/storage-format.md`.
pub const HEADER: usize = 48;

/// The longest payload.
pub const PAYLOAD_LIMIT: usize = 1 << 30;

/// The version of all formats here; written into the head of every file.
pub const FORMAT_VERSION: u32 = 1;

/// Set on the first record of a chunk: everything before it was synced before it was written.
pub const STARTS_CHUNK: u8 = 1;

const HEADER_CHECK: std::ops::Range<usize> = 4..8;

/// What a payload is. Zero is no kind, so that zeros are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries that hold together, see [`crate::model::Batch`].
    Entries,
    /// Messages of one queue in a segment, in the order of their positions.
    Slice,
    /// Octets of one message of a segment that several slices refer to.
    Shared,
    /// The slices of a segment.
    Index,
    /// What a checkpoint is about.
    Summary,
    /// Queues of a checkpoint.
    Queues,
    /// Facts of a topology.
    Facts,
    /// The last record of a file that is written once.
    End,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Entries,
        Self::Slice,
        Self::Shared,
        Self::Index,
        Self::Summary,
        Self::Queues,
        Self::Facts,
        Self::End,
    ];

    fn number(self) -> u8 {
        self as u8 + 1
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// Whose record it is and which: group 0 is what this node alone keeps, with term 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub group: u64,
    pub index: u64,
    pub term: u64,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub flags: u8,
    pub length: u32,
    pub payload_check: u32,
    /// The record's number among all of its file or journal.
    pub log: u64,
    pub identity: Identity,
}

impl Header {
    /// The header of a record of `payload`, without flags.
    pub fn of(kind: Kind, log: u64, identity: Identity, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).expect("payloads are limited");
        Self { kind, flags: 0, length, payload_check: crc32c::crc32c(payload), log, identity }
    }

    /// The header with its own checksum left out, for [`seal`] to fill in.
    pub fn unsealed(&self) -> [u8; HEADER] {
        let mut octets = [0; HEADER];
        octets[0] = self.kind.number();
        octets[1] = self.flags;
        octets[8..12].copy_from_slice(&self.payload_check.to_le_bytes());
        octets[12..16].copy_from_slice(&self.length.to_le_bytes());
        octets[16..24].copy_from_slice(&self.log.to_le_bytes());
        octets[24..32].copy_from_slice(&self.identity.group.to_le_bytes());
        octets[32..40].copy_from_slice(&self.identity.index.to_le_bytes());
        octets[40..48].copy_from_slice(&self.identity.term.to_le_bytes());
        octets
    }

    /// The octets of the whole record.
    pub fn record_length(&self) -> usize {
        HEADER + self.length as usize
    }
}

/// The start of every header checksum in a file: a record left over from a file's former life, or
/// copied from another file, does not match.
pub fn seed(store: u64, file: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&store.to_le_bytes()), &file.to_le_bytes())
}

/// Fills in the checksum of the header that `octets` begin with.
pub fn seal(octets: &mut [u8], seed: u32) {
    if octets.len() >= HEADER {
        let check = header_check(octets, seed);
        octets[HEADER_CHECK].copy_from_slice(&check.to_le_bytes());
    }
}

/// Seals every record of a run, and marks the first as the start of a chunk.
pub fn seal_chunk(octets: &mut [u8], seed: u32) {
    let mut rest = octets;
    let mut flags = STARTS_CHUNK;
    while rest.len() >= HEADER {
        rest[1] = flags;
        flags = 0;
        seal(rest, seed);
        let length = u32::from_le_bytes([rest[12], rest[13], rest[14], rest[15]]) as usize;
        rest = rest.get_mut(HEADER + length..).unwrap_or_default();
    }
}

/// Reads the record that `octets` begin with. Any octets may be given.
pub fn read(octets: &[u8], seed: u32) -> Result<(Header, &[u8]), Damage> {
    let header = read_header(octets, seed)?;
    let payload = octets.get(HEADER..header.record_length()).ok_or(Damage::Short)?;
    if crc32c::crc32c(payload) != header.payload_check {
        return Err(Damage::Payload);
    }
    Ok((header, payload))
}

/// Reads the header that `octets` begin with, whatever became of the payload.
pub fn read_header(octets: &[u8], seed: u32) -> Result<Header, Damage> {
    let octets = octets.get(..HEADER).ok_or(Damage::Short)?;
    let mut reader = Reader::new(octets);
    let header = decode(&mut reader).ok_or(Damage::Header)?;
    let (header, check) = header;
    let within = header.length as usize <= PAYLOAD_LIMIT && header.log <= HIGHEST;
    match check == header_check(octets, seed) && within {
        true => Ok(header),
        false => Err(Damage::Header),
    }
}

fn decode(reader: &mut Reader<'_>) -> Option<(Header, u32)> {
    let kind = Kind::from_number(reader.u8()?)?;
    let flags = reader.u8()?;
    let _reserved = reader.take(2)?;
    let check = reader.u32()?;
    let payload_check = reader.u32()?;
    let length = reader.u32()?;
    let log = reader.u64()?;
    let identity = Identity { group: reader.u64()?, index: reader.u64()?, term: reader.u64()? };
    Some((Header { kind, flags, length, payload_check, log, identity }, check))
}

fn header_check(octets: &[u8], seed: u32) -> u32 {
    let before = crc32c::crc32c_append(seed, &octets[..HEADER_CHECK.start]);
    crc32c::crc32c_append(before, &octets[HEADER_CHECK.end..HEADER])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back() {
        let octets = record(b"payload");
        let (header, payload) = read(&octets, 5).unwrap();
        assert_eq!((header.log, header.identity.term, payload), (9, 3, &b"payload"[..]));
        assert_eq!(header.flags, STARTS_CHUNK);
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let whole = record(b"some payload");
        for bit in 0..whole.len() * 8 {
            let mut octets = whole.clone();
            octets[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&octets, 5).is_err(), "bit {bit}");
        }
        assert!((0..whole.len()).all(|cut| read(&whole[..cut], 5).is_err()));
    }

    #[test]
    fn a_record_of_another_file_is_none() {
        assert_eq!(read(&record(b"x"), 6), Err(Damage::Header));
        let seeds = (0..1000).map(|file| seed(1, file)).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(seeds.len(), 1000);
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        let identity = Identity { group: 1, index: 2, term: 3 };
        let mut octets = Header::of(Kind::Entries, 9, identity, payload).unsealed().to_vec();
        octets.extend_from_slice(payload);
        seal_chunk(&mut octets, 5);
        octets
    }
}
