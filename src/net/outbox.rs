//! The way into a connection's task from anywhere: events wait here, and one wake-up serves many.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::session::request::Event;

/// What waits for one connection's task. What it holds is bounded by the windows of its consumers.
#[derive(Debug, Default)]
pub struct Outbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    /// There is something to look after that is no event.
    is_notified: bool,
    waker: Option<Waker>,
    closed: bool,
}

impl Outbox {
    /// Adds events at the end, and wakes the task if it sleeps. What comes after the end of the
    /// connection is dropped: the connection has given back what it held by then.
    pub fn extend(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        waiting.events.extend(events);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes the task to look after what it waits for, beside events.
    pub fn notify(&self) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        waiting.is_notified = true;
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Swaps what waits with `events`, which must be empty, so that both keep their memory.
    pub(super) fn take(&self, events: &mut Vec<Event>) {
        debug_assert!(events.is_empty(), "the last batch has been handled");
        mem::swap(&mut self.lock().events, events);
    }

    /// As [`Self::take`]; and what was notified is about to be looked after.
    pub(crate) fn hear(&self, events: &mut Vec<Event>) {
        debug_assert!(events.is_empty(), "the last batch has been handled");
        let mut waiting = self.lock();
        waiting.is_notified = false;
        mem::swap(&mut waiting.events, events);
    }

    /// Ready once something waits; otherwise the task will be woken when something does.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if waiting.is_due() {
            return Poll::Ready(());
        }
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        !self.lock().is_due()
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.is_notified = false;
        waiting.events.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_due(&self) -> bool {
        self.is_notified || !self.events.is_empty()
    }
}
