//! The broker in this process, with a clock that stands still until a scenario waits.

use super::{Arrival, Peer, Server};
use leveret::{
    config::{self, Config},
    model::Moment,
    testing::{LineId, Node},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// A moment to begin at; scenarios see it in the seconds of `x-death`.
const BEGINNING: Duration = Duration::from_secs(1_700_000_000);

pub struct VirtualPeer {
    node: Node,
    lines: BTreeMap<String, LineId>,
    early: BTreeMap<String, Vec<u8>>,
    /// What an operator does when the scenario waits, one at a time.
    pub meanwhile: VecDeque<Operation>,
}

type Operation = Box<dyn FnOnce(&Node)>;

impl VirtualPeer {
    /// A broker with these lines of configuration.
    pub fn new(configuration: &str) -> Self {
        let mut config = Config::default();
        config::apply(configuration, &mut config).expect("settings of a scenario");
        let node = Node::new(&config, Moment::from_unix(BEGINNING));
        let node = node.expect("the configuration of a scenario");
        let (lines, early, meanwhile) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { node, lines, early, meanwhile }
    }

    fn take(&mut self, connection: &str) -> Vec<u8> {
        let mut octets = self.early.remove(connection).unwrap_or_default();
        if let Some(line) = self.lines.get(connection) {
            octets.extend(self.node.receive(*line));
        }
        octets
    }
}

impl Peer for VirtualPeer {
    fn server(&self) -> Server {
        Server::Leveret
    }

    fn connect(&mut self, connection: &str) -> Result<(), String> {
        let line = self.node.connect();
        self.lines.insert(connection.to_owned(), line);
        Ok(())
    }

    fn send(&mut self, connection: &str, octets: &[u8]) {
        if let Some(line) = self.lines.get(connection) {
            self.node.send(*line, octets);
        }
    }

    fn receive(&mut self, connection: &str) -> Arrival {
        // On a wire, what takes time arrives when its time has come: time passes while one waits.
        for _ in 0..=PATIENCE_S {
            let octets = self.take(connection);
            if !octets.is_empty() {
                return Arrival::Octets(octets);
            }
            let Some(line) = self.lines.get(connection) else { return Arrival::Closed };
            if self.node.is_closed(*line) {
                return Arrival::Closed;
            }
            self.node.advance(Duration::from_secs(1));
        }
        Arrival::Silence
    }

    fn disconnect(&mut self, connection: &str) {
        if let Some(line) = self.lines.remove(connection) {
            self.node.hang_up(line);
        }
    }

    fn wait(&mut self, duration: Duration) {
        if let Some(operation) = self.meanwhile.pop_front() {
            operation(&self.node);
        }
        self.node.advance(duration);
    }

    fn has_arrived(&mut self, connection: &str) -> bool {
        let octets = self.take(connection);
        let has_arrived = !octets.is_empty();
        self.early.insert(connection.to_owned(), octets);
        has_arrived || self.lines.get(connection).is_none_or(|line| self.node.is_closed(*line))
    }

    fn settle(&mut self) {
        // Whatever a call leads to has happened when the call returns.
    }
}

/// Seconds of the node's time that an answer may take before it counts as missing.
const PATIENCE_S: u32 = 6;
