//! A broker over the store, its clients, and the model that is told of everything they do.

mod clients;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use leveret::{
    broker::{
        Backlog, Broker, Client, Directory, Hashing, Journal, Origins, PasswordHash, Permission,
        Restoring, User,
    },
    model::{
        ConnectionId, ExchangeName, LogPosition, Moment, QueueId, QueueName, ShortString,
        VirtualHostName,
    },
    store::{Error, QueueBacklog, Recovered, Store},
};

use super::{
    model::{Model, Place},
    universe::{EXCHANGES, QUEUES},
    world::{Ledger, Mailbox, Timers},
    written::Written,
};

pub(super) struct Node {
    broker: Arc<Broker>,
    pub(super) ledger: Arc<Ledger>,
    timers: Arc<Timers>,
    mailbox: Arc<Mailbox>,
    saves_memory: Arc<AtomicBool>,
    pub(super) clients: Vec<Client>,
    next_connection: u64,
    next_serial: u64,
    next_confirm: u64,
    pub(super) model: Model,
    /// Publications that await a confirm, and where they are.
    confirming: BTreeMap<(ConnectionId, u64), Vec<Place>>,
    /// What clients are told when a record is durable.
    promised: Vec<(LogPosition, Promise)>,
    pub(super) transactions: Vec<Transaction>,
    /// What survives of the topology, from a record on.
    pub(super) topologies: Vec<(LogPosition, Topology)>,
    /// The disk was full when something was last written.
    pub(super) is_full: bool,
}

enum Promise {
    Got(Place),
    Committed(usize),
}

/// What a transaction did that must be there as a whole.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) arrived: Vec<Place>,
    pub(super) acknowledged: Vec<Place>,
    pub(super) is_told: bool,
}

/// The durable part of a topology; queues with their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) queues: BTreeMap<u64, usize>,
    pub(super) exchanges: Vec<usize>,
    pub(super) bindings: Vec<(usize, usize, &'static str)>,
}

impl Topology {
    pub(super) fn durable(model: &Model) -> Self {
        let kinds = &model.universe.kinds;
        let lines = model.lines.iter().map(|(id, line)| (*id, line.index));
        let is_durable = |index: &usize| EXCHANGES[*index].2;
        let bindings = model.bindings.iter().copied();
        Self {
            queues: lines.filter(|(_, index)| kinds[*index].durable).collect(),
            exchanges: model.exchanges.iter().copied().filter(is_durable).collect(),
            bindings: bindings
                .filter(|(source, queue, _)| is_durable(source) && kinds[*queue].durable)
                .collect(),
        }
    }
}

impl Node {
    /// A broker with what was found; the model holds the same, and learns what a restart does.
    pub(super) fn start(
        (store, recovered): (Store, Recovered),
        written: Written,
        model: Model,
    ) -> Self {
        let last = recovered.last;
        let ledger = Arc::new(Ledger::new(store, last, written));
        let (timers, mailbox) = (Arc::new(Timers::default()), Arc::new(Mailbox::default()));
        let saves_memory = Arc::new(AtomicBool::new(false));
        let journal: Arc<dyn Journal> = Arc::<Ledger>::clone(&ledger);
        let broker =
            Broker::new(Arc::<Timers>::clone(&timers), Directory::default(), Some(journal));
        let broker = broker.saving_memory_when(Arc::clone(&saves_memory));
        let topologies = vec![(last, Topology::durable(&model))];
        let mut node = Self {
            broker: Arc::new(broker),
            ledger,
            timers,
            mailbox,
            saves_memory,
            clients: Vec::new(),
            next_connection: 1,
            next_serial: 1,
            next_confirm: 1,
            model,
            confirming: BTreeMap::new(),
            promised: Vec::new(),
            transactions: Vec::new(),
            topologies,
            is_full: false,
        };
        node.restore(recovered);
        (0..3).for_each(|_| node.connect());
        node
    }

    fn restore(&mut self, recovered: Recovered) {
        let Recovered { facts, queues, queue_floor, records, .. } = recovered;
        let mut restoring = Restoring::new();
        for (key, value) in facts {
            restoring.fact(&key, &value);
        }
        for (queue, QueueBacklog { next, delivered, live, returned }) in queues {
            restoring.backlog(queue, Backlog { next, delivered, live, returned });
        }
        for record in records {
            let record = record.unwrap();
            for entry in record.entries() {
                restoring.apply(&entry.unwrap(), |octets| record.share(octets));
            }
        }
        self.broker.restore(restoring, queue_floor, self.now()).unwrap();
        let password = PasswordHash::new(Hashing::default(), b"guest", [0; 4]);
        self.broker.establish(Origins {
            virtual_host: VirtualHostName::from_static("/"),
            user_name: ShortString::from_static("guest"),
            user: User { password: Some(password), ..User::default() },
            permission: Permission::full(),
        });
        let ids: Vec<_> = self.model.lines.keys().copied().collect();
        for id in ids {
            if self.model.universe.kinds[self.model.lines[&id].index].is_timed() {
                self.model.look(id);
                self.model.carry();
            }
        }
        self.conclude();
    }

