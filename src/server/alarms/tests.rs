//! Alarms by figures that a test moves, and what a client over a socket sees of them.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    config::Limit,
    net::Clock,
    server::{Server, tests::Scratch},
};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine of 1000 octets.
struct Dials {
    used: AtomicU64,
    free: AtomicU64,
    is_known: AtomicBool,
}

impl Dials {
    fn new(used: u64, free: u64) -> Arc<Self> {
        let (used, free) = (AtomicU64::new(used), AtomicU64::new(free));
        Arc::new(Self { used, free, is_known: AtomicBool::new(true) })
    }

    fn set(&self, used: u64, free: u64) {
        self.used.store(used, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
    }

    fn if_known(&self, figure: u64) -> Option<u64> {
        self.is_known.load(Ordering::Relaxed).then_some(figure)
    }
}

impl Gauges for Dials {
    fn memory_limit(&self) -> Option<u64> {
        self.if_known(1000)
    }

    fn memory_used(&self) -> Option<u64> {
        self.if_known(self.used.load(Ordering::Relaxed))
    }

    fn disk_free(&self) -> Option<u64> {
        self.if_known(self.free.load(Ordering::Relaxed))
    }
}

/// Alarms above 400 octets of memory and below 50 of disk.
fn config() -> Config {
    Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        data_dir: Some(std::env::temp_dir()),
        disk_free_limit: Limit::Absolute(50),
        memory_monitor_interval_ms: 1,
        ..Config::default()
    }
}

fn alarms(config: &Config, dials: &Dials) -> Alarms {
    Alarms::new(config, Arc::new(Clients::new(Clock::start())), dials)
}

impl Alarms {
    fn look(&self, dials: &Dials) -> Option<&'static str> {
        self.look_at_memory(dials);
        self.look_at_disk(dials);
        self.reason()
    }
}

#[test]
fn a_limit_that_is_reached_is_not_yet_crossed() {
    let dials = Dials::new(400, 50);
    let alarms = alarms(&config(), &dials);
    let check = |used, free, reason| {
        dials.set(used, free);
        assert_eq!(alarms.look(&dials), reason, "{used} used, {free} free");
    };
    check(400, 50, None);
    check(401, 50, Some("low on memory"));
    check(401, 49, Some("low on disk & memory"));
    check(400, 49, Some("low on disk"));
    check(400, 50, None);
}

#[test]
fn an_alarm_may_be_on_from_the_start() {
    assert_eq!(alarms(&config(), &Dials::new(401, 50)).reason(), Some("low on memory"));
}

#[test]
fn messages_should_leave_memory_beyond_half_of_the_watermark() {
    let dials = Dials::new(200, 50);
    let alarms = alarms(&config(), &dials);
    assert!(!alarms.is_pressing());
    dials.set(201, 50);
    alarms.look(&dials);
    assert!(alarms.is_pressing());
    assert!(alarms.pressure().load(Ordering::Relaxed));
    assert_eq!(alarms.reason(), None);
}

#[test]
fn a_store_that_cannot_write_counts_whatever_room_there_is() {
    let dials = Dials::new(0, 1000);
    let alarms = alarms(&config(), &dials);
    alarms.disk_full(true);
    assert_eq!(alarms.look(&dials), Some("low on disk"));
    dials.set(0, 0);
    alarms.look(&dials);
    alarms.disk_full(false);
    assert_eq!(alarms.reason(), Some("low on disk"));
    dials.set(0, 1000);
    assert_eq!(alarms.look(&dials), None);
}

#[test]
fn what_is_not_known_raises_no_alarm_and_ends_none() {
    let dials = Dials::new(401, 0);
    let known = alarms(&config(), &dials);
    dials.is_known.store(false, Ordering::Relaxed);
    assert_eq!(known.look(&dials), Some("low on disk & memory"));
    assert_eq!(alarms(&config(), &dials).look(&dials), None);
}

#[test]
fn without_a_data_directory_the_disk_does_not_matter() {
    let config = Config { data_dir: None, ..config() };
    assert_eq!(alarms(&config, &Dials::new(0, 0)).reason(), None);
}

#[test]
fn the_disk_is_looked_at_more_often_the_nearer_its_limit_is() {
    let pause = |free| pause_for(Some(free), 50_000_000).as_millis();
    assert_eq!(pause(50_000_000), 100);
    assert_eq!(pause(0), 100);
    assert_eq!(pause(550_000_000), 1000);
    assert_eq!(pause(u64::MAX), 10_000);
    assert_eq!(pause_for(None, 0), LONGEST_PAUSE);
}

