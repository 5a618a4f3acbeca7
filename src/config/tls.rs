//! What TLS is told: certificates, whose certificates are asked for, and who a certificate is.

use std::{net::SocketAddr, path::PathBuf};

use super::file::{Refused, flag, number};

/// The port that AMQP over TLS has by default.
pub const AMQPS_PORT: u16 = 5671;

/// Settings of TLS. Without a listener, nothing of it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where to listen for AMQP over TLS; port 0 takes any free port. `listeners.ssl.…`
    pub listen: Vec<SocketAddr>,
    /// Who may vouch for clients, in PEM. `ssl_options.cacertfile`
    pub authorities: Option<PathBuf>,
    /// The server's certificate, and the intermediate ones after it, in PEM.
    /// `ssl_options.certfile`
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM. `ssl_options.keyfile`
    pub key: Option<PathBuf>,
    /// Clients are asked for a certificate, which must then be good. `ssl_options.verify`
    pub verify_peer: bool,
    /// Clients without a certificate are refused. `ssl_options.fail_if_no_peer_cert`
    pub require_certificate: bool,
    /// Intermediate certificates that a client's chain may have. `ssl_options.depth`
    pub depth: usize,
    /// Versions of the protocol that are spoken. `ssl_options.versions.…`
    pub versions: Vec<TlsVersion>,
    /// The server chooses among the ciphers that both know. `ssl_options.honor_cipher_order`
    pub prefers_own_ciphers: bool,
    /// Milliseconds from accepting a client to the end of its TLS handshake.
    /// `ssl_handshake_timeout`
    pub handshake_timeout_ms: u64,
    /// Other certificates for clients that ask for other names. `ssl_options.sni.…`
    pub named: Vec<NamedCertificate>,
    /// Which part of a certificate is the name of a user.
    pub login: CertificateLogin,
}

/// A version of TLS that is still safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// A certificate for clients that ask for this host (SNI).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedCertificate {
    /// The key under which it stands, as in `ssl_options.sni.1`.
    pub setting: String,
    pub host: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which part of a client's certificate names the user, for the mechanism EXTERNAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateLogin {
    /// `ssl_cert_login_from`
    pub from: LoginFrom,
    /// `ssl_cert_login_san_type`
    pub kind: AlternativeName,
    /// The first is 0. `ssl_cert_login_san_index`
    pub index: usize,
}

/// A part of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginFrom {
    /// The subject as RFC 4514 writes it: `CN=client,O=test`.
    #[default]
    DistinguishedName,
    /// The subject's common names, joined by commas.
    CommonName,
    /// The subject's alternative name of the kind and index set.
    AlternativeName,
}

/// A kind of alternative name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlternativeName {
    #[default]
    Dns,
    Ip,
    Email,
    Uri,
    Other,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            authorities: None,
            certificate: None,
            key: None,
            verify_peer: false,
            require_certificate: false,
            depth: 10,
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            prefers_own_ciphers: false,
            handshake_timeout_ms: 5000,
            named: Vec::new(),
            login: CertificateLogin::default(),
        }
    }
}

/// What becomes of a setting of TLS that is understood.
pub(super) enum Taken {
    Set,
    /// It is RabbitMQ's, and nothing here depends on it.
    WithoutEffect,
}

/// Takes `ssl_options.…`, but for those of which several lines make one.
pub(super) fn set(tls: &mut Tls, option: &str, value: &str) -> Result<Taken, Refused> {
    match option {
        "cacertfile" => tls.authorities = Some(PathBuf::from(value)),
        "certfile" => tls.certificate = Some(PathBuf::from(value)),
        "keyfile" => tls.key = Some(PathBuf::from(value)),
        "verify" => {
            tls.verify_peer = match value {
                "verify_peer" => true,
                "verify_none" => false,
                _ => return Err(Refused::Value("verify_peer or verify_none")),
            };
        }
        "fail_if_no_peer_cert" => tls.require_certificate = flag(value)?,
        "depth" => tls.depth = number(value, 0..=255, "a number up to 255")?,
        "honor_cipher_order" => tls.prefers_own_ciphers = flag(value)?,
        "crl_check" if value != "false" => {
            return Err(Refused::Value("false: lists of revoked certificates are not read"));
        }
        // A password for a key that needs none is no fault; a key that needs one is refused.
        "password"
        | "crl_check"
        | "honor_ecc_order"
        | "client_renegotiation"
        | "secure_renegotiate"
        | "reuse_sessions"
        | "log_alert"
        | "dhfile"
        | "bypass_pem_cache" => {
            return Ok(Taken::WithoutEffect);
        }
        _ if option.starts_with("ciphers.") => return Ok(Taken::WithoutEffect),
        _ => match option.strip_prefix("sni.").and_then(|rest| rest.rsplit_once('.')) {
            Some((number, part)) => name(&mut tls.named, number, part, value)?,
            None => return Err(Refused::Key),
        },
    }
    Ok(Taken::Set)
}

/// Takes a version of `ssl_options.versions.…`.
pub(super) fn version(value: &str) -> Result<TlsVersion, Refused> {
    match value {
        "tlsv1.3" => Ok(TlsVersion::V1_3),
        "tlsv1.2" => Ok(TlsVersion::V1_2),
        _ => Err(Refused::Value("tlsv1.2 or tlsv1.3; what is older is unsafe and not spoken")),
    }
}

