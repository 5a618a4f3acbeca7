//! Decides here, has it agreed on, and decides again when it has changed meanwhile.

use std::{collections::BTreeMap, iter, sync::Arc};

use super::{Cluster, command::Command};
use crate::{
    broker::{
        Broker,
        hosted::{Aftermath, Counts, Hosted},
        ports::{Agreed, Job},
        topology::{Change, Declared, Nodes, QueueDeclaration, QueueRecord, Topology},
        virtual_host::VirtualHost,
    },
    model::{ConnectionId, LogPosition, Moment, NodeNumber, QueueId, Refusal, VirtualHostName},
};

/// So often is decided again before it is given up.
pub(super) const ATTEMPTS: usize = 100;

/// A queue that is new gets its number only then: numbers are not to run out.
const NONE: QueueId = QueueId(0);

impl Broker {
    /// Does what was put off ([`crate::broker::Agreement::later`]), one or several jobs. Blocks its
    /// thread.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`]: it is to be tried again.
    pub fn perform(&self, jobs: &[Job]) -> Result<(), Refusal> {
        let mut ended = BTreeMap::<&VirtualHostName, Vec<QueueId>>::new();
        let mut settled = BTreeMap::<&VirtualHostName, BTreeMap<QueueId, u64>>::new();
        for job in jobs {
            match job {
                Job::RemoveQueue { home, id } => ended.entry(home).or_default().push(*id),
                Job::SettleQueue { home, id, generation } => {
                    settled.entry(home).or_default().insert(*id, *generation);
                }
                Job::ForgetNode(node) => self.forget_queues_of(*node, |_| true)?,
            }
        }
        for (home, settled) in settled {
            if let Some(home) = self.virtual_host(home) {
                self.agree_on_removal(&home, |topology| topology.settle(&settled))?;
            }
        }
        for (home, mut ids) in ended {
            ids.sort_unstable();
            ids.dedup();
            if let Some(home) = self.virtual_host(home) {
                self.agree_on_removal(&home, |topology| topology.delete_queues(&ids))?;
            }
        }
        Ok(())
    }

    /// Has the transient queues removed that lived on a node before it was started again, or was
    /// taken out of the cluster. Blocks its thread; of a node's own to be called before clients
    /// come.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`]: it is to be tried again.
    pub fn forget_transients(&self, node: NodeNumber) -> Result<(), Refusal> {
        self.forget_queues_of(node, |queue| !queue.durable)
    }

    /// Has those queues removed of which the node has the only copy.
    fn forget_queues_of(
        &self,
        node: NodeNumber,
        which: impl Fn(&QueueRecord) -> bool,
    ) -> Result<(), Refusal> {
        let is_lost = |queue: &&Arc<QueueRecord>| {
            let placement = &queue.placement;
            placement.home == node && !placement.is_mirrored() && which(queue)
        };
        for home in self.homes() {
            self.agree_on_removal(&home, |topology| {
                let lost: Vec<_> =
                    topology.queues().filter(is_lost).map(|queue| queue.id).collect();
                topology.delete_queues(&lost)
            })?;
        }
        Ok(())
    }

