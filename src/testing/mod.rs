//! A broker inside a test: no socket, no task, and a clock that the test moves.
//!
//! Octets go in and come out as they would on a socket, and everything that the broker does happens
//! within the call: a test that waits an hour for a message to expire takes microseconds, and takes
//! the same course every time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    broker::{Broker, Schedule, Timer},
    config::Config,
    model::{ConnectionId, Moment, QueueId},
    net::{Conversation, Outbox},
    server::{BrokerBackend, StartError, conversation, make_broker, session_settings},
    session::Settings,
};

/// A node whose time stands still until it is told otherwise.
#[derive(Debug)]
pub struct Node {
    broker: Arc<Broker>,
    timers: Arc<Timers>,
    settings: Arc<Settings>,
    now: Moment,
    lines: Vec<Line>,
}

/// Names one connection of a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineId(usize);

/// One client's connection.
#[derive(Debug)]
struct Line {
    talk: Conversation<BrokerBackend>,
    /// What the client has sent and the session does not want yet.
    sent: BytesMut,
    output: VecDeque<Bytes>,
    /// One side has hung up.
    is_closed: bool,
}

/// The moments that queues asked to be woken at.
#[derive(Debug, Default)]
struct Timers(Mutex<Schedule>);

impl Timer for Timers {
    fn wake_at(&self, moment: Moment, queue: QueueId) {
        self.lock().set(queue, moment);
    }

    fn forget(&self, queue: QueueId) {
        self.lock().forget(queue);
    }
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// A node as `config` describes it; where it listens is not looked at. Its clock begins at
    /// `now`.
    ///
    /// # Errors
    /// When the configuration asks for what cannot be.
    pub fn new(config: &Config, now: Moment) -> Result<Self, StartError> {
        let timers = Arc::new(Timers::default());
        let broker = make_broker(config, Arc::<Timers>::clone(&timers))?;
        Ok(Self { broker, timers, settings: session_settings(config), now, lines: Vec::new() })
    }

    /// What time it is for the node.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The broker itself, for what operators do.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// A client connects, from the machine that the broker runs on.
    pub fn connect(&mut self) -> LineId {
        let id = LineId(self.lines.len());
        let connection = ConnectionId(self.lines.len() as u64 + 1);
        let outbox = Arc::new(Outbox::default());
        let from_here = true;
        // Names differ from connection to connection, and are the same in every run.
        let entropy = u128::from(connection.0) << 64 | u128::from(connection.0);
        let settings = Arc::clone(&self.settings);
        let origin = (connection, from_here, entropy);
        let talk = conversation(&self.broker, settings, outbox, origin, self.now);
        let (sent, output) = (BytesMut::new(), VecDeque::new());
        self.lines.push(Line { talk, sent, output, is_closed: false });
        id
    }

    /// The client sends octets; all that follows from them has happened when this returns.
    pub fn send(&mut self, line: LineId, octets: &[u8]) {
        let line = &mut self.lines[line.0];
        if !line.is_closed {
            line.sent.extend_from_slice(octets);
            line.read(self.now);
            self.settle();
        }
    }

    /// Takes what the broker has sent to the client so far.
    pub fn receive(&mut self, line: LineId) -> Vec<u8> {
        let output = self.lines[line.0].output.drain(..);
        output.flat_map(|octets| octets.chunk().to_vec()).collect()
    }

    /// Whether the broker has hung up, or the client has.
    pub fn is_closed(&self, line: LineId) -> bool {
        self.lines[line.0].is_closed
    }

    /// The client hangs up without a word.
    pub fn hang_up(&mut self, line: LineId) {
        let now = self.now;
        self.lines[line.0].hang_up(now);
        self.settle();
    }

    /// Lets time pass; what is due happens at its moment, in order.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(moment) = self.next_deadline().filter(|moment| *moment <= end) {
            self.now = self.now.max(moment);
            self.wake();
            self.settle();
        }
        self.now = end;
    }

    fn next_deadline(&self) -> Option<Moment> {
        let queue = self.timers.lock().next();
        let lines = self.lines.iter().filter(|line| !line.is_closed);
        let session = lines.filter_map(|line| line.talk.session.deadline()).min();
        queue.into_iter().chain(session.map(|(moment, _)| moment)).min()
    }

    fn wake(&mut self) {
        let now = self.now;
        while let Some(queue) = self.due_queue() {
            self.broker.wake(queue, now);
        }
        for line in self.lines.iter_mut().filter(|line| !line.is_closed) {
            if line.talk.session.deadline().is_some_and(|(moment, _)| moment <= now) {
                line.talk.session.tick(now);
                line.work(now);
            }
        }
    }

    /// Not held while the queue is woken: it may ask for its next moment.
    fn due_queue(&self) -> Option<QueueId> {
        self.timers.lock().take_due(self.now)
    }

    /// Lets the connections work until none has anything left to tell another.
    fn settle(&mut self) {
        let now = self.now;
        while let Some(line) = self.lines.iter_mut().find(|line| line.is_due()) {
            line.read(now);
        }
    }
}

impl Line {
    fn is_due(&self) -> bool {
        !self.is_closed && (self.talk.is_told_something() || self.has_room())
    }

    fn has_room(&self) -> bool {
        !self.sent.is_empty() && self.talk.session.wants_input()
    }

    fn read(&mut self, now: Moment) {
        if self.has_room() {
            let sent = self.sent.split();
            self.talk.session.input().extend_from_slice(&sent);
            self.talk.session.received(now);
        }
        self.work(now);
    }

    fn work(&mut self, now: Moment) {
        self.talk.work(now);
        let before = self.output.len();
        self.talk.session.transmit(&mut self.output);
        if self.output.len() > before {
            // The client reads at once.
            self.talk.session.flushed(now);
            self.talk.work(now);
            self.talk.session.transmit(&mut self.output);
        }
        if self.talk.session.is_finished() {
            self.hang_up(now);
        }
    }

    fn hang_up(&mut self, now: Moment) {
        if !self.is_closed {
            self.is_closed = true;
            self.talk.hang_up(now);
        }
    }
}
