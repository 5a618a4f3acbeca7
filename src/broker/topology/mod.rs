//! A virtual host's exchanges, queues and bindings: decisions give changes, and changes are
//! applied.

mod bindings;
mod cascade;
mod change;
mod declaring;
mod equivalence;
mod facts;
mod governed;
mod judging;
mod placement;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    broker::routing::{Binding, Circumstances, Destination, Graph, Routing},
    model::{
        ConnectionId, ExchangeName, LongString, Message, Placement, QueueId, Refusal, Resource,
        VirtualHostName, VirtualHostOptions,
    },
};

use bindings::Bindings;
pub use change::Change;
pub use declaring::Declared;
use governed::Governed;
pub(super) use governed::Reconfigured;
pub use placement::{LiveNode, Nodes};
pub use record::{Annex, ExchangeDeclaration, ExchangeRecord, QueueDeclaration, QueueRecord};
pub(super) use record::{exchange_resource, queue_resource};

/// One virtual host: what is in it, and how messages go through it.
///
/// A method that decides takes `&self` and gives either a [`Refusal`] or the [`Change`]s to be
/// applied, in order, before anything else is decided.
#[derive(Debug)]
pub struct Topology {
    virtual_host: VirtualHostName,
    options: Arc<VirtualHostOptions>,
    exchanges: BTreeMap<ExchangeName, Arc<ExchangeRecord>>,
    queues: BTreeMap<QueueId, Arc<QueueRecord>>,
    owned: BTreeSet<(ConnectionId, QueueId)>,
    bindings: Bindings,
    graph: Graph,
    governed: Governed,
    version: u64,
    /// What is transient is written, too: every node of a cluster knows it after a restart.
    keeps_all: bool,
}

impl Topology {
    /// A virtual host with the exchanges that every virtual host has.
    pub fn new(virtual_host: VirtualHostName) -> Self {
        let mut topology = Self {
            virtual_host,
            options: Arc::default(),
            exchanges: BTreeMap::new(),
            queues: BTreeMap::new(),
            owned: BTreeSet::new(),
            bindings: Bindings::default(),
            graph: Graph::new(),
            governed: Governed::default(),
            version: 0,
            keeps_all: false,
        };
        for exchange in declaring::predeclared() {
            topology.apply(&Change::ExchangeDeclared(Arc::new(exchange)));
        }
        topology
    }

    /// The same topology, of which everything survives a restart if `keeps_all`.
    #[must_use]
    pub(in crate::broker) fn keeping_all(self, keeps_all: bool) -> Self {
        Self { keeps_all, ..self }
    }

    /// The same topology as a later version than the one whose place it takes.
    #[must_use]
    pub(in crate::broker) fn after(self, earlier: &Self) -> Self {
        Self { version: earlier.version + 1, ..self }
    }

    /// Applies one change. Each one makes the topology another version.
    pub fn apply(&mut self, change: &Change) {
        if let Change::PolicySet(..) | Change::PolicyCleared(..) = change {
            self.apply_policy(change);
            return;
        }
        self.version += 1;
        match change {
            Change::ExchangeDeclared(exchange) => self.add_exchange(exchange),
            Change::ExchangeDeleted(name) => self.remove_exchange(name),
            Change::QueueDeclared(queue) => self.add_queue(queue),
            Change::QueueDeleted(queue) => self.remove_queue(*queue),
            Change::QueuePlaced(queue, placement) => self.place_queue(*queue, placement),
            Change::Bound(binding) => {
                if !self.bindings.contains(binding) {
                    self.graph.connect(binding);
                    self.bindings.insert(Arc::clone(binding));
                }
            }
            Change::Unbound(binding) => self.disconnect(binding),
            Change::Described(options) => self.options = Arc::clone(options),
            Change::PolicySet(..) | Change::PolicyCleared(..) => {}
        }
    }

    /// Applies all changes of one decision.
    pub fn apply_all(&mut self, changes: &[Change]) {
        changes.iter().for_each(|change| self.apply(change));
    }

    /// Whose topology it is.
    pub fn virtual_host(&self) -> &VirtualHostName {
        &self.virtual_host
    }

    /// What an operator has said of the virtual host.
    pub fn options(&self) -> &Arc<VirtualHostOptions> {
        &self.options
    }

    /// Grows with every change: while it stays, so does every route.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The exchange of that name. The default exchange has no record.
    pub fn exchange(&self, name: &[u8]) -> Option<&Arc<ExchangeRecord>> {
        self.exchanges.get(name)
    }

    /// The queue of that name, whoever may use it.
    pub fn queue_named(&self, name: &[u8]) -> Option<&Arc<QueueRecord>> {
        self.queue(self.graph.queue(name)?)
    }

