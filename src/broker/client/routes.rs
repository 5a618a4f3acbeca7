//! The routes that one connection's messages have taken, remembered while the topology stays as it
//! is.

use std::{collections::HashMap, sync::Arc};

use crate::{
    broker::{Broker, hosted::Hosted, remote::Remote, virtual_host::VirtualHost},
    model::{Message, QueueId},
};

/// Where messages of one address go.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) queues: Vec<Arc<Hosted>>,
    /// If one of the queues is not simply here, all of them are among these.
    pub(super) remotes: Vec<Arc<Remote>>,
    /// Not only what exchanges keep for themselves is among them.
    pub(super) is_routed: bool,
    /// Where the key is kept of a message that was dropped for being a duplicate.
    pub(super) repeats: Option<QueueId>,
}

/// Routes by exchange and routing key, which the user may take. Holds only routes that depend on
/// nothing else.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    version: RouteVersion,
    /// The address of the last message: publishers repeat themselves.
    last: Option<(Address, Arc<Route>)>,
    routes: HashMap<Address, Arc<Route>>,
}

/// What every route depends on: bindings, and what users may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RouteVersion {
    pub(super) topology: u64,
    pub(super) rights: u64,
    /// Which nodes are there.
    pub(super) nodes: u64,
}

impl RouteVersion {
    /// The version of a route that is looked up now.
    pub(super) fn now(home: &VirtualHost, broker: &Broker) -> Self {
        let (topology, rights) = (home.version(), broker.authority.version());
        Self { topology, rights, nodes: broker.company_version() }
    }

    /// The version of what was never looked up.
    pub(super) const UNKNOWN: Self = Self { topology: u64::MAX, rights: u64::MAX, nodes: 0 };
}

/// What a route depends on: exchange and routing key, and where one ends and the other begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Address {
    octets: Box<[u8]>,
    exchange_length: usize,
}

/// Addresses that one connection's cache remembers at most; then it starts afresh.
const CAPACITY: usize = 1024;

impl Address {
    fn of(message: &Message) -> Self {
        Self { octets: message.address().into(), exchange_length: message.exchange_length() }
    }

    fn is_of(&self, message: &Message) -> bool {
        self.exchange_length == message.exchange_length() && *self.octets == *message.address()
    }
}

impl RouteCache {
    /// The route of `message`, if it is known for this version.
    pub(super) fn find(&mut self, message: &Message, version: RouteVersion) -> Option<Arc<Route>> {
        if self.version != version {
            *self = Self { version, ..Self::default() };
            return None;
        }
        if let Some((address, route)) = &self.last
            && address.is_of(message)
        {
            return Some(Arc::clone(route));
        }
        let address = Address::of(message);
        let route = Arc::clone(self.routes.get(&address)?);
        self.last = Some((address, Arc::clone(&route)));
        Some(route)
    }

    /// Remembers the route of `message`, which was found at `version`.
    pub(super) fn remember(
        &mut self,
        message: &Message,
        version: RouteVersion,
        route: &Arc<Route>,
    ) {
        if self.version != version {
            return;
        }
        if self.routes.len() >= CAPACITY {
            self.routes.clear();
        }
        let address = Address::of(message);
        self.last = Some((address.clone(), Arc::clone(route)));
        self.routes.insert(address, Arc::clone(route));
    }
}
