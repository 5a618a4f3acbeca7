//! Who is connected, with what is known of each connection outside of the broker.

use std::sync::Arc;

use dashmap::DashMap;

use crate::{
    model::{ConnectionId, Moment},
    net::Peer,
    session::request::Introduction,
};

/// A connection that has opened a virtual host. Whose it is and where, the broker knows.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) peer: Peer,
    pub(crate) introduction: Introduction,
    pub(crate) since: Moment,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Connections(DashMap<ConnectionId, Arc<Connected>>);

impl Connections {
    pub(super) fn add(&self, connected: Connected) {
        self.0.insert(connected.peer.connection, Arc::new(connected));
    }

    pub(super) fn remove(&self, connection: ConnectionId) {
        self.0.remove(&connection);
    }

    pub(crate) fn find(&self, connection: ConnectionId) -> Option<Arc<Connected>> {
        self.0.get(&connection).map(|connected| Arc::clone(&connected))
    }
}
