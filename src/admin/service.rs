//! The connections of HTTP: so many at most, none of which may dawdle.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::patient::Patient;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// On the machine that the node runs on.
    pub is_from_here: bool,
    /// May do everything: he could open the node's own socket.
    pub is_trusted: bool,
    /// Whence he comes, if over a network.
    pub address: Option<IpAddr>,
}

/// Connections at the same time; who comes then waits in the system's queue.
const CONNECTIONS: usize = 256;

/// How long the head of a request may take to arrive, and a connection to be asked something again.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Octets of a request's head.
const LARGEST_HEAD: usize = 64 << 10;

/// How long an answer may find no room in the socket.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long requests under way may go on when the node stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long accepting pauses when the system has no socket to give.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where operators come in.
#[derive(Debug)]
pub enum Door {
    Tcp(TcpListener),
    /// The node's own socket: whoever can open it is trusted.
    Local(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Local(UnixStream),
}

impl Door {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                let is_from_here = remote.ip().to_canonical().is_loopback();
                Ok((
                    Stream::Tcp(stream),
                    Peer { is_from_here, is_trusted: false, address: Some(remote.ip()) },
                ))
            }
            Self::Local(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((
                    Stream::Local(stream),
                    Peer { is_from_here: true, is_trusted: true, address: None },
                ))
            }
        }
    }
}

/// Serves a router to connections until the node stops.
#[derive(Clone, Debug)]
pub struct Service {
    router: Router,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    /// Connections are tasks of `tasks`, and end soon after `stop`.
    pub fn new(router: Router, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { router, places: Arc::new(Semaphore::new(CONNECTIONS)), tasks, stop }
    }

    /// Accepts clients until the node stops.
    pub async fn run(self, door: Door) {
        loop {
            let next = async {
                let place = Arc::clone(&self.places).acquire_owned().await;
                (place, door.accept().await)
            };
            let Some((place, accepted)) = self.stop.run_until_cancelled(next).await else { return };
            match accepted {
                Ok((stream, peer)) => {
                    self.tasks.spawn(self.clone().keep(stream, peer, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection of HTTP");
                    let _it_goes_on = tokio::time::timeout(BACK_OFF, self.stop.cancelled()).await;
                }
            }
        }
    }

    /// Serves one connection, which gives its place back in the end.
    async fn keep<Place>(self, stream: Stream, peer: Peer, place: Place) {
        match stream {
            Stream::Tcp(stream) => self.serve(stream, peer).await,
            Stream::Local(stream) => self.serve(stream, peer).await,
        }
        drop(place);
    }

    /// Serves one connection to its end. It may be one over TLS.
    pub async fn serve<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            hyper::service::Service::call(&router, request)
        });
        let stream = TokioIo::new(Patient::new(stream, WRITE_PATIENCE));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(stream, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(FAREWELL, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection of HTTP broke");
        }
    }
}
