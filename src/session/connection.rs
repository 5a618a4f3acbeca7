//! What the channels of one connection share: the way out, the way to the broker, the consumers.

use std::{collections::VecDeque, sync::Arc};

use bytes::BytesMut;

use super::{
    authentication::Identity,
    batch::Batch,
    consumers::Consumers,
    lookout::Lookout,
    outgoing::Outgoing,
    request::{Introduction, Operation, Replenishment, Request},
    settings::Settings,
};
use crate::model::{
    ChannelNumber, ConnectionId, ConsumerId, Moment, Names, Outcome, Position, QueueId, Settlement,
};

/// One part of a consumer's window: once so much was written, it is replenished.
const WINDOW_PARTS: usize = 4;

/// Lent to whichever channel has its turn.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) settings: Arc<Settings>,
    pub(super) identity: Identity,
    pub(super) outgoing: Outgoing,
    pub(super) batch: Batch,
    pub(super) consumers: Consumers,
    pub(super) lookout: Lookout,
    pub(super) names: Names,
    /// Where messages are packed.
    pub(super) arena: BytesMut,
    /// The client understands `basic.cancel` from the server.
    pub(super) notify_cancel: bool,
    /// What the client has said of itself so far; its virtual host is opened with it.
    pub(super) introduction: Introduction,
    requests: VecDeque<(Request, Then)>,
    clean: Vec<u16>,
    /// Queues that may try a channel whose shared limit has room again.
    resumed: Vec<QueueId>,
    /// Consumers that have written enough to be replenished.
    due: Vec<ConsumerId>,
    /// What will be replenished once it has been written to the socket.
    in_flight: Vec<Replenishment>,
}

/// What happens when a request has been answered, beside what its answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The channel has given back what it held, and can end.
    EndChannel(u16),
}

impl Connection {
    pub(super) fn new(
        settings: Arc<Settings>,
        id: ConnectionId,
        entropy: u128,
        now: Moment,
    ) -> Self {
        let lookout = Lookout::new(settings.consumer_timeout, now);
        Self {
            settings,
            identity: Identity::default(),
            outgoing: Outgoing::new(super::tuning::FRAME_MAX_BEFORE_TUNING),
            batch: Batch::default(),
            consumers: Consumers::new(id),
            lookout,
            names: Names::new(entropy),
            arena: BytesMut::new(),
            notify_cancel: false,
            introduction: Introduction::default(),
            requests: VecDeque::new(),
            clean: Vec::new(),
            resumed: Vec::new(),
            due: Vec::new(),
            in_flight: Vec::new(),
        }
    }

    /// Asks the broker, after whatever was asked before.
    pub(super) fn ask(&mut self, request: Request) {
        self.requests.push_back((request, Then::Nothing));
    }

    pub(super) fn operate(&mut self, channel: u16, operation: Operation) {
        self.ask(Request::Operate { channel: ChannelNumber(channel), operation });
    }

    /// Gives a delivery back that nobody here waits for.
    pub(super) fn give_back(&mut self, queue: QueueId, position: Position) {
        self.batch.settle(queue, position, Outcome::Requeue);
    }

    /// Gives back all that a channel held, after which the channel ends.
    pub(super) fn give_back_all(&mut self, channel: u16, settlements: Vec<Settlement>) {
        if settlements.is_empty() {
            self.clean.push(channel);
        } else {
            self.requests.push_back((Request::Settle(settlements), Then::EndChannel(channel)));
        }
    }

    /// A channel that held nothing any more when it ended.
    pub(super) fn next_clean(&mut self) -> Option<u16> {
        self.clean.pop()
    }

    /// Lets the queue try again, once the settlements before it have been made.
    pub(super) fn resume(&mut self, queue: QueueId) {
        if !self.resumed.contains(&queue) {
            self.resumed.push(queue);
        }
    }

    /// The oldest request.
    pub(super) fn next_request(&mut self) -> Option<(Request, Then)> {
        self.requests.pop_front()
    }

    pub(super) fn is_asking(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Makes requests of what was gathered.
    pub(super) fn close_batch(&mut self) {
        let publications = self.batch.take_publications();
        if !publications.is_empty() {
            self.ask(Request::Publish(publications));
        }
        let settlements = self.batch.take_settlements();
        if !settlements.is_empty() {
            self.ask(Request::Settle(settlements));
        }
        if !self.resumed.is_empty() {
            let resumed = std::mem::take(&mut self.resumed);
            self.ask(Request::Resume(resumed));
        }
    }

    /// A consumer has so many octets more on their way to the socket.
    #[inline]
    pub(super) fn count_written(&mut self, id: ConsumerId, octets: usize) {
        let part = self.settings.consumer_window / WINDOW_PARTS;
        let Some(consumer) = self.consumers.find(id) else {
            return;
        };
        let before = consumer.written;
        consumer.written += octets;
        if before < part && consumer.written >= part {
            self.due.push(id);
        }
    }

    /// What was counted so far has been handed to the shell.
    pub(super) fn handed_over(&mut self) {
        for id in self.due.drain(..) {
            let Some(consumer) = self.consumers.find(id) else {
                continue;
            };
            let octets = std::mem::take(&mut consumer.written);
            let queue = consumer.queue;
            self.in_flight.extend(queue.map(|queue| Replenishment { queue, consumer: id, octets }));
        }
    }

    /// What was handed to the shell has been written to the socket.
    pub(super) fn replenish(&mut self) {
        if !self.in_flight.is_empty() {
            let written = std::mem::take(&mut self.in_flight);
            self.ask(Request::Replenish(written));
        }
    }
}
