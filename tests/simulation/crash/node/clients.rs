//! What clients do, each call told to the broker and to the model.

use std::sync::Arc;

use leveret::{
    broker::Purpose,
    model::{
        ChannelCredit, ChannelNumber, ConsumerId, ConsumerTag, ExchangeName, FieldTable, Outcome,
        Position, Publication, Published, QueueId, QueueName, Settlement,
    },
};

use super::{
    super::{
        model::{Line, Wish},
        universe::{EXCHANGES, QUEUES, Sent, binding, exchange},
    },
    Node, Promise, Transaction,
};

const CHANNEL: ChannelNumber = ChannelNumber(1);

impl Node {
    /// Declares a queue; one that is there stays.
    pub(in super::super) fn declare_queue(&mut self, client: usize, index: usize) {
        let (now, declaration) = (self.now(), self.model.universe.declaration(index));
        let client = &mut self.clients[client];
        client.declare_queue(&declaration, now).unwrap();
        let awaited = client.take_awaited();
        self.observe();
        match self.model.queue_named(index) {
            Some(queue) => self.model.look(queue),
            None => self.learn_number(index),
        }
        self.conclude();
        self.note_topology(awaited);
    }

    /// A consumer that comes and goes tells what the queue's number is.
    fn learn_number(&mut self, index: usize) {
        let consumer = self.next_consumer(0);
        let purpose = purpose(index, consumer, true, 1);
        let now = self.now();
        let (queue, _) = self.clients[0].consume(CHANNEL, purpose, now).unwrap();
        self.clients[0].cancel(CHANNEL, queue, consumer, now);
        let line = Line { index, ..Line::default() };
        assert!(self.model.lines.insert(queue.0, line).is_none(), "{queue} is used again");
    }

    pub(in super::super) fn delete_queue(&mut self, client: usize, queue: u64) {
        let name = self.name(queue);
        let now = self.now();
        let client = &mut self.clients[client];
        client.delete_queue(&name, false, false, now).unwrap();
        let awaited = client.take_awaited();
        self.observe();
        self.model.delete(queue);
        self.conclude();
        self.note_topology(awaited);
    }

    pub(in super::super) fn declare_exchange(&mut self, client: usize, index: usize) {
        let client = &mut self.clients[client];
        client.declare_exchange(&exchange(index)).unwrap();
        let awaited = client.take_awaited();
        self.model.exchanges.insert(index);
        self.note_topology(awaited);
    }

    pub(in super::super) fn delete_exchange(&mut self, client: usize, index: usize) {
        let client = &mut self.clients[client];
        client.delete_exchange(&ExchangeName::from_static(EXCHANGES[index].0), false).unwrap();
        let awaited = client.take_awaited();
        self.model.exchanges.remove(&index);
        self.model.bindings.retain(|(source, ..)| *source != index);
        self.note_topology(awaited);
    }

