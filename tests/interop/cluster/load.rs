//! Publishers with confirms and consumers with acks, one of each on every node, and what they saw.

use super::nodes::Nodes;
use crate::{lapin_words::persistent, lasting::wait_until};
use futures_lite::StreamExt;
use lapin::{Channel, Connection, ConnectionProperties, PublisherConfirm, options::*};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

const WINDOW: usize = 50;
/// Between two messages of a publisher, so that all nodes and clients share the machine.
const BREATH: Duration = Duration::from_millis(2);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// A confirm, or a connection, that takes longer is stuck.
const STUCK: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) confirmed: BTreeSet<String>,
    pub(super) delivered: BTreeSet<String>,
    /// What has been delivered without `redelivered`.
    fresh: BTreeSet<String>,
    pub(super) faults: Vec<String>,
}

pub(super) struct Load {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Common {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    url: String,
    queue: &'static str,
}

impl Load {
    pub(super) fn start(nodes: &Nodes, queue: &'static str) -> Self {
        let (ledger, stop) = <(Arc<Mutex<Ledger>>, Arc<AtomicBool>)>::default();
        let common = |node| {
            let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
            Common { ledger, stop, url: nodes.url(node), queue }
        };
        let publishers = (0..3).map(|node| tokio::spawn(publish(common(node), node))).collect();
        let consumers = (0..3).map(|node| tokio::spawn(consume(common(node)))).collect();
        Self { ledger, stop, publishers, consumers }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Waits until so many more messages are confirmed.
    pub(super) async fn confirms(&self, more: usize) {
        let goal = self.ledger().confirmed.len() + more;
        let deadline = Instant::now() + STUCK;
        while self.ledger().confirmed.len() < goal {
            assert!(Instant::now() < deadline, "confirms do not come any more");
            wait_until(Instant::now() + BREATH).await;
        }
    }

    /// Publishers come to their end, and what is confirmed must arrive.
    pub(super) async fn end(mut self) {
        self.stop.store(true, Relaxed);
        for publisher in self.publishers.drain(..) {
            timeout(STUCK, publisher).await.expect("it is not stuck").expect("it does not panic");
        }
        let deadline = Instant::now() + STUCK;
        let missing = |ledger: &Ledger| ledger.confirmed.difference(&ledger.delivered).count();
        while missing(&self.ledger()) > 0 && Instant::now() < deadline {
            wait_until(Instant::now() + BREATH).await;
        }
        self.consumers.iter().for_each(JoinHandle::abort);
        let ledger = self.ledger();
        assert_eq!(missing(&ledger), 0, "of {} confirmed", ledger.confirmed.len());
        assert!(ledger.faults.is_empty(), "{:?}", ledger.faults);
    }
}

async fn publish(common: Common, node: usize) {
    let mut number = 0;
    while !common.stop.load(Relaxed) {
        let Some(channel) = connect(&common).await else { continue };
        let mut waiting = VecDeque::new();
        // Whatever it says: the next connection goes on behind what is unconfirmed.
        let _lost = publish_on(&channel, &common, (node, &mut number), &mut waiting).await;
    }
}

async fn publish_on(
    channel: &Channel,
    common: &Common,
    (node, number): (usize, &mut u64),
    waiting: &mut VecDeque<(String, PublisherConfirm)>,
) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    while !common.stop.load(Relaxed) {
        *number += 1;
        let body = format!("{node} {number}");
        let options = BasicPublishOptions::default();
        let (queue, properties) = (common.queue.into(), persistent());
        let sent = channel.basic_publish("".into(), queue, options, body.as_bytes(), properties);
        waiting.push_back((body.clone(), sent.await?));
        while waiting.len() >= WINDOW {
            hear(common, waiting).await?;
        }
        wait_until(Instant::now() + BREATH).await;
    }
    while !waiting.is_empty() {
        hear(common, waiting).await?;
    }
    Ok(())
}

async fn hear(
    common: &Common,
    waiting: &mut VecDeque<(String, PublisherConfirm)>,
) -> lapin::Result<()> {
    let Some((body, confirm)) = waiting.pop_front() else { return Ok(()) };
    let Ok(confirmation) = timeout(STUCK, confirm).await else {
        lock(&common.ledger).faults.push(format!("{body} is never confirmed"));
        return Ok(());
    };
    if confirmation?.is_ack() {
        lock(&common.ledger).confirmed.insert(body);
    }
    Ok(())
}

async fn consume(common: Common) {
    loop {
        let Some(channel) = connect(&common).await else { continue };
        // It is lost with its node, and connects again.
        let _lost = consume_on(&channel, &common).await;
    }
}

async fn consume_on(channel: &Channel, common: &Common) -> lapin::Result<()> {
    channel.basic_qos(20, BasicQosOptions::default()).await?;
    let (options, arguments) = <(BasicConsumeOptions, lapin::types::FieldTable)>::default();
    let consumer = channel.basic_consume(common.queue.into(), "".into(), options, arguments);
    let mut deliveries = consumer.await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let body = String::from_utf8_lossy(&delivery.data).into_owned();
        {
            let mut ledger = lock(&common.ledger);
            ledger.delivered.insert(body.clone());
            // The first delivery may come last: a node that stood still had it.
            if !delivery.redelivered && !ledger.fresh.insert(body.clone()) {
                ledger.faults.push(format!("{body} comes again and does not say so"));
            }
        }
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

async fn connect(common: &Common) -> Option<Channel> {
    let opened = async {
        let properties = ConnectionProperties::default();
        Connection::connect(&common.url, properties).await?.create_channel().await
    };
    if let Ok(Ok(channel)) = timeout(STUCK, opened).await {
        return Some(channel);
    }
    wait_until(Instant::now() + RETRY).await;
    None
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
