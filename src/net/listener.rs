//! A listening socket: accepts clients, hands each to a task of its own, backs off when it cannot.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{Backend, Clock, Conversation, Outbox, Peer, connection::Connection};
use crate::{
    model::{ConnectionId, Moment},
    session::{Disposition, request::Event},
};

/// How long accepting pauses when the system has no socket to give.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Makes what a new connection needs.
pub trait Reception: Send + Sync + 'static {
    type Backend: Backend;

    /// What a client that has just connected will talk with.
    fn welcome(&self, peer: Peer, outbox: Arc<Outbox>, now: Moment) -> Conversation<Self::Backend>;
}

/// The clients of a node: who is connected, and how to end it.
#[derive(Debug)]
pub struct Clients {
    clock: Clock,
    next: AtomicU64,
    outboxes: DashMap<ConnectionId, Arc<Outbox>>,
    /// Why who publishes is blocked. Held while clients are told, or added.
    alarm: Mutex<Option<&'static str>>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Clients {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            next: AtomicU64::new(1),
            outboxes: DashMap::new(),
            alarm: Mutex::default(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Asks every client to leave: 320 CONNECTION_FORCED with this explanation.
    pub fn close_all(&self, explanation: &str) {
        for entry in &self.outboxes {
            entry.value().extend([Event::Close(explanation.to_owned())]);
        }
    }

    /// Tells every client, and those still to come, that who publishes is blocked and why; or with
    /// none, that nobody is.
    pub fn set_alarm(&self, reason: Option<&'static str>) {
        let mut alarm = self.alarm();
        *alarm = reason;
        for entry in &self.outboxes {
            entry.value().extend([reason.map_or(Event::Unblocked, Event::Blocked)]);
        }
    }

    /// Drops every connection at once, without a word.
    pub fn cut_off(&self) {
        self.cut.cancel();
    }

    /// Returns when the last client has gone; new ones must not come any more.
    pub async fn gone(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn serve<R: Reception>(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, reception: &R) {
        let Ok(local) = stream.local_addr() else { return };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%remote, %error, "the socket broke while it was accepted");
            return;
        }
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let peer = Peer { connection, remote, local };
        let outbox = Arc::new(Outbox::default());
        let talk = reception.welcome(peer, Arc::clone(&outbox), self.clock.now());
        self.add(connection, outbox);
        debug!(%remote, %connection, "accepted");
        let task = Connection::new(stream, talk, self.clock).run();
        let clients = Arc::clone(self);
        self.tasks.spawn(async move {
            let ended = clients.cut.run_until_cancelled(task).await;
            clients.outboxes.remove(&connection);
            if let Some((stream, session)) = ended
                && session.disposition() == Disposition::Reset
            {
                let _already_broken = stream.set_zero_linger();
            }
            debug!(%remote, %connection, "closed");
        });
    }

    fn add(&self, connection: ConnectionId, outbox: Arc<Outbox>) {
        let alarm = self.alarm();
        outbox.extend(alarm.map(Event::Blocked));
        self.outboxes.insert(connection, outbox);
    }

    fn alarm(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that clients connect to.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Takes `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// What the system says, when the address is taken or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// Where it listens, with the port that was taken.
    ///
    /// # Errors
    /// What the system says, when the socket is broken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts clients until `stop`.
    pub async fn run<R: Reception>(
        self,
        reception: Arc<R>,
        clients: Arc<Clients>,
        stop: CancellationToken,
    ) {
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
            match accepted {
                Ok((stream, remote)) => clients.serve(stream, remote, &*reception),
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    stop.run_until_cancelled(tokio::time::sleep(BACK_OFF)).await;
                }
            }
        }
    }
}
