//! What a handler answers: a body, or the reason why there is none.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::model::LogPosition;

/// What was asked is done, or found.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Body,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What must be durable before it is answered.
    pub(super) awaits: LogPosition,
}

#[derive(Debug)]
pub(super) enum Body {
    Empty,
    One(Value),
    /// May be sorted, and cut down to columns.
    List(Vec<Value>),
    /// May be given page by page, too.
    Pages(Vec<Value>),
}

impl Reply {
    pub(super) fn one(value: Value) -> Self {
        Self::new(StatusCode::OK, Body::One(value))
    }

    pub(super) fn list(items: Vec<Value>) -> Self {
        Self::new(StatusCode::OK, Body::List(items))
    }

    pub(super) fn pages(items: Vec<Value>) -> Self {
        Self::new(StatusCode::OK, Body::Pages(items))
    }

    /// Done, once `awaits` is durable; nothing to say.
    pub(super) fn done(awaits: LogPosition) -> Self {
        Self { awaits, ..Self::new(StatusCode::NO_CONTENT, Body::Empty) }
    }

    /// Made, if `is_new`, or changed.
    pub(super) fn put(is_new: bool, awaits: LogPosition) -> Self {
        let status = if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        Self { awaits, ..Self::new(status, Body::Empty) }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    fn new(status: StatusCode, body: Body) -> Self {
        Self { status, body, headers: Vec::new(), awaits: LogPosition::default() }
    }
}

/// What was asked is not done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Failure {
    /// 400: what was asked makes no sense.
    pub(super) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::named(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 401, as RabbitMQ has it where others have 403.
    pub(super) fn not_authorised(reason: impl Into<Value>) -> Self {
        Self::named(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 404: the path names nothing that is there.
    pub(super) fn not_there() -> Self {
        Self::named(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404 with a reason: something else that is named is not there.
    pub(super) fn missing(reason: impl Into<Value>) -> Self {
        Self::named(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// 503 of a health check: the reason, and what else there is to say.
    pub(super) fn unhealthy(reason: &str, mut facts: Value) -> Self {
        facts["status"] = "failed".into();
        facts["reason"] = reason.into();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, body: facts }
    }

    pub(super) fn named(status: StatusCode, error: &str, reason: impl Into<Value>) -> Self {
        Self { status, body: json!({ "error": error, "reason": reason.into() }) }
    }
}
