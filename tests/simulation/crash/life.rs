//! A broker through several lives, and what must hold when one ends.

mod steps;

use std::{sync::Arc, thread};

use leveret::{
    broker::Journal,
    store::{
        Error, Options, Recovered, Store,
        disk::{
            Disk,
            memory::{Faults, MemoryDisk},
        },
    },
};

use super::{
    super::steps::Dice,
    judge,
    model::Model,
    node::{Node, Topology},
    universe::{KEYS, Scale, Sent, Universe},
    written::Written,
};

/// What was tried, and looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) cuts: u64,
    pub(super) restarts: u64,
    /// Messages that were confirmed before a crash and had to be there after it.
    pub(super) confirmed: u64,
    /// Messages that were read by a client after a restart, or before.
    pub(super) read: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.restarts += other.restarts;
        self.confirmed += other.confirmed;
        self.read += other.read;
    }
}

pub(super) struct Life {
    pub(super) disk: MemoryDisk,
    pub(super) dice: Dice<'static>,
    options: Options,
    /// The operation at which the power fails, counted from when the faults were set last.
    cut: Option<u64>,
    used: u64,
    sent: u64,
    node: Option<Node>,
    /// What was written when the node started.
    base: Written,
    pub(super) tally: Tally,
    story: Vec<String>,
    seed: u64,
}

impl Life {
    pub(super) fn new(seed: u64, scale: Scale) -> Self {
        let mut dice = Dice::seeded(seed);
        // Where there is much, much must be written at once for it ever to leave memory.
        let (unit, chunk) = if scale == Scale::Small { (4096, 9) } else { (64 * 1024, 15) };
        let options = Options {
            file_size: unit * (3 + dice.below(4)),
            parts_kept: dice.below(2) as usize,
            chunk_limit: 1 << (chunk + dice.below(6)),
            identity: seed,
            recover: false,
        };
        let universe = Arc::new(Universe::draw(&mut dice, scale));
        let mut life = Self {
            disk: MemoryDisk::default(),
            dice,
            options,
            cut: None,
            used: 0,
            sent: 0,
            node: None,
            base: Written::default(),
            tally: Tally::default(),
            story: vec![format!("{universe:?}")],
            seed,
        };
        let (store, recovered) = life.open().expect("the disk is empty");
        let model = Model::new(universe, 1_000_000_000);
        life.node = Some(Node::start((store, recovered), Written::default(), model));
        life.draw_shortage();
        life
    }

    fn open(&self) -> Result<(Store, Recovered), Error> {
        Store::open(Arc::new(self.disk.clone()), self.options)
    }

    fn tell(&mut self, event: String) {
        self.story.push(event);
    }

    fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("the node is running")
    }

    /// From here on the power fails at an operation, or never.
    pub(super) fn cut_at(&mut self, cut: Option<u64>) {
        self.cut = cut;
        self.used = 0;
        self.disk.set_faults(Faults { power_cut_at: cut, ..Faults::default() });
    }

    /// How many operations there were since the cut was set.
    pub(super) fn operations(&self) -> u64 {
        self.used + self.disk.operations()
    }

    fn limit_disk(&mut self, capacity: Option<u64>) {
        let done = self.disk.operations();
        self.used += done;
        self.cut = self.cut.map(|cut| cut - done);
        let power_cut_at = self.cut;
        self.disk.set_faults(Faults { power_cut_at, capacity, ..Faults::default() });
    }

    /// Lives so many steps, or until the power fails.
    pub(super) fn live(&mut self, steps: u64) {
        for _ in 0..steps {
            let outcome = self.step();
            // What keeps the house does not mind everything that fails.
            if self.disk.is_off() {
                return;
            }
            outcome.expect("only power fails");
            let node = self.node();
            node.ledger.with_written(|written| judge::compare(written, &node.model));
        }
    }

    /// When everything is written, nobody waits for a message that is there.
    pub(super) fn come_to_rest(&mut self) {
        self.limit_disk(None);
        settle_down(self.node());
        let model = &self.node().model;
        for (queue, line) in model.lines.iter().filter(|(_, line)| !line.ready.is_empty()) {
            let mut waiting = model.consumers.iter().filter(|(_, wish)| wish.queue == *queue);
            let waiting = waiting.find(|(consumer, _)| model.has_room(line, consumer));
            assert!(waiting.is_none(), "{waiting:?} is given nothing of {line:?}");
        }
        drain(self.node());
    }

    /// The power fails, or the process dies; then all is as it was promised.
    pub(super) fn crash(&mut self) {
        let mut node = self.node.take().expect("the node is running");
        let (durable, last) = (node.ledger.durable(), node.ledger.last());
        let records = node.ledger.take_records();
        self.tally.read += node.model.checked;
        node.model.checked = 0;
        let (model, transactions, topologies) = node.end();
        self.lose_power();
        self.tell(format!("crash after record {last}, {durable} was durable"));
        let (store, recovered) = self.reopen();
        let found = recovered.last;
        self.tell(format!("record {found} is the last one there"));
        assert!(durable <= found && found <= last, "{durable} <= {found} <= {last}");
        let written = std::mem::take(&mut self.base).after(&records, found);
        self.tally.confirmed += judge::judge(&written, &model, &transactions, (durable, found));
        let topology = topologies.iter().rfind(|(awaited, _)| *awaited <= found);
        let (_, topology) = topology.expect("the first was durable from the start");
        self.rise((store, recovered), written, &model, topology);
    }

    fn lose_power(&mut self) {
        match self.dice.below(4) {
            0 => self.disk.kill(),
            _ => self.disk.power_on(self.dice.below(u64::MAX)),
        }
    }

    /// Opens the store again; sometimes the power fails meanwhile.
    fn reopen(&mut self) -> (Store, Recovered) {
        while self.dice.below(3) == 0 {
            let cut = 1 + self.dice.below(6);
            self.cut_at(Some(cut));
            let opened = self.open().is_ok();
            self.tell(format!("the power fails at operation {cut} of the start, or after it"));
            assert!(opened || self.disk.is_off());
            self.lose_power();
        }
        self.cut_at(None);
        self.open().expect("what a crash leaves can be opened")
    }

    fn rise(
        &mut self,
        found: (Store, Recovered),
        written: Written,
        before: &Model,
        topology: &Topology,
    ) {
        let model = judge::reborn(&written, before, topology);
        self.probe(written.clone(), model.clone());
        self.base = written.clone();
        let node = Node::start(found, written, model);
        node.ledger.with_written(|written| judge::compare(written, &node.model));
        self.node = Some(node);
        self.draw_shortage();
        self.tally.restarts += 1;
    }

    /// Starts a broker on a copy of the disk, and reads all that is there.
    fn probe(&mut self, written: Written, model: Model) {
        let disk = MemoryDisk::default();
        for name in self.disk.list().unwrap() {
            disk.place(&name, &self.disk.contents(&name).unwrap());
        }
        let opened = Store::open(Arc::new(disk), self.options).unwrap();
        let mut node = Node::start(opened, written, model);
        node.check_topology();
        drain(&mut node);
        for exchange in node.model.exchanges.clone() {
            for key in KEYS {
                let sent = self.draw_sent(Some(exchange), key);
                node.publish(0, &[Arc::new(Sent { persistent: false, expiration: None, ..sent })]);
            }
        }
        settle_down(&mut node);
        assert!(is_drained(&node), "a consumer that waits is given everything at once");
        self.tally.read += node.model.checked;
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the story of seed {}:", self.seed);
            self.story.iter().for_each(|event| println!("  {event}"));
        }
    }
}

/// Everything that is ready is handed to somebody.
fn drain(node: &mut Node) {
    let queues: Vec<_> = node.model.lines.keys().copied().collect();
    queues.iter().for_each(|queue| node.consume(0, *queue, true, 0));
    settle_down(node);
    assert!(is_drained(node), "messages are there and nobody is given them");
}

fn is_drained(node: &Node) -> bool {
    node.model.lines.values().all(|line| line.ready.is_empty())
}

/// Everything is written, and everybody has what he waited for.
fn settle_down(node: &mut Node) {
    loop {
        let has_written = node.commit().unwrap();
        node.wake_due();
        if !has_written && node.ledger.durable() == node.ledger.last() {
            return;
        }
    }
}
