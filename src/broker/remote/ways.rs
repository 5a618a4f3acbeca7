//! The ways of deliveries from the leader of a queue to clients of this node and of others.

use std::{mem, sync::Arc};

use super::{
    attachments::Attachments,
    parcel::{Content, Parcel},
};
use crate::{
    broker::ports::{Fellows, Outbox},
    model::{ConsumerId, Decided, Delivery, NodeNumber, QueueId},
};

/// To clients of this node, whose attachments remember what they hold.
#[derive(Debug)]
pub(super) struct WayHere(pub(super) Arc<Attachments>);

impl Outbox for WayHere {
    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        self.0.deliver_counted(deliveries);
    }

    fn consumer_cancelled(&self, consumer: ConsumerId) {
        self.0.cancel(consumer);
    }

    fn decided(&self, _decided: &mut Vec<Decided>) {}

    fn close(&self, _reason: String) {}
}

/// To clients of another node.
#[derive(Debug)]
pub(super) struct WayThere {
    node: NodeNumber,
    term: u64,
    queue: QueueId,
    fellows: Arc<dyn Fellows>,
}

impl WayThere {
    pub(super) fn new(
        node: NodeNumber,
        (term, queue): (u64, QueueId),
        fellows: Arc<dyn Fellows>,
    ) -> Self {
        Self { node, term, queue, fellows }
    }

    fn send(&self, content: Content) {
        let Self { node, term, queue, fellows } = self;
        fellows.send(*node, Parcel { queue: *queue, term: *term, content });
    }
}

impl Outbox for WayThere {
    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        self.send(Content::Deliver(mem::take(deliveries)));
    }

    fn consumer_cancelled(&self, consumer: ConsumerId) {
        self.send(Content::Cancelled(consumer));
    }

    fn decided(&self, _decided: &mut Vec<Decided>) {}

    fn close(&self, _reason: String) {}
}
