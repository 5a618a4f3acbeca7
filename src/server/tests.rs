//! A node and its data directory: who may use it, and what becomes of a node whose disk fails.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    broker::{Journal, Timer},
    model::{Batch, LogPosition, QueueId},
    store::{
        Options, Store,
        disk::{
            file::Folder,
            memory::{Faults, MemoryDisk},
        },
    },
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A directory that goes when the test ends.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leveret-server-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn config(&self) -> Config {
        Config { data_dir: Some(self.0.clone()), ..config() }
    }

    fn open(&self) -> Store {
        let folder = Arc::new(Folder::create(&self.0).unwrap());
        Store::open(folder, Options::default()).unwrap().0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn config() -> Config {
    Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Config::default() }
}

fn append(store: &Store) -> LogPosition {
    let mut batch = Batch::default();
    batch.forget(QueueId(1));
    store.append(&mut batch).unwrap()
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let server = Server::start(&config()).await.unwrap();
    let mut client = TcpStream::connect(server.addresses()[0]).await.unwrap();
    client.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
    client.read_u8().await.unwrap();
    drop(server);
    let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_server_until_it_has_stopped() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch.config()).await.unwrap();
    let mut client = TcpStream::connect(server.addresses()[0]).await.unwrap();
    client.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
    client.read_u8().await.unwrap();
    let refused = Server::start(&scratch.config()).await.unwrap_err().to_string();
    let path = scratch.0.display();
    assert_eq!(refused, format!("the data directory {path} is in use by another process"));
    server.stop().await;
    Server::start(&scratch.config()).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_gives_its_data_directory_up() {
    let scratch = Scratch::new();
    drop(Server::start(&scratch.config()).await.unwrap());
    let free = async {
        loop {
            match Server::start(&scratch.config()).await {
                Err(StartError::DataDirInUse { .. }) => tokio::task::yield_now().await,
                started => break started,
            }
        }
    };
    let started = tokio::time::timeout(PATIENCE, free).await.expect("its tasks end");
    started.unwrap().stop().await;
}

#[tokio::test]
async fn what_was_appended_is_written_when_a_server_stops() {
    let scratch = Scratch::new();
    let config = scratch.config();
    let timers: Arc<dyn Timer> = Arc::new(Timers::default());
    let clock = Clock::start();
    let opened = establish::open_broker(&config, timers, Arc::default(), clock).await.unwrap();
    let Opened { broker, journal, .. } = opened;
    let storage = start_storage(journal.unwrap(), &broker, &config, clock).unwrap();
    for _ in 0..100 {
        append(storage.journal().store());
    }
    let last = storage.journal().store().journal().last();
    let stopped = Arc::clone(storage.journal());
    storage.stop().await;
    assert_eq!(stopped.durable(), last);
}

#[tokio::test]
async fn a_damaged_directory_is_refused_with_its_place_unless_told_to_recover() {
    let scratch = Scratch::new();
    let store = scratch.open();
    for _ in 0..3 {
        append(&store);
        store.commit().unwrap();
    }
    drop(store);
    let is_journal = |path: &PathBuf| path.to_string_lossy().contains("journal");
    let files = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().path());
    let journal = files.filter(is_journal).min().unwrap();
    let mut octets = fs::read(&journal).unwrap();
    let second_record = 2 * 4096;
    octets[second_record + 48] ^= 1;
    fs::write(&journal, octets).unwrap();

    let refused = Server::start(&scratch.config()).await.unwrap_err().to_string();
    let file = journal.file_name().unwrap().to_string_lossy();
    assert!(refused.contains(&format!("{file} is damaged at octet {second_record}")), "{refused}");
    assert!(refused.contains("would be lost"), "{refused}");
    assert!(refused.ends_with("`--recover` starts without what is lost"), "{refused}");

    let recovering = Config { recover: true, ..scratch.config() };
    Server::start(&recovering).await.unwrap().stop().await;
    Server::start(&scratch.config()).await.unwrap().stop().await;
}

/// A store on a disk that a test can spoil, with everything that runs beside it in a node.
struct Node {
    disk: MemoryDisk,
    storage: Storage,
}

impl Node {
    fn start() -> Self {
        let disk = MemoryDisk::default();
        let (store, recovered) = Store::open(Arc::new(disk.clone()), Options::default()).unwrap();
        let journal = Arc::new(StoreJournal::new(store, recovered.last));
        let broker = make_broker(&config(), Arc::new(Timers::default())).unwrap();
        let storage = Storage::start(journal, &broker, Clock::start()).unwrap();
        Self { disk, storage }
    }

    async fn is_told_of(&self, position: LogPosition) {
        let outbox = Arc::new(Outbox::default());
        self.storage.journal().notify_when_durable(position, &outbox);
        let told = std::future::poll_fn(|context| outbox.poll(context));
        tokio::time::timeout(PATIENCE, told).await.expect("the sync is reported");
    }
}

#[tokio::test]
async fn a_waiting_connection_is_woken_by_the_sync() {
    let node = Node::start();
    let position = append(node.storage.journal().store());
    node.is_told_of(position).await;
    assert_eq!(node.storage.journal().durable(), position);
    node.storage.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_tried_until_there_is_room() {
    let node = Node::start();
    let journal = Arc::clone(node.storage.journal());
    let mut condition = journal.condition();
    node.disk.set_faults(Faults { capacity: Some(0), ..Faults::default() });
    let position = append(journal.store());
    condition.wait_for(|condition| *condition == journal::Condition::Full).await.unwrap();
    node.disk.set_faults(Faults::default());
    node.is_told_of(position).await;
    let is_over = condition.wait_for(|condition| *condition == journal::Condition::Fine);
    tokio::time::timeout(PATIENCE, is_over).await.expect("the episode ends").unwrap();
    node.storage.stop().await;
}

#[tokio::test]
async fn a_failed_store_is_told_with_its_cause_and_takes_nothing_more() {
    let node = Node::start();
    node.disk.set_faults(Faults { failure_at: Some(1), ..Faults::default() });
    let journal = Arc::clone(node.storage.journal());
    let position = append(journal.store());
    let failure = tokio::time::timeout(PATIENCE, node.storage.failed()).await;
    let text = storage::farewell(&failure.expect("the failure is told"));
    assert!(text.starts_with("the store failed: ") && text.contains("simulated"), "{text}");
    assert!(journal.durable() < position);
    let mut batch = Batch::default();
    batch.forget(QueueId(1));
    assert_eq!(journal.append(&mut batch), LogPosition::NEVER);
    assert!(batch.is_empty());
    node.storage.stop().await;
}

#[tokio::test]
async fn clients_are_sent_away_with_the_reason_when_the_store_fails() {
    let node = Node::start();
    let clients = Arc::new(Clients::new(Clock::start()));
    let stop = CancellationToken::new();
    let journal = Arc::clone(node.storage.journal());
    node.disk.set_faults(Faults { failure_at: Some(1), ..Faults::default() });
    append(journal.store());
    let sent_away = storage::send_all_away_when_failed(journal, clients, stop.clone());
    tokio::time::timeout(PATIENCE, sent_away).await.expect("the failure is told");
    assert!(stop.is_cancelled(), "nobody is accepted any more");
    node.storage.stop().await;
}
