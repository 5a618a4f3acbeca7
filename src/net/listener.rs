//! A listening socket: accepts clients, hands each to a task of its own, backs off when it cannot.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    Backend, Clock, Conversation, Outbox, Peer, connection::Connection, socket::Socket, tls::Tls,
};
use crate::{
    model::{ConnectionId, Moment, NodeNumber},
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
    /// Who has not come in by then stays out.
    closing: CancellationToken,
    cut: CancellationToken,
    /// Nobody is taken in.
    suspended: AtomicBool,
}

impl Clients {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            next: AtomicU64::new(1),
            outboxes: DashMap::new(),
            alarm: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            suspended: AtomicBool::new(false),
        }
    }

    /// The same of a node of a cluster: what is numbered on it has its number in it.
    #[must_use]
    pub fn on(self, node: NodeNumber) -> Self {
        Self { next: AtomicU64::new(node.base() + 1), ..self }
    }

    /// Asks every client to leave: 320 CONNECTION_FORCED with this explanation. Who still shakes
    /// hands is dropped.
    pub fn close_all(&self, explanation: &str) {
        self.closing.cancel();
        self.send_away(explanation);
    }

    /// Whether who comes from now on is turned away at once.
    pub fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Release);
    }

    pub fn are_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// Asks every client that is there to leave, as [`Self::close_all`]; others may come.
    pub fn send_away(&self, explanation: &str) {
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
        self.closing.cancel();
        self.cut.cancel();
    }

    /// Numbers the connections above this, from now on.
    pub fn number_above(&self, base: u64) {
        self.next.fetch_max(base + 1, Ordering::Relaxed);
    }

    /// Returns when the last client has gone; new ones must not come any more.
    pub async fn gone(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn serve<R: Reception>(
        self: &Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        (reception, tls): (&Arc<R>, Option<&Arc<Tls>>),
    ) {
        let Ok(local) = stream.local_addr() else { return };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%remote, %error, "the socket broke while it was accepted");
            return;
        }
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let peer = Peer { connection, remote, local, tls: None };
        let clients = Arc::clone(self);
        match tls {
            None => self.tasks.spawn(clients.host(stream, peer, &**reception)),
            Some(tls) => {
                let (reception, tls) = (Arc::clone(reception), Arc::clone(tls));
                self.tasks.spawn(clients.secure(stream, peer, reception, tls))
            }
        };
    }

    /// Shakes hands with a client, then hosts it.
    async fn secure<R: Reception>(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        reception: Arc<R>,
        tls: Arc<Tls>,
    ) {
        let handshake = self.closing.run_until_cancelled(tls.accept(stream)).await;
        let (stream, secured) = match handshake {
            None => return,
            Some(Ok(done)) => done,
            Some(Err(fault)) => {
                warn!(remote = %peer.remote, "no TLS handshake: {fault}");
                return;
            }
        };
        debug!(remote = %peer.remote, protocol = secured.protocol, cipher = secured.cipher,
            server_name = secured.server_name, "speaks TLS");
        let connection = peer.connection;
        let peer = Peer { tls: Some(Arc::new(secured)), ..peer };
        let stay = Arc::clone(&self).host(stream, peer, &*reception);
        // Who was added after all had been asked to leave has not been asked.
        if self.closing.is_cancelled() {
            self.outboxes.remove(&connection);
            return;
        }
        stay.await;
    }

    /// Receives a client at once; the future is its stay.
    fn host<S: Socket, R: Reception>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        reception: &R,
    ) -> impl Future<Output = ()> + Send + use<S, R> {
        let (connection, remote) = (peer.connection, peer.remote);
        let outbox = Arc::new(Outbox::default());
        let talk = reception.welcome(peer, Arc::clone(&outbox), self.clock.now());
        self.add(connection, outbox);
        debug!(%remote, %connection, "accepted");
        let task = Connection::new(stream, talk, self.clock).run();
        async move {
            let ended = self.cut.run_until_cancelled(task).await;
            self.outboxes.remove(&connection);
            match ended {
                Some((stream, session)) if session.disposition() == Disposition::Reset => {
                    let _already_broken = stream.raw().set_zero_linger();
                }
                Some((stream, _)) => stream.close().await,
                None => {}
            }
            debug!(%remote, %connection, "closed");
        }
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
    tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Takes `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// What the system says, when the address is taken or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls: None })
    }

    /// The same, for clients that speak TLS.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
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
                // Who is turned away sees the connection end.
                Ok(_) if clients.are_suspended() => {}
                Ok((stream, remote)) => {
                    clients.serve(stream, remote, (&reception, self.tls.as_ref()));
                }
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    stop.run_until_cancelled(tokio::time::sleep(BACK_OFF)).await;
                }
            }
        }
    }
}
