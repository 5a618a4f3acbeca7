//! Topologies and users, built again from their facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{BadFact, Fact, Key, Mark, fault::Fault};
use crate::{
    broker::{
        routing::{Binding, Destination},
        topology::{Change, Topology},
    },
    model::{ExchangeName, NodeNumber, NodeRecord, QueueId, ShortString, VirtualHostName},
};

/// What the facts say, all of them together.
#[derive(Debug, Default)]
pub(in crate::broker) struct Rebuilt {
    pub(in crate::broker) topologies: BTreeMap<VirtualHostName, Topology>,
    /// Users, permissions and global parameters, in the order of their keys.
    pub(in crate::broker) others: Vec<Fact>,
    /// How far the nodes of a cluster have agreed.
    pub(in crate::broker) marks: Vec<(Mark, u64)>,
    /// The nodes of the cluster, and those that were.
    pub(in crate::broker) nodes: BTreeMap<NodeNumber, NodeRecord>,
    users: BTreeSet<ShortString>,
    numbers: BTreeSet<QueueId>,
}

impl Rebuilt {
    /// Builds everything, or says which fact is at fault.
    pub(in crate::broker) fn from_facts(facts: &BTreeMap<Bytes, Bytes>) -> Result<Self, BadFact> {
        let mut rebuilt = Self::default();
        let mut policies = BTreeMap::<_, Vec<_>>::new();
        for (key, value) in facts {
            let fact = Fact::read(key, value)?;
            let key = fact.key();
            if let Fact::Policy(home, kind, policy) = &fact {
                policies.entry(home.clone()).or_default().push((*kind, Arc::clone(policy)));
            }
            rebuilt.add(fact).map_err(|fault| BadFact::new(&key, fault))?;
        }
        for (home, policies) in policies {
            if let Some(topology) = rebuilt.topologies.get_mut(&home) {
                topology.restore_policies(policies);
            }
        }
        Ok(rebuilt)
    }

    /// The highest number of a queue that was declared on that node.
    pub(in crate::broker) fn last_queue(&self, node: NodeNumber) -> Option<QueueId> {
        let last = self.numbers.range(..=QueueId(node.last())).next_back();
        last.copied().filter(|id| id.node() == node)
    }

    /// The index of the last change in each virtual host.
    pub(in crate::broker) fn agreed(&self) -> BTreeMap<VirtualHostName, u64> {
        let of_home = |(mark, index): &(Mark, u64)| match mark {
            Mark::Home(name) => Some((name.clone(), *index)),
            Mark::Index | Mark::Registry | Mark::Numbers(_) => None,
        };
        self.marks.iter().filter_map(of_home).collect()
    }

    fn add(&mut self, fact: Fact) -> Result<(), Fault> {
        match fact {
            Fact::VirtualHost(name, options) => {
                let mut topology = Topology::new(name.clone());
                topology.apply(&Change::Described(options));
                self.topologies.insert(name, topology);
            }
            Fact::Exchange(home, exchange) => {
                let topology = self.topology(&home)?;
                if exchange.name.is_empty() || topology.exchange(&exchange.name).is_some() {
                    return Err(Fault::Predeclared);
                }
                let annexes = exchange.annexes.clone();
                topology.apply(&Change::ExchangeDeclared(exchange));
                annexes.into_iter().try_for_each(|annex| self.number(annex))?;
            }
            Fact::Queue(home, queue) => {
                let id = queue.id;
                self.topology(&home)?.apply(&Change::QueueDeclared(queue));
                self.number(id)?;
            }
            Fact::Binding(home, binding) => {
                let topology = self.topology(&home)?;
                check_ends(topology, &home, &binding)?;
                topology.apply(&Change::Bound(binding));
            }
            Fact::User(ref name, _) => {
                self.users.insert(name.clone());
                self.others.push(fact);
            }
            Fact::Permission(ref user, ref home, _)
            | Fact::TopicPermission(ref user, ref home, ..) => {
                self.topology(home)?;
                if !self.users.contains(user) {
                    return Err(Fault::Missing(Key::User(user.clone())));
                }
                self.others.push(fact);
            }
            Fact::GlobalParameter(..) => self.others.push(fact),
            Fact::Mark(mark, number) => {
                if let Mark::Home(name) = &mark {
                    self.topology(name)?;
                }
                self.marks.push((mark, number));
            }
            Fact::Node(number, node) => drop(self.nodes.insert(number, node)),
            // All of them are taken up at once, in the end.
            Fact::Policy(home, ..) => drop(self.topology(&home)?),
        }
        Ok(())
    }

    fn number(&mut self, id: QueueId) -> Result<(), Fault> {
        if self.numbers.insert(id) { Ok(()) } else { Err(Fault::SameNumber(id)) }
    }

    fn topology(&mut self, name: &VirtualHostName) -> Result<&mut Topology, Fault> {
        let missing = || Fault::Missing(Key::VirtualHost(name.clone()));
        self.topologies.get_mut(name).ok_or_else(missing)
    }
}

fn check_ends(
    topology: &Topology,
    home: &VirtualHostName,
    binding: &Arc<Binding>,
) -> Result<(), Fault> {
    let exchange = |name: &ExchangeName| match topology.exchange(name) {
        Some(_) => Ok(()),
        None => Err(Fault::Missing(Key::Exchange(home.clone(), name.clone()))),
    };
    exchange(&binding.source)?;
    match &binding.destination {
        Destination::Exchange(name) => exchange(name),
        Destination::Queue(name) => match topology.queue_named(name) {
            Some(_) => Ok(()),
            None => Err(Fault::Missing(Key::Queue(home.clone(), name.clone()))),
        },
    }
}
