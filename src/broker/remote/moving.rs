//! Replicas that come to this node, and leave it.

use std::sync::Arc;

use super::{company::replica_key, replica::Replica, sight::Remote};
use crate::{
    broker::{Broker, topology::QueueRecord},
    model::{Batch, Moment},
};

impl Broker {
    /// The nodes have agreed that a mirrored queue is to be elsewhere, or that it is there now.
    ///
    /// Who is to have a replica begins one. Who is not to have one keeps it until the others are
    /// there: they may need its vote.
    pub(in crate::broker) fn move_replica(&self, record: &Arc<QueueRecord>) {
        let (Some(fellowship), Some(remote)) = (&self.fellowship, self.remote(record.id)) else {
            return;
        };
        let placement = &record.placement;
        let is_member = placement.is_on(self.node());
        match remote.contents() {
            Some(_) if !is_member && !placement.moving => self.give_up_replica(&remote),
            None if !is_member => {}
            None => {
                let replica = Replica::new(record.id);
                fellowship.contents.insert(replica.contents, record.id);
                remote.mirror(replica);
                fellowship.fellows().keep(record.id, placement);
            }
            Some(_) => fellowship.fellows().keep(record.id, placement),
        }
    }

    /// Asks the members of a mirrored queue which of them leads it: whoever does may have said so
    /// before this node knew the queue.
    pub(super) fn look_for_leader(&self, remote: &Remote, now: Moment) {
        let Some(fellowship) = &self.fellowship else { return };
        let members = remote.record.placement.nodes();
        let others: Vec<_> = members.filter(|node| fellowship.is_present(*node)).collect();
        if !others.is_empty() {
            // Nothing follows from a question.
            drop(self.with(now, |company| remote.ask_who_leads(&others, company)));
        }
    }

    /// Forgets this node's replica of a queue.
    pub(super) fn give_up_replica(&self, remote: &Remote) {
        let (Some(fellowship), Some(contents)) = (&self.fellowship, remote.give_up()) else {
            return;
        };
        fellowship.contents.remove(&contents);
        let queue = remote.record.id;
        fellowship.fellows().drop_group(queue);
        if let Some(journal) = &self.journal {
            let mut batch = Batch::default();
            batch.forget(contents);
            batch.delete(&replica_key(queue));
            journal.append(&mut batch);
        }
    }
}
