//! Connections between the nodes of a cluster: frames of three classes, each in order, and who is
//! there.
//!
//! Every node dials the connections on which it sends, one for each other node and class, and is
//! dialled for what it receives. So nobody has to decide which of two connections stays when both
//! sides dial at once, a broken connection loses one direction of one class, and who sends learns
//! by himself that nobody listens any more. Three classes, so that a snapshot never delays a vote.

mod dialling;
mod frames;
mod handler;
mod handshake;
mod hello;
mod hub;
mod incoming;
mod line;
mod outgoing;
mod question;
mod refusal;
mod settings;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

use self::{
    frames::Kind,
    hub::{Hub, Neighbour},
};
pub use self::{
    handler::{Answering, Handler, Hold, Pulse, Question, Received},
    question::{Unanswered, ask},
    settings::{Credentials, Introduction, Limits, Member, Secret, Settings, VERSIONS},
};
pub use super::tls::NodeTls;
use crate::cluster::{NodeNumber, detector::State};

/// What a frame is for; each class has its own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Heartbeats, votes: small and urgent.
    Control,
    /// Messages and what is agreed about them.
    Data,
    /// Snapshots: large and patient.
    Bulk,
}

/// Why a frame was not taken. What was sent before may still arrive, unless
/// [`Handler::broken`] says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unsent {
    #[error("there is no connection to the node")]
    NotConnected,
    #[error("the frame is larger than its class allows")]
    TooLarge,
    #[error("too much is waiting for the node already; the connection is given up")]
    Overflow,
}

/// The connections of this node to all others. They end when they are told to, not when this is
/// dropped. All but [`start`](Self::start) may be called by any thread.
#[derive(Clone, Debug)]
pub struct Peers {
    hub: Arc<Hub>,
}

impl Peers {
    /// Listens, and dials the other members. To be called inside a runtime.
    pub fn start(settings: Settings, handler: Arc<dyn Handler>) -> Self {
        let Settings { me, listener, credentials, members, patience, limits } = settings;
        let hub = Arc::new(Hub::new((me, credentials), (limits, patience), handler));
        let peers = Self { hub };
        peers.set_members(members);
        let hub = &peers.hub;
        hub.tasks.spawn(incoming::listen(Arc::clone(hub), listener));
        hub.tasks.spawn(Arc::clone(hub).watch());
        peers
    }

    /// Sends a frame of any kind, made of these parts, or says at once why not. Never waits. Parts
    /// of more than a few KiB are not copied.
    ///
    /// # Errors
    /// As [`Unsent`] tells.
    pub fn send(
        &self,
        to: NodeNumber,
        class: Class,
        kind: u8,
        parts: &[Bytes],
    ) -> Result<(), Unsent> {
        let send = |neighbour: &Neighbour| neighbour.outgoing(class).send(Kind::User(kind), parts);
        self.hub.with(to, send).unwrap_or(Err(Unsent::NotConnected))
    }

    /// Octets that wait to be written, headers included; zero when there is no connection.
    pub fn queued(&self, to: NodeNumber, class: Class) -> usize {
        self.hub.with(to, |neighbour| neighbour.outgoing(class).pending()).unwrap_or_default()
    }

    /// The cluster has other members from here on. Who is none any more is down; who has moved is
    /// dialled at the new address when the old connection breaks.
    pub fn set_members(&self, members: BTreeMap<NodeNumber, Member>) {
        if self.hub.stop.is_cancelled() {
            return;
        }
        for neighbour in self.hub.set_members(members) {
            for class in Class::ALL {
                let keep = dialling::keep(Arc::clone(&self.hub), Arc::clone(&neighbour), class);
                self.hub.tasks.spawn_on(keep, &self.hub.runtime);
            }
        }
    }

    /// What is thought of a node.
    pub fn state(&self, node: NodeNumber) -> State {
        self.hub.detector().state(node, self.hub.clock.now())
    }

    /// Closes the listener and all connections; nothing is called any more afterwards.
    pub async fn stop(&self) {
        self.hub.stop.cancel();
        self.hub.tasks.close();
        self.hub.tasks.wait().await;
    }
}
