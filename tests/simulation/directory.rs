//! Any octets as a data directory: whatever is in one, it is opened, read and checked, or refused.

use std::sync::{Arc, LazyLock};

use leveret::{
    model::{Batch, Position, PositionRange, QueueId},
    store::{
        Options, Recovered, Store,
        disk::{Disk, memory::MemoryDisk},
        record::{self, HEADER},
        verify,
    },
};

/// Names and octets of the files of a directory.
type Files = Vec<(String, Vec<u8>)>;

const OPTIONS: Options =
    Options { file_size: 4 * 4096, parts_kept: 1, chunk_limit: 4096, identity: 7, recover: false };
const BLOCK: usize = 4096;
const TRAILER: usize = 24;

/// The body of the fuzz target. The first octet says what the others are: files as they are, or
/// changes of a directory that was whole; and whether the checksums are made right again, so that
/// what is behind them is met.
pub(crate) fn data_directory(octets: &[u8]) {
    let mut input = Input(octets);
    let files = match input.octet() {
        0..32 => raw_files(&mut input),
        sort => {
            let mut files = WHOLE.clone();
            while !input.0.is_empty() {
                change(&mut files, &mut input);
            }
            if sort >= 96 {
                files.iter_mut().for_each(|(_, octets)| seal(octets));
            }
            files
        }
    };
    for recover in [false, true] {
        let disk = MemoryDisk::default();
        files.iter().for_each(|(name, octets)| disk.place(name, octets));
        look_at(&disk, recover);
    }
}

fn look_at(disk: &MemoryDisk, recover: bool) {
    let stated = verify::stat(disk);
    let verified = verify::verify(disk);
    let counted = verify::census(disk);
    if let (Ok(stated), Ok(verified)) = (&stated, &verified) {
        assert!(stated.losses.is_empty() && counted.is_ok());
        assert_eq!(stated.records, verified.records);
    }
    let opened = Store::open(Arc::new(disk.clone()), Options { recover, ..OPTIONS });
    let Ok((store, recovered)) = opened else { return };
    assert!(recover || recovered.report.losses.is_empty());
    read(&store, recovered);
    write(&store);
    drop(store);
    drop(verify::verify(disk));
}

fn read(store: &Store, recovered: Recovered) {
    for record in recovered.records.map_while(Result::ok) {
        record.entries().for_each(drop);
    }
    for queue in recovered.queues.keys() {
        let mut from = Position(0);
        while let Ok(Some(messages)) = store.read(*queue, from) {
            let last = messages.last().unwrap().position;
            assert!(last >= from, "reading does not get on");
            let Some(next) = last.0.checked_add(1) else { break };
            from = Position(next);
        }
    }
}

/// What was opened can be gone on with, or says why not.
fn write(store: &Store) {
    for number in 0..4 {
        let mut batch = Batch::default();
        batch.enqueue(&[(QueueId(90), Position(number))], &[&[7; 3000]]);
        batch.settle(QueueId(1), &[PositionRange::new(number, 40)]);
        batch.put(b"more", b"facts");
        if store.append(&mut batch).is_err() || store.commit().is_err() {
            return;
        }
    }
    while let Ok(Some(_)) = store.keep_house() {}
}