    /// The queue with that identity.
    pub fn queue(&self, id: QueueId) -> Option<&Arc<QueueRecord>> {
        self.queues.get(&id)
    }

    /// All exchanges but the default one, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<ExchangeRecord>> {
        self.exchanges.values()
    }

    /// All queues, the oldest first.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueRecord>> {
        self.queues.values()
    }

    /// All bindings, by source.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.iter()
    }

    /// The bindings that lead away from an exchange.
    pub fn bindings_from(&self, source: &ExchangeName) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.from(source)
    }

    /// The bindings that lead to a queue or an exchange.
    pub fn bindings_to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.to(destination)
    }

    /// The queues that are exclusive to a connection and end with it.
    pub fn queues_of(&self, owner: ConnectionId) -> impl Iterator<Item = &Arc<QueueRecord>> {
        let owned = self.owned.range((owner, QueueId(0))..=(owner, QueueId(u64::MAX)));
        owned.filter_map(|(_, queue)| self.queue(*queue))
    }

    /// Whether clients may publish to an exchange: it exists, and it is not internal.
    pub fn admit(&self, exchange: &[u8]) -> Result<(), Refusal> {
        if exchange.is_empty() {
            return Ok(());
        }
        match self.exchanges.get(exchange) {
            None => Err(Refusal::NotFound(self.exchange_resource(exchange))),
            Some(record) if record.internal => {
                Err(Refusal::InternalExchange(self.exchange_resource(exchange)))
            }
            Some(_) => Ok(()),
        }
    }

    /// Puts into `out` the queues that a message goes to, in the order of their identities, each
    /// once. It is routed by its own key and by `further_keys`. Nothing when its exchange does not
    /// exist, as a dead-letter exchange may not.
    pub fn route(
        &self,
        message: &Message,
        further_keys: &[LongString],
        circumstances: &mut dyn Circumstances,
        out: &mut Vec<QueueId>,
    ) -> Option<Routing> {
        self.route_from(message.exchange(), message, further_keys, circumstances, out)
    }

    /// The same from another exchange than the one that the message was published to.
    pub fn route_from(
        &self,
        start: &[u8],
        message: &Message,
        further_keys: &[LongString],
        circumstances: &mut dyn Circumstances,
        out: &mut Vec<QueueId>,
    ) -> Option<Routing> {
        self.graph.route(start, message, further_keys, circumstances, out)
    }

    /// Whether an exchange of that name keeps something there.
    pub(super) fn has_annex(&self, exchange: &[u8], annex: QueueId) -> bool {
        self.exchange(exchange).is_some_and(|exchange| exchange.annexes.contains(&annex))
    }

    fn add_exchange(&mut self, exchange: &Arc<ExchangeRecord>) {
        let alternate = self.governed.govern_exchange(exchange);
        let router = (&exchange.plan, &exchange.annexes[..]);
        self.graph.add_exchange(exchange.name.clone(), router, alternate);
        self.exchanges.insert(exchange.name.clone(), Arc::clone(exchange));
    }

    fn remove_exchange(&mut self, name: &ExchangeName) {
        let destination = Destination::Exchange(name.clone());
        let ends = self.bindings.from(name).chain(self.bindings.to(&destination));
        for binding in ends.cloned().collect::<Vec<_>>() {
            self.disconnect(&binding);
        }
        self.graph.remove_exchange(name);
        self.governed.remove_exchange(name);
        self.exchanges.remove(name);
    }

    fn add_queue(&mut self, queue: &Arc<QueueRecord>) {
        self.graph.add_queue(queue.name.clone(), queue.id);
        self.owned.extend(queue.owner.map(|owner| (owner, queue.id)));
        self.governed.govern_queue(queue);
        self.queues.insert(queue.id, Arc::clone(queue));
    }

    fn place_queue(&mut self, id: QueueId, placement: &Placement) {
        if let Some(queue) = self.queues.get_mut(&id) {
            *queue = Arc::new(queue.placed(placement.clone()));
        }
    }

    fn remove_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(&id) else { return };
        let destination = Destination::Queue(queue.name.clone());
        for binding in self.bindings.to(&destination).cloned().collect::<Vec<_>>() {
            self.disconnect(&binding);
        }
        self.graph.remove_queue(&queue.name);
        self.governed.remove_queue(id);
        if let Some(owner) = queue.owner {
            self.owned.remove(&(owner, id));
        }
    }

    fn disconnect(&mut self, binding: &Binding) {
        if self.bindings.contains(binding) {
            self.graph.disconnect(binding);
            self.bindings.remove(binding);
        }
    }

    fn exchange_resource(&self, name: &[u8]) -> Resource {
        exchange_resource(&self.virtual_host, name)
    }

    fn queue_resource(&self, name: &[u8]) -> Resource {
        queue_resource(&self.virtual_host, name)
    }
}
