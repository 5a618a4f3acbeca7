//! Publishes and consumes while nodes of a cluster die, and draws what happens.
//!
//! ```sh
//! leveret cluster start-local 3 /tmp/three --restart &
//! cargo run --example failover -- /tmp/three       # kill -9 a node now and then
//! ```
//!
//! One column for each publisher and consumer, one line for each tenth of a second.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    collections::HashSet,
    env, fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::*,
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout};

const QUEUE: &str = "failover";
const LINE: Duration = Duration::from_millis(100);
const PACE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// What one client has done since the last line.
#[derive(Default)]
struct Tally {
    /// Confirmed by a publisher, delivered to a consumer.
    done: AtomicU64,
    redelivered: AtomicU64,
    /// The node that it is connected to, from 1; 0 while it looks for one.
    node: AtomicU64,
}

/// What all clients share.
#[derive(Default)]
struct Ledger {
    confirmed: Mutex<HashSet<String>>,
    delivered: Mutex<HashSet<String>>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "/tmp/three".to_owned());
    let seconds = env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(30);
    let urls = nodes_in(&folder)?;
    let ledger = Arc::new(Ledger::default());
    let mut clients = Vec::new();
    for place in 0..urls.len() {
        for publishes in [true, false] {
            let tally = Arc::<Tally>::default();
            let name = format!("{} {}", if publishes { "pub" } else { "con" }, place + 1);
            clients.push((name, Arc::clone(&tally)));
            let (urls, ledger) = (urls.clone(), Arc::clone(&ledger));
            tokio::spawn(live((urls, place), publishes, tally, ledger));
        }
    }
    println!("node:messages of 100 ms; +n of them redelivered; ~ looks for a node; * just moved");
    draw(&clients, Duration::from_secs(seconds)).await;
    let confirmed = set(&ledger.confirmed).clone();
    let missing = confirmed.difference(&set(&ledger.delivered)).count();
    println!("{} confirmed; {missing} of them not delivered yet", confirmed.len());
    Ok(())
}

/// The nodes that `leveret cluster start-local` has made there.
fn nodes_in(folder: &str) -> std::io::Result<Vec<String>> {
    let mut urls = Vec::new();
    for number in 1.. {
        let Ok(text) = fs::read_to_string(format!("{folder}/node{number}/leveret.conf")) else {
            break;
        };
        let listener = text.lines().find_map(|line| line.strip_prefix("listeners.tcp.1 = "));
        urls.extend(listener.map(|address| format!("amqp://guest:guest@{address}/%2f")));
    }
    match urls.is_empty() {
        true => Err(std::io::Error::other(format!("there is no cluster in {folder}"))),
        false => Ok(urls),
    }
}

async fn draw(clients: &[(String, Arc<Tally>)], span: Duration) {
    let names: Vec<_> = clients.iter().map(|(name, _)| format!("{name:<12}")).collect();
    println!("{:>7}  {}", "s", names.concat());
    let begin = Instant::now();
    let mut before: Vec<u64> = clients.iter().map(|_| 0).collect();
    while begin.elapsed() < span {
        pause(LINE).await;
        let mut line = format!("{:>7.1}  ", begin.elapsed().as_secs_f32());
        for ((_, tally), before) in clients.iter().zip(&mut before) {
            let node = tally.node.load(Relaxed);
            let (done, again) = (tally.done.swap(0, Relaxed), tally.redelivered.swap(0, Relaxed));
            let moved = if *before != 0 && node != 0 && node != *before { "*" } else { "" };
            let cell = match (node, again) {
                (0, _) => "~".to_owned(),
                (_, 0) => format!("{node}:{done}{moved}"),
                _ => format!("{node}:{done}+{again}{moved}"),
            };
            *before = if node == 0 { *before } else { node };
            line += &format!("{cell:<12}");
        }
        println!("{line}");
    }
}

/// Connects to its node, and to the next one whenever that is lost.
async fn live(
    (urls, first): (Vec<String>, usize),
    publishes: bool,
    tally: Arc<Tally>,
    ledger: Arc<Ledger>,
) {
    for turn in first.. {
        let place = turn % urls.len();
        tally.node.store(0, Relaxed);
        let opened = async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&urls[place], properties).await?;
            let channel = connection.create_channel().await?;
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            channel.queue_declare(QUEUE.into(), options, arguments).await?;
            lapin::Result::Ok(channel)
        };
        if let Ok(Ok(channel)) = timeout(PATIENCE, opened).await {
            tally.node.store(place as u64 + 1, Relaxed);
            // It ends with an error: the node is lost, and the next one's turn has come.
            let _lost = match publishes {
                true => publish(&channel, (first, turn), &tally, &ledger).await,
                false => consume(&channel, &tally, &ledger).await,
            };
        }
        pause(LINE).await;
    }
}

async fn publish(
    channel: &Channel,
    (publisher, turn): (usize, usize),
    tally: &Tally,
    ledger: &Ledger,
) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for number in 0.. {
        let body = format!("{publisher} {turn} {number}");
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), persistent);
        if sent.await?.await?.is_ack() {
            set(&ledger.confirmed).insert(body);
            tally.done.fetch_add(1, Relaxed);
        }
        pause(PACE).await;
    }
    Ok(())
}

async fn consume(channel: &Channel, tally: &Tally, ledger: &Ledger) -> lapin::Result<()> {
    channel.basic_qos(50, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default());
    let mut deliveries = consumer.await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let body = String::from_utf8_lossy(&delivery.data).into_owned();
        set(&ledger.delivered).insert(body);
        tally.done.fetch_add(1, Relaxed);
        tally.redelivered.fetch_add(delivery.redelivered.into(), Relaxed);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

fn set(set: &Mutex<HashSet<String>>) -> std::sync::MutexGuard<'_, HashSet<String>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pause(duration: Duration) {
    let _nothing_else_ends_it = timeout(duration, std::future::pending::<()>()).await;
}