/// Octets that last as long as they last, and are zero then.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn octet(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// A number below `limit`, or 0.
    fn below(&mut self, limit: usize) -> usize {
        let number = u16::from_le_bytes([self.octet(), self.octet()]);
        usize::from(number) % limit.max(1)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

fn raw_files(input: &mut Input<'_>) -> Files {
    let names = [
        "checkpoint",
        "checkpoint.new",
        "journal-0000000000000001",
        "journal-0000000000000002",
        "segment-0000000000000001",
        "topology-0000000000000001",
        "spare-0000000000000001",
        "something else",
    ];
    let files = names.iter().map(|name| {
        let length = input.below(usize::from(u16::MAX));
        ((*name).to_owned(), input.take(length))
    });
    files.collect()
}

fn change(files: &mut Files, input: &mut Input<'_>) {
    let what = input.octet();
    let number = input.below(files.len());
    let Some((_, octets)) = files.get_mut(number) else { return };
    let at = input.below(octets.len());
    match what % 32 {
        0 => drop(files.remove(number)),
        1 => octets.truncate(at),
        2 | 3 => octets.insert(at, input.octet()),
        4 | 5 => {
            let length = input.below(64).min(octets.len() - at);
            octets.drain(at..at + length);
        }
        6..12 => {
            let length = usize::from(input.octet() % 16);
            let written = input.take(length);
            let end = (at + written.len()).min(octets.len());
            octets[at..end].copy_from_slice(&written[..end - at]);
        }
        12 => {
            let other = input.below(files.len());
            let copied = files[other].1.clone();
            files[number].1 = copied;
        }
        _ => change_payload(octets, at, input),
    }
}

/// Puts other octets into the payload of a record, and only there.
fn change_payload(octets: &mut Vec<u8>, chosen: usize, input: &mut Input<'_>) {
    let records = records(octets);
    let Some(at) = records.get(chosen % records.len().max(1)) else { return };
    let length = length_at(octets, *at);
    let from = input.below(length + 1);
    let removed = usize::from(input.octet() % 16).min(length - from);
    let added = usize::from(input.octet() % 16);
    let mut written = input.take(added);
    if is_journal(octets) {
        // What stands behind it must stay where it is.
        written.resize(removed, 0);
    }
    let start = at + HEADER + from;
    let new_length = u32::try_from(length - removed + written.len()).unwrap();
    octets.splice(start..start + removed, written);
    octets[at + 12..at + 16].copy_from_slice(&new_length.to_le_bytes());
}

fn is_journal(octets: &[u8]) -> bool {
    octets.starts_with(b"LEVERETJ")
}

fn length_at(octets: &[u8], at: usize) -> usize {
    u32::from_le_bytes(octets[at + 12..at + 16].try_into().unwrap()) as usize
}

/// Where records begin, as far as their lengths lead.
fn records(octets: &[u8]) -> Vec<usize> {
    let (mut at, end) = match is_journal(octets) {
        true => (BLOCK, octets.len()),
        false => (32, octets.len().saturating_sub(TRAILER)),
    };
    let mut records = Vec::new();
    while at + HEADER <= end {
        if is_journal(octets) && octets[at] == 0 {
            let boundary = at.next_multiple_of(BLOCK);
            if boundary == at {
                break;
            }
            at = boundary;
            continue;
        }
        let next = at + HEADER + length_at(octets, at);
        if next > end {
            break;
        }
        records.push(at);
        at = next;
    }
    records
}

/// Makes every checksum of a file right.
fn seal(octets: &mut [u8]) {
    if !octets.starts_with(b"LEVERET") || octets.len() < 32 {
        return;
    }
    let number = |at: usize| u64::from_le_bytes(octets[at..at + 8].try_into().unwrap());
    let seed = record::seed(number(16), number(24));
    let head = if is_journal(octets) { 48 } else { 32 };
    if octets.len() < head + TRAILER {
        return;
    }
    let check = crc32c::crc32c_append(crc32c::crc32c(&octets[..12]), &octets[16..head]);
    octets[12..16].copy_from_slice(&check.to_le_bytes());
    let records = records(octets);
    for at in &records {
        let length = length_at(octets, *at);
        let check = crc32c::crc32c(&octets[at + HEADER..at + HEADER + length]);
        octets[at + 8..at + 12].copy_from_slice(&check.to_le_bytes());
        record::seal(&mut octets[*at..], seed);
    }
    if let Some(last) = records.last().filter(|_| !is_journal(octets)) {
        let at = octets.len() - TRAILER;
        let trailer = &mut octets[at..];
        trailer[8..16].copy_from_slice(&(*last as u64).to_le_bytes());
        let check = crc32c::crc32c_append(seed, &trailer[..16]);
        trailer[16..20].copy_from_slice(&check.to_le_bytes());
    }
}

/// A directory with everything in it that there can be.
static WHOLE: LazyLock<Files> = LazyLock::new(|| {
    let disk = MemoryDisk::default();
    let (store, _) = Store::open(Arc::new(disk.clone()), OPTIONS).unwrap();
    for position in 0..30 {
        let mut batch = Batch::default();
        let targets = [1, 2, 3].map(|queue| (QueueId(queue), Position(position)));
        let targets = &targets[..1 + position as usize % 3];
        batch.enqueue(targets, &[&vec![position as u8; 20 * (position as usize % 5)]]);
        batch.settle(QueueId(1), &[PositionRange::new(position / 2, position / 2)]);
        batch.put_back(QueueId(1), &[PositionRange::new(position, position)], 2);
        batch.delivered(QueueId(2), Position(position));
        batch.put(&[position as u8], b"fact");
        batch.delete(&[position as u8 / 3]);
        if position == 20 {
            batch.forget(QueueId(3));
        }
        store.append(&mut batch).unwrap();
        store.commit().unwrap();
        store.prepare().unwrap();
        while store.keep_house().unwrap().is_some() {}
    }
    let names = disk.list().unwrap();
    names.into_iter().map(|name| (name.clone(), disk.contents(&name).unwrap())).collect()
});

/// The directory holds files of every sort, and making their checksums right leaves them alone.
pub(crate) fn check_the_whole_directory() {
    for sort in ["checkpoint", "journal-", "segment-", "topology-", "spare-"] {
        assert!(WHOLE.iter().any(|(name, _)| name.starts_with(sort)), "there is no {sort}");
    }
    for (name, octets) in WHOLE.iter().filter(|(_, octets)| !is_journal(octets)) {
        let mut sealed = octets.clone();
        seal(&mut sealed);
        assert!(sealed == *octets, "{name} is not sealed as the store does it");
    }
}
