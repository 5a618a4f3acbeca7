//! What durability costs on this machine's disk: `cargo bench --bench journal`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark shows its figures")]

use std::{
    env,
    path::PathBuf,
    process,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use leveret::{
    model::{Batch, LogPosition, Position, PositionRange, QueueId},
    store::{
        Error, Moved, Options, Store, Witness,
        committer::{self, Committer},
        disk::{Disk, file::Folder},
    },
};

const QUEUE: QueueId = QueueId(1);
/// Exchange, routing key and properties of a small message, and its body of 16 octets.
const MESSAGE: [u8; 40] = [7; 40];

fn main() -> Result<(), Error> {
    let directory = Scratch::new();
    raw_sync(&directory);
    one_at_a_time(&directory)?;
    windows(&directory, 1, 1_000)?;
    windows(&directory, 50, 1_000)?;
    consumed_at_once(&directory)?;
    backlog(&directory, 3_000_000)
}

/// The floor: 4 KiB written and synced, over and over the same room.
fn raw_sync(directory: &Scratch) {
    let folder = directory.folder("raw");
    let file = folder.create("raw", 0).expect("the benchmark may write");
    let room = vec![0; 4 << 20];
    file.write_at(&room, 0).and_then(|()| file.sync()).expect("the benchmark may write");
    let mut times = Vec::new();
    for round in 0..2_000 {
        let start = Instant::now();
        let offset = round % 1_024 * 4_096;
        file.write_at(&room[..4_096], offset).and_then(|()| file.sync()).expect("it was written");
        times.push(start.elapsed());
    }
    latencies("fdatasync of 4 KiB into room that was written before", &mut times);
}

fn one_at_a_time(directory: &Scratch) -> Result<(), Error> {
    let bench = Bench::open(directory, "one")?;
    let mut times = Vec::new();
    for position in 0..4_000 {
        let start = Instant::now();
        let appended = bench.enqueue(position, 1)?;
        bench.watch.wait_for(appended);
        times.push(start.elapsed());
    }
    latencies("one record, durable before the next", &mut times);
    Ok(())
}

/// `each` messages a record, never more than `window` of them not yet durable.
fn windows(directory: &Scratch, each: u64, window: u64) -> Result<(), Error> {
    let bench = Bench::open(directory, &format!("window-{each}"))?;
    let (records, start) = (1_500_000 / each, Instant::now());
    let (mut appending, mut last) = (Duration::ZERO, LogPosition(0));
    for record in 0..records {
        let before = (record % 64 == 0).then(Instant::now);
        last = bench.enqueue(record * each, each)?;
        appending += before.map_or(Duration::ZERO, |before| before.elapsed());
        let behind = window / each;
        bench.watch.wait_for(LogPosition(last.0.saturating_sub(behind)));
    }
    bench.watch.wait_for(last);
    let took = start.elapsed();
    let append = appending.as_nanos() as f64 / (records / 64) as f64;
    println!(
        "window {window}, {each} a record: {:.0} messages/s, {} syncs, {append:.0} ns an append",
        per_second(records * each, took),
        bench.watch.syncs(),
    );
    Ok(())
}

/// A queue that flows: each message is settled shortly after it came.
fn consumed_at_once(directory: &Scratch) -> Result<(), Error> {
    let bench = Bench::open(directory, "flow")?;
    let start = Instant::now();
    let mut batch = Batch::default();
    for record in 0..40_000_u64 {
        let last = bench.enqueue(record * 50, 50)?;
        batch.settle(QUEUE, &[PositionRange::new(record * 50, record * 50 + 49)]);
        bench.store.append(&mut batch)?;
        bench.watch.wait_for(LogPosition(last.0.saturating_sub(40)));
    }
    let took = start.elapsed();
    let moved = bench.watch.moved();
    println!(
        "enqueued and settled: {:.0} messages/s, {moved} times something moved, {:.0} ms of CPU",
        per_second(2_000_000, took),
        cpu().as_secs_f64() * 1e3,
    );
    Ok(())
}

/// A queue that nobody consumes, then a restart, then everything read back.
fn backlog(directory: &Scratch, messages: u64) -> Result<(), Error> {
    let bench = Bench::open(directory, "backlog")?;
    let (start, cpu_before) = (Instant::now(), cpu());
    for record in 0..messages / 50 {
        let last = bench.enqueue(record * 50, 50)?;
        bench.watch.wait_for(LogPosition(last.0.saturating_sub(20)));
    }
    let took = start.elapsed();
    drop(bench);
    let used = (cpu() - cpu_before).as_nanos() as f64 / messages as f64;
    let disk = Arc::new(directory.folder("backlog"));
    let octets: u64 = disk.list().unwrap_or_default().iter().map(|name| length(&disk, name)).sum();
    println!(
        "backlog of {messages}: {:.0} messages/s, {used:.0} ns of CPU each, {} octets of disk each",
        per_second(messages, took),
        octets / messages,
    );

    let start = Instant::now();
    let (store, recovered) = Store::open(disk, Options::default())?;
    let opened = start.elapsed();
    let report = recovered.report.clone();
    let replayed = recovered.records.count();
    println!(
        "restart: opened in {opened:.1?}, {replayed} records replayed in {:.1?}, {} segments",
        start.elapsed() - opened,
        report.segments,
    );
    let (start, mut from, mut count) = (Instant::now(), Position(0), 0);
    while let Some(read) = store.read(QUEUE, from)? {
        count += read.len() as u64;
        from = read.last().map_or(from, |last| Position(last.position.0 + 1));
    }
    println!("read back {count}: {:.0} messages/s", per_second(count, start.elapsed()));
    Ok(())
}

struct Bench {
    store: Store,
    watch: Arc<Watch>,
    _committer: Committer,
}

impl Bench {
    fn open(directory: &Scratch, name: &str) -> Result<Self, Error> {
        let disk = Arc::new(directory.folder(name));
        let (store, _) = Store::open(disk, Options { identity: 1, ..Options::default() })?;
        let watch = Arc::new(Watch::default());
        let witness = Arc::clone(&watch) as Arc<dyn Witness>;
        let committer = committer::start(&store, witness).expect("threads can be started");
        Ok(Self { store, watch, _committer: committer })
    }

    fn enqueue(&self, position: u64, count: u64) -> Result<LogPosition, Error> {
        let mut batch = Batch::default();
        for position in position..position + count {
            batch.enqueue(&[(QUEUE, Position(position))], &[&MESSAGE]);
        }
        self.store.append(&mut batch)
    }
}

/// What the store has told.
#[derive(Default)]
struct Watch {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    durable: LogPosition,
    syncs: u64,
    moved: usize,
    failure: Option<Error>,
}

impl Watch {
    fn wait_for(&self, position: LogPosition) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = |told: &mut Told| told.durable < position && told.failure.is_none();
        let told = self.changed.wait_while(told, behind).unwrap_or_else(PoisonError::into_inner);
        assert!(told.failure.is_none(), "{:?}", told.failure);
    }

    fn syncs(&self) -> u64 {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).syncs
    }

    fn moved(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).moved
    }

    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Witness for Watch {
    fn durable(&self, up_to: LogPosition) {
        self.tell(|told| {
            told.durable = up_to;
            told.syncs += 1;
        });
    }

    fn moved(&self, moved: &[Moved]) {
        self.tell(|told| told.moved += moved.len());
    }

    fn full(&self, error: &Error) {
        self.failed(error);
    }

    fn failed(&self, error: &Error) {
        self.tell(|told| told.failure = Some(error.clone()));
    }
}

/// A directory for the benchmark alone, beside what cargo builds, where a real disk is likely.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let parent = env::var_os("LEVERET_BENCH_DIRECTORY")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        Self(parent.join(format!("journal-bench-{}", process::id())))
    }

    fn folder(&self, name: &str) -> Folder {
        Folder::create(self.0.join(name)).expect("the benchmark may make directories")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn length(folder: &Folder, name: &str) -> u64 {
    folder.open(name).and_then(|file| file.length()).unwrap_or(0)
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn latencies(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1_000];
    println!("{name}: p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}", at(500), at(990), at(999));
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
