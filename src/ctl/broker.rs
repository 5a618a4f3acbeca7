//! The broker at the other end: one HTTP connection, and the answers that it gives.

use std::{fs, io, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::Runtime,
};

use super::{
    outcome::{Failure, SOFTWARE, TEMPORARY, UNAVAILABLE},
    place::Place,
    term,
};

/// What the broker answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn is_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The body, `null` if it is none in JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Why the broker said no, in the words of RabbitMQ's tools.
    pub(super) fn reason(&self) -> String {
        match &self.json()["reason"] {
            Value::String(reason) => {
                reason.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            }
            Value::Null => format!("the broker answered with HTTP status {}", self.status),
            other => term::inspected(other),
        }
    }

    /// The answer, unless the broker refused.
    pub(super) fn accepted(self) -> Result<Self, Failure> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(Failure::new(UNAVAILABLE, self.reason())),
        }
    }

    /// The elements of the list that was asked for.
    pub(super) fn list(self) -> Result<Vec<Value>, Failure> {
        match self.accepted()?.json() {
            Value::Array(items) => Ok(items),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Value) -> Failure {
    Failure::new(SOFTWARE, format!("the broker answered what it should not: {answer}"))
}

/// A connection that is opened when it is needed.
pub(super) struct Broker {
    place: Place,
    runtime: Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
    timeout_ms: Option<u64>,
    operation: &'static str,
    node: String,
}

impl Broker {
    /// `node` is the name for messages until the broker has told its own; an answer that takes
    /// longer than `timeout_ms` fails the operation.
    pub(super) fn new(
        place: Place,
        node: String,
        operation: &'static str,
        timeout_ms: Option<u64>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { place, runtime, connection: None, timeout_ms, operation, node })
    }

    pub(super) fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, Bytes::new(), None)
    }

    pub(super) fn put(&mut self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.ask(Method::PUT, path, body.to_string().into(), None)
    }

    pub(super) fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Answer, Failure> {
        self.ask(Method::POST, path, body.into(), None)
    }

    pub(super) fn delete(&mut self, path: &str) -> Result<Answer, Failure> {
        self.ask(Method::DELETE, path, Bytes::new(), None)
    }

    /// Deletes a connection or several; their clients are told the reason.
    pub(super) fn close(&mut self, path: &str, reason: &str) -> Result<Answer, Failure> {
        self.ask(Method::DELETE, path, Bytes::new(), Some(reason))
    }

    /// The broker's own name, once it has been asked.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Finds out whether the broker is there, and its name.
    pub(super) fn greet(&mut self) -> Result<(), Failure> {
        let overview = self.get("/api/overview?columns=node")?.accepted()?.json();
        if let Some(node) = overview["node"].as_str() {
            node.clone_into(&mut self.node);
        }
        Ok(())
    }

    /// The same broker, with nothing connected.
    pub(super) fn forget_connection(&mut self) {
        self.connection = None;
    }

    /// Whether a connection can be opened, at once.
    pub(super) fn is_there(&mut self) -> bool {
        self.connection = None;
        let Self { runtime, place, .. } = self;
        runtime.block_on(connect(place)).is_ok()
    }

    /// Waits for so long, doing nothing.
    pub(super) fn pause(&self, duration: Duration) {
        self.runtime.block_on(async {
            // The first tick is at once.
            let mut ticks = tokio::time::interval(duration.max(Duration::from_millis(1)));
            ticks.tick().await;
            ticks.tick().await;
        });
    }

    /// Whether a TCP connection to the address is accepted within the time.
    pub(super) fn accepts(&self, host: &str, port: u16, limit: Duration) -> bool {
        let connecting = TcpStream::connect((host, port));
        self.runtime
            .block_on(async { tokio::time::timeout(limit, connecting).await })
            .is_ok_and(|connected| connected.is_ok())
    }

    /// The host that a listener on every address is reached at.
    pub(super) fn host(&self) -> &str {
        match &self.place {
            Place::Socket(_) | Place::Nowhere => "localhost",
            Place::Address { host, .. } => host,
        }
    }

    fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        reason: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json");
        if let Place::Address { authorization, .. } = &self.place {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(reason) = reason {
            request = request.header("X-Reason", reason.as_bytes());
        }
        let request = request.body(Full::new(body)).map_err(|error| {
            Failure::new(SOFTWARE, format!("this cannot be said in HTTP: {error}"))
        })?;
        self.send(request)
    }

    fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let Self { runtime, place, connection, timeout_ms, .. } = self;
        let exchange = converse(place, connection, request);
        let outcome = runtime.block_on(async {
            match timeout_ms {
                Some(limit_ms) => {
                    tokio::time::timeout(Duration::from_millis(*limit_ms), exchange).await.ok()
                }
                None => Some(exchange.await),
            }
        });
        match outcome {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                self.connection = None;
                Err(unreachable(&self.node, &self.place, &error))
            }
            None => Err(self.timed_out()),
        }
    }

    /// The failure of an operation that took too long.
    pub(super) fn timed_out(&self) -> Failure {
        let Self { operation, node, timeout_ms, .. } = self;
        let limit_ms = timeout_ms.unwrap_or_default();
        Failure::bare(
            TEMPORARY,
            format!(
                "Error: operation {operation} on node {node} timed out. Timeout value used: \
                 {limit_ms}"
            ),
        )
    }
}

async fn converse(
    place: &Place,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> io::Result<Answer> {
    let mut sender = match connection.take() {
        Some(sender) if !sender.is_closed() => sender,
        _ => connect(place).await?,
    };
    sender.ready().await.map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    *connection = Some(sender);
    Ok(Answer { status, body })
}

async fn connect(place: &Place) -> io::Result<SendRequest<Full<Bytes>>> {
    match place {
        Place::Socket(path) => shake_hands(UnixStream::connect(path).await?).await,
        Place::Address { host, port, .. } => {
            shake_hands(TcpStream::connect((host.as_str(), *port)).await?).await
        }
        Place::Nowhere => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

async fn shake_hands(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the sender, and its errors reach whoever waits for an answer.
    let _ends_by_itself = tokio::spawn(connection);
    Ok(sender)
}

/// RabbitMQ's first line, and what to look at here.
fn unreachable(node: &str, place: &Place, error: &io::Error) -> Failure {
    let shown = place.shown();
    let (why, hint) = match (place, error.kind()) {
        (Place::Socket(_), io::ErrorKind::NotFound) => (
            "there is no such socket: no broker uses this data directory".to_owned(),
            "start the broker, or name its directory with --data-dir DIR or $LEVERET_DATA_DIR",
        ),
        (Place::Socket(_), io::ErrorKind::ConnectionRefused) => (
            "nobody listens: the broker that used this data directory is gone".to_owned(),
            "start the broker",
        ),
        (Place::Socket(path), io::ErrorKind::PermissionDenied) => (
            match fs::metadata(path) {
                Ok(_) => "this user may not open the socket".to_owned(),
                Err(_) => "this user may not look into the data directory".to_owned(),
            },
            "call this as the user that runs the broker",
        ),
        (Place::Socket(_), _) => (error.to_string(), "look at the broker's log"),
        (Place::Address { .. } | Place::Nowhere, _) => {
            (error.to_string(), "start the broker, or name another address with --uri")
        }
    };
    Failure::bare(
        UNAVAILABLE,
        format!(
            "Error: unable to perform an operation on node '{node}'. Please see diagnostics \
             information and suggestions below.\n\nDIAGNOSTICS\n===========\n\nattempted to \
             contact: [{shown}]\n\n{shown}:\n  * {why}\n  * suggestion: {hint}\n"
        ),
    )
}
