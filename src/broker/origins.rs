//! How a broker comes by its users and virtual hosts: from the facts that it left behind, or from
//! the configuration when there are none.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use super::{
    BadFact, Broker, Permission, User,
    facts::{self, Fact, Rebuilt},
    hosted::Configuration,
    topology::{Change, QueueRecord, Topology},
    virtual_host::VirtualHost,
};
use crate::model::{Batch, LogPosition, QueueId, ShortString, VirtualHostName, VirtualHostOptions};

/// The first of everything: what a node has that has nothing yet.
#[derive(Clone, Debug)]
pub struct Origins {
    pub virtual_host: VirtualHostName,
    pub user_name: ShortString,
    pub user: User,
    /// Of that user in that virtual host.
    pub permission: Permission,
}

/// A durable queue that is in its topology again, or an annex of a durable exchange, and has no
/// messages yet.
#[derive(Clone, Debug)]
pub(super) struct RestoredQueue {
    pub(super) record: Arc<QueueRecord>,
    pub(super) home: Arc<VirtualHost>,
    /// Those that hold for it.
    pub(super) configuration: Configuration,
}

impl Broker {
    /// Takes up the users and virtual hosts that an earlier broker left behind as facts of its
    /// journal, and gives their queues, each of which must be hosted before a client comes. To be
    /// called once, before anything else.
    ///
    /// # Errors
    /// When a fact makes no sense. The broker is as it was then.
    pub(super) fn restore_topology(
        &self,
        facts: &BTreeMap<Bytes, Bytes>,
    ) -> Result<Vec<RestoredQueue>, BadFact> {
        let rebuilt = Rebuilt::from_facts(facts)?;
        self.begin_queues_above(rebuilt.last_queue(self.node()).unwrap_or_default());
        self.restore_marks(&rebuilt.marks);
        self.restore_nodes(rebuilt.nodes.clone());
        let agreed = rebuilt.agreed();
        for fact in rebuilt.others {
            match fact {
                Fact::GlobalParameter(name, value) => self.parameters.restore(name, value),
                of_a_user => self.directory.restore(of_a_user),
            }
        }
        let homes = rebuilt.topologies.into_iter();
        let restored = homes.flat_map(|(name, topology)| {
            let index = agreed.get(&name).copied().unwrap_or_default();
            self.restore_virtual_host(name, topology, index)
        });
        Ok(restored.collect())
    }

    /// No new queue will have this number or a lower one.
    pub(super) fn begin_queues_above(&self, last: QueueId) {
        self.next_queue.fetch_max(last.0 + 1, Ordering::Relaxed);
    }

    /// Gives a node that has neither a user nor a virtual host its first of both; any other stays
    /// as it is (RabbitMQ 3.10). They survive a restart once the position is durable.
    pub fn establish(&self, origins: Origins) -> LogPosition {
        if !self.is_blank() {
            return LogPosition::default();
        }
        let Origins { virtual_host, user_name, user, permission } = origins;
        let description = "Default virtual host".to_owned();
        let options = Arc::new(VirtualHostOptions { description, ..VirtualHostOptions::default() });
        let facts = [
            Fact::VirtualHost(virtual_host.clone(), Arc::clone(&options)),
            Fact::User(user_name.clone(), user),
            Fact::Permission(user_name, virtual_host.clone(), permission),
        ];
        if let Some(cluster) = &self.cluster {
            return self.agree_on_origins(cluster, &facts);
        }
        let mut batch = Batch::default();
        facts.iter().for_each(|fact| fact.put(&mut batch));
        let position = facts::append(self.journal.as_deref(), &mut batch);
        facts.into_iter().for_each(|fact| self.directory.restore(fact));
        let mut topology = Topology::new(virtual_host.clone());
        topology.apply(&Change::Described(options));
        self.restore_virtual_host(virtual_host, topology, 0);
        position
    }

    /// Whether there is neither a user nor a virtual host.
    pub fn is_blank(&self) -> bool {
        self.directory.is_empty() && self.virtual_hosts.is_empty()
    }

    pub(super) fn restore_virtual_host(
        &self,
        name: VirtualHostName,
        topology: Topology,
        agreed: u64,
    ) -> Vec<RestoredQueue> {
        let topology = topology.keeping_all(self.cluster.is_some());
        let annexes = topology.exchanges().flat_map(|exchange| exchange.annex_records());
        let records: Vec<_> = topology
            .queues()
            .cloned()
            .chain(annexes)
            .map(|record| (Arc::clone(&record), Configuration::of(&record, &topology)))
            .collect();
        let home = VirtualHost::new(topology, self.journal.clone()).agreed_at(agreed);
        let home = Arc::new(home);
        self.virtual_hosts.insert(name, Arc::clone(&home));
        records
            .into_iter()
            .map(|(record, configuration)| {
                let home = Arc::clone(&home);
                RestoredQueue { record, home, configuration }
            })
            .collect()
    }
}