/// A client that understands `connection.blocked`.
struct Client(TcpStream);

impl Client {
    async fn open(server: &Server) -> Self {
        let mut client = Self(TcpStream::connect(server.addresses()[0]).await.unwrap());
        client.0.write_all(&opening()).await.unwrap();
        client.read_until(&[0, 10, 0, 41]).await;
        client.read_until(&[0, 20, 0, 11]).await;
        client
    }

    /// Publishes to a queue that nobody has, and asks whether that has been handled.
    async fn publish(&mut self) {
        let publish = frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'x', 0]);
        let header = frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let qos = frame(1, 1, &[0, 60, 0, 10, 0, 0, 0, 0, 0, 1, 0]);
        self.0.write_all(&[publish, header, qos].concat()).await.unwrap();
    }

    async fn read_until(&mut self, wanted: &[u8]) {
        let read = async {
            let mut read = Vec::new();
            while !read.ends_with(wanted) {
                read.push(self.0.read_u8().await.expect("the broker has hung up"));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the broker is silent");
    }

    async fn is_blocked(&mut self, reason: &str) {
        let length = u8::try_from(reason.len()).unwrap();
        self.read_until(&[&[0, 10, 0, 60, length][..], reason.as_bytes()].concat()).await;
    }

    async fn is_unblocked(&mut self) {
        self.read_until(&[0, 10, 0, 61, 0xCE]).await;
        self.read_until(&[0, 60, 0, 11, 0xCE]).await;
    }
}

fn opening() -> Vec<u8> {
    let capability = b"\x12connection.blockedt\x01";
    let size = u8::try_from(capability.len()).unwrap();
    let properties = [b"\x0ccapabilitiesF\0\0\0", &[size][..], capability].concat();
    let size = u8::try_from(properties.len()).unwrap();
    let plain = b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    let start_ok = [&[0, 10, 0, 11, 0, 0, 0, size][..], &properties, plain].concat();
    [
        b"AMQP\0\0\x09\x01".to_vec(),
        frame(1, 0, &start_ok),
        frame(1, 0, &[0, 10, 0, 31, 0, 100, 0, 2, 0, 0, 0, 0]),
        frame(1, 0, &[0, 10, 0, 40, 1, b'/', 0, 0]),
        frame(1, 1, &[0, 20, 0, 10, 0]),
    ]
    .concat()
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, channel][..], &size, payload, &[0xCE]].concat()
}

#[tokio::test]
async fn who_publishes_is_blocked_until_all_alarms_are_over() {
    let dials = Dials::new(0, 1000);
    let scratch = Scratch::new();
    let config = Config { data_dir: Some(scratch.0.clone()), ..config() };
    let server = Server::start_beside(&config, dials.clone()).await.unwrap();
    let mut early = Client::open(&server).await;
    early.publish().await;
    early.read_until(&[0, 60, 0, 11, 0xCE]).await;

    dials.set(401, 0);
    let mut second = Client::open(&server).await;
    until(|| server.alarms().reason() == Some("low on disk & memory")).await;
    early.publish().await;
    early.is_blocked("low on disk & memory").await;

    dials.set(401, 1000);
    until(|| server.alarms().reason() == Some("low on memory")).await;
    second.publish().await;
    second.is_blocked("low on memory").await;
    // Who comes while an alarm is on learns of it as well.
    let mut late = Client::open(&server).await;
    late.publish().await;
    late.is_blocked("low on memory").await;

    dials.set(0, 1000);
    for client in [&mut early, &mut second, &mut late] {
        client.is_unblocked().await;
        client.publish().await;
        client.read_until(&[0, 60, 0, 11, 0xCE]).await;
    }
}

#[tokio::test]
async fn a_store_that_cannot_write_blocks_who_publishes() {
    let scratch = Scratch::new();
    let config = Config { data_dir: Some(scratch.0.clone()), ..config() };
    let server = Server::start_beside(&config, Dials::new(0, 1000)).await.unwrap();
    let mut client = Client::open(&server).await;
    server.alarms().disk_full(true);
    client.publish().await;
    client.is_blocked("low on disk").await;
    server.alarms().disk_full(false);
    client.is_unblocked().await;
}

/// Waits until the watchers have seen what the dials say.
async fn until(is_so: impl Fn() -> bool) {
    let seen = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the dials are not looked at");
}
