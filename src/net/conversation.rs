//! A session, what carries out its requests, and the outbox between them and the rest of the node.

use std::{mem, sync::Arc};

use super::Outbox;
use crate::{
    model::{Confirmed, Moment},
    session::{
        Pace, Session,
        request::{Answer, Event, Request},
    },
};

/// What carries out a session's requests.
pub trait Backend: Send + 'static {
    /// Carries out one request. `None` for the requests that are not answered.
    ///
    /// The answer to an operation may come late, by [`Self::next_late_answer`].
    fn execute(&mut self, request: Request, now: Moment) -> Option<Answer>;

    /// What was published earlier and is safe by now.
    fn take_late_confirms(&mut self) -> Vec<Confirmed> {
        Vec::new()
    }

    /// An answer that could not be given at once, and can now.
    fn next_late_answer(&mut self, _now: Moment) -> Option<Answer> {
        None
    }

    /// Nothing is left to be done for now: the outbox is to be notified when one of the two above
    /// has something to give, or [`Self::is_behind`] changes.
    fn arrange_wake_up(&mut self) {}

    /// Whether it has more of this client's than it can take care of soon.
    fn is_behind(&mut self) -> bool {
        false
    }

    /// How fast the client may go on. After its pause it is asked again for late answers.
    fn pace(&self) -> Pace {
        Pace::FREE
    }

    /// The client is gone, and hears no answer: none needs to be late.
    fn hang_up(&mut self) {}
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

    /// Tells the session what waits in the outbox and what has come late, and carries out all that
    /// it then asks for.
    pub fn work(&mut self, now: Moment) {
        self.outbox.hear(&mut self.events);
        self.tell_all(now);
        self.tell_late(now);
        while let Some(request) = self.session.next_request(now) {
            let answer = self.backend.execute(request, now);
            self.take_events();
            self.session.keep_pace(self.backend.pace(), now);
            if let Some(answer) = answer {
                // What was delivered before the answer was given is told before it; what the
                // request has done to this client's own consumers is told after it.
                self.tell_deliveries(now);
                self.session.answer(answer, now);
            }
            self.tell_all(now);
        }
        self.backend.arrange_wake_up();
        self.session.set_behind(self.backend.is_behind(), now);
    }

    /// The client is gone: gives back to the broker what it held.
    pub fn hang_up(&mut self, now: Moment) {
        self.session.disconnected(now);
        self.backend.hang_up();
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

    fn tell_late(&mut self, now: Moment) {
        let confirmed = self.backend.take_late_confirms();
        if !confirmed.is_empty() {
            self.session.notify(Event::Confirmed(confirmed), now);
        }
        while let Some(answer) = self.backend.next_late_answer(now) {
            self.session.answer(answer, now);
        }
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
