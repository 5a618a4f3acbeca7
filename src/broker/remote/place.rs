//! Where a queue is, and what a client asks of one that is not simply here.

use std::sync::Arc;

use super::{Answer, Question, Remote};
use crate::{
    broker::{
        Broker,
        client::TakenMessage,
        hosted::{Counts, Hosted},
        ports::Outbox,
        queue::Subscription,
        topology::QueueRecord,
        views::Subscriber,
    },
    model::{
        AcknowledgementTimeout, ChannelCredit, Moment, QueueId, QueueOptions, Refusal, Resource,
    },
};

/// Where a queue is, as this node sees it.
#[derive(Debug)]
pub(in crate::broker) enum Place {
    /// Its one copy is here.
    Here(Arc<Hosted>),
    /// It is mirrored, or its one copy is on another node.
    Elsewhere(Arc<Remote>),
}

impl Place {
    pub(in crate::broker) fn record(&self) -> &Arc<QueueRecord> {
        match self {
            Self::Here(hosted) => &hosted.record,
            Self::Elsewhere(remote) => &remote.record,
        }
    }

    /// How long its deliveries may be out.
    pub(in crate::broker) fn timeout(&self) -> &AcknowledgementTimeout {
        match self {
            Self::Here(hosted) => &hosted.timeout,
            Self::Elsewhere(remote) => &remote.timeout,
        }
    }

    /// Names the queue in a refusal.
    pub(in crate::broker) fn resource(&self) -> Resource {
        match self {
            Self::Here(hosted) => hosted.resource(),
            Self::Elsewhere(remote) => remote.resource(),
        }
    }
}

impl Broker {
    /// Where a queue is. `None` when there is none.
    pub(in crate::broker) fn place_of(&self, queue: QueueId) -> Option<Place> {
        match self.queue(queue) {
            Some(hosted) => Some(Place::Here(hosted)),
            None => self.remote(queue).map(Place::Elsewhere),
        }
    }

    /// Attaches a consumer to a queue elsewhere.
    ///
    /// # Errors
    /// As its leader says.
    pub(in crate::broker) fn subscribe_far(
        &self,
        remote: &Arc<Remote>,
        subscription: Subscription,
        (subscriber, outbox): (Subscriber, Arc<dyn Outbox>),
        now: Moment,
    ) -> Result<(), Refusal> {
        let consumer = subscription.consumer;
        remote.attach(&subscription, &subscriber, outbox);
        let question = Question::Subscribe(Box::new((subscription, subscriber)));
        let answer = self.ask(remote, question, now);
        if answer.is_err() {
            self.detach_far(remote, consumer, now);
        }
        answer.map(|_subscribed| ())
    }

    /// Takes one message out of a queue elsewhere.
    ///
    /// # Errors
    /// As its leader says.
    pub(in crate::broker) fn take_far(
        &self,
        remote: &Arc<Remote>,
        acknowledge: bool,
        credit: &ChannelCredit,
        now: Moment,
    ) -> Result<Option<TakenMessage>, Refusal> {
        let Answer::Got(got) = self.ask(remote, Question::Get { acknowledge }, now)? else {
            return Ok(None);
        };
        if got.is_some() && acknowledge {
            credit.take_regardless();
        }
        Ok(got.map(|got| TakenMessage {
            queue: remote.record.id,
            position: got.position,
            redelivered: got.redelivered,
            message: got.message,
            remaining: got.remaining,
            timeout: remote.timeout.clone(),
        }))
    }

    /// A queue that is not simply here has other options now.
    pub(in crate::broker) fn configure_far(
        &self,
        remote: &Remote,
        options: &QueueOptions,
        version: u64,
        now: Moment,
    ) {
        self.act_on(remote, now, |company| remote.configure(options, version, company));
    }

    /// How much is in a queue elsewhere.
    ///
    /// # Errors
    /// As its leader says.
    pub(in crate::broker) fn counts_far(
        &self,
        remote: &Arc<Remote>,
        touch: bool,
        now: Moment,
    ) -> Result<Counts, Refusal> {
        Ok(match self.ask(remote, Question::Counts { touch }, now)? {
            Answer::Counts { ready, unacknowledged, consumers } => {
                Counts { ready, unacknowledged, consumers }
            }
            _ => Counts::default(),
        })
    }

    /// Drops what is ready in a queue elsewhere, and says how much it was.
    ///
    /// # Errors
    /// As its leader says.
    pub(in crate::broker) fn purge_far(
        &self,
        remote: &Arc<Remote>,
        now: Moment,
    ) -> Result<u64, Refusal> {
        match self.ask(remote, Question::Purge, now)? {
            Answer::Purged(messages) => Ok(messages),
            _ => Ok(0),
        }
    }

    /// Ends the life of a queue elsewhere, and says how many messages it held. It is still in its
    /// topology then.
    ///
    /// # Errors
    /// As its leader says.
    pub(in crate::broker) fn end_far(
        &self,
        remote: &Arc<Remote>,
        if_unused: bool,
        if_empty: bool,
        now: Moment,
    ) -> Result<u64, Refusal> {
        match self.ask(remote, Question::End { if_unused, if_empty }, now)? {
            Answer::Ended(messages) => Ok(messages),
            _ => Ok(0),
        }
    }
}
