//! Moves the replicas of mirrored queues to where policies want them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use thiserror::Error;

use super::Cluster;
use crate::{
    broker::{
        Broker,
        ports::Job,
        topology::{Change, Nodes, QueueRecord, Topology},
        virtual_host::VirtualHost,
    },
    model::{ConnectionId, Placement, QueueId, QueueKind, QueueName, Refusal, VirtualHostName},
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

/// Why a member was not added, or taken away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotMoved {
    #[error("not_found")]
    NoQueue,
    #[error("classic_queue_not_supported")]
    Classic,
    #[error("node_not_running")]
    NodeNotRunning,
    #[error("last_node")]
    LastMember,
    /// Its members change already, or no majority has agreed to another change.
    #[error("cluster_change_not_permitted")]
    Busy,
}

impl Broker {
    /// Adds a node to the members of a quorum queue, or takes it away; nothing if that is so
    /// already. It waits for the change before it; the queue's group follows by and by. Blocks its
    /// thread.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn change_member(
        &self,
        (home, queue): (&VirtualHostName, &QueueName),
        node: &str,
        is_to_be: bool,
    ) -> Result<(), NotMoved> {
        let cluster = self.cluster.as_ref().ok_or(NotMoved::NodeNotRunning)?;
        let home = self.virtual_host(home).ok_or(NotMoved::NoQueue)?;
        self.await_rest(&home, queue);
        let nodes = cluster.agreement.nodes();
        let mut why = None;
        let decide = |topology: &Topology| {
            let changed = change_member(topology, queue, &nodes, (node, is_to_be));
            let changes = changed.unwrap_or_else(|not| {
                why = Some(not);
                None
            });
            Ok(((), changes.into_iter().collect()))
        };
        let agreed = self.agree_on_change(cluster, (&home, ConnectionId::default()), decide);
        agreed.map_err(|_| NotMoved::Busy)?;
        why.map_or(Ok(()), Err)
    }

    /// Waits until the queue is where it is to be, or for as long as clients wait for anything.
    fn await_rest(&self, home: &VirtualHost, queue: &QueueName) {
        let is_moving = || {
            let topology = home.topology();
            topology.queue_named(queue).is_some_and(|queue| queue.placement.moving)
        };
        if let Some(fellowship) = &self.fellowship {
            fellowship.fellows().wait(&mut || !is_moving());
        }
    }
}

fn change_member(
    topology: &Topology,
    queue: &QueueName,
    nodes: &Nodes,
    (name, is_to_be): (&str, bool),
) -> Result<Option<Change>, NotMoved> {
    let queue = topology.queue_named(queue).ok_or(NotMoved::NoQueue)?;
    if queue.options.kind != QueueKind::Quorum {
        return Err(NotMoved::Classic);
    }
    let node = nodes.live.iter().find(|live| live.name == name);
    let node = node.ok_or(NotMoved::NodeNotRunning)?.number;
    let placement = &queue.placement;
    if placement.is_on(node) == is_to_be {
        return Ok(None);
    }
    if placement.moving {
        return Err(NotMoved::Busy);
    }
    let mut members: Vec<_> = placement.nodes().filter(|member| *member != node).collect();
    if is_to_be {
        members.push(node);
    }
    if members.is_empty() {
        return Err(NotMoved::LastMember);
    }
    Ok(Some(Change::QueuePlaced(queue.id, placement.moved_to(&members))))
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
