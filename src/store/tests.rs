//! What the store promises about its disk's room, through its face and on a disk in memory.

use std::sync::Arc;

use crate::model::{Position, PositionRange, QueueId};

use super::{
    Batch, Error, Options, Recovered, Store,
    disk::{Disk, memory::MemoryDisk},
    verify,
};

const FILE_SIZE: u64 = 64 * 1024;
const OPTIONS: Options =
    Options { file_size: FILE_SIZE, parts_kept: 1, chunk_limit: 8192, identity: 7, recover: false };

struct Bench {
    disk: MemoryDisk,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let disk = MemoryDisk::default();
        let (store, _) = Store::open(Arc::new(disk.clone()), OPTIONS).unwrap();
        Self { disk, store }
    }

    fn append(&self, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::default();
        fill(&mut batch);
        self.store.append(&mut batch).unwrap();
        while self.store.commit().unwrap().is_some() {}
        while self.store.keep_house().unwrap().is_some() {}
    }

    fn enqueue(&self, queues: &[u64], position: u64, length: usize) {
        let targets: Vec<_> =
            queues.iter().map(|queue| (QueueId(*queue), Position(position))).collect();
        self.append(|batch| batch.enqueue(&targets, &[&vec![position as u8; length]]));
    }

    fn settle(&self, queue: u64, first: u64, last: u64) {
        self.append(|batch| batch.settle(QueueId(queue), &[PositionRange::new(first, last)]));
    }

    fn octets(&self, sort: &str) -> usize {
        let names = self.disk.list().unwrap().into_iter().filter(|name| name.starts_with(sort));
        names.map(|name| self.disk.contents(&name).unwrap().len()).sum()
    }

    fn positions(&self, queue: u64) -> Vec<u64> {
        let (mut found, mut from) = (Vec::new(), Position(0));
        while let Some(read) = self.store.read(QueueId(queue), from).unwrap() {
            found.extend(read.iter().map(|message| message.position.0));
            from = Position(found.last().unwrap() + 1);
        }
        found
    }

    fn restart(self) -> (Self, Recovered) {
        drop(self.store);
        self.disk.power_on(1);
        let (store, recovered) = Store::open(Arc::new(self.disk.clone()), OPTIONS).unwrap();
        (Self { disk: self.disk, store }, recovered)
    }
}

#[test]
fn messages_consumed_soon_never_reach_a_segment_and_the_journal_is_bounded() {
    let bench = Bench::new();
    for position in 0..2_000 {
        bench.enqueue(&[1], position, 500);
        bench.settle(1, position, position);
    }
    assert_eq!(bench.octets("segment"), 0);
    let room = bench.octets("journal") + bench.octets("spare");
    assert!(room <= 5 * FILE_SIZE as usize, "{room} octets");
}

#[test]
fn one_old_message_does_not_pin_what_came_after_it() {
    let bench = Bench::new();
    for position in 0..4_000 {
        bench.enqueue(&[1], position, 500);
        if position >= 1_000 {
            // A backlog that moves on; every 500th message stays behind.
            let oldest = position - 1_000;
            if !oldest.is_multiple_of(500) {
                bench.settle(1, oldest, oldest);
            }
        }
    }
    let live = 1_000 * 500;
    let segments = bench.octets("segment");
    assert!(segments < 2 * live + 4 * FILE_SIZE as usize, "{segments} octets");
    let (bench, _) = bench.restart();
    assert_eq!(bench.positions(1)[..6], [0, 500, 1_000, 1_500, 2_000, 2_500]);
    assert!(verify::verify(&bench.disk).unwrap().losses.is_empty());
}

#[test]
fn a_purge_gives_the_room_back() {
    let bench = Bench::new();
    for position in 0..1_000 {
        bench.enqueue(&[1], position, 500);
    }
    assert!(bench.octets("segment") > 5 * FILE_SIZE as usize);
    bench.settle(1, 0, 999);
    for position in 0..400 {
        bench.enqueue(&[2], position, 500);
        bench.settle(2, position, position);
    }
    assert_eq!(bench.octets("segment"), 0);
}

