//! The clients that load the broker, what they publish, and where it goes.

use super::{
    consumers::{Character, Consumer},
    foreign::Foreign,
    ledger::{Ledger, Number},
    publishers::Publisher,
};
use crate::{lapin_words::*, lasting::Lasting, random::Random};
use lapin::{ExchangeKind, options::QueueDeclareOptions};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// All are durable. `crash.work` has its dead letters carried to `crash.dead`.
pub(super) const QUEUES: [&str; 9] = [
    "crash.one",
    "crash.two",
    "crash.three",
    "crash.fan.0",
    "crash.fan.1",
    "crash.fan.2",
    "crash.pika",
    "crash.work",
    "crash.dead",
];
const FAN: std::ops::RangeInclusive<usize> = 3..=6;
const PIKA: usize = 6;
pub(super) const WORK: usize = 7;
pub(super) const DEAD: usize = 8;
pub(super) const EXCHANGE: &str = "crash.fan";

/// The publishers: to queues by turns, to a fan of them, to the one with dead letters, with pika.
const TURNS: usize = 0;
const FANNING: usize = 1;
const WORKING: usize = 2;
pub(super) const FOREIGN: usize = 3;

/// How long a client may take to come to its end when nothing is left to do.
const END: Duration = Duration::from_secs(20);

/// The places in [`QUEUES`] where a message goes.
pub(super) fn targets(number: Number) -> Vec<usize> {
    let Number { publisher, sequence } = number;
    match publisher {
        TURNS => vec![(sequence % 3) as usize],
        FANNING => FAN.collect(),
        WORKING if is_rejected(number) => vec![WORK, DEAD],
        WORKING => vec![WORK],
        // As `interop/crash/client.py` has it.
        _ => vec![if sequence.is_multiple_of(2) { 1 } else { PIKA }],
    }
}

/// The exchange and the routing key that bring it there.
pub(super) fn route(number: Number) -> (&'static str, &'static str) {
    match number.publisher {
        FANNING => (EXCHANGE, ""),
        _ => ("", QUEUES[targets(number)[0]]),
    }
}

/// Whether its consumer makes a dead letter of it.
pub(super) fn is_rejected(number: Number) -> bool {
    number.publisher == WORKING && number.sequence.is_multiple_of(3)
}

/// A body says what it is, and how long: `publisher sequence length|`, and then the filling.
pub(super) fn body(number: Number, length: usize) -> Vec<u8> {
    let Number { publisher, sequence } = number;
    let mut body = format!("{publisher} {sequence} {length}|").into_bytes();
    body.resize(body.len() + length, filling(sequence));
    body
}

/// The message that a body is of; `None` when an octet is wrong.
pub(super) fn read(body: &[u8]) -> Option<Number> {
    let end = body.iter().position(|octet| *octet == b'|')?;
    let mut words = std::str::from_utf8(&body[..end]).ok()?.split(' ');
    let (publisher, sequence) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let length: usize = words.next()?.parse().ok()?;
    let rest = &body[end + 1..];
    let is_whole = rest.len() == length && rest.iter().all(|octet| *octet == filling(sequence));
    is_whole.then_some(Number { publisher, sequence })
}

fn filling(sequence: u64) -> u8 {
    (sequence % 251) as u8
}

/// What every client knows.
#[derive(Clone)]
pub(super) struct Common {
    pub ledger: Ledger,
    /// The present life of the broker, and where it is.
    pub address: watch::Receiver<(usize, String)>,
    pub stop: Arc<AtomicBool>,
}

/// Returns when `life` is over and the next one has begun, which [`watch::Receiver::changed`] will
/// then say.
pub(super) async fn next_life(address: &mut watch::Receiver<(usize, String)>, life: usize) {
    if address.wait_for(|(now, _)| *now != life).await.is_ok() {
        address.mark_changed();
    }
}

/// All clients of a run.
pub(super) struct Load {
    ledger: Ledger,
    address: watch::Sender<(usize, String)>,
    stop_publishing: Arc<AtomicBool>,
    stop_consuming: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
    foreign: Option<[Foreign; 2]>,
    is_declared: bool,
}