/// Takes `ssl_cert_login_from` and what belongs to it.
pub(super) fn set_login(
    login: &mut CertificateLogin,
    key: &str,
    value: &str,
) -> Result<(), Refused> {
    match key {
        "from" => {
            login.from = match value {
                "distinguished_name" => LoginFrom::DistinguishedName,
                "common_name" => LoginFrom::CommonName,
                "subject_alternative_name" | "subject_alt_name" => LoginFrom::AlternativeName,
                _ => {
                    return Err(Refused::Value(
                        "distinguished_name, common_name or subject_alternative_name",
                    ));
                }
            };
        }
        "san_type" => {
            login.kind = match value {
                "dns" => AlternativeName::Dns,
                "ip" => AlternativeName::Ip,
                "email" => AlternativeName::Email,
                "uri" => AlternativeName::Uri,
                "other_name" => AlternativeName::Other,
                _ => return Err(Refused::Value("dns, ip, email, uri or other_name")),
            };
        }
        "san_index" => login.index = number(value, 0..=255, "a number up to 255")?,
        _ => return Err(Refused::Key),
    }
    Ok(())
}

fn name(
    named: &mut Vec<NamedCertificate>,
    number: &str,
    part: &str,
    value: &str,
) -> Result<(), Refused> {
    let setting = format!("ssl_options.sni.{number}");
    let place = named.iter().position(|known| known.setting == setting);
    let place = place.unwrap_or_else(|| {
        named.push(NamedCertificate { setting, ..NamedCertificate::default() });
        named.len() - 1
    });
    let certificate = &mut named[place];
    match part {
        "hostname" => certificate.host = value.to_ascii_lowercase(),
        "certfile" => certificate.certificate = PathBuf::from(value),
        "keyfile" => certificate.key = PathBuf::from(value),
        _ => return Err(Refused::Key),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::file::applied as check;
    use super::*;

    #[test]
    fn the_options_of_a_rabbitmq_are_read() {
        let text = "listeners.ssl.default = 5671\nlisteners.ssl.2 = ::1:5681\n\
                    ssl_options.cacertfile = ca.pem\nssl_options.certfile = 'server.pem'\n\
                    ssl_options.keyfile = key.pem\nssl_options.verify = verify_peer\n\
                    ssl_options.fail_if_no_peer_cert = true\nssl_options.depth = 2\n\
                    ssl_options.versions.1 = tlsv1.3\nssl_options.honor_cipher_order = true\n\
                    ssl_handshake_timeout = 700\n";
        let config = check(text).unwrap();
        let expected = Tls {
            listen: vec!["0.0.0.0:5671".parse().unwrap(), "[::1]:5681".parse().unwrap()],
            authorities: Some("ca.pem".into()),
            certificate: Some("server.pem".into()),
            key: Some("key.pem".into()),
            verify_peer: true,
            require_certificate: true,
            depth: 2,
            versions: vec![TlsVersion::V1_3],
            prefers_own_ciphers: true,
            handshake_timeout_ms: 700,
            ..Tls::default()
        };
        assert_eq!(config.tls, expected);
        assert!(check("listeners.ssl = none").unwrap().tls.listen.is_empty());
    }

    #[test]
    fn what_has_no_effect_is_taken_and_remembered() {
        let text = "ssl_options.honor_ecc_order = true\nnum_acceptors.ssl = 10\n\
                    ssl_options.ciphers.1 = TLS_AES_256_GCM_SHA384\n";
        let expected =
            ["ssl_options.honor_ecc_order", "num_acceptors.ssl", "ssl_options.ciphers.1"];
        assert_eq!(check(text).unwrap().without_effect, expected);
    }

    #[test]
    fn a_certificate_names_the_user_by_the_part_that_is_set() {
        let text = "ssl_cert_login_from = subject_alternative_name\n\
                    ssl_cert_login_san_type = email\nssl_cert_login_san_index = 1\n";
        let expected = CertificateLogin {
            from: LoginFrom::AlternativeName,
            kind: AlternativeName::Email,
            index: 1,
        };
        assert_eq!(check(text).unwrap().tls.login, expected);
    }

    #[test]
    fn certificates_for_other_names_are_read_from_several_lines() {
        let text = "ssl_options.sni.1.hostname = B.example\nssl_options.sni.1.certfile = b.pem\n\
                    ssl_options.sni.1.keyfile = b.key\n";
        let expected = NamedCertificate {
            setting: "ssl_options.sni.1".into(),
            host: "b.example".into(),
            certificate: "b.pem".into(),
            key: "b.key".into(),
        };
        assert_eq!(check(text).unwrap().tls.named, [expected]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_line() {
        let bad = |key: &str, value: &str, expected: &str| {
            let text = check(&format!("{key} = {value}")).unwrap_err();
            assert_eq!(text, format!("1: `{value}` is no value for `{key}`: expected {expected}"));
        };
        let old = "tlsv1.2 or tlsv1.3; what is older is unsafe and not spoken";
        bad("ssl_options.versions.1", "tlsv1.1", old);
        bad("ssl_options.verify", "yes", "verify_peer or verify_none");
        bad("ssl_options.fail_if_no_peer_cert", "1", "true or false");
        bad("ssl_options.crl_check", "peer", "false: lists of revoked certificates are not read");
        bad("ssl_cert_login_san_type", "x400", "dns, ip, email, uri or other_name");
        bad("listeners.ssl.default", "tls", "a port or ADDRESS:PORT");
        let unknown = check("ssl_options.sni.1.nothing = x").unwrap_err();
        assert_eq!(unknown, "1: there is no setting `ssl_options.sni.1.nothing`");
        assert!(check("ssl_options.color = red").is_err());
    }
}
