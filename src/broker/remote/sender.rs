//! What this node's clients have published to one queue, until its leader has decided on it.

use std::{collections::VecDeque, sync::Arc};

use super::parcel::Shipment;
use crate::{
    broker::{ports::Outbox, queue::Arrival},
    model::{ChannelNumber, Decided, Position, QueueId},
};

/// Who waits to hear what becomes of a publication.
#[derive(Debug)]
pub(in crate::broker) enum Ticket {
    Nobody,
    /// A publisher who hears nothing, but may have to wait until less is on its way.
    Sent {
        outbox: Arc<dyn Outbox>,
    },
    /// A publisher in confirm mode.
    Confirm {
        outbox: Arc<dyn Outbox>,
        channel: ChannelNumber,
        number: u64,
        shared: Shared,
    },
    /// A transaction, of which this is one of the messages.
    Transaction(Arc<super::Verdict>),
    /// A message that is still at its place in another queue.
    Letter {
        queue: QueueId,
        from: Position,
        shared: Shared,
    },
}

/// How many queues are still to decide, if the message went to several, and whether any refused.
pub(in crate::broker) type Shared = Option<Arc<super::Verdict>>;

/// Publications of this node to one queue, numbered from 1 in the order in which they came.
#[derive(Debug)]
pub(super) struct Sender {
    /// The number of the first that is not decided.
    first: u64,
    /// The first that the present leader has not been sent.
    unsent: u64,
    pending: VecDeque<Pending>,
    /// Octets of those that are pending.
    octets: usize,
}

#[derive(Debug)]
struct Pending {
    /// `None`: it was refused, and only keeps its number.
    arrival: Option<Arrival>,
    ticket: Ticket,
}

/// So many octets go to a leader at once, more or less.
const SHIPMENT_OCTETS: usize = 1 << 20;

impl Default for Sender {
    fn default() -> Self {
        Self { first: 1, unsent: 1, pending: VecDeque::new(), octets: 0 }
    }
}

impl Sender {
    pub(super) fn push(&mut self, arrival: Arrival, ticket: Ticket) {
        self.octets += arrival.message.size();
        self.pending.push_back(Pending { arrival: Some(arrival), ticket });
    }

    /// Octets that are not decided.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Has all that is not decided sent again, to a leader that has none of it.
    pub(super) fn start_over(&mut self) {
        self.unsent = self.first;
    }

    /// Has the leader sent again what it lacks.
    pub(super) fn resend_from(&mut self, number: u64) {
        self.unsent = number.clamp(self.first, self.unsent);
    }

    /// The next publications to send, as those of the node's incarnation `sender`.
    pub(super) fn next_shipment(&mut self, sender: u64) -> Option<Shipment> {
        let skipped = usize::try_from(self.unsent - self.first).unwrap_or(usize::MAX);
        let mut arrivals = Vec::new();
        let mut octets = 0;
        for pending in self.pending.iter().skip(skipped) {
            if octets > SHIPMENT_OCTETS {
                break;
            }
            octets += pending.arrival.as_ref().map_or(0, |arrival| arrival.message.size());
            arrivals.push(pending.arrival.clone());
        }
        if arrivals.is_empty() {
            return None;
        }
        let (first, heard) = (self.unsent, self.first);
        self.unsent += arrivals.len() as u64;
        Some(Shipment { sender, first, heard, arrivals })
    }

    /// The leader has decided on all below a number: gives who waits, and whether it was refused.
    pub(super) fn decide(&mut self, below: u64, refused: &[u64]) -> Vec<(Ticket, bool)> {
        let mut decided = Vec::new();
        while self.first < below
            && let Some(Pending { arrival, ticket }) = self.pending.pop_front()
        {
            self.octets -= arrival.map_or(0, |arrival| arrival.message.size());
            decided.push((ticket, refused.binary_search(&self.first).is_ok()));
            self.first += 1;
        }
        self.unsent = self.unsent.max(self.first);
        decided
    }

    /// Nothing of it will ever be decided: its queue is gone, or cannot be reached for good.
    pub(super) fn give_up(&mut self) -> Vec<Ticket> {
        let pending = std::mem::take(&mut self.pending);
        self.first += pending.len() as u64;
        self.unsent = self.first;
        self.octets = 0;
        pending.into_iter().map(|pending| pending.ticket).collect()
    }
}

/// Tells publishers what became of publications, each connection once for all that come in a row.
pub(super) fn tell(decided: impl Iterator<Item = (Arc<dyn Outbox>, Decided)>) {
    let mut run: Vec<Decided> = Vec::new();
    let mut to: Option<Arc<dyn Outbox>> = None;
    for (outbox, decision) in decided {
        let is_same = to.as_ref().is_some_and(|to| Arc::ptr_eq(to, &outbox));
        if !is_same && let Some(to) = to.replace(outbox) {
            to.decided(&mut run);
            run.clear();
        }
        run.push(decision);
    }
    if let Some(to) = to {
        to.decided(&mut run);
    }
}
