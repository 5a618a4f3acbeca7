//! The store on a disk that forgets, tears and fails: what was durable is there, once, and in
//! order.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use leveret::{
    model::{Batch, Entry, LogPosition, Position, PositionRange, QueueId},
    store::{
        Error, Options, Recovered, Store,
        disk::memory::{Faults, MemoryDisk},
        verify,
    },
};

use super::{random::seed, steps::Dice};

const RUNS: u64 = 15;
/// Steps between two crashes, and crashes of one run.
const STEPS: u64 = 40;
const LIVES: u64 = 4;

/// More than [`RUNS`] when somebody has the time: `LEVERET_STORE_RUNS`.
fn runs() -> u64 {
    match env::var("LEVERET_STORE_RUNS") {
        Ok(text) => text.parse().expect("LEVERET_STORE_RUNS is a number"),
        Err(_) => RUNS,
    }
}

/// What is in one queue, by position: the message, and how often it came back.
type Contents = BTreeMap<u64, (Message, u32)>;

/// A message's number and length; its octets follow from them.
type Message = (u64, usize);

fn written(number: u64, length: usize) -> Vec<u8> {
    [&number.to_le_bytes()[..], &vec![number as u8; length]].concat()
}

/// Reads a message, and sees that every octet is as it was.
fn message(octets: &[u8]) -> Message {
    let (number, body) = octets.split_first_chunk().unwrap();
    let (number, length) = (u64::from_le_bytes(*number), body.len());
    assert!(octets == written(number, length), "message {number} is not what it was");
    (number, length)
}

/// The obviously right store: everything that was said, applied to maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    queues: BTreeMap<u64, Contents>,
    delivered: BTreeMap<u64, u64>,
    forgotten: BTreeSet<u64>,
    facts: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    fn apply(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Enqueue { targets, message: octets } => {
                let message = message(octets);
                let known = targets.filter(|(queue, _)| !self.forgotten.contains(&queue.0));
                for (queue, position) in known {
                    let contents = self.queues.entry(queue.0).or_default();
                    contents.insert(position.0, (message, 0));
                }
            }
            Entry::Settle { queue, ranges } => {
                let Some(contents) = self.queues.get_mut(&queue.0) else { return };
                for range in *ranges {
                    contents.retain(|at, _| !(range.first.0..=range.last.0).contains(at));
                }
            }
            Entry::Return { queue, ranges, count } => {
                let Some(contents) = self.queues.get_mut(&queue.0) else { return };
                for range in *ranges {
                    let span = contents.range_mut(range.first.0..=range.last.0);
                    span.for_each(|(_, (_, returned))| *returned = *count);
                }
            }
            Entry::Delivered { queue, below } => {
                self.delivered.insert(queue.0, below.0);
            }
            Entry::Forget { queue } => {
                self.queues.remove(&queue.0);
                self.delivered.remove(&queue.0);
                self.forgotten.insert(queue.0);
            }
            Entry::Put { key, value } => {
                self.facts.insert(key.to_vec(), value.to_vec());
            }
            Entry::Delete { key } => {
                self.facts.remove(*key);
            }
        }
    }

    /// What can be compared: no difference is made between an empty queue and none.
    fn told(mut self) -> (BTreeMap<u64, Contents>, BTreeMap<Vec<u8>, Vec<u8>>) {
        self.queues.retain(|_, contents| !contents.is_empty());
        (self.queues, self.facts)
    }
}

