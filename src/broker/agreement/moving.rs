//! Moves the replicas of mirrored queues to where policies want them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Cluster;
use crate::{
    broker::{
        Broker,
        ports::Job,
        topology::{Change, QueueRecord, Topology},
        virtual_host::VirtualHost,
    },
    model::{ConnectionId, Placement, QueueId, Refusal},
};

impl Broker {
    /// Has those mirrored queues that are led here placed where they should be by now. Blocks its
    /// thread.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`]: it is to be tried again.
    pub fn move_queues(&self) -> Result<(), Refusal> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        for home in self.homes() {
            let led = self.led_here(&home);
            if !led.is_empty() {
                self.move_queues_of(cluster, &home, &led)?;
            }
        }
        Ok(())
    }

    fn move_queues_of(
        &self,
        cluster: &Cluster,
        home: &VirtualHost,
        led: &BTreeSet<QueueId>,
    ) -> Result<(), Refusal> {
        let nodes = cluster.agreement.nodes();
        let decide = |topology: &Topology| {
            let changes = topology.queues().filter(|queue| led.contains(&queue.id));
            let changes = changes.filter_map(|queue| {
                let placement = topology.place_anew(queue, &nodes)?;
                Some(Change::QueuePlaced(queue.id, placement))
            });
            Ok(((), changes.collect()))
        };
        self.agree_on_change(cluster, (home, ConnectionId::default()), decide)
    }

    /// The mirrored queues of a virtual host that this node leads.
    fn led_here(&self, home: &VirtualHost) -> BTreeSet<QueueId> {
        let records: Vec<_> = home.topology().queues().cloned().collect();
        let me = self.node();
        let is_led = |record: &&Arc<QueueRecord>| {
            let remote = self.remote(record.id).filter(|_| record.placement.is_mirrored());
            remote.and_then(|remote| remote.leader(me)) == Some(me)
        };
        records.iter().filter(is_led).map(|record| record.id).collect()
    }

    /// A queue's group has come to have the members that the placement of this generation names.
    pub fn has_moved(&self, queue: QueueId, generation: u64) {
        let (Some(cluster), Some(remote)) = (&self.cluster, self.remote(queue)) else { return };
        let home = remote.home.name.clone();
        cluster.agreement.later(Job::SettleQueue { home, id: queue, generation });
    }
}

impl Topology {
    /// What says that queues are where they were to be, as of these generations.
    pub(super) fn settle(&self, reached: &BTreeMap<QueueId, u64>) -> Vec<Change> {
        let changes = reached.iter().filter_map(|(id, generation)| {
            let placement = &self.queue(*id)?.placement;
            let is_due = placement.moving && placement.generation == *generation;
            let settled = Placement { moving: false, ..placement.clone() };
            is_due.then_some(Change::QueuePlaced(*id, settled))
        });
        changes.collect()
    }
}
