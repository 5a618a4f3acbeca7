//! Brokers that agree, several in one process.

mod members;
mod moves;
mod octets;
mod random;
mod rules;

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    broker::{
        Agreed, Agreement, Broker, Client, Directory, Job, Journal, LiveNode, Nodes, Restoring,
        facts::tests::{Ledger, NOW},
        tests::{Nowhere, client_of, origins},
    },
    model::{ConnectionId, NodeNumber, Refusal},
};

/// Nodes that agree at once, and apply it at once unless they are late.
#[derive(Debug, Default)]
struct Group {
    log: Mutex<Log>,
    /// Of each node, in order.
    jobs: Mutex<Vec<(NodeNumber, Job)>>,
    is_cut: AtomicBool,
}

#[derive(Debug, Default)]
struct Log {
    nodes: Vec<Member>,
    commands: Vec<Vec<u8>>,
    voids: usize,
}

#[derive(Clone, Debug)]
struct Member {
    broker: Arc<Broker>,
    ledger: Arc<Ledger>,
    /// It applies nothing until it must.
    is_late: bool,
}

/// One node's way to the others.
#[derive(Debug)]
struct Way {
    group: Arc<Group>,
    node: NodeNumber,
}

impl Agreement for Way {
    fn agree(&self, command: Vec<u8>) -> Result<Agreed, Refusal> {
        if self.group.is_cut.load(Ordering::Relaxed) {
            return Err(Refusal::NoQuorum);
        }
        let mut log = self.group.log();
        log.commands.push(command);
        let Log { nodes, commands, .. } = &mut *log;
        let mut own = Agreed::Void;
        for member in nodes.iter().filter(|it| !it.is_late || it.broker.node() == self.node) {
            let came = member.catch_up(commands);
            if member.broker.node() == self.node {
                own = came;
            }
        }
        log.voids += usize::from(own == Agreed::Void);
        Ok(own)
    }

    fn later(&self, job: Job) {
        self.group.jobs.lock().unwrap().push((self.node, job));
    }

    fn nodes(&self) -> Nodes {
        let live = [1, 2, 3].map(|number| LiveNode {
            number: NodeNumber(number),
            name: format!("rabbit@{number}"),
            queues_led: 0,
        });
        Nodes { me: self.node, live: live.to_vec(), known: Vec::new() }
    }
}

impl Member {
    /// What came of the last command.
    fn catch_up(&self, commands: &[Vec<u8>]) -> Agreed {
        let mut came = Agreed::Void;
        let applied = self.broker.agreed_index() as usize;
        for (index, command) in commands.iter().enumerate().skip(applied) {
            came = self.broker.apply_agreed(index as u64 + 1, command, NOW).expect("well-formed");
        }
        came
    }
}

impl Group {
    /// Three nodes, and a first user and virtual host.
    fn new() -> Arc<Self> {
        let group = Arc::new(Self::default());
        for number in 1..=3 {
            let member = group.member(number);
            group.log().nodes.push(member);
        }
        group.broker(1).establish(origins("guest"));
        group
    }

    /// A new node, which nobody knows yet.
    fn member(self: &Arc<Self>, number: u32) -> Member {
        self.member_with(number, Ledger::default())
    }

    fn member_with(self: &Arc<Self>, number: u32, ledger: Ledger) -> Member {
        let ledger = Arc::new(ledger);
        let journal: Arc<dyn Journal> = Arc::<Ledger>::clone(&ledger);
        let node = NodeNumber(number);
        let way = Arc::new(Way { group: Arc::clone(self), node });
        let broker = Broker::new(Arc::new(Nowhere), Directory::new(["guest"]), Some(journal));
        Member { broker: Arc::new(broker.in_cluster(node, way)), ledger, is_late: false }
    }

    /// What comes up after a node has gone.
    fn restarted(self: &Arc<Self>, member: &Member) -> Member {
        let facts = member.ledger.facts();
        let mut restoring = Restoring::new();
        facts.iter().for_each(|(key, value)| restoring.fact(key, value));
        let heir = self.member_with(member.broker.node().0, Ledger::inherited(facts));
        heir.broker.restore(restoring, 0, NOW).expect("well-formed facts");
        heir
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn at(&self, number: u32) -> Member {
        self.log().nodes[number as usize - 1].clone()
    }

    fn broker(&self, number: u32) -> Arc<Broker> {
        self.at(number).broker
    }

    fn client(&self, number: u32, serial: u64) -> Client {
        let connection = connection(number, serial);
        client_of(&self.broker(number), connection.0)
    }

    fn delay(&self, number: u32, is_late: bool) {
        let mut log = self.log();
        let Log { nodes, commands, .. } = &mut *log;
        let member = &mut nodes[number as usize - 1];
        member.is_late = is_late;
        if !is_late {
            member.catch_up(commands);
        }
    }

    /// Does what the nodes have put off.
    fn work(&self) {
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap());
        for (node, job) in jobs {
            self.broker(node.0).perform(&[job]).expect("a quorum");
        }
    }

    /// The state of all three, which is the same.
    fn state(&self, when: &str) -> Vec<u8> {
        let states = [1, 2, 3].map(|number| self.broker(number).agreed_state());
        assert!(states[0] == states[1], "{when}: nodes 1 and 2 differ");
        assert!(states[0] == states[2], "{when}: nodes 1 and 3 differ");
        let [state, ..] = states;
        state
    }
}

fn connection(number: u32, serial: u64) -> ConnectionId {
    ConnectionId(NodeNumber(number).base() + serial)
}