/// One store through several lives, with the model after each record.
struct Life {
    disk: MemoryDisk,
    dice: Dice<'static>,
    options: Options,
    /// The model after so many records; the first is empty.
    history: Vec<Model>,
    next: BTreeMap<u64, u64>,
    queues: Vec<u64>,
    durable: u64,
    message: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let options = Options {
            file_size: 4096 * (3 + dice.below(6)),
            parts_kept: dice.below(2) as usize,
            chunk_limit: 1 << (9 + dice.below(6)),
            identity: seed,
            recover: false,
        };
        Self {
            disk: MemoryDisk::default(),
            dice,
            options,
            history: vec![Model::default()],
            next: BTreeMap::new(),
            queues: vec![1, 2, 3],
            durable: 0,
            message: 0,
        }
    }

    fn open(&mut self) -> Result<Store, Error> {
        let (store, recovered) = Store::open(Arc::new(self.disk.clone()), self.options)?;
        self.check(&store, recovered);
        Ok(store)
    }

    /// The store must be as the model was after some record, no earlier than the last durable one.
    fn check(&mut self, store: &Store, recovered: Recovered) {
        let last = recovered.last.0;
        assert!(last >= self.durable, "record {} was durable, the last is {last}", self.durable);
        assert!(last < self.history.len() as u64, "record {last} was never appended");
        let found = rebuilt(store, recovered, last);
        let expected = self.history[last as usize].clone();
        let delivered = expected.delivered.clone();
        for (queue, below) in &found.delivered {
            assert!(delivered.get(queue).is_none_or(|expected| expected == below));
        }
        assert_eq!(found.told(), expected.told(), "after record {last}");
        self.history.truncate(last as usize + 1);
        // What was found has been made durable, so that it can be built on.
        self.durable = last;
    }

    fn step(&mut self, store: &Store) -> Result<(), Error> {
        match self.dice.below(12) {
            0..=6 => self.append(store),
            7..=9 => {
                if let Some(LogPosition(up_to)) = store.commit()? {
                    assert!(up_to > self.durable, "{up_to} is reported after {}", self.durable);
                    self.durable = up_to;
                }
                Ok(())
            }
            10 => store.keep_house().map(drop),
            _ => store.prepare(),
        }
    }

    fn append(&mut self, store: &Store) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut model = self.history.last().unwrap().clone();
        for _ in 0..=self.dice.below(3) {
            self.draw(&mut batch, &model);
            let written = batch.octets().to_vec();
            model = self.history.last().unwrap().clone();
            let entries = leveret::model::entries(&written);
            entries.for_each(|entry| model.apply(&entry.unwrap()));
        }
        let position = store.append(&mut batch)?;
        assert_eq!(position.0, self.history.len() as u64);
        self.history.push(model);
        Ok(())
    }

    fn draw(&mut self, batch: &mut Batch, model: &Model) {
        let queue = self.queues[self.dice.below(self.queues.len() as u64) as usize];
        let Some(span) = self.some_span(model, queue) else { return self.enqueue(batch, queue) };
        match self.dice.below(20) {
            0..=10 => self.enqueue(batch, queue),
            11..=14 => batch.settle(QueueId(queue), &[span]),
            15 => batch.put_back(QueueId(queue), &[span], self.dice.below(9) as u32),
            16 => batch.delivered(QueueId(queue), span.last),
            17 => batch.put(&[self.dice.below(5) as u8], &self.dice.below(1000).to_le_bytes()),
            18 => batch.delete(&[self.dice.below(5) as u8]),
            _ if self.dice.below(6) == 0 => {
                batch.forget(QueueId(queue));
                self.queues.retain(|other| *other != queue);
                self.queues.push(self.next.keys().max().unwrap_or(&3).max(&queue) + 1);
            }
            _ => {
                let next = self.next.get(&queue).copied().unwrap_or(0);
                if next > 0 {
                    batch.settle(QueueId(queue), &[PositionRange::new(0, next - 1)]);
                }
            }
        }
    }

    fn enqueue(&mut self, batch: &mut Batch, queue: u64) {
        let mut targets = vec![queue];
        if self.dice.below(3) == 0 {
            targets.clone_from(&self.queues);
        }
        let targets: Vec<_> = targets
            .into_iter()
            .map(|queue| {
                let next = self.next.entry(queue).or_default();
                *next += 1;
                (QueueId(queue), Position(*next - 1))
            })
            .collect();
        self.message += 1;
        let length = match self.dice.below(30) {
            0 => self.dice.below(40_000),
            1..=9 => self.dice.below(2_000),
            _ => self.dice.below(100),
        };
        batch.enqueue(&targets, &[&written(self.message, length as usize)]);
    }

    /// Some messages that are there, most often the first ones.
    fn some_span(&mut self, model: &Model, queue: u64) -> Option<PositionRange> {
        let contents = model.queues.get(&queue).filter(|contents| !contents.is_empty());
        let positions: Vec<_> = contents?.keys().copied().collect();
        let first = match self.dice.below(3) {
            0 => self.dice.below(positions.len() as u64) as usize,
            _ => 0,
        };
        let last = (first + self.dice.below(6) as usize).min(positions.len() - 1);
        Some(PositionRange::new(positions[first], positions[last]))
    }

    /// Lives until the disk fails or the steps are done.
    fn live(&mut self, faults: Faults) -> Result<(), Error> {
        self.disk.set_faults(faults);
        let store = self.open()?;
        for _ in 0..STEPS {
            if let Err(error) = self.step(&store) {
                let refused = store.append(&mut Batch::default());
                assert!(error.is_full() || refused.is_err(), "{error} did not stop the journal");
                return Err(error);
            }
        }
        Ok(())
    }

    fn crash(&mut self) {
        match self.dice.below(4) {
            0 => self.disk.kill(),
            _ => self.disk.power_on(self.dice.below(u64::MAX)),
        }
    }
}

