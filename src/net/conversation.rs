//! A session, what carries out its requests, and the outbox between them and the rest of the node.

use std::{mem, sync::Arc};

use super::Outbox;
use crate::{
    model::Moment,
    session::{
        Session,
        request::{Answer, Event, Request},
    },
};

/// What carries out a session's requests.
pub trait Backend: Send + 'static {
    /// Carries out one request. `None` for the requests that are not answered.
    fn execute(&mut self, request: Request, now: Moment) -> Option<Answer>;
}

/// One client's conversation with the broker; who owns it moves the octets.
#[derive(Debug)]
pub struct Conversation<B> {
    pub(crate) session: Session,
    backend: B,
    outbox: Arc<Outbox>,
    /// Kept for its memory; empty between batches.
    events: Vec<Event>,
}

impl<B: Backend> Conversation<B> {
    pub fn new(session: Session, backend: B, outbox: Arc<Outbox>) -> Self {
        Self { session, backend, outbox, events: Vec::new() }
    }

    /// Tells the session what waits in the outbox, and carries out all that it then asks for.
    pub fn work(&mut self, now: Moment) {
        self.take_events();
        self.tell_all(now);
        while let Some(request) = self.session.next_request(now) {
            let answer = self.backend.execute(request, now);
            self.take_events();
            if let Some(answer) = answer {
                // What was delivered before the answer was given is told before it; what the
                // request has done to this client's own consumers is told after it.
                self.tell_deliveries(now);
                self.session.answer(answer, now);
            }
            self.tell_all(now);
        }
    }

    /// The client is gone: gives back to the broker what it held.
    pub fn hang_up(&mut self, now: Moment) {
        self.session.disconnected(now);
        self.work(now);
        self.outbox.close();
    }

    /// Whether something waits in the outbox.
    pub(crate) fn is_told_something(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn take_events(&mut self) {
        self.outbox.take(&mut self.events);
    }

    fn tell_deliveries(&mut self, now: Moment) {
        let is_delivery = |event: &Event| matches!(event, Event::Deliver(_));
        if self.events.iter().all(is_delivery) {
            return self.tell_all(now);
        }
        for event in mem::take(&mut self.events) {
            if is_delivery(&event) {
                self.session.notify(event, now);
            } else {
                self.events.push(event);
            }
        }
    }

    fn tell_all(&mut self, now: Moment) {
        for event in self.events.drain(..) {
            self.session.notify(event, now);
        }
    }
}
