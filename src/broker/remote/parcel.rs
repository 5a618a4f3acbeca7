//! What the nodes of a cluster tell each other about one queue.

use crate::{
    broker::{
        queue::{Arrival, Subscription},
        views::Subscriber,
    },
    model::{
        ConsumerId, Delivery, Message, NodeNumber, Outcome, Position, PositionRange, QueueId,
        Refusal, Resource,
    },
};

/// A message between two nodes.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub(in crate::broker) queue: QueueId,
    /// Which leadership of the queue it belongs to; what belongs to another is dropped.
    pub(in crate::broker) term: u64,
    pub(in crate::broker) content: Content,
}

/// What a parcel says. The upper half goes to the leader, the lower half comes from it.
#[derive(Clone, Debug)]
pub(in crate::broker) enum Content {
    /// Publications in a row.
    Publish(Shipment),
    /// Every consumer that the node has at the queue, and what the node holds of it: the answer to
    /// [`Content::Leads`].
    Claims(Claims),
    /// The consumer leaves.
    Detach(ConsumerId),
    /// Deliveries come to their end, or come back.
    Settle {
        positions: Vec<PositionRange>,
        outcome: Outcome,
    },
    /// The consumer has room for so many octets more.
    Replenish {
        consumer: ConsumerId,
        octets: u64,
    },
    /// The node has just heard of the queue: who leads it?
    WhoLeads,
    /// This node should lead instead.
    HandOver(NodeNumber),
    /// Asks something that the leader answers under this number.
    Ask {
        number: u64,
        question: Question,
    },

    /// The sender of this leads the queue as of this term.
    Leads,
    /// Publications below a number are decided: those named were refused, the others are safe.
    Decided {
        sender: u64,
        below: u64,
        refused: Vec<u64>,
    },
    /// Publications from this number on must be sent again.
    Resend {
        sender: u64,
        from: u64,
    },
    /// Messages for the node's consumers, in order.
    Deliver(Vec<Delivery>),
    /// The consumer is gone because its queue is.
    Cancelled(ConsumerId),
    Answer {
        number: u64,
        answer: Answer,
    },
}

/// Publications of one node to one queue, in a row.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Shipment {
    /// The node's incarnation: its publications are numbered from 1 in each.
    pub sender: u64,
    /// The number of the first.
    pub first: u64,
    /// The node has heard what became of all below.
    pub heard: u64,
    /// `None`: this one was refused earlier, and only keeps its number.
    pub arrivals: Vec<Option<Arrival>>,
}

/// What a node has at a queue.
#[derive(Clone, Debug, Default)]
pub(in crate::broker) struct Claims {
    pub consumers: Vec<(Subscription, Subscriber)>,
    /// What each holds. [`ConsumerId::default`] stands for what `basic.get` took.
    pub held: Vec<(ConsumerId, Vec<PositionRange>)>,
}

/// A question to the leader.
#[derive(Clone, Debug)]
pub(in crate::broker) enum Question {
    /// `basic.get`.
    Get { acknowledge: bool },
    /// `queue.purge`.
    Purge,
    /// How much is in it; with `touch`, its lease begins anew.
    Counts { touch: bool },
    /// `queue.delete`.
    End { if_unused: bool, if_empty: bool },
    /// A consumer wants to attach.
    Subscribe(Box<(Subscription, Subscriber)>),
    /// What operators see.
    View,
}

/// A leader's answer.
#[derive(Clone, Debug)]
pub(in crate::broker) enum Answer {
    Got(Option<Box<Got>>),
    /// So many messages were dropped.
    Purged(u64),
    Counts {
        ready: u64,
        unacknowledged: u64,
        consumers: u64,
    },
    /// It has ended, with so many messages in it.
    Ended(u64),
    Subscribed,
    View(Box<Seen>),
    Denied(Denial),
}

/// Why a leader does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Denial {
    /// The queue has just gone.
    Gone,
    InExclusiveUse,
    NotEmpty,
    InUse,
}

impl Denial {
    pub(super) fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::InExclusiveUse(_) => Self::InExclusiveUse,
            Refusal::NotEmpty(_) => Self::NotEmpty,
            Refusal::InUse(_) => Self::InUse,
            _ => Self::Gone,
        }
    }

    /// The same, of the queue of that name.
    pub(super) fn refusal(self, resource: Resource) -> Refusal {
        match self {
            Self::Gone => Refusal::NotFound(resource),
            Self::InExclusiveUse => Refusal::InExclusiveUse(resource),
            Self::NotEmpty => Refusal::NotEmpty(resource),
            Self::InUse => Refusal::InUse(resource),
        }
    }
}

/// A message that was taken.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Got {
    pub position: Position,
    pub message: Message,
    pub redelivered: bool,
    pub remaining: u64,
}

/// A queue, as operators see it from elsewhere.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Seen {
    pub ready: u64,
    pub unacknowledged: u64,
    pub ready_octets: u64,
    pub unacknowledged_octets: u64,
    /// With whether each is active.
    pub consumers: Vec<(Subscriber, bool)>,
}
