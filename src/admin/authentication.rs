//! Who sends a request, and whether he may: HTTP's Basic scheme, as RabbitMQ's management has it.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    answer::Failure,
    node::Node,
    operator::{Operator, Role},
    query::Query,
    routes::Parts,
    service::Peer,
};
use crate::{
    broker::Broker,
    model::{ShortString, VirtualHostName},
};

/// Why a request is not answered.
#[derive(Debug)]
pub(super) enum Barred {
    /// Nobody was named: 401 without a body, and a challenge.
    Unknown,
    /// The name or the password is wrong: 401 with a challenge.
    Refused(Failure),
    /// He may not do this: 401 without one.
    Forbidden(Failure),
}

/// A name and a password.
pub(super) struct Credentials {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Those of the header `Authorization`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)?)
    }

    /// `Basic`, then base64 of `name:password`.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, encoded) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let colon = decoded.iter().position(|octet| *octet == b':')?;
        Some(Self { name: decoded[..colon].to_vec(), password: decoded[colon + 1..].to_vec() })
    }
}

/// Finds out who asks, and whether he may do what asks for `role`.
pub(super) fn admit(
    node: &dyn Node,
    peer: Peer,
    headers: &HeaderMap,
    (role, parts, query): (Role, &Parts, &Query),
) -> Result<Operator, Barred> {
    if peer.is_trusted {
        return Ok(Operator::Local);
    }
    if role == Role::Public {
        return Ok(Operator::User { name: ShortString::default(), tags: Vec::new() });
    }
    let in_query = || Credentials::parse(format!("Basic {}", query.value("auth")?).as_bytes());
    let credentials = Credentials::of(headers).or_else(in_query).ok_or(Barred::Unknown)?;
    let operator = log_in(node.broker(), peer, &credentials)?;
    let home = parts.iter().find(|(name, _)| *name == "vhost");
    let home = home.and_then(|(_, name)| VirtualHostName::new(name.clone().into()).ok());
    let home = home.filter(|home| node.broker().virtual_host_options(home).is_some());
    match operator.refusal(role, node.broker().authority(), home.as_ref()) {
        Some(reason) => Err(forbidden(&credentials.name, reason)),
        None => Ok(operator),
    }
}

/// The user of that name and password, if he may be where he is.
pub(super) fn log_in(
    broker: &Broker,
    peer: Peer,
    Credentials { name, password }: &Credentials,
) -> Result<Operator, Barred> {
    let known = ShortString::new(name.clone().into()).ok();
    let known = known.filter(|name| broker.authority().admits(name, Some(password)));
    let Some(known) = known else {
        tracing::warn!("HTTP access denied: user '{}' - invalid credentials", shown(name));
        let failure = Failure::named(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed");
        return Err(Barred::Refused(failure));
    };
    if !peer.is_from_here && !broker.may_be_elsewhere(name) {
        return Err(forbidden(name, "User can only log in via localhost"));
    }
    let tags = broker.user(name).map(|user| user.tags).unwrap_or_default();
    Ok(Operator::User { name: known, tags })
}

fn forbidden(name: &[u8], reason: &'static str) -> Barred {
    tracing::warn!("HTTP access denied: user '{}' - {reason}", shown(name));
    Barred::Forbidden(Failure::not_authorised(reason))
}

/// A name that a stranger chose, in one line and not too long.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_stands_before_and_behind_the_first_colon() {
        let found = |value: &str| Credentials::parse(value.as_bytes());
        let credentials = found("basic Z3Vlc3Q6YTpi").unwrap();
        assert_eq!((&*credentials.name, &*credentials.password), (&b"guest"[..], &b"a:b"[..]));
        for other in ["Bearer Z3Vlc3Q6YTpi", "Basic Z3Vlc3Q=", "Basic !", "", "Basic"] {
            assert!(found(other).is_none(), "{other}");
        }
    }
}