/// What a broker would make of a restart: the checkpoint, the segments, then every record.
fn rebuilt(store: &Store, recovered: Recovered, last: u64) -> Model {
    let mut model = Model::default();
    for (queue, state) in &recovered.queues {
        let mut contents = Contents::new();
        let mut from = Position(0);
        while let Some(read) = store.read(*queue, from).unwrap() {
            for message in &read {
                let returned = state.returned.get(&message.position).copied().unwrap_or(0);
                let entry = (self::message(&message.octets), returned);
                let doubled = contents.insert(message.position.0, entry);
                assert_eq!(doubled, None, "{} of {queue} is there twice", message.position);
                assert!(message.position < state.next);
            }
            from = Position(read.last().unwrap().position.0 + 1);
        }
        assert_eq!(contents.len() as u64, state.live.count(), "of queue {queue}");
        model.queues.insert(queue.0, contents);
        model.delivered.insert(queue.0, state.delivered.0);
    }
    model.delivered.retain(|_, below| *below > 0);
    for (key, value) in &recovered.facts {
        model.facts.insert(key.to_vec(), value.to_vec());
    }
    let mut due = None;
    for record in recovered.records {
        let record = record.unwrap();
        assert!(due.is_none_or(|due| due == record.log.0), "{:?} is out of order", record.log);
        due = Some(record.log.0 + 1);
        record.entries().for_each(|entry| model.apply(&entry.unwrap()));
    }
    assert!(due.is_none_or(|due| due == last + 1));
    model
}

#[test]
fn what_was_durable_survives_a_power_cut_at_any_write() {
    let seed = seed();
    let (mut cuts, mut records) = (0, 0);
    for number in 0..runs() {
        let seed = seed.wrapping_add(number);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| cut_at_every_write(seed)));
        let (run_cuts, run_records) = outcome.unwrap_or_else(|fault| {
            println!("LEVERET_SEED={seed}");
            panic::resume_unwind(fault)
        });
        cuts += run_cuts;
        records += run_records;
    }
    println!("{cuts} cuts, {records} records checked, none lost");
}

/// Lives through a run once to count its writes, then cuts the power at each, in some of the lives.
fn cut_at_every_write(seed: u64) -> (u64, u64) {
    let mut whole = Life::new(seed);
    whole.live(Faults::default()).unwrap();
    let writes = whole.disk.operations();
    let mut records = 0;
    for cut in 1..=writes {
        let mut life = Life::new(seed);
        let mut power_cut_at = Some(cut);
        for _ in 0..LIVES {
            let faults = Faults { power_cut_at, ..Faults::default() };
            drop(life.live(faults));
            records += life.history.len() as u64;
            life.crash();
            power_cut_at = Some(1 + life.dice.below(writes));
        }
        life.disk.set_faults(Faults::default());
        life.open().unwrap();
    }
    (writes, records)
}

