//! One client's conversation, without a socket and without a clock: octets and answers in, requests
//! and octets out.
//!
//! After any input the shell asks [`Session::next_request`] until there is none, answering each as
//! soon as it can, then writes what [`Session::transmit`] gives.

mod alarm;
mod answers;
mod authentication;
mod batch;
mod channel;
mod connection;
mod consumers;
mod exception;
mod farewell;
mod handshake;
mod heartbeat;
mod held;
mod incoming;
mod lookout;
mod outgoing;
mod pace;
mod phase;
pub mod request;
mod settings;
mod tuning;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use self::{
    alarm::Alarm,
    channel::Channel,
    connection::{Connection, Then},
    exception::{Exception, Fault, NO_METHOD},
    handshake::{ExpectHeader, Handshake, Step},
    heartbeat::Heartbeat,
    held::Held,
    lookout::Lookout,
    phase::Phase,
    request::{Answer, Event, Request},
    tuning::Tuning,
};
pub use self::{
    authentication::{Identity, Mechanism},
    exception::words_of,
    farewell::Disposition,
    pace::Pace,
    settings::Settings,
};
use crate::{
    model::{ConnectionId, Delivery, Moment},
    wire::method::ConnectionUnblocked,
};

/// Octets of input that may wait while the session waits for an answer.
const INPUT_LIMIT: usize = 1024 * 1024;

/// One client's connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    input: BytesMut,
    connection: Connection,
    channels: BTreeMap<u16, Box<Channel>>,
    held: Held,
    /// A fault that waits for what was gathered before it.
    deferred: Option<(u16, Exception)>,
    /// The request that must be answered before any other is made, and what follows its answer.
    unanswered: Option<Then>,
    tuning: Tuning,
    heartbeat: Heartbeat,
    alarm: Alarm,
    /// The broker has more of this client's than it could write.
    is_behind: bool,
    /// Nothing more is taken from the client before this moment.
    pause: Option<Moment>,
    handshake_deadline: Moment,
    /// The broker knows the connection, and has to be told when it ends.
    is_admitted: bool,
}

impl Session {
    /// A session for a client that has just connected. `entropy` must be random: the names that it
    /// draws come from it.
    pub fn new(settings: Arc<Settings>, id: ConnectionId, entropy: u128, now: Moment) -> Self {
        let handshake_deadline = now + settings.handshake_timeout;
        Self {
            phase: Phase::Handshake(Handshake::Header(ExpectHeader)),
            input: BytesMut::new(),
            connection: Connection::new(settings, id, entropy, now),
            channels: BTreeMap::new(),
            held: Held::default(),
            deferred: None,
            unanswered: None,
            tuning: Tuning::initial(),
            heartbeat: Heartbeat::new(0, now),
            alarm: Alarm::default(),
            is_behind: false,
            pause: None,
            handshake_deadline,
            is_admitted: false,
        }
    }

    /// The same, for a client of whom the connection below tells more.
    #[must_use]
    pub fn identified(mut self, identity: Identity) -> Self {
        self.connection.identity = identity;
        self
    }

    /// Where the shell reads the socket into. [`Self::received`] says that it has.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Octets have been added to the input.
    pub fn received(&mut self, now: Moment) {
        self.heartbeat.received(now);
    }

    /// The peer is gone. What must still be asked of the broker comes out of
    /// [`Self::next_request`]; nothing is written any more.
    pub fn disconnected(&mut self, now: Moment) {
        self.vanish(Disposition::Close, now);
        self.input.clear();
    }

    /// What to ask of the broker next, read from the input on demand.
    pub fn next_request(&mut self, now: Moment) -> Option<Request> {
        loop {
            if self.unanswered.is_some() {
                return None;
            }
            if let Some((request, then)) = self.connection.next_request() {
                let is_ordered = match &request {
                    Request::Operate { .. } | Request::Replenish(_) | Request::Resume(_) => false,
                    Request::Login(_)
                    | Request::OpenVirtualHost(_)
                    | Request::Publish(_)
                    | Request::Settle(_)
                    | Request::Leave => true,
                };
                self.unanswered = is_ordered.then_some(then);
                return Some(request);
            }
            self.progress(now);
            if !self.connection.is_asking() {
                return None;
            }
        }
    }

