//! SASL mechanisms: what a client says of who it is, read from its first response.

use bytes::Bytes;

use super::request::{Credential, Login};
use crate::model::{FieldTable, FieldValue, ShortString};

/// The name and the password of the user that an anonymous client is taken for (RabbitMQ 4.x).
const ANONYMOUS: &str = "guest";

/// What the connection below says of who the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: there is no TLS.
    #[default]
    Unsecured,
    /// TLS was given no certificate, or one that names no user.
    Unnamed,
    /// A certificate that was found good names this user.
    Named(Bytes),
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    AmqPlain,
    /// The response is ignored; the client is taken for `guest`.
    Anonymous,
    /// The response is ignored; the client is whom its certificate names. Offered over TLS only.
    External,
}

impl Mechanism {
    /// The mechanism's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
        }
    }

    /// Whether a client of this identity may choose it (RabbitMQ offers EXTERNAL to all who speak
    /// TLS, also to those without a certificate).
    pub(super) fn is_offered(self, identity: &Identity) -> bool {
        match self {
            Self::Plain | Self::AmqPlain | Self::Anonymous => true,
            Self::External => *identity != Identity::Unsecured,
        }
    }

    /// Reads the response of `connection.start-ok`; nothing when it is malformed.
    pub(super) fn login(self, response: &Bytes, identity: &Identity) -> Option<Login> {
        let (user, credential) = match self {
            Self::Plain => with_password(plain(response)?),
            Self::AmqPlain => with_password(amq_plain(response)?),
            Self::Anonymous => {
                let guest = Bytes::from_static(ANONYMOUS.as_bytes());
                (guest.clone(), Credential::Password(guest))
            }
            Self::External => match identity {
                Identity::Named(user) => (user.clone(), Credential::Certificate),
                Identity::Unnamed | Identity::Unsecured => (Bytes::new(), Credential::Nothing),
            },
        };
        Some(Login { mechanism: ShortString::from_static(self.name()), user, credential })
    }
}

fn with_password((user, password): (Bytes, Bytes)) -> (Bytes, Credential) {
    (user, Credential::Password(password))
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
        let login = mechanism.login(&Bytes::from_static(response), &Identity::Unsecured)?;
        let Credential::Password(password) = login.credential else { return None };
        Some((login.user, password))
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
    fn a_certificate_speaks_for_the_user_that_it_names_and_for_no_other() {
        let login = |identity: &Identity| {
            let response = Bytes::from_static(b"\0guest\0guest");
            let login = Mechanism::External.login(&response, identity).unwrap();
            (login.user, login.credential)
        };
        let named = Identity::Named("CN=joe".into());
        assert_eq!(login(&named), ("CN=joe".into(), Credential::Certificate));
        assert_eq!(login(&Identity::Unnamed), ("".into(), Credential::Nothing));
        assert!(Mechanism::External.is_offered(&named));
        assert!(Mechanism::External.is_offered(&Identity::Unnamed));
        assert!(!Mechanism::External.is_offered(&Identity::Unsecured));
    }

    #[test]
    fn an_anonymous_client_is_a_guest() {
        assert_eq!(parts(Mechanism::Anonymous, b"me"), Some(("guest".into(), "guest".into())));
    }
}
