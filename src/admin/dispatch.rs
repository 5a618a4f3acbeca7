//! One request from its first line to its answer: route, sender, body, handler, durability.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body as HttpBody,
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
        header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY, WWW_AUTHENTICATE},
    },
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    answer::{Body, Failure, Reply},
    authentication::{self, Barred},
    call::Call,
    node::Node,
    operator::{Operator, Role},
    path,
    query::Query,
    routes::{Operation, Parts, Route},
    service::Peer,
};

/// Octets of a request's body (RabbitMQ 4.x).
const LARGEST_BODY: usize = 20 << 20;

/// Bodies beyond [`SMALL_BODY`] octets that are read at the same time: so memory stays bounded.
const LARGE_BODIES: usize = 4;
const SMALL_BODY: u64 = 64 << 10;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// How long what was asked may take to be durable. A full disk may make it wait longer.
const DISK_PATIENCE: Duration = Duration::from_secs(60);

/// The routes of the control plane, below `/api`.
///
/// The extension [`Peer`] of a request says who sends it; without it, it comes from elsewhere.
pub fn router(node: Arc<dyn Node>) -> Router {
    let gate = Gate { node, large_bodies: Semaphore::new(LARGE_BODIES), setting: Mutex::default() };
    Router::new().fallback(answer).with_state(Arc::new(gate))
}

/// What all requests share.
#[derive(Debug)]
struct Gate {
    node: Arc<dyn Node>,
    large_bodies: Semaphore,
    /// Held by who sets something: it is often read, changed and written back.
    setting: Mutex<()>,
}

/// A request whose route is known.
struct Matched {
    operation: &'static Operation,
    parts: Parts,
    query: Query,
}

async fn answer(State(gate): State<Arc<Gate>>, request: Request<HttpBody>) -> Response<HttpBody> {
    let matched = match match_route(&request) {
        Ok(matched) => matched,
        Err(response) => return *response,
    };
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let (head, body) = request.into_parts();
    let admitted = admit(&gate, peer, &head.headers, matched).await;
    let (matched, operator) = match admitted {
        Ok(admitted) => admitted,
        Err(barred) => {
            if let Barred::Refused(_) = barred {
                let delay = gate.node.note_login(peer.address, false);
                // The deadline of an answer to a guess.
                tokio::time::sleep_until(Instant::now() + delay).await;
            }
            return barred_response(barred);
        }
    };
    if matches!(operator, Operator::User { .. }) && matched.operation.role != Role::Public {
        gate.node.note_login(peer.address, true);
    }
    let body = match gate.read(body).await {
        Ok(body) => body,
        Err(failure) => return failed(&failure),
    };
    let Matched { operation, parts, query } = matched;
    let node = Arc::clone(&gate.node);
    let call = Call { node, operator, peer, parts, query, headers: head.headers, body };
    let shared = Arc::clone(&gate);
    let answered = unhurried(move || {
        let _alone = operation.is_setting().then(|| shared.setting());
        (operation.handler)(&call).and_then(|reply| call.finish(reply))
    });
    match answered.await {
        Ok(reply) => gate.promise(reply).await,
        Err(failure) => failed(&failure),
    }
}