    /// The broker's answer to a request.
    pub fn answer(&mut self, answer: Answer, now: Moment) {
        match answer {
            Answer::Admitted(result) => {
                self.unanswered = None;
                self.admitted(result, now);
            }
            Answer::Dismissed => {
                self.unanswered = None;
                self.vanish(Disposition::Reset, now);
            }
            Answer::Opened(result) => {
                self.unanswered = None;
                self.opened(result, now);
            }
            Answer::Published(published) => {
                self.unanswered = None;
                self.published(published, now);
            }
            Answer::Settled => {
                if let Some(Then::EndChannel(channel)) = self.unanswered.take() {
                    self.cleaned(channel);
                }
            }
            Answer::Done { channel, result } => self.operated(channel, result, now),
            Answer::Left => {
                self.unanswered = None;
                self.left(now);
            }
        }
    }

    /// Something that the broker tells unasked.
    pub fn notify(&mut self, event: Event, now: Moment) {
        match event {
            Event::Deliver(delivery) => self.deliver(&delivery),
            Event::ConsumerCancelled(id) => {
                let channel = self.connection.consumers.find(id).map(|consumer| consumer.channel);
                if let Some(channel) = channel.and_then(|number| self.channels.get_mut(&number)) {
                    channel.cancelled(id, &mut self.connection);
                }
            }
            Event::Confirmed(runs) => self.confirmed_late(&runs),
            Event::Decided(decided) => self.decided_late(&decided),
            Event::Blocked(reason) => self.alarm.raise(reason),
            Event::Unblocked => self.unblock(now),
            Event::Close(reason) => match self.phase {
                Phase::Running => self.close(&Fault::Forced(reason).by(NO_METHOD), now),
                Phase::Handshake(_) => self.vanish(Disposition::Reset, now),
                Phase::Ending(_) => {}
            },
        }
    }

    /// The broker is behind with what this client published, or has caught up: meanwhile nothing
    /// more is wanted of it, and its silence says nothing.
    pub fn set_behind(&mut self, is_behind: bool, now: Moment) {
        if self.is_behind != is_behind {
            self.is_behind = is_behind;
            self.hear_or_not(now);
        }
    }

    /// What the broker grants this client next. While it pauses, its silence says nothing.
    pub fn keep_pace(&mut self, pace: Pace, now: Moment) {
        self.connection.batch.ration(pace.at_once);
        let pause = pace.pause.filter(|end| *end > now);
        if self.pause != pause {
            self.pause = pause;
            self.hear_or_not(now);
        }
    }

    /// Moves what is to be written to `out`, in order.
    pub fn transmit(&mut self, out: &mut VecDeque<Bytes>) {
        if self.connection.outgoing.take(out) {
            self.heartbeat.sent();
            self.connection.handed_over();
        }
    }

    /// Everything transmitted has been written to the socket.
    pub fn flushed(&mut self, _now: Moment) {
        self.connection.replenish();
    }

    /// A deadline may have come.
    pub fn tick(&mut self, now: Moment) {
        if self.pause.take_if(|end| *end <= now).is_some() {
            self.hear_or_not(now);
        }
        match &mut self.phase {
            Phase::Handshake(_) if self.handshake_deadline <= now => {
                return self.vanish(Disposition::Close, now);
            }
            Phase::Ending(farewell) => return farewell.tick(now),
            Phase::Handshake(_) | Phase::Running => {}
        }
        if self.heartbeat.is_lost(now) {
            return self.vanish(Disposition::Reset, now);
        }
        if self.heartbeat.is_due(now) {
            self.connection.outgoing.heartbeat();
        }
        self.look_for_overdue(now);
    }

    /// When [`Self::tick`] is due, and what for.
    pub fn deadline(&self) -> Option<(Moment, &'static str)> {
        let heartbeat = self.heartbeat.deadline().map(|moment| (moment, "heartbeat"));
        let pause = self.pause.map(|end| (end, "pause"));
        let always = heartbeat.into_iter().chain(pause);
        match &self.phase {
            Phase::Handshake(_) => always.chain([(self.handshake_deadline, "handshake")]).min(),
            Phase::Running => {
                let look = (self.connection.lookout.next(), "consumers");
                always.chain((!self.channels.is_empty()).then_some(look)).min()
            }
            Phase::Ending(farewell) => farewell.deadline().map(|moment| (moment, "close")),
        }
    }

