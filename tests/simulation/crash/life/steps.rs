//! What happens in a life, drawn from its seed.

use std::sync::Arc;

use leveret::{model::Outcome, store::Error};

use super::{
    super::universe::{DEAD, EXCHANGES, KEYS, QUEUES, Scale, Sent},
    Life,
};

impl Life {
    /// Where there is much, memory is short from the start as often as not.
    pub(super) fn draw_shortage(&mut self) {
        let is_large = self.node().model.universe.scale != Scale::Small;
        let is_short = is_large && self.dice.below(2) == 0;
        self.node().save_memory(is_short);
    }

    pub(super) fn step(&mut self) -> Result<(), Error> {
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
                while self.node().keep_house()? && self.dice.below(3) > 0 {}
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

    pub(super) fn draw_sent(&mut self, exchange: Option<usize>, key: &'static str) -> Sent {
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
            None => self.some_name(),
        };
        (0..count).map(|_| Arc::new(self.draw_sent(exchange, key))).collect()
    }

    /// A queue's name; where there is much, it is for few.
    fn some_name(&mut self) -> &'static str {
        let names = match self.node().model.universe.scale {
            Scale::Small => QUEUES.len(),
            Scale::Wide => 3,
            Scale::Long => 2,
        };
        QUEUES[self.dice.below(names as u64) as usize]
    }

    fn publish(&mut self) {
        let client = self.dice.below(3) as usize;
        let count = match self.node().model.universe.scale {
            Scale::Long => 60 + self.dice.below(240),
            Scale::Wide => 1 + self.dice.below(16),
            Scale::Small => 1 + self.dice.below(6),
        };
        let messages = self.draw_messages(count);
        self.tell(format!("publish {}", told(&messages)));
        self.node().publish(client, &messages);
    }

    fn consume(&mut self) {
        let client = self.dice.below(3) as usize;
        let Some(queue) = self.some_queue() else { return };
        let acknowledges = self.dice.below(4) > 0;
        let prefetch = match self.dice.below(16) {
            0 => 0,
            _ => 1 + self.dice.below(8) as u16,
        };
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

fn told(messages: &[Arc<Sent>]) -> String {
    let Some(first) = messages.first() else { return String::new() };
    let numbers: Vec<_> = messages
        .iter()
        .map(|sent| format!("{}{}", sent.number, if sent.persistent { "" } else { "t" }))
        .collect();
    format!("{} to {:?} {}", numbers.join(" "), first.exchange, first.key)
}