/// The route of a request, or what is answered to one that has none.
fn match_route(request: &Request<HttpBody>) -> Result<Matched, Box<Response<HttpBody>>> {
    let segments = path::segments(request.uri().path());
    let found = segments.as_deref().and_then(Route::find);
    let Some((route, parts)) = found else { return Err(Box::new(failed(&Failure::not_there()))) };
    let Some(operation) = route.operation(request.method()) else {
        let status = match *request.method() {
            Method::OPTIONS => StatusCode::OK,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        let mut response = empty(status);
        let allowed = HeaderValue::from_str(&route.allowed());
        response.headers_mut().extend(allowed.ok().map(|allowed| (ALLOW, allowed)));
        return Err(Box::new(response));
    };
    if !accepts_json(request.headers()) {
        return Err(Box::new(empty(StatusCode::NOT_ACCEPTABLE)));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    Ok(Matched { operation, parts, query })
}

async fn admit(
    gate: &Gate,
    peer: Peer,
    headers: &HeaderMap,
    matched: Matched,
) -> Result<(Matched, Operator), Barred> {
    let (node, headers) = (Arc::clone(&gate.node), headers.clone());
    unhurried(move || {
        let asked = (matched.operation.role, &matched.parts, &matched.query);
        let operator = authentication::admit(&*node, peer, &headers, asked)?;
        Ok((matched, operator))
    })
    .await
}

/// Does what may take its time where no other task waits for it.
async fn unhurried<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A panic is a fault of ours, and goes on here as one.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Gate {
    fn setting(&self) -> MutexGuard<'_, ()> {
        self.setting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, body: HttpBody) -> Result<Bytes, Failure> {
        use axum::body::HttpBody as _;
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        if body.size_hint().lower() > LARGEST_BODY as u64 {
            return Err(too_large());
        }
        let is_small = body.size_hint().upper().is_some_and(|size| size <= SMALL_BODY);
        let _place = match is_small {
            true => None,
            false => self.large_bodies.acquire().await.ok(),
        };
        let read = Limited::new(body, LARGEST_BODY).collect();
        match tokio::time::timeout(BODY_PATIENCE, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Failure::bad_request("the body ended early")),
            Err(_) => {
                let late = "the body did not arrive in time";
                Err(Failure::named(StatusCode::REQUEST_TIMEOUT, "request_timeout", late))
            }
        }
    }

    /// Answers once what was done survives a crash.
    async fn promise(&self, reply: Reply) -> Response<HttpBody> {
        let durable = tokio::time::timeout(DISK_PATIENCE, self.node.durable(reply.awaits));
        let cause = match durable.await {
            Ok(Ok(())) => return replied(reply),
            Ok(Err(cause)) => cause,
            Err(_) => "it is done, but not on the disk yet".to_owned(),
        };
        failed(&Failure::named(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", cause))
    }
}

fn too_large() -> Failure {
    let reason = format!("a body has at most {LARGEST_BODY} octets");
    Failure::named(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", reason)
}

/// Whether the client takes JSON; who does not say takes everything.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(ACCEPT).iter().peekable();
    said.peek().is_none()
        || said.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
            |kind| {
                let kind = kind.split(';').next().unwrap_or(kind).trim();
                matches!(kind, "*/*" | "application/*" | "application/json" | "")
            },
        )
}

fn replied(reply: Reply) -> Response<HttpBody> {
    let mut response = match &reply.body {
        Body::Empty => empty(reply.status),
        Body::One(value) => with_body(reply.status, value),
        Body::List(items) | Body::Pages(items) => {
            with_body(reply.status, &Value::Array(items.clone()))
        }
    };
    response.headers_mut().extend(reply.headers);
    response
}

fn failed(failure: &Failure) -> Response<HttpBody> {
    with_body(failure.status, &failure.body)
}

fn barred_response(barred: Barred) -> Response<HttpBody> {
    let mut response = match &barred {
        Barred::Unknown => empty(StatusCode::UNAUTHORIZED),
        Barred::Refused(failure) | Barred::Forbidden(failure) => failed(failure),
    };
    if matches!(barred, Barred::Unknown | Barred::Refused(_)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
    }
    response
}

const REALM: &str = "Basic realm=\"RabbitMQ Management\"";

fn with_body(status: StatusCode, value: &Value) -> Response<HttpBody> {
    let mut response = empty(status);
    *response.body_mut() = HttpBody::from(value.to_string());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The headers that every answer has.
const HEADERS: [(HeaderName, &str); 3] = [
    (CACHE_CONTROL, "no-cache"),
    (
        HeaderName::from_static("content-security-policy"),
        "script-src 'self' 'unsafe-eval' 'unsafe-inline'; object-src 'self'",
    ),
    (VARY, "accept, accept-encoding, origin"),
];

fn empty(status: StatusCode) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = status;
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}
