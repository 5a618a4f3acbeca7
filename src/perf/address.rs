//! `amqp://user:password@host:port/virtual-host`, taken apart.

use std::str::FromStr;

use super::failure::Failure;

const DEFAULT_PORT: u16 = 5672;

/// Where a broker listens, and as whom to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: u16,
    pub virtual_host: String,
}

impl FromStr for Address {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let refuse = |reason| Failure::Address { address: text.to_owned(), reason };
        let rest =
            text.strip_prefix("amqp://").ok_or_else(|| refuse("it does not begin with amqp://"))?;
        let rest = rest.split('?').next().unwrap_or(rest);
        let (authority, virtual_host) = match rest.split_once('/') {
            Some((authority, "")) => (authority, "/".to_owned()),
            Some((authority, name)) => (authority, decode(name).ok_or_else(bad_escape(text))?),
            None => (rest, "/".to_owned()),
        };
        let (login, place) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = split_port(place).ok_or_else(|| refuse("its port is not a number"))?;
        if host.is_empty() {
            return Err(refuse("it names no host"));
        }
        Ok(Self {
            user: decode(user).ok_or_else(bad_escape(text))?,
            password: decode(password).ok_or_else(bad_escape(text))?,
            host: host.to_owned(),
            port,
            virtual_host,
        })
    }
}

fn bad_escape(text: &str) -> impl Fn() -> Failure + '_ {
    || Failure::Address { address: text.to_owned(), reason: "a %-escape is broken" }
}

/// Host and port; an IPv6 host stands in brackets.
fn split_port(place: &str) -> Option<(&str, u16)> {
    if let Some(inside) = place.strip_prefix('[') {
        let (host, after) = inside.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None => Some((host, DEFAULT_PORT)),
        };
    }
    match place.rsplit_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((place, DEFAULT_PORT)),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        octets.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, parts: (&str, &str, &str, u16, &str)) {
        let address: Address = text.parse().unwrap();
        let Address { user, password, host, port, virtual_host } = &address;
        assert_eq!((&**user, &**password, &**host, *port, &**virtual_host), parts, "{text}");
    }

    #[test]
    fn an_address_has_defaults_for_everything_but_its_host() {
        check("amqp://127.0.0.1", ("guest", "guest", "127.0.0.1", 5672, "/"));
        check("amqp://localhost:5673/", ("guest", "guest", "localhost", 5673, "/"));
        check("amqp://a:b@broker:1/v", ("a", "b", "broker", 1, "v"));
    }

    #[test]
    fn an_address_may_hold_escapes_and_an_ipv6_host() {
        check("amqp://a%40b:c%2Fd@[::1]:7/%2f?heartbeat=5", ("a@b", "c/d", "::1", 7, "/"));
        check("amqp://[::1]", ("guest", "guest", "::1", 5672, "/"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["http://x", "amqp://", "amqp://h:port/", "amqp://h/%zz", "amqp://u:%4@h/"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