    /// The node is no more; what its clients know of it is.
    pub(super) fn end(self) -> (Model, Vec<Transaction>, Vec<(LogPosition, Topology)>) {
        (self.model, self.transactions, self.topologies)
    }

    fn now(&self) -> Moment {
        Moment::from_unix(Duration::from_millis(self.model.now))
    }

    fn connect(&mut self) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let outbox = Arc::<Mailbox>::clone(&self.mailbox);
        let mut client = Broker::client(&self.broker, id, outbox, true, 7);
        client.login(b"guest", Some(b"guest")).unwrap();
        client.open(&VirtualHostName::from_static("/")).unwrap();
        self.clients.push(client);
    }

    /// Hands the model what was delivered in a call that it is about to be told of.
    fn observe(&mut self) {
        self.model.observe(self.mailbox.take());
    }

    fn conclude(&mut self) {
        self.model.conclude(self.ledger.last());
    }

    /// What is durable of the topology may have changed, for good from `awaited` on.
    fn note_topology(&mut self, awaited: LogPosition) {
        let topology = Topology::durable(&self.model);
        if self.topologies.last().is_none_or(|(_, before)| *before != topology) {
            self.topologies.push((awaited, topology));
        }
    }

    pub(super) fn save_memory(&self, is_short: bool) {
        self.saves_memory.store(is_short, Ordering::Relaxed);
    }

    pub(super) fn advance(&mut self, milliseconds: u64) {
        self.model.now += milliseconds;
        while let Some(queue) = self.timers.take_due(self.now()) {
            self.wake(queue);
        }
    }

    pub(super) fn wake_due(&mut self) {
        for queue in self.ledger.take_due() {
            self.wake(queue);
        }
    }

    fn wake(&mut self, queue: QueueId) {
        let now = self.now();
        self.broker.wake(queue, now);
        self.observe();
        self.model.look(queue.0);
        self.conclude();
    }

    /// Writes what has piled up, and tells whom it concerns; whether there was anything.
    pub(super) fn commit(&mut self) -> Result<bool, Error> {
        match self.ledger.store.commit() {
            Ok(Some(durable)) => self.ledger.reached(durable),
            Ok(None) => return Ok(false),
            Err(error) if error.is_full() => {
                self.is_full = true;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let durable = self.ledger.durable();
        for client in 0..self.clients.len() {
            let mut confirmed = Vec::new();
            self.clients[client].confirmed(durable, &mut confirmed);
            for run in confirmed {
                (run.first..=run.last).for_each(|number| self.confirm(client, number));
            }
        }
        self.keep_promises();
        Ok(true)
    }

    fn confirm(&mut self, client: usize, number: u64) {
        let places = self.confirming.remove(&(self.clients[client].id(), number));
        for place in places.expect("what is confirmed was published and not confirmed yet") {
            self.model.placed.get_mut(&place).unwrap().confirmed = true;
        }
    }

    fn keep_promises(&mut self) {
        let durable = self.ledger.durable();
        for (awaited, promise) in std::mem::take(&mut self.promised) {
            match promise {
                _ if awaited > durable => self.promised.push((awaited, promise)),
                Promise::Got(place) => self.model.placed.get_mut(&place).unwrap().seen = true,
                Promise::Committed(number) => self.transactions[number].is_told = true,
            }
        }
    }

    pub(super) fn keep_house(&mut self) -> Result<bool, Error> {
        match self.ledger.store.keep_house() {
            Ok(None) => Ok(false),
            Ok(Some(moved)) => {
                moved.iter().for_each(|moved| self.broker.moved(moved.queue, moved.below));
                Ok(true)
            }
            Err(error) if error.is_full() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn prepare(&self) -> Result<(), Error> {
        self.ledger.store.prepare().or_else(|error| match error.is_full() {
            true => Ok(()),
            false => Err(error),
        })
    }

    /// Everything is there that was declared, and nothing else is.
    pub(super) fn check_topology(&mut self) {
        let now = self.now();
        for (index, (name, ..)) in EXCHANGES.iter().enumerate() {
            let found = self.clients[0].check_exchange(&ExchangeName::from_static(name));
            assert_eq!(found.is_ok(), self.model.exchanges.contains(&index), "exchange {name}");
        }
        for (index, name) in QUEUES.iter().enumerate() {
            let found = self.clients[0].check_queue(&QueueName::from_static(name), now);
            self.observe();
            let queue = self.model.queue_named(index);
            assert_eq!(found.is_ok(), queue.is_some(), "queue {name}");
            if let (Ok(found), Some(queue)) = (found, queue) {
                self.model.look(queue);
                let ready = self.model.lines[&queue].ready.len() as u64;
                assert_eq!(found.messages, ready, "messages of queue {name}");
            }
            self.conclude();
        }
    }
}