    /// Whether the shell is to read the socket. Without it, back-pressure reaches the client.
    pub fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::Ending(_) => true,
            Phase::Handshake(_) => self.input.len() < INPUT_LIMIT,
            Phase::Running => {
                let is_stuck = self.input.len() >= INPUT_LIMIT && self.unanswered.is_some();
                let is_held_up = self.alarm.is_blocking() || self.is_behind || self.pause.is_some();
                !is_held_up && self.held.has_room() && !is_stuck
            }
        }
    }

    /// What the shell is to do with the socket.
    pub fn disposition(&self) -> Disposition {
        match &self.phase {
            Phase::Handshake(_) | Phase::Running => Disposition::Keep,
            Phase::Ending(farewell) => farewell.disposition,
        }
    }

    /// Whether nothing is left to be asked of the broker, nor to be expected from the client.
    pub fn is_finished(&self) -> bool {
        matches!(&self.phase, Phase::Ending(farewell) if farewell.is_finished())
    }

    /// Reads on, until there is something to ask or nothing more to read.
    fn progress(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Handshake(_) => self.shake_hands(now),
            Phase::Running => self.walk(now),
            Phase::Ending(_) => self.read_farewell(),
        }
        self.connection.close_batch();
        if !self.connection.is_asking() {
            self.leave(now);
        }
    }

    fn shake_hands(&mut self, now: Moment) {
        while let Phase::Handshake(handshake) = &mut self.phase {
            match handshake.read(&mut self.input, &mut self.connection) {
                Ok(Some(Step::Taken)) => {}
                Ok(Some(Step::Tuned(tuning))) => {
                    self.tuning = tuning;
                    self.heartbeat = Heartbeat::new(tuning.heartbeat, now);
                }
                Ok(None) => return,
                Err(broken) => self.break_off(broken, now),
            }
        }
    }

    #[inline]
    fn deliver(&mut self, delivery: &Delivery) {
        let consumer = self.connection.consumers.find(delivery.consumer);
        let channel = consumer.and_then(|consumer| self.channels.get_mut(&consumer.channel));
        match channel {
            Some(channel) => channel.deliver(delivery, &mut self.connection),
            None => self.connection.give_back(delivery.queue, delivery.position),
        }
    }

    /// All alarms are over.
    fn unblock(&mut self, now: Moment) {
        if !self.alarm.clear() {
            return;
        }
        self.hear_or_not(now);
        if self.alarm.is_announced && matches!(self.phase, Phase::Running) {
            self.connection.outgoing.method(0, ConnectionUnblocked {});
        }
    }

    /// Ends the channels whose clients have left a delivery unacknowledged for too long.
    fn look_for_overdue(&mut self, now: Moment) {
        let connection = &mut self.connection;
        let is_busy = !connection.batch.is_empty() || self.deferred.is_some();
        if now < connection.lookout.next() || is_busy {
            return;
        }
        connection.lookout = Lookout::new(connection.settings.consumer_timeout, now);
        let channels = self.channels.values_mut();
        let overdue: Vec<_> = channels
            .filter_map(|channel| {
                let exception = channel.check_acknowledgements(connection, now)?;
                Some((channel.number(), exception))
            })
            .collect();
        for (channel, exception) in overdue {
            self.fail(channel, &exception, now);
        }
    }

    /// While nothing is taken from the client, its silence says nothing.
    fn hear_or_not(&mut self, now: Moment) {
        let is_deaf = self.is_behind || self.pause.is_some() || self.alarm.is_blocking();
        self.heartbeat.set_deaf(is_deaf, now);
    }

    /// Ends the channel, or the connection, as the fault's code has it.
    fn fail(&mut self, channel: u16, exception: &Exception, now: Moment) {
        if matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        match self.channels.get_mut(&channel) {
            Some(found) if !exception.ends_connection() => {
                found.fail(exception, &mut self.connection);
            }
            _ => self.close(exception, now),
        }
    }
}