#[test]
fn a_message_for_many_queues_is_on_disk_once_before_and_after_it_moved_and_merged() {
    let bench = Bench::new();
    let queues: Vec<u64> = (1..=20).collect();
    for position in 0..600 {
        bench.enqueue(&queues, position, 1_000);
    }
    assert!(bench.octets("segment") < 2 * 600 * 1_000, "{}", bench.octets("segment"));
    for queue in &queues {
        bench.settle(*queue, 0, 399);
    }
    for position in 0..800 {
        bench.enqueue(&[99], position, 500);
        bench.settle(99, position, position);
    }
    let segments = bench.octets("segment");
    assert!(segments < 2 * 200 * 1_000 + 4 * FILE_SIZE as usize, "{segments} octets");
    let (bench, _) = bench.restart();
    for queue in queues {
        assert_eq!(bench.positions(queue), (400..600).collect::<Vec<_>>());
    }
}

#[test]
fn a_queue_of_each_message_costs_no_file_of_its_own() {
    let bench = Bench::new();
    for queue in 0..3_000 {
        bench.enqueue(&[queue], 0, 100);
    }
    assert!(bench.disk.list().unwrap().len() < 60);
    let (_, recovered) = bench.restart();
    let replayed = recovered.report.records;
    assert_eq!(recovered.queues.len() as u64 + replayed, 3_000);
}

#[test]
fn a_record_larger_than_a_file_has_a_file_of_its_own() {
    let bench = Bench::new();
    bench.enqueue(&[1], 0, 100);
    bench.enqueue(&[1], 1, 5 * FILE_SIZE as usize);
    bench.enqueue(&[1], 2, 100);
    let (bench, recovered) = bench.restart();
    assert_eq!(recovered.last.0, 3);
    for position in 0..400 {
        bench.enqueue(&[2], position, 500);
    }
    assert_eq!(bench.positions(1), [0, 1, 2]);
}

#[test]
fn a_second_owner_is_told_which_directory_is_in_use() {
    let bench = Bench::new();
    let error = Store::open(Arc::new(bench.disk), OPTIONS).map(drop).unwrap_err();
    let directory = "(in memory)".to_owned();
    assert_eq!(error, Error::Locked { directory });
}

#[test]
fn a_cut_end_is_told_in_one_line() {
    let bench = Bench::new();
    bench.enqueue(&[1], 0, 100);
    bench.enqueue(&[1], 1, 100);
    let name = "journal-0000000000000001";
    drop(bench.store);
    // The second chunk begins in the third block; its payload behind a header of 48.
    bench.disk.corrupt(name, 2 * 4096 + 60);
    bench.disk.kill();
    let (_, recovered) = Store::open(Arc::new(bench.disk), OPTIONS).unwrap();
    let torn = recovered.report.torn.as_ref().unwrap().to_string();
    assert_eq!(torn, format!("{name} was cut at octet 8192, behind its last whole record"));
    assert_eq!(recovered.records.count(), 1);
}

#[test]
fn damage_in_the_middle_is_refused_with_what_it_would_cost() {
    let bench = Bench::new();
    for position in 0..3 {
        bench.enqueue(&[1], position, 100);
    }
    let name = "journal-0000000000000001";
    drop(bench.store);
    bench.disk.corrupt(name, 2 * 4096 + 60);
    let open = |recover| Store::open(Arc::new(bench.disk.clone()), Options { recover, ..OPTIONS });
    let error = open(false).map(drop).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{name} is damaged at octet 8192: a record does not match its checksum; \
             4096 octets with 1 records would be lost"
        )
    );
    let (_, recovered) = open(true).unwrap();
    assert_eq!(recovered.queues[&QueueId(1)].live.count(), 2);
    assert_eq!(recovered.report.losses.len(), 1);
    drop(recovered);
    let (_, recovered) = open(false).unwrap();
    assert!(recovered.report.losses.is_empty());
}

#[test]
fn a_number_that_was_forgotten_may_be_used_again_and_begins_afresh() {
    let bench = Bench::new();
    for position in 0..4 {
        bench.enqueue(&[1], position, 100);
    }
    bench.settle(1, 2, 2);
    bench.append(|batch| batch.forget(QueueId(1)));
    for position in 0..4 {
        bench.enqueue(&[1], position, 200);
    }
    for position in 0..400 {
        bench.enqueue(&[2], position, 500);
    }
    assert_eq!(bench.positions(1), [0, 1, 2, 3]);
    let (bench, _) = bench.restart();
    let read = bench.store.read(QueueId(1), Position(0)).unwrap().unwrap();
    assert!(read.iter().all(|message| message.octets.len() == 200));
}
