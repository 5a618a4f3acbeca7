//! Nodes that talk to each other over real sockets, through networks that tests cut.

mod doors;
mod exchange;
mod faults;
mod proxy;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{timeout, timeout_at},
};

use super::*;
use crate::cluster::detector::{Patience, Why};

const CLUSTER: u128 = 0xC1;
const A: NodeNumber = NodeNumber(1);
const B: NodeNumber = NodeNumber(2);
const C: NodeNumber = NodeNumber(3);

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a handler was told.
#[derive(Debug)]
enum Event {
    Received(Received),
    Connected(NodeNumber, Class),
    Broken(NodeNumber, Class),
    Up(NodeNumber, u64),
    Down(NodeNumber, Why),
    Heard(NodeNumber, Bytes),
}

/// Writes down what it is told.
struct Recorder {
    events: UnboundedSender<Event>,
    pulse: Mutex<Pulse>,
}

impl Recorder {
    fn tell(&self, event: Event) {
        let _the_test_may_be_over = self.events.send(event);
    }
}

impl Handler for Recorder {
    fn received(&self, frame: Received) {
        self.tell(Event::Received(frame));
    }

    fn connected(&self, to: NodeNumber, class: Class) {
        self.tell(Event::Connected(to, class));
    }

    fn broken(&self, to: NodeNumber, class: Class) {
        self.tell(Event::Broken(to, class));
    }

    fn up(&self, node: NodeNumber, incarnation: u64) {
        self.tell(Event::Up(node, incarnation));
    }

    fn down(&self, node: NodeNumber, why: Why) {
        self.tell(Event::Down(node, why));
    }

    fn heartbeat(&self) -> Pulse {
        self.pulse.lock().unwrap().clone()
    }

    fn heard(&self, from: NodeNumber, payload: Bytes) {
        self.tell(Event::Heard(from, payload));
    }

    fn asked(&self, question: Question) -> Answering {
        Box::pin(async move {
            match &question.payload[..] {
                b"no" => Err(format!("not for {}", question.name)),
                _ => Ok([&question.payload[..], b"!"].concat().into()),
            }
        })
    }
}

/// A node to be, whose address is known before it starts.
struct Plan {
    me: Introduction,
    listener: TcpListener,
    address: String,
    credentials: Credentials,
    limits: Limits,
    patience: Patience,
}

/// A node, and what its handler is told.
struct Node {
    peers: Peers,
    address: String,
    recorder: Arc<Recorder>,
    events: UnboundedReceiver<Event>,
}

fn name(node: NodeNumber) -> String {
    format!("rabbit@host{node}")
}

fn introduction(node: NodeNumber) -> Introduction {
    Introduction { cluster: CLUSTER, node, name: name(node), incarnation: 1, versions: VERSIONS }
}

fn member(node: NodeNumber, address: &str) -> (NodeNumber, Member) {
    (node, Member { name: name(node), address: address.to_owned() })
}

impl Plan {
    async fn new(node: NodeNumber) -> Self {
        Self::at(node, "127.0.0.1:0").await
    }

    async fn at(node: NodeNumber, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self {
            me: introduction(node),
            listener,
            address,
            credentials: Credentials::default(),
            limits: Limits::default(),
            patience: Patience::default(),
        }
    }

    /// Starts with these other nodes.
    fn start(self, others: impl IntoIterator<Item = (NodeNumber, Member)>) -> Node {
        let (events, receiver) = unbounded_channel();
        let recorder = Arc::new(Recorder { events, pulse: Mutex::default() });
        let handler = Arc::clone(&recorder);
        let settings = Settings {
            me: self.me,
            listener: self.listener,
            credentials: self.credentials,
            members: others.into_iter().collect(),
            patience: self.patience,
            limits: self.limits,
        };
        let peers = Peers::start(settings, handler);
        Node { peers, address: self.address, recorder, events: receiver }
    }
}

impl Node {
    /// Waits for an event for which `wanted` has something; what comes before it is forgotten.
    async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let event = timeout_at(deadline, self.events.recv()).await;
            let event = event.expect("it comes about in time").expect("the recorder lives as long");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    async fn until_connected(&mut self, node: NodeNumber, class: Class) {
        self.until(|event| match event {
            Event::Connected(to, of) if (to, of) == (node, class) => Some(()),
            _ => None,
        })
        .await;
    }

    async fn until_broken(&mut self, node: NodeNumber, class: Class) {
        self.until(|event| match event {
            Event::Broken(to, of) if (to, of) == (node, class) => Some(()),
            _ => None,
        })
        .await;
    }

    async fn until_up(&mut self, node: NodeNumber) -> u64 {
        self.until(|event| match event {
            Event::Up(up, incarnation) if up == node => Some(incarnation),
            _ => None,
        })
        .await
    }

    async fn until_down(&mut self, node: NodeNumber) -> Why {
        self.until(|event| match event {
            Event::Down(down, why) if down == node => Some(why),
            _ => None,
        })
        .await
    }

    async fn next_frame(&mut self) -> Received {
        self.until(|event| match event {
            Event::Received(frame) => Some(frame),
            _ => None,
        })
        .await
    }

    /// Waits until everything can be sent to all of these.
    async fn until_open(&mut self, nodes: &[NodeNumber]) {
        let mut missing: Vec<_> =
            nodes.iter().flat_map(|node| Class::ALL.map(|class| (*node, class))).collect();
        self.until(|event| {
            if let Event::Connected(to, class) = event {
                missing.retain(|wanted| *wanted != (to, class));
            }
            missing.is_empty().then_some(())
        })
        .await;
    }
}

/// Two nodes that know each other, as `change` wants them.
async fn pair(change: impl Fn(&mut Plan)) -> (Node, Node) {
    let (mut a, mut b) = (Plan::new(A).await, Plan::new(B).await);
    change(&mut a);
    change(&mut b);
    let (to_a, to_b) = (member(A, &a.address), member(B, &b.address));
    (a.start([to_b]), b.start([to_a]))
}