    /// Decides on a topology, and returns once all nodes have agreed to what was decided and it is
    /// applied here.
    pub(in crate::broker) fn agree_on_change<T>(
        &self,
        cluster: &Cluster,
        (home, by): (&VirtualHost, ConnectionId),
        mut decide: impl FnMut(&Topology) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<T, Refusal> {
        for _ in 0..ATTEMPTS {
            let ((result, mut changes), seen) = home.decide(&mut decide)?;
            if changes.is_empty() {
                return Ok(result);
            }
            changes.iter_mut().for_each(|change| self.number_annexes(change));
            let command = Command::Change { home: home.name.clone(), seen, by, changes };
            if cluster.agreement.agree(command.encode())? == Agreed::Done {
                return Ok(result);
            }
        }
        Err(Refusal::NoQuorum)
    }

    /// Declares a queue, or finds that it is there, and says what is in it.
    pub(in crate::broker) fn agree_on_queue(
        &self,
        cluster: &Cluster,
        (home, by): (&VirtualHost, ConnectionId),
        declaration: &QueueDeclaration,
        may_be_new: &Result<(), Refusal>,
        now: Moment,
    ) -> Result<(Arc<QueueRecord>, Counts), Refusal> {
        for _ in 0..ATTEMPTS {
            let nodes = cluster.agreement.nodes();
            let decide = |topology: &Topology| match topology.declare_queue(declaration, NONE)? {
                Declared::Present(record) => Ok((record, Vec::new())),
                Declared::New(record) => {
                    may_be_new.clone()?;
                    let record = self.placed(&record, topology, &nodes);
                    Ok((Arc::clone(&record), vec![Change::QueueDeclared(record)]))
                }
            };
            let record = self.agree_on_change(cluster, (home, by), decide)?;
            if !self.is_home_of(&record) {
                let remote = self.remote(record.id);
                let counts = remote.map(|remote| self.counts_far(&remote, true, now));
                return Ok((record, counts.transpose()?.unwrap_or_default()));
            }
            let hosted = self.queue(record.id);
            if let Some(counts) = hosted.and_then(|hosted| self.counts(&hosted, true, now)) {
                return Ok((record, counts));
            }
            // Its life has ended, and not all know it yet.
            self.agree_on_removal(home, |topology| topology.delete_queue(record.id))?;
        }
        Err(Refusal::NoQuorum)
    }

    /// Has queues leave the topology that have no life any more; nothing when they have left.
    pub(in crate::broker) fn agree_on_removal(
        &self,
        home: &VirtualHost,
        removal: impl Fn(&Topology) -> Vec<Change>,
    ) -> Result<(), Refusal> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let by = ConnectionId::default();
        let decide = |topology: &Topology| Ok(((), removal(topology)));
        match self.agree_on_change(cluster, (home, by), decide) {
            // Nothing is in it any more.
            Err(Refusal::VirtualHostNotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// Has a queue leave the topology that a client has ended, and says how much was in it.
    pub(in crate::broker) fn end_agreed(
        &self,
        hosted: &Hosted,
        ended: Result<Counts, Refusal>,
        aftermath: Aftermath,
        now: Moment,
    ) -> Result<(u64, LogPosition), Refusal> {
        // Who waits for the end has it agreed on; otherwise it came by itself, and nobody waits.
        let over = aftermath.over && ended.is_err();
        self.see_to(hosted, Aftermath { over, ..aftermath }, now);
        let (counts, id) = (ended?, hosted.record.id);
        let agreed = self.agree_on_removal(&hosted.home, |topology| topology.delete_queue(id));
        agreed.inspect_err(|_| self.remove_later(&hosted.home, id))?;
        Ok((counts.ready, LogPosition::default()))
    }

    /// Deletes a queue that is not simply here, if it may be, and says how many messages it held.
    pub(in crate::broker) fn end_elsewhere(
        &self,
        home: &VirtualHost,
        id: QueueId,
        (if_unused, if_empty): (bool, bool),
        now: Moment,
    ) -> Result<u64, Refusal> {
        let remote = self.remote(id);
        let messages = match &remote {
            Some(remote) => self.end_far(remote, if_unused, if_empty, now)?,
            None => 0,
        };
        self.agree_on_removal(home, |topology| topology.delete_queue(id))?;
        Ok(messages)
    }

    /// Has a queue leave the topology by and by: nobody waits for it.
    pub(in crate::broker) fn remove_later(&self, home: &VirtualHost, id: QueueId) {
        if let Some(cluster) = &self.cluster {
            cluster.agreement.later(Job::RemoveQueue { home: home.name.clone(), id });
        }
    }

    /// The record of a new queue with its number and its place.
    fn placed(&self, record: &QueueRecord, topology: &Topology, nodes: &Nodes) -> Arc<QueueRecord> {
        let placement = topology.place(record, nodes, self.draw());
        Arc::new(QueueRecord { id: self.next_queue_id(), placement, ..record.clone() })
    }

    fn number_annexes(&self, change: &mut Change) {
        if let Change::ExchangeDeclared(record) = change
            && record.lacks_annexes()
        {
            let numbers = iter::repeat_with(|| self.next_queue_id());
            *record = Arc::new(record.with_annexes(numbers));
        }
    }

    /// All virtual hosts, by name.
    pub(super) fn homes(&self) -> Vec<Arc<VirtualHost>> {
        let names = self.virtual_hosts().into_iter();
        names.filter_map(|name| self.virtual_host(&name)).collect()
    }
}
