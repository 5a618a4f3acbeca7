//! Where bindings lead: sets of queues and exchanges, counted, in a fixed order.

use crate::model::QueueId;

/// An exchange's place in the graph; free to be used again once the exchange is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ExchangeIndex(pub(super) u32);

/// Where one binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Queue(QueueId),
    Exchange(ExchangeIndex),
}

/// The targets of equal bindings, in order, each with the number of bindings that lead there:
/// bindings may differ in arguments that their exchange does not look at.
#[derive(Debug, Default)]
pub(super) struct Targets(Vec<(Target, u32)>);

impl Targets {
    pub(super) fn add(&mut self, target: Target) {
        match self.place(target) {
            Ok(place) => self.0[place].1 += 1,
            Err(place) => self.0.insert(place, (target, 1)),
        }
    }

    pub(super) fn remove(&mut self, target: Target) {
        let Ok(place) = self.place(target) else { return };
        self.0[place].1 -= 1;
        if self.0[place].1 == 0 {
            self.0.remove(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, target: Target) -> Result<usize, usize> {
        self.0.binary_search_by_key(&target, |(present, _)| *present)
    }
}

/// What the route of a message depended on, beside the topology's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Its exchange and its routing key: a message with the same takes the same route.
    Address,
    /// Its headers or other properties, too.
    Headers,
    /// What was drawn, or what an exchange remembered: the same message may take another route.
    Chance,
}

/// What a message's walk through the graph has found so far.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) queues: &'a mut Vec<QueueId>,
    /// Exchanges to be visited, not yet free of duplicates.
    pub(super) exchanges: Vec<ExchangeIndex>,
    /// How many sets were found: more than one may overlap.
    pub(super) sets: usize,
    /// How many of the queues are annexes that keep a message which is routed elsewhere.
    pub(super) kept: usize,
    pub(super) basis: Basis,
    /// An exchange has dropped the message, since the key that it keeps there has passed before.
    pub(super) repeats: Option<QueueId>,
}

impl<'a> Found<'a> {
    /// Nothing yet; what is found goes to `queues`.
    pub(super) fn new(queues: &'a mut Vec<QueueId>, basis: Basis) -> Self {
        Self { queues, exchanges: Vec::new(), sets: 0, kept: 0, basis, repeats: None }
    }

    #[inline]
    pub(super) fn take(&mut self, targets: &Targets) {
        if targets.is_empty() {
            return;
        }
        self.sets += 1;
        for (target, _) in &targets.0 {
            self.push(*target);
        }
    }

    pub(super) fn take_one(&mut self, target: Target) {
        self.sets += 1;
        self.push(target);
    }

    /// An exchange keeps the message for itself: that is no route.
    pub(super) fn keep(&mut self, annex: Option<QueueId>) {
        if let Some(annex) = annex {
            self.kept += 1;
            self.queues.push(annex);
        }
    }

    /// The route depends on this, too.
    pub(super) fn depends_on(&mut self, basis: Basis) {
        self.basis = self.basis.max(basis);
    }

    #[inline]
    fn push(&mut self, target: Target) {
        match target {
            Target::Queue(queue) => self.queues.push(queue),
            Target::Exchange(exchange) => self.exchanges.push(exchange),
        }
    }
}
