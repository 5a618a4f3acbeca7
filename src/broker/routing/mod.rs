//! How a message finds its queues: the exchanges and bindings of a virtual host as a graph.

mod binding;
mod choices;
mod circumstances;
mod consistent;
mod deduplication;
mod delayed;
mod hash;
mod headers;
mod kind;
mod plan;
mod recent_history;
mod recipients;
mod router;
mod stable;
mod targets;
#[cfg(test)]
mod tests;
mod topic;

use std::{
    collections::{BTreeSet, HashMap},
    iter,
};

use crate::model::{ExchangeName, LongString, Message, QueueId, QueueName};

pub use binding::{Arguments, Binding, Destination};
pub use circumstances::{Circumstances, Claim, Draws};
pub use kind::ExchangeKind;
pub use plan::{AnnexPlan, CachePlan, HashBy, Plan};
pub use recipients::{Recipients, further_keys};
pub use targets::Basis;

pub(crate) use consistent::check as check_weight;
pub(crate) use deduplication::key_of as deduplication_key;
pub(crate) use delayed::{delay_of, released};
use hash::Seeded;
pub(crate) use headers::check as check_headers_match;
use router::Router;
use targets::{ExchangeIndex, Found, Target};

/// Where a message goes, beside the queues themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    pub basis: Basis,
    /// Somebody has it. What an exchange keeps for itself does not count, a delayed message does.
    pub is_routed: bool,
    /// Where an exchange keeps the key of a message that it has dropped for being a duplicate.
    pub repeats: Option<QueueId>,
}

/// The keys that a message is routed by: its own first, then those of `CC` and `BCC`.
type Keys<'a> =
    iter::Chain<iter::Once<&'a [u8]>, iter::Map<std::slice::Iter<'a, LongString>, Octets>>;
type Octets = for<'b> fn(&'b LongString) -> &'b [u8];

/// A virtual host's exchanges and bindings, arranged for look-ups alone.
#[derive(Debug)]
pub(super) struct Graph {
    exchanges: Vec<Option<Exchange>>,
    free: Vec<ExchangeIndex>,
    names: HashMap<ExchangeName, ExchangeIndex, Seeded>,
    queues: HashMap<QueueName, QueueId, Seeded>,
}

#[derive(Debug)]
struct Exchange {
    router: Router,
    alternate: Option<ExchangeName>,
}

impl Graph {
    /// A graph of the default exchange alone.
    pub(super) fn new() -> Self {
        let default = Exchange { router: Router::Names, alternate: None };
        Self {
            exchanges: vec![Some(default)],
            free: Vec::new(),
            names: iter::once((ExchangeName::default(), ExchangeIndex(0))).collect(),
            queues: HashMap::default(),
        }
    }

