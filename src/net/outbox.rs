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

    /// Swaps what waits with `events`, which must be empty, so that both keep their memory.
    pub(crate) fn take(&self, events: &mut Vec<Event>) {
        debug_assert!(events.is_empty(), "the last batch has been handled");
        mem::swap(&mut self.lock().events, events);
    }

    /// Ready once something waits; otherwise the task will be woken when something does.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if !waiting.events.is_empty() {
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
        self.lock().events.is_empty()
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.events.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