impl Load {
    /// Starts all clients, which wait for a broker. Without `pika` (where its environment is),
    /// lapin consumes in its place.
    pub(super) fn start(
        seed: u64,
        ledger: Ledger,
        directory: &Path,
        pika: Option<PathBuf>,
    ) -> Self {
        let (address, listening) = watch::channel((0, String::new()));
        let (stop_publishing, stop_consuming) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let common = |stop: &Arc<AtomicBool>| Common {
            ledger: ledger.clone(),
            address: listening.clone(),
            stop: Arc::clone(stop),
        };
        let mut publishers = Vec::new();
        for (index, window) in [(TURNS, 200), (FANNING, 50), (WORKING, 20)] {
            let random = Random::seeded(seed ^ (1 << 40) ^ index as u64);
            let publisher = Publisher::new(common(&stop_publishing), index, window, random);
            publishers.push(tokio::spawn(publisher.run()));
        }
        let mut consumers = Vec::new();
        for (index, character) in characters(pika.is_none()).into_iter().enumerate() {
            let random = Random::seeded(seed ^ (2 << 40) ^ index as u64);
            let consumer = Consumer::new(common(&stop_consuming), index, character, random);
            consumers.push(tokio::spawn(consumer.run()));
        }
        let foreign = pika.map(|pika| {
            let start = |arguments: &[&str], consumer| {
                Foreign::start(&pika, directory, ledger.clone(), arguments, consumer)
            };
            let publishing = start(&["publish", &FOREIGN.to_string(), QUEUES[1], QUEUES[PIKA]], 0);
            [publishing, start(&["consume", QUEUES[PIKA], "30"], consumers.len())]
        });
        Self {
            ledger,
            address,
            stop_publishing,
            stop_consuming,
            publishers,
            consumers,
            foreign,
            is_declared: false,
        }
    }

    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Tells all clients of the broker. What was declared in its first life must be there in all.
    pub(super) async fn finds_its_broker(&mut self, broker: &Lasting) {
        if self.is_declared {
            self.look_for_queues(broker).await;
        } else {
            declare(broker).await;
            self.is_declared = true;
        }
        let (life, url) = (self.ledger.life(), broker.url());
        self.foreign.iter().flatten().for_each(|client| client.tell(&format!("{life} {url}")));
        self.address.send_replace((life, url));
    }

    /// Stops all publishers, once everything that they have published is confirmed.
    pub(super) async fn stop_publishers(&mut self) {
        self.stop_publishing.store(true, Relaxed);
        if let Some([publishing, _]) = &mut self.foreign {
            publishing.stop().await;
        }
        self.join(true).await;
    }

    pub(super) async fn stop_consumers(&mut self) {
        self.stop_consuming.store(true, Relaxed);
        if let Some([_, consuming]) = &mut self.foreign {
            consuming.stop().await;
        }
        self.join(false).await;
    }

    async fn join(&mut self, publishers: bool) {
        let clients = if publishers { &mut self.publishers } else { &mut self.consumers };
        for client in clients.drain(..) {
            match timeout(END, client).await {
                Ok(joined) => joined.expect("a client does not panic"),
                Err(_) => self.ledger.fault("a client does not come to its end"),
            }
        }
    }

    async fn look_for_queues(&self, broker: &Lasting) {
        let channel = open_channel(broker).await;
        for queue in QUEUES {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let declared = channel.queue_declare(queue.into(), options, table([])).await;
            if let Err(error) = declared {
                return self.ledger.fault(&format!("{queue} is gone: {error}"));
            }
        }
    }
}

async fn declare(broker: &Lasting) {
    let channel = open_channel(broker).await;
    for (place, queue) in QUEUES.into_iter().enumerate() {
        let dying = [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(QUEUES[DEAD])),
        ];
        if place == WORK {
            durable_with(&channel, queue, dying).await;
        } else {
            durable(&channel, queue).await;
        }
    }
    declare_exchange(&channel, EXCHANGE, ExchangeKind::Fanout, true).await;
    for place in FAN {
        bind(&channel, QUEUES[place], EXCHANGE, "", []).await;
    }
}

fn characters(with_all_queues: bool) -> Vec<Character> {
    let of =
        |queue, prefetch, acks_every, requeues| Character { queue, prefetch, acks_every, requeues };
    let mut characters = vec![
        of(0, 1, 1, false),
        of(1, 100, 10, false),
        of(2, 10, 1, true),
        of(2, 10, 3, true),
        of(3, 0, 50, false),
        of(4, 50, 5, false),
        of(5, 7, 1, false),
        of(WORK, 20, 1, false),
        of(DEAD, 5, 1, false),
    ];
    if with_all_queues {
        characters.push(of(PIKA, 30, 1, false));
    }
    characters
}

/// A file that a reader never sees half written.
pub(super) fn write_whole(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("the directory is ours");
    fs::rename(&new, path).expect("the directory is ours");
}
