//! Connections between the nodes of a cluster: frames of three classes, each in order, and who is
//! there.
//!
//! Every node dials the connections on which it sends, one for each other node and class, and is
//! dialled for what it receives. So nobody has to decide which of two connections stays when both
//! sides dial at once, a broken connection loses one direction of one class, and who sends learns
//! by himself that nobody listens any more. Three classes, so that a snapshot never delays a vote.

mod handler;
mod settings;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

pub use self::{
    handler::{Answering, Handler, Hold, Pulse, Question, Received},
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

/// The connections of this node to all others. It stops when it is told to, not when it is
/// dropped.
#[derive(Clone, Debug)]
pub struct Peers {}

impl Peers {
    /// Listens, and dials the other members. To be called inside a runtime.
    pub fn start(settings: Settings, handler: Arc<dyn Handler>) -> Self {
        let _ = (settings, handler);
        Self {}
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
        let _ = (to, class, kind, parts);
        Err(Unsent::NotConnected)
    }

    /// Octets that wait to be written; zero when there is no connection.
    pub fn queued(&self, to: NodeNumber, class: Class) -> usize {
        let _ = (to, class);
        0
    }

    /// The cluster has other members from here on. Who is none any more is down; who has moved is
    /// dialled at the new address when the old connection breaks.
    pub fn set_members(&self, members: BTreeMap<NodeNumber, Member>) {
        let _ = members;
    }

    /// What is thought of a node.
    pub fn state(&self, node: NodeNumber) -> State {
        let _ = node;
        State::Down
    }

    /// Closes the listener and all connections; nothing is called any more afterwards.
    pub async fn stop(&self) {}
}

/// Why a question to another node has no answer.
#[derive(Debug, Error)]
pub enum Unanswered {
    #[error("{address} cannot be reached: {cause}")]
    Unreachable { address: String, cause: std::io::Error },
    #[error("{address} did not answer in time")]
    TimedOut { address: String },
    #[error("{address} is not trusted: {why}")]
    Untrusted { address: String, why: String },
    #[error("{address} refuses: {why}")]
    Refused { address: String, why: String },
}

/// Asks the node at `address` (`host:port`) something, without being a member of its cluster; its
/// [`Handler::asked`] answers. Both sides prove who they are first. The question has 1 MiB at
/// most, and so has the answer.
///
/// # Errors
/// As [`Unanswered`] tells; after a minute at the latest.
pub async fn ask(
    address: &str,
    name: &str,
    credentials: &Credentials,
    payload: Bytes,
) -> Result<Bytes, Unanswered> {
    let _ = (name, credentials, payload);
    Err(Unanswered::TimedOut { address: address.to_owned() })
}