    pub(super) fn add_exchange(
        &mut self,
        name: ExchangeName,
        (plan, annexes): (&Plan, &[QueueId]),
        alternate: Option<ExchangeName>,
    ) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.exchanges.push(None);
            let last = self.exchanges.len() - 1;
            ExchangeIndex(u32::try_from(last).expect("fewer than 2^32 exchanges in memory"))
        });
        let router = Router::new(plan, annexes);
        self.exchanges[index.0 as usize] = Some(Exchange { router, alternate });
        self.names.insert(name, index);
    }

    /// Gives an exchange another alternate, or none.
    pub(super) fn set_alternate(&mut self, name: &[u8], alternate: Option<ExchangeName>) {
        let place = self.index(name).and_then(|index| self.exchanges.get_mut(index.0 as usize));
        if let Some(Some(exchange)) = place {
            exchange.alternate = alternate;
        }
    }

    /// Removes an exchange whose bindings, in both directions, have been disconnected.
    pub(super) fn remove_exchange(&mut self, name: &[u8]) {
        if let Some(index) = self.names.remove(name) {
            self.exchanges[index.0 as usize] = None;
            self.free.push(index);
        }
    }

    pub(super) fn add_queue(&mut self, name: QueueName, id: QueueId) {
        self.queues.insert(name, id);
    }

    /// Removes a queue whose bindings have been disconnected.
    pub(super) fn remove_queue(&mut self, name: &[u8]) {
        self.queues.remove(name);
    }

    pub(super) fn connect(&mut self, binding: &Binding) {
        if let Some((router, target)) = self.ends(binding) {
            router.add(binding, target);
        }
    }

    pub(super) fn disconnect(&mut self, binding: &Binding) {
        if let Some((router, target)) = self.ends(binding) {
            router.remove(binding, target);
        }
    }

    pub(super) fn queue(&self, name: &[u8]) -> Option<QueueId> {
        self.queues.get(name).copied()
    }

    /// Puts into `out` the queues that `message` goes to from the exchange `start`, in order, each
    /// once. Nothing when that exchange does not exist.
    pub(super) fn route(
        &self,
        start: &[u8],
        message: &Message,
        further_keys: &[LongString],
        circumstances: &mut dyn Circumstances,
        out: &mut Vec<QueueId>,
    ) -> Option<Routing> {
        out.clear();
        let start = self.index(start)?;
        let basis = if further_keys.is_empty() { Basis::Address } else { Basis::Headers };
        let found = Found::new(out, basis);
        let mut walk = Walk {
            graph: self,
            message,
            further_keys,
            headers: None,
            circumstances,
            found,
            visited: BTreeSet::new(),
        };
        walk.visit(start);
        walk.follow(start);
        let Walk { found: Found { sets, kept, basis, repeats, .. }, .. } = walk;
        if sets + kept > 1 {
            out.sort_unstable();
            out.dedup();
        }
        Some(Routing { basis, is_routed: out.len() > kept, repeats })
    }

    fn index(&self, name: &[u8]) -> Option<ExchangeIndex> {
        // The default exchange is the most used, and the quickest to tell.
        if name.is_empty() { Some(ExchangeIndex(0)) } else { self.names.get(name).copied() }
    }

    fn exchange(&self, index: ExchangeIndex) -> Option<&Exchange> {
        self.exchanges.get(index.0 as usize)?.as_ref()
    }

    fn ends(&mut self, binding: &Binding) -> Option<(&mut Router, Target)> {
        let target = match &binding.destination {
            Destination::Queue(name) => Target::Queue(self.queue(name)?),
            Destination::Exchange(name) => Target::Exchange(self.index(name)?),
        };
        let source = self.index(&binding.source)?;
        let exchange = self.exchanges.get_mut(source.0 as usize)?.as_mut()?;
        Some((&mut exchange.router, target))
    }
}

/// A message's walk from exchange to exchange; it visits each at most once.
struct Walk<'a> {
    graph: &'a Graph,
    message: &'a Message,
    further_keys: &'a [LongString],
    headers: Option<headers::Headers>,
    circumstances: &'a mut dyn Circumstances,
    found: Found<'a>,
    visited: BTreeSet<ExchangeIndex>,
}

impl Walk<'_> {
    /// Visits what bindings and alternates lead to, until there is nothing new.
    fn follow(&mut self, start: ExchangeIndex) {
        while let Some(next) = self.found.exchanges.pop() {
            self.visited.insert(start);
            if self.visited.insert(next) {
                self.visit(next);
            }
        }
    }

    fn visit(&mut self, index: ExchangeIndex) {
        let Some(exchange) = self.graph.exchange(index) else { return };
        let before = self.found.sets;
        let keys = iter::once(self.message.routing_key())
            .chain(self.further_keys.iter().map((|key| key) as Octets));
        if let Router::Names = exchange.router {
            for queue in keys.filter_map(|key| self.graph.queue(key)) {
                self.found.take_one(Target::Queue(queue));
            }
            return;
        }
        let Self { message, headers, circumstances, found, .. } = self;
        exchange.router.find(message, keys, headers, *circumstances, found);
        if self.found.sets == before
            && let Some(alternate) = &exchange.alternate
        {
            self.found.exchanges.extend(self.graph.index(alternate));
        }
    }
}
