//! Whether what was decided on an earlier state of a topology would be decided again.

use super::{Change, Topology};
use crate::{
    broker::routing::Binding,
    model::{ConnectionId, Limit, Placement, QueueId},
};

impl Topology {
    /// Whether `by` would be given the same changes here, although the topology has changed since
    /// they were decided. Every node of a cluster judges alike. Many clients that declare at once
    /// what has nothing to do with one another need not wait for each other; of what is rare it is
    /// not worth the trouble to know.
    pub(in crate::broker) fn still_holds(&self, changes: &[Change], by: ConnectionId) -> bool {
        match changes {
            [Change::QueueDeclared(queue)] => {
                let limit = self.options.limits.most(Limit::Queues);
                let has_room = limit.is_none_or(|limit| (self.queues.len() as u64) < limit);
                has_room && self.queue_named(&queue.name).is_none()
            }
            [Change::ExchangeDeclared(exchange)] => self.exchange(&exchange.name).is_none(),
            [Change::Bound(binding)] => {
                let bound = self.bind(Binding::clone(binding), by);
                bound.is_ok_and(|change| change.is_some())
            }
            [Change::QueueDeleted(_), ..] => {
                let ids: Vec<_> = changes.iter().map_while(deleted_queue).collect();
                self.delete_queues(&ids) == changes
            }
            [Change::Unbound(binding), ..] => {
                self.unbind(binding, by).is_ok_and(|would_be| would_be == changes)
            }
            [Change::QueuePlaced(..), ..] => changes.iter().all(|change| self.is_next(change)),
            _ => false,
        }
    }

    /// Whether a placement follows from the one that the queue has.
    fn is_next(&self, change: &Change) -> bool {
        let Change::QueuePlaced(id, placement) = change else { return false };
        self.queue(*id).is_some_and(|queue| {
            let known = &queue.placement;
            let is_reached =
                known.moving && Placement { moving: true, ..placement.clone() } == *known;
            placement.generation == known.generation + 1 || is_reached
        })
    }
}

fn deleted_queue(change: &Change) -> Option<QueueId> {
    match change {
        Change::QueueDeleted(id) => Some(*id),
        _ => None,
    }
}
