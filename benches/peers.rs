//! What frames between two nodes cost: sent by one, taken by the other, over loopback. Prints
//! frames and octets per second, and microseconds of processor time per frame for both nodes
//! together.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use leveret::{
    cluster::{
        NodeNumber,
        detector::{Patience, Why},
    },
    net::peers::{
        Answering, Class, Credentials, Handler, Introduction, Limits, Member, NodeTls, Peers,
        Pulse, Question, Received, Secret, Settings, VERSIONS,
    },
    net::tls::{Authority, Identity, Lifetime, NodeFiles},
};
use tokio::{net::TcpListener, sync::Notify};

const SENDER: NodeNumber = NodeNumber(1);
const TAKER: NodeNumber = NodeNumber(2);
/// Octets that are on their way at most.
const WINDOW: usize = 8 << 20;
/// Octets of one measurement.
const TOTAL: usize = 2 << 30;
const MOST_FRAMES: usize = 2_000_000;

/// Counts what arrives.
#[derive(Default)]
struct Counter {
    taken: AtomicUsize,
    /// Wakes the sender when so many have been taken.
    wanted: AtomicUsize,
    reached: Notify,
    connected: Notify,
}

impl Counter {
    async fn until(&self, count: usize) {
        self.wanted.store(count, Ordering::SeqCst);
        while self.taken.load(Ordering::SeqCst) < count {
            self.reached.notified().await;
        }
    }
}

impl Handler for Counter {
    fn received(&self, _: Received) {
        let taken = self.taken.fetch_add(1, Ordering::SeqCst) + 1;
        if taken == self.wanted.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }

    fn connected(&self, _: NodeNumber, class: Class) {
        if class == Class::Data {
            self.connected.notify_one();
        }
    }

    fn up(&self, _: NodeNumber, _: u64) {}

    fn down(&self, _: NodeNumber, _: Why) {}

    fn heartbeat(&self) -> Pulse {
        Pulse::default()
    }

    fn heard(&self, _: NodeNumber, _: Bytes) {}

    fn asked(&self, _: Question) -> Answering {
        Box::pin(async { Err("nothing is answered here".to_owned()) })
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system has threads");
    let secret = Some(Secret::new(b"a secret of both"));
    let plain = Credentials { tls: None, secret: secret.clone() };
    let secured = Credentials { tls: Some(tls()), secret };
    for (name, credentials) in [("plain", plain), ("TLS", secured)] {
        for size in [64, 1 << 10, 64 << 10, 1 << 20] {
            runtime.block_on(measure(name, &credentials, size));
        }
    }
}

async fn measure(name: &str, credentials: &Credentials, size: usize) {
    let (sender, from) = (Arc::new(Counter::default()), listener().await);
    let (taker, to) = (Arc::new(Counter::default()), listener().await);
    let members: BTreeMap<_, _> = [member(SENDER, &from), member(TAKER, &to)].into();
    let start = |node, listener, handler| {
        let me = Introduction {
            cluster: 1,
            node,
            name: "rabbit@localhost".to_owned(),
            incarnation: 1,
            versions: VERSIONS,
        };
        let settings = Settings {
            me,
            listener,
            credentials: credentials.clone(),
            members: members.clone(),
            patience: Patience::default(),
            limits: Limits::default(),
        };
        Peers::start(settings, handler)
    };
    let there = start(TAKER, to, Arc::clone(&taker) as Arc<dyn Handler>);
    let here = start(SENDER, from, Arc::clone(&sender) as Arc<dyn Handler>);
    sender.connected.notified().await;

    let (window, frames) = (WINDOW / size, MOST_FRAMES.min(TOTAL / size));
    let payload = [Bytes::from(vec![7; size])];
    let (began, busy) = (Instant::now(), processor_time());
    let mut sent = 0;
    while sent < frames {
        for _ in 0..window / 2 {
            here.send(TAKER, Class::Data, 1, &payload).expect("the window is small enough");
        }
        sent += window / 2;
        taker.until(sent.saturating_sub(window / 2)).await;
    }
    taker.until(sent).await;
    let (seconds, busy) = (began.elapsed().as_secs_f64(), processor_time() - busy);
    let (each, rate) = (busy.as_secs_f64() * 1e6 / sent as f64, sent as f64 / seconds);
    let mebibytes = rate * size as f64 / f64::from(1 << 20);
    println!("{name:6} {size:8} B  {rate:10.0}/s  {mebibytes:7.0} MiB/s  {each:8.2} µs/frame");
    here.stop().await;
    there.stop().await;
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("there is a free port")
}

fn member(node: NodeNumber, listener: &TcpListener) -> (NodeNumber, Member) {
    let address = listener.local_addr().expect("it is bound").to_string();
    (node, Member { name: "rabbit@localhost".to_owned(), address })
}

fn tls() -> Arc<NodeTls> {
    let directory = std::env::temp_dir().join(format!("leveret-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("there is room for a directory");
    let authority = Authority::new(Lifetime::days(1)).expect("names are fine");
    let pair = authority.issue(Identity::Node("localhost"), Lifetime::days(1));
    let pair = pair.expect("names are fine");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("there is room for a file");
        path
    };
    let files = NodeFiles {
        authorities: write("ca", &authority.pair().certificate),
        certificate: write("certificate", &pair.certificate),
        key: write("key", &pair.key),
    };
    let tls = NodeTls::new(files).expect("the files are good");
    std::fs::remove_dir_all(&directory).expect("the files are ours");
    Arc::new(tls)
}

/// Of the whole process, in steps of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