#[test]
fn a_failed_write_or_sync_confirms_nothing_and_ends_the_journal() {
    let seed = seed();
    for number in 0..runs() {
        let seed = seed.wrapping_add(number);
        let mut whole = Life::new(seed);
        whole.live(Faults::default()).unwrap();
        for failure in 1..=whole.disk.operations() {
            let mut life = Life::new(seed);
            let faults = Faults { failure_at: Some(failure), ..Faults::default() };
            drop(life.live(faults));
            // The process starts again, and later the power fails.
            life.disk.kill();
            life.live(Faults::default()).unwrap_or_else(|error| panic!("{error}, seed {seed}"));
            let luck = life.dice.below(u64::MAX);
            life.disk.power_on(luck);
            life.open().unwrap();
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
    let seed = seed();
    for number in 0..runs() {
        let mut life = Life::new(seed.wrapping_add(number));
        let store = life.open().unwrap();
        for step in 0..STEPS * 4 {
            let capacity = (step % 7 != 0).then(|| life.options.file_size * (step % 5));
            life.disk.set_faults(Faults { capacity, ..Faults::default() });
            if let Err(error) = life.step(&store) {
                assert!(error.is_full(), "{error}");
            }
        }
        life.disk.set_faults(Faults::default());
        while let Some(LogPosition(up_to)) = store.commit().unwrap() {
            life.durable = up_to;
        }
        assert_eq!(life.durable, life.history.len() as u64 - 1);
        drop(store);
        life.crash();
        life.open().unwrap();
    }
}

#[test]
fn a_flipped_bit_is_reported_and_recovery_goes_on_without_it() {
    let seed = seed();
    for number in 0..runs() {
        let mut life = Life::new(seed.wrapping_add(number));
        life.live(Faults::default()).unwrap();
        drop(life.live(Faults::default()));
        let names = leveret::store::disk::Disk::list(&life.disk).unwrap();
        let name = &names[life.dice.below(names.len() as u64) as usize];
        let length = life.disk.contents(name).unwrap().len() as u64;
        let offset = life.dice.below(length);
        life.disk.corrupt(name, offset);
        let open = |recover| {
            let disk = Arc::new(life.disk.clone());
            Store::open(disk, Options { recover, ..life.options })
        };
        let verified = verify::verify(&life.disk);
        match open(false) {
            Ok((store, recovered)) => {
                let last = recovered.last.0;
                drop(recovered);
                assert!(last < life.history.len() as u64);
                drop(store);
            }
            Err(error) => {
                assert!(matches!(&error, Error::Damaged { file, .. } if file == name), "{error}");
                assert!(verified.is_err() || !verified.unwrap().losses.is_empty());
                // A checkpoint cannot be done without.
                if let Ok((store, recovered)) = open(true) {
                    assert!(!recovered.report.losses.is_empty());
                    drop(store);
                    open(false).map(drop).unwrap();
                }
            }
        }
    }
}

#[test]
fn arbitrary_octets_as_a_data_directory_never_panic() {
    let seed = seed();
    let mut life = Life::new(seed);
    life.live(Faults::default()).unwrap();
    let names = leveret::store::disk::Disk::list(&life.disk).unwrap();
    for round in 0..400 {
        let disk = MemoryDisk::default();
        for name in &names {
            let mut octets = life.disk.contents(name).unwrap();
            spoil(&mut octets, &mut life.dice);
            disk.place(name, &octets);
        }
        drop(verify::stat(&disk));
        drop(verify::verify(&disk));
        let options = Options { recover: round % 2 == 0, ..life.options };
        if let Ok((store, recovered)) = Store::open(Arc::new(disk), options) {
            let queues: Vec<_> = recovered.queues.keys().copied().collect();
            queues.iter().for_each(|queue| drop(store.read(*queue, Position(0))));
            recovered.records.flatten().for_each(|record| record.entries().for_each(drop));
            while let Ok(Some(_)) = store.keep_house() {}
        }
    }
}

fn spoil(octets: &mut Vec<u8>, dice: &mut Dice<'_>) {
    let wild = dice.below(3) == 0;
    for _ in 0..dice.below(30) {
        let at = dice.below(octets.len() as u64 + 1) as usize;
        match dice.below(4) {
            0 => octets.truncate(at.max(octets.len() / 2)),
            1 if wild => octets.splice(..at / 2, []).for_each(drop),
            _ => {
                let octet = dice.below(256) as u8;
                octets.get_mut(at).into_iter().for_each(|place| *place = octet);
            }
        }
    }
}
