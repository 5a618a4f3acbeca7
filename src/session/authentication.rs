//! SASL mechanisms: what a client says of who it is, read from its first response.

use bytes::Bytes;

use super::request::Login;
use crate::model::{FieldTable, FieldValue, ShortString};

/// The name and the password of the user that an anonymous client is taken for (RabbitMQ 4.x).
const ANONYMOUS: &str = "guest";

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    AmqPlain,
    /// The response is ignored; the client is taken for `guest`.
    Anonymous,
}

impl Mechanism {
    /// The mechanism's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// Reads the response of `connection.start-ok`; nothing when it is malformed.
    pub(super) fn login(self, response: &Bytes) -> Option<Login> {
        let (user, password) = match self {
            Self::Plain => plain(response)?,
            Self::AmqPlain => amq_plain(response)?,
            Self::Anonymous => {
                (Bytes::from_static(ANONYMOUS.as_bytes()), Bytes::from_static(ANONYMOUS.as_bytes()))
            }
        };
        Some(Login { mechanism: ShortString::from_static(self.name()), user, password })
    }
}

/// `\0 user \0 password`; RabbitMQ refuses an identity to act as before the first zero.
fn plain(response: &Bytes) -> Option<(Bytes, Bytes)> {
    let rest = response.strip_prefix(b"\0")?;
    let end = rest.iter().position(|octet| *octet == 0)?;
    let (user, password) = (&rest[..end], &rest[end + 1..]);
    if password.contains(&0) {
        return None;
    }
    Some((Bytes::copy_from_slice(user), Bytes::copy_from_slice(password)))
}

/// A table without its length, with `LOGIN` and `PASSWORD`.
fn amq_plain(response: &Bytes) -> Option<(Bytes, Bytes)> {
    let table = FieldTable::decode(response).ok()?;
    let text = |name: &str| match table.lookup(name) {
        Some(FieldValue::LongString(text)) => Some(Bytes::copy_from_slice(text)),
        _ => None,
    };
    Some((text("LOGIN")?, text("PASSWORD")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(mechanism: Mechanism, response: &'static [u8]) -> Option<(Bytes, Bytes)> {
        let login = mechanism.login(&Bytes::from_static(response))?;
        Some((login.user, login.password))
    }

    #[test]
    fn plain_is_two_zeros_and_two_words() {
        let expected = Some(("joe".into(), "secret".into()));
        assert_eq!(parts(Mechanism::Plain, b"\0joe\0secret"), expected);
        assert_eq!(parts(Mechanism::Plain, b"\0joe\0"), Some(("joe".into(), "".into())));
        assert_eq!(parts(Mechanism::Plain, b"admin\0joe\0secret"), None);
        assert_eq!(parts(Mechanism::Plain, b"joe\0secret"), None);
        assert_eq!(parts(Mechanism::Plain, b""), None);
    }

    #[test]
    fn amqplain_is_a_table_without_its_length() {
        let response = b"\x05LOGINS\0\0\0\x03joe\x08PASSWORDS\0\0\0\x06secret";
        assert_eq!(parts(Mechanism::AmqPlain, response), Some(("joe".into(), "secret".into())));
        assert_eq!(parts(Mechanism::AmqPlain, b"\x05LOGINS\0\0\0\x03joe"), None);
        assert_eq!(parts(Mechanism::AmqPlain, b"garbage"), None);
    }

    #[test]
    fn an_anonymous_client_is_a_guest() {
        assert_eq!(parts(Mechanism::Anonymous, b"me"), Some(("guest".into(), "guest".into())));
    }
}
