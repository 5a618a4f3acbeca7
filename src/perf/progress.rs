//! The counters that publishers, consumers and the one who watches them share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::plan::Plan;

/// Counters on cache lines of their own, so that no thread slows another down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Only one thread sets a counter.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct Progress {
    pub started: Instant,
    pub published: Vec<Counter>,
    /// Confirmed or refused, of those published.
    pub answered: Vec<Counter>,
    /// Refused or returned, of those published.
    pub unwanted: Vec<Counter>,
    pub received: Vec<Counter>,
    /// Publishers that the broker has told to wait.
    pub blocked: Vec<Counter>,
    /// When a message or a confirm last arrived, in nanoseconds from the start.
    pub last_arrival_ns: AtomicU64,
    pub stop_publishing: AtomicBool,
    pub stop_consuming: AtomicBool,
    /// Nothing more is worth waiting for.
    pub abandon: Arc<AtomicBool>,
    copies: u64,
    kept: u64,
    backlog: u64,
}

impl Progress {
    /// The clock of the run starts in a moment, when every thread has been started.
    pub(super) fn new(plan: &Plan) -> Self {
        let counters = |count| std::iter::repeat_with(Counter::default).take(count).collect();
        Self {
            started: Instant::now() + Duration::from_millis(10),
            published: counters(plan.publishers),
            answered: counters(plan.publishers),
            unwanted: counters(plan.publishers),
            blocked: counters(plan.publishers),
            received: counters(plan.consumers),
            last_arrival_ns: AtomicU64::new(0),
            stop_publishing: AtomicBool::new(false),
            stop_consuming: AtomicBool::new(false),
            abandon: Arc::default(),
            copies: plan.copies(),
            kept: plan.kept(),
            backlog: if plan.consumers == 0 { 0 } else { plan.backlog },
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Copies that are with the broker, or under way.
    pub(super) fn outstanding(&self) -> u64 {
        let published = total(&self.published) + self.kept;
        let wanted = published.saturating_sub(total(&self.unwanted));
        (wanted * self.copies).saturating_sub(total(&self.received))
    }

    /// Whether publishers should let the consumers catch up.
    pub(super) fn is_behind(&self) -> bool {
        self.backlog > 0 && self.outstanding() > self.backlog
    }

    /// Changes whenever anything moves.
    pub(super) fn movements(&self) -> u64 {
        total(&self.published) + total(&self.answered) + total(&self.received)
    }

    pub(super) fn arrived(&self) {
        self.last_arrival_ns.fetch_max(self.now_ns(), Relaxed);
    }

    pub(super) fn give_up(&self) {
        self.abandon.store(true, Relaxed);
        self.stop_publishing.store(true, Relaxed);
        self.stop_consuming.store(true, Relaxed);
    }
}

pub(super) fn total(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::value).sum()
}
