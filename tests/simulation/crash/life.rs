//! A broker through several lives: what its clients do, and how each life ends.

use std::{sync::Arc, thread};

use leveret::{
    broker::Journal,
    model::Outcome,
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
    universe::{DEAD, EXCHANGES, KEYS, QUEUES, Scale, Sent, Universe},
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
        let unit = if scale == Scale::Small { 4096 } else { 64 * 1024 };
        let options = Options {
            file_size: unit * (3 + dice.below(4)),
            parts_kept: dice.below(2) as usize,
            chunk_limit: 1 << (9 + dice.below(6)),
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
        let queues: Vec<_> = node.model.lines.keys().copied().collect();
        queues.iter().for_each(|queue| node.consume(0, *queue, true, 0));
        settle_down(&mut node);
        for exchange in node.model.exchanges.clone() {
            for key in KEYS {
                let sent = self.draw_sent(Some(exchange), key);
                node.publish(0, &[Arc::new(Sent { persistent: false, expiration: None, ..sent })]);
            }
        }
        settle_down(&mut node);
        let left = node.model.lines.values().find(|line| !line.ready.is_empty());
        assert!(left.is_none(), "nobody is given {left:?}");
        self.tally.read += node.model.checked;
    }

    fn step(&mut self) -> Result<(), Error> {
        let is_small = self.node().model.lines.len() < 4;
        match self.dice.below(40) {
            _ if is_small && self.dice.below(2) == 0 => self.declare(),
            0 => self.declare(),
            1 => self.change_topology(),
            2 => self.change_topology(),
            3..=12 => self.publish(),
            13..=14 => self.consume(),
            15 => self.disturb(),
            16..=17 => self.get(),
            18..=22 => self.settle(),
            23 => self.purge_or_delete(),
            24..=25 => self.transact(),
            26 => {
                let span = self.dice.below(1500);
                self.tell(format!("{span} ms pass"));
                self.node().advance(span);
            }
            27 => self.fill_disk(),
            28..=30 => {
                self.tell("queues are woken".into());
                self.node().wake_due();
            }
            31..=36 => {
                self.tell("commit".into());
                self.node().commit()?;
            }
            37..=38 => {
                self.tell("keep house".into());
                self.node().keep_house()?;
            }
            _ => {
                self.tell("prepare".into());
                self.node().prepare()?;
            }
        }
        Ok(())
    }

    fn declare(&mut self) {
        let client = self.dice.below(3) as usize;
        if self.dice.below(3) == 0 {
            let index = self.dice.below(EXCHANGES.len() as u64) as usize;
            self.tell(format!("declare exchange {index}"));
            return self.node().declare_exchange(client, index);
        }
        let index = self.dice.below(QUEUES.len() as u64) as usize;
        self.tell(format!("declare queue {index}"));
        self.node().declare_queue(client, index);
    }

    fn change_topology(&mut self) {
        let client = self.dice.below(3) as usize;
        let exchanges: Vec<_> = self.node().model.exchanges.iter().copied().collect();
        let Some(exchange) = self.one_of(&exchanges) else { return };
        if self.dice.below(8) == 0 {
            self.tell(format!("delete exchange {exchange}"));
            return self.node().delete_exchange(client, exchange);
        }
        self.bind(client, exchange);
    }

    fn bind(&mut self, client: usize, exchange: usize) {
        let Some(queue) = self.some_queue() else { return };
        let index = self.node().model.lines[&queue].index;
        let key = KEYS[self.dice.below(KEYS.len() as u64) as usize];
        let kinds = &self.node().model.universe.kinds;
        if exchange == DEAD && kinds[index].dead_letter.is_some() {
            return;
        }
        self.tell(format!("bind or unbind exchange {exchange}, queue {index}, {key}"));
        self.node().bind(client, (exchange, index, key));
    }

    fn draw_sent(&mut self, exchange: Option<usize>, key: &'static str) -> Sent {
        self.sent += 1;
        let universe = self.node.as_ref().map(|node| Arc::clone(&node.model.universe));
        let length = universe.map_or(8, |universe| universe.body_length(&mut self.dice));
        Sent {
            number: self.sent,
            length,
            priority: if self.dice.below(3) == 0 { self.dice.below(6) as u8 } else { 0 },
            persistent: self.dice.below(4) > 0,
            expiration: (self.dice.below(8) == 0).then(|| 1 + self.dice.below(4000)),
            exchange,
            key,
        }
    }

    /// An address, and messages for it.
    fn draw_messages(&mut self, count: u64) -> Vec<Arc<Sent>> {
        let exchanges: Vec<_> = self.node().model.exchanges.iter().copied().collect();
        let exchange = if self.dice.below(3) == 0 { self.one_of(&exchanges) } else { None };
        let key = match exchange {
            Some(_) => KEYS[self.dice.below(KEYS.len() as u64) as usize],
            None => QUEUES[self.dice.below(QUEUES.len() as u64) as usize],
        };
        (0..count).map(|_| Arc::new(self.draw_sent(exchange, key))).collect()
    }

    fn publish(&mut self) {
        let client = self.dice.below(3) as usize;
        let count = match self.node().model.universe.scale {
            Scale::Long => 40 + self.dice.below(160),
            Scale::Small | Scale::Wide => 1 + self.dice.below(6),
        };
        let messages = self.draw_messages(count);
        self.tell(format!("publish {}", told(&messages)));
        self.node().publish(client, &messages);
    }

    fn consume(&mut self) {
        let client = self.dice.below(3) as usize;
        let Some(queue) = self.some_queue() else { return };
        let acknowledges = self.dice.below(4) > 0;
        let prefetch = 1 + self.dice.below(8) as u16;
        self.tell(format!("consume from {queue}, acknowledge {acknowledges}, prefetch {prefetch}"));
        self.node().consume(client, queue, acknowledges, prefetch);
    }

    fn disturb(&mut self) {
        let client = self.dice.below(3) as usize;
        let consumers: Vec<_> = self.node().model.consumers.keys().copied().collect();
        match (self.dice.below(4), self.one_of(&consumers)) {
            (0, _) => {
                self.tell(format!("client {client} hangs up"));
                self.node().hang_up(client);
            }
            (1, Some(consumer)) => {
                self.tell(format!("replenish {consumer:?}"));
                self.node().replenish(consumer);
            }
            (2, Some(consumer)) => {
                self.tell(format!("cancel {consumer:?}"));
                self.node().cancel(consumer);
            }
            _ => {
                let is_short = self.dice.below(2) == 0;
                self.tell(format!("memory is short: {is_short}"));
                self.node().save_memory(is_short);
            }
        }
    }

    fn get(&mut self) {
        let client = self.dice.below(3) as usize;
        let Some(queue) = self.some_queue() else { return };
        let acknowledges = self.dice.below(3) > 0;
        self.tell(format!("get from {queue}, acknowledge {acknowledges}"));
        self.node().get(client, queue, acknowledges);
    }

    fn settle(&mut self) {
        if let Some((queue, positions, outcome)) = self.draw_settlement() {
            self.tell(format!("settle {positions:?} of {queue}: {outcome:?}"));
            self.node().settle(queue, &positions, outcome);
        }
    }

    fn draw_settlement(&mut self) -> Option<(u64, Vec<u64>, Outcome)> {
        let lines = self.node().model.lines.iter();
        let busy = lines.filter(|(_, line)| !line.out.is_empty()).map(|(id, _)| *id);
        let busy: Vec<_> = busy.collect();
        let queue = self.one_of(&busy)?;
        let out: Vec<_> = self.node().model.lines[&queue].out.keys().copied().collect();
        let first = self.dice.below(out.len() as u64) as usize;
        let count = 1 + self.dice.below(5) as usize;
        let positions = out.into_iter().skip(first).take(count).collect();
        let outcome = match self.dice.below(6) {
            0..=2 => Outcome::Acknowledge,
            3 => Outcome::Reject,
            _ => Outcome::Requeue,
        };
        Some((queue, positions, outcome))
    }

    fn purge_or_delete(&mut self) {
        let client = self.dice.below(3) as usize;
        let Some(queue) = self.some_queue() else { return };
        if self.dice.below(3) > 0 {
            self.tell(format!("purge {queue}"));
            return self.node().purge(client, queue);
        }
        self.tell(format!("delete {queue}"));
        self.node().delete_queue(client, queue);
    }

    fn transact(&mut self) {
        let client = self.dice.below(3) as usize;
        let mut messages = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let count = 1 + self.dice.below(2);
            messages.extend(self.draw_messages(count));
        }
        let settlements: Vec<_> = self.draw_settlement().into_iter().collect();
        let commits = self.dice.below(4) > 0;
        self.tell(format!("transaction {}, {settlements:?}, {commits}", told(&messages)));
        self.node().transact(client, &messages, &settlements, commits);
    }

    /// The disk is full for a while.
    fn fill_disk(&mut self) {
        let capacity = self.options.file_size * self.dice.below(4);
        let capacity = (self.dice.below(2) == 0).then_some(capacity);
        self.tell(format!("the disk holds {capacity:?}"));
        self.limit_disk(capacity);
        self.node().ledger.store.resume();
    }

    fn some_queue(&mut self) -> Option<u64> {
        let queues: Vec<_> = self.node().model.lines.keys().copied().collect();
        self.one_of(&queues)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.dice.below(of.len() as u64) as usize])
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

fn told(messages: &[Arc<Sent>]) -> String {
    let Some(first) = messages.first() else { return String::new() };
    let numbers: Vec<_> = messages
        .iter()
        .map(|sent| format!("{}{}", sent.number, if sent.persistent { "" } else { "t" }))
        .collect();
    format!("{} to {:?} {}", numbers.join(" "), first.exchange, first.key)
}
