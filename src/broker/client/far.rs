//! What one connection publishes to queues that are mirrored, or live on another node.

use std::sync::Arc;

use super::{Client, publishing::Run, routes::Route};
use crate::{
    broker::{
        queue::Arrival,
        remote::{Remote, Ticket, Verdict},
    },
    model::{ChannelNumber, Moment, Refusal, Settlement},
};

/// Octets that may be on their way from this node to a queue elsewhere; who publishes beyond it has
/// to wait.
const PENDING_LIMIT: usize = 8 << 20;

/// Publications in a row to one queue.
pub(super) type Far = (Arc<Remote>, Vec<(Arrival, Ticket)>);

impl Client {
    /// Adds a publication to those that go to queues elsewhere.
    pub(super) fn add_far(
        &self,
        arrival: Arrival,
        remotes: &[Arc<Remote>],
        confirm: Option<(ChannelNumber, u64)>,
        run: &mut Run,
    ) {
        let shared = (remotes.len() > 1).then(|| Verdict::of(remotes.len()));
        let ticket = || match confirm {
            None => Ticket::Sent { outbox: Arc::clone(&self.outbox) },
            Some((channel, number)) => {
                let outbox = Arc::clone(&self.outbox);
                Ticket::Confirm { outbox, channel, number, shared: shared.clone() }
            }
        };
        for remote in remotes {
            run.add_far(remote, arrival.clone(), ticket());
        }
    }

    /// The part of a transaction that concerns queues elsewhere; returns when it is safe, and says
    /// whether any of them refused a message. Settlements may come too late for a leader that ends
    /// then: the messages come back.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`] when that takes too long.
    pub(super) fn commit_far(
        &mut self,
        publications: Vec<(Arrival, Arc<Route>)>,
        settlements: Vec<Settlement>,
        now: Moment,
    ) -> Result<bool, Refusal> {
        let count = publications.iter().map(|(_, route)| route.remotes.len()).sum();
        let verdict = Verdict::of(count);
        let mut run = Run::default();
        for (arrival, route) in publications {
            for remote in &route.remotes {
                run.add_far(remote, arrival.clone(), Ticket::Transaction(Arc::clone(&verdict)));
            }
        }
        self.ship(run.far, now);
        self.broker.settle_all(settlements, now);
        if count == 0 {
            return Ok(false);
        }
        self.broker.wait_for(&verdict).ok_or(Refusal::NoQuorum)
    }

    /// Sends them on their way.
    pub(super) fn ship(&mut self, far: Vec<Far>, now: Moment) {
        for (remote, publications) in far {
            self.broker.publish_to(&remote, publications, now);
            if remote.pending_octets() > PENDING_LIMIT {
                self.crowded.push(remote);
            }
        }
    }

    /// Whether so much of what was published is on its way that no more should come.
    pub fn is_crowded(&mut self) -> bool {
        self.crowded.retain(|remote| remote.pending_octets() > PENDING_LIMIT);
        !self.crowded.is_empty()
    }
}

impl Run {
    fn add_far(&mut self, remote: &Arc<Remote>, arrival: Arrival, ticket: Ticket) {
        match self.far.iter_mut().rfind(|(to, _)| Arc::ptr_eq(to, remote)) {
            Some((_, publications)) => publications.push((arrival, ticket)),
            None => self.far.push((Arc::clone(remote), vec![(arrival, ticket)])),
        }
    }
}
