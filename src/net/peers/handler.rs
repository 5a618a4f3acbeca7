//! What comes from other nodes, and who takes it.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::Class;
use crate::cluster::{NodeNumber, detector::Why};

/// The one for whom nodes are connected. No method may block or wait: they are called by the tasks
/// that read and write, several at the same time. Of one kind of call, those for one node and class
/// come one after the other.
pub trait Handler: Send + Sync + 'static {
    /// A frame has arrived. Frames of one node and class arrive in the order of their sending, and
    /// none twice. They may come from a node that is not up, or not yet.
    fn received(&self, frame: Received);

    /// A new connection for what is sent to this node is there: what is sent between here and
    /// [`broken`](Self::broken) arrives, in order. Sending may succeed a moment before this call.
    fn connected(&self, to: NodeNumber, class: Class) {
        let _ = (to, class);
    }

    /// The connection is gone: an unknown part of what was sent on it has not arrived, from some
    /// frame on all of them, and will not.
    fn broken(&self, to: NodeNumber, class: Class) {
        let _ = (to, class);
    }

    /// The node is there: it hears this one and is heard.
    fn up(&self, node: NodeNumber, incarnation: u64);

    /// The node is not there any more. Follows an `up`, always.
    fn down(&self, node: NodeNumber, why: Why);

    /// What the next heartbeats say of this node.
    fn heartbeat(&self) -> Pulse;

    /// What a heartbeat of this node has said. The order is that of the sending; the last one
    /// counts.
    fn heard(&self, from: NodeNumber, payload: Bytes);

    /// A node that has no number yet asks to join, or somebody asks for it: see [`super::ask`].
    /// It has proven that it may. The future may wait; a refusal is a text.
    fn asked(&self, question: Question) -> Answering;
}

/// A frame from another node.
#[derive(Debug)]
pub struct Received {
    pub from: NodeNumber,
    pub class: Class,
    pub kind: u8,
    /// Shares memory with its neighbours on the wire: what is to be kept for long should be copied
    /// if it is small.
    pub payload: Bytes,
    /// To be dropped when the payload has been dealt with, and not before: while more than
    /// [`Limits::held`](super::Limits::held) octets are held, the connection is not read. For
    /// [`Class::Control`] that includes heartbeats.
    pub hold: Hold,
}

/// What a heartbeat says of its sender.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// The age of the oldest write to disk that has not finished; zero when there is none.
    pub oldest_sync: Duration,
    /// Whatever the nodes want to tell each other. Beyond 64 KiB, it is left out.
    pub payload: Bytes,
}

/// A request of a node without a number.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name by which it introduces itself.
    pub name: String,
    pub address: SocketAddr,
    pub payload: Bytes,
}

/// An answer to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// Counts octets as held until it is dropped.
#[derive(Debug)]
pub struct Hold {
    octets: usize,
    gate: Arc<Gate>,
}

/// How much of what a connection has brought is held.
#[derive(Debug)]
pub(super) struct Gate {
    held: AtomicUsize,
    limit: usize,
    released: Notify,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit, released: Notify::new() })
    }

    pub(super) fn hold(self: &Arc<Self>, octets: usize) -> Hold {
        self.held.fetch_add(octets, Ordering::AcqRel);
        Hold { octets, gate: Arc::clone(self) }
    }

    /// Returns when no more is held than may be.
    pub(super) async fn open(&self) {
        while self.held.load(Ordering::Acquire) > self.limit {
            let released = self.released.notified();
            if self.held.load(Ordering::Acquire) > self.limit {
                released.await;
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let before = self.gate.held.fetch_sub(self.octets, Ordering::AcqRel);
        let limit = self.gate.limit;
        if before > limit && before - self.octets <= limit {
            // One reader at most: the permit waits for it if it is not waiting yet.
            self.gate.released.notify_one();
        }
    }
}