    /// Binds, or unbinds what is bound.
    pub(in super::super) fn bind(&mut self, client: usize, bound: (usize, usize, &'static str)) {
        let now = self.now();
        let client = &mut self.clients[client];
        if self.model.bindings.remove(&bound) {
            client.unbind(&binding(bound)).unwrap();
        } else {
            client.bind(binding(bound), now).unwrap();
            self.model.bindings.insert(bound);
        }
        let awaited = client.take_awaited();
        self.note_topology(awaited);
    }

    /// Publishes messages to one address in a row; returns what of them waits for a confirm.
    pub(in super::super) fn publish(&mut self, client: usize, messages: &[Arc<Sent>]) {
        let now = self.now();
        let first = self.next_confirm;
        self.next_confirm += messages.len() as u64;
        let publications = messages.iter().zip(first..).map(|(sent, number)| Publication {
            channel: CHANNEL,
            message: sent.message(),
            mandatory: false,
            confirm: Some(number),
            transactional: false,
        });
        let said = self.clients[client].publish(publications.collect(), now);
        self.clients[client].take_awaited();
        self.observe();
        let queues = self.model.route(messages[0].exchange, messages[0].key);
        for (sent, number) in messages.iter().zip(first..) {
            let places = self.model.enqueue(sent, &queues);
            self.confirming.insert((self.clients[client].id(), number), places);
        }
        self.conclude();
        for said in said {
            let Published::Confirmed { number, .. } = said else { panic!("{said:?}") };
            self.confirm(client, number);
        }
    }

    pub(in super::super) fn consume(
        &mut self,
        client: usize,
        queue: u64,
        acknowledge: bool,
        prefetch: u16,
    ) {
        let consumer = self.next_consumer(client);
        let purpose = purpose(self.model.lines[&queue].index, consumer, acknowledge, prefetch);
        let now = self.now();
        self.model.consumers.insert(consumer, Wish { queue, acknowledge, prefetch });
        self.clients[client].consume(CHANNEL, purpose, now).unwrap();
        self.observe();
        self.model.look(queue);
        self.conclude();
    }

    fn next_consumer(&mut self, client: usize) -> ConsumerId {
        self.next_serial += 1;
        ConsumerId { connection: self.clients[client].id(), serial: self.next_serial }
    }

    pub(in super::super) fn cancel(&mut self, consumer: ConsumerId) {
        let queue = self.model.consumers[&consumer].queue;
        let now = self.now();
        let client = self.clients.iter_mut().find(|client| client.id() == consumer.connection);
        client.unwrap().cancel(CHANNEL, QueueId(queue), consumer, now);
        self.observe();
        self.model.look(queue);
        self.conclude();
        self.model.consumers.remove(&consumer);
    }

    pub(in super::super) fn get(&mut self, client: usize, queue: u64, acknowledge: bool) {
        let (name, now) = (self.name(queue), self.now());
        let client = &mut self.clients[client];
        let taken = client.take(&name, acknowledge, ChannelCredit::default(), now).unwrap();
        let awaited = client.take_awaited();
        let holder = ConsumerId { connection: client.id(), serial: 0 };
        let holder = acknowledge.then_some(holder);
        self.observe();
        let told =
            taken.as_ref().map(|taken| (taken.position.0, taken.redelivered, &taken.message));
        self.model.get(queue, told, holder);
        self.conclude();
        if let Some(taken) = taken {
            self.promised.push((awaited, Promise::Got((queue, taken.position.0))));
            self.keep_promises();
        }
    }

    pub(in super::super) fn settle(&mut self, queue: u64, positions: &[u64], outcome: Outcome) {
        let now = self.now();
        let settlement = settlement(queue, positions, outcome);
        self.clients[0].settle(vec![settlement], now);
        self.observe();
        self.model.settle(queue, positions, outcome);
        self.conclude();
    }

    pub(in super::super) fn purge(&mut self, client: usize, queue: u64) {
        let (name, now) = (self.name(queue), self.now());
        let purged = self.clients[client].purge_queue(&name, now).unwrap();
        self.clients[client].take_awaited();
        self.observe();
        assert_eq!(self.model.purge(queue), purged, "purged from queue {queue}");
        self.conclude();
    }

    /// Publishes and settles in a transaction, which is committed or rolled back.
    pub(in super::super) fn transact(
        &mut self,
        client: usize,
        messages: &[Arc<Sent>],
        settlements: &[(u64, Vec<u64>, Outcome)],
        commits: bool,
    ) {
        let now = self.now();
        let routes: Vec<_> =
            messages.iter().map(|sent| self.model.route(sent.exchange, sent.key)).collect();
        let publications = messages.iter().map(|sent| Publication {
            channel: CHANNEL,
            message: sent.message(),
            mandatory: false,
            confirm: None,
            transactional: true,
        });
        let said = self.clients[client].publish(publications.collect(), now);
        assert!(said.is_empty(), "{said:?}");
        if !commits {
            return self.clients[client].roll_back(CHANNEL);
        }
        let settled = settlements
            .iter()
            .map(|(queue, positions, outcome)| settlement(*queue, positions, *outcome));
        self.clients[client].commit(CHANNEL, settled.collect(), now).unwrap();
        let awaited = self.clients[client].take_awaited();
        self.observe();
        let mut whole =
            Transaction { arrived: Vec::new(), acknowledged: Vec::new(), is_told: false };
        for (sent, queues) in messages.iter().zip(routes) {
            whole.arrived.extend(self.model.enqueue(sent, &queues));
        }
        for (queue, positions, outcome) in settlements {
            self.model.settle(*queue, positions, *outcome);
            if *outcome == Outcome::Acknowledge {
                whole.acknowledged.extend(positions.iter().map(|position| (*queue, *position)));
            }
        }
        self.conclude();
        self.promised.push((awaited, Promise::Committed(self.transactions.len())));
        self.transactions.push(whole);
        self.keep_promises();
    }

    /// A connection ends, and another one comes in its place.
    pub(in super::super) fn hang_up(&mut self, client: usize) {
        let id = self.clients[client].id();
        let consumers: Vec<_> = self.model.consumers.keys().copied().collect();
        consumers.into_iter().filter(|own| own.connection == id).for_each(|own| self.cancel(own));
        for queue in self.model.lines.keys().copied().collect::<Vec<_>>() {
            let out = self.model.lines[&queue].out.iter();
            let held: Vec<_> =
                out.filter(|(_, by)| by.connection == id).map(|(at, _)| *at).collect();
            if !held.is_empty() {
                self.settle(queue, &held, Outcome::Requeue);
            }
        }
        let now = self.now();
        self.clients[client].leave(now);
        self.connect();
        self.clients.swap_remove(client);
    }

    /// A consumer's socket has taken everything.
    pub(in super::super) fn replenish(&mut self, consumer: ConsumerId) {
        let queue = self.model.consumers[&consumer].queue;
        let now = self.now();
        self.clients[0].replenish(QueueId(queue), consumer, 1 << 20, now);
        self.observe();
        self.model.look(queue);
        self.conclude();
    }

    fn name(&self, queue: u64) -> QueueName {
        QueueName::from_static(QUEUES[self.model.lines[&queue].index])
    }
}

fn purpose(index: usize, consumer: ConsumerId, acknowledge: bool, prefetch: u16) -> Purpose {
    Purpose {
        queue: QueueName::from_static(QUEUES[index]),
        consumer,
        tag: ConsumerTag::from_static("tag"),
        acknowledge,
        exclusive: false,
        prefetch,
        window: 1 << 30,
        credit: ChannelCredit::default(),
        arguments: FieldTable::default(),
    }
}

fn settlement(queue: u64, positions: &[u64], outcome: Outcome) -> Settlement {
    let positions = positions.iter().map(|position| Position(*position)).collect();
    Settlement { queue: QueueId(queue), positions, outcome }
}
