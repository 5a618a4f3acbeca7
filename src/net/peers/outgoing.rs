//! What waits to be written to one other node, for one class.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{self, AsyncWrite, AsyncWriteExt},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::{
    Unsent,
    frames::{Chain, HEADER, Kind},
};

/// A queue that exists only while there is a connection: what is left when it breaks is dropped.
#[derive(Debug)]
pub(super) struct Outgoing {
    waiting: Mutex<Waiting>,
    /// Octets that wait, and those that are being written.
    pending: AtomicUsize,
    ready: Notify,
    longest_frame: usize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    chain: Chain,
    connection: Option<Connection>,
    /// More was sent than the other side has taken.
    has_overflown: bool,
}

#[derive(Debug)]
struct Connection {
    /// Of the node at the other end.
    incarnation: u64,
    cut: CancellationToken,
}

impl Outgoing {
    /// Without a connection yet.
    pub(super) fn new(longest_frame: usize, limit: usize) -> Self {
        let (waiting, pending) = (Mutex::default(), AtomicUsize::new(0));
        Self { waiting, pending, ready: Notify::new(), longest_frame, limit }
    }

    /// There is a connection to this incarnation, until the token is cancelled.
    pub(super) fn open(&self, incarnation: u64) -> CancellationToken {
        let cut = CancellationToken::new();
        let mut waiting = self.waiting();
        let connection = Some(Connection { incarnation, cut: cut.clone() });
        *waiting = Waiting { connection, ..Waiting::default() };
        self.pending.store(0, Ordering::Release);
        cut
    }

    /// There is none any more. Returns whether it was given up because too much waited.
    pub(super) fn close(&self) -> bool {
        let former = mem::take(&mut *self.waiting());
        self.pending.store(0, Ordering::Release);
        former.has_overflown
    }

    /// Ends the connection, if it is to an incarnation below this.
    pub(super) fn cut_below(&self, incarnation: u64) {
        let mut waiting = self.waiting();
        if waiting.connection.as_ref().is_some_and(|open| open.incarnation < incarnation) {
            waiting.cut();
        }
    }

    /// Ends the connection.
    pub(super) fn cut(&self) {
        self.waiting().cut();
    }

    pub(super) fn send(&self, kind: Kind, parts: &[Bytes]) -> Result<(), Unsent> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        if length > self.longest_frame {
            return Err(Unsent::TooLarge);
        }
        let size = length + HEADER;
        let mut waiting = self.waiting();
        if waiting.connection.is_none() {
            return Err(Unsent::NotConnected);
        }
        if self.pending.load(Ordering::Acquire) + size > self.limit {
            waiting.cut();
            waiting.has_overflown = true;
            return Err(Unsent::Overflow);
        }
        self.pending.fetch_add(size, Ordering::AcqRel);
        let was_empty = !waiting.chain.has_remaining();
        waiting.chain.push_frame(kind, parts);
        drop(waiting);
        if was_empty {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Octets that wait, and those that are being written.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Writes what waits and what is still to come, until that fails.
    pub(super) async fn write(&self, socket: &mut (impl AsyncWrite + Unpin)) -> io::Error {
        loop {
            let mut chain = mem::take(&mut self.waiting().chain);
            let written = if chain.has_remaining() {
                self.write_chain(&mut chain, socket).await
            } else {
                self.ready.notified().await;
                Ok(())
            };
            if let Err(error) = written {
                return error;
            }
        }
    }

    async fn write_chain(
        &self,
        chain: &mut Chain,
        socket: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        while chain.has_remaining() {
            let octets = socket.write_buf(chain).await?;
            if octets == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.pending.fetch_sub(octets, Ordering::AcqRel);
        }
        socket.flush().await
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Nothing more is taken for a connection that ends, and what waits is dropped.
    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.cut.cancel();
        }
        self.chain = Chain::default();
    }
}
