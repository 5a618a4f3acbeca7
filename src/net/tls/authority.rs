//! An authority of one's own: makes certificates for tests and closed networks.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use thiserror::Error;

/// Clocks differ: a new certificate holds since a little while ago.
const ALLOWANCE: Duration = Duration::from_secs(3600);

/// Who makes certificates, and vouches for them.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// A server that is reached by these names and addresses; the first is its common name.
    Server(&'a [String]),
    /// A client. The subject is `O=Leveret,CN=…`, which is shown as `CN=…,O=Leveret`; the name is
    /// also the alternative name, of the kind email if there is an `@` in it, else DNS.
    Client(&'a str),
    /// A node of a cluster with the host of this name or address: a server and a client to others.
    Node(&'a str),
}

/// When a certificate holds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub from: SystemTime,
    pub until: SystemTime,
}

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A name that no certificate can have, or a key that could not be made.
#[derive(Debug, Error)]
#[error("cannot make the certificate of {whom}: {cause}")]
pub struct BadName {
    pub whom: String,
    pub cause: rcgen::Error,
}

impl Lifetime {
    /// From a little while ago until so many days from here.
    pub fn days(days: u32) -> Self {
        let now = SystemTime::now();
        let span = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        Self { from: now - ALLOWANCE, until: now + span }
    }
}

impl Authority {
    /// A new authority, which nobody knows yet.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn new(lifetime: Lifetime) -> Result<Self, BadName> {
        let fault = |cause| BadName { whom: "the authority".to_owned(), cause };
        let mut wanted = common(lifetime, "Leveret test authority");
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(fault)?;
        let issuer = CertifiedIssuer::self_signed(wanted, key).map_err(fault)?;
        Ok(Self { issuer })
    }

    /// Its own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair { certificate: self.issuer.pem(), key: self.issuer.key().serialize_pem() }
    }

    /// Makes a certificate with a new key.
    ///
    /// # Errors
    /// When a name is not ASCII.
    pub fn issue(&self, identity: Identity<'_>, lifetime: Lifetime) -> Result<Pair, BadName> {
        let whom = match identity {
            Identity::Server(names) => names.first().map_or("", String::as_str),
            Identity::Client(name) | Identity::Node(name) => name,
        };
        let fault = |cause| BadName { whom: format!("`{whom}`"), cause };
        let mut wanted = common(lifetime, whom);
        wanted.use_authority_key_identifier_extension = true;
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let (names, purposes) = match identity {
            Identity::Server(names) => {
                let names: Result<_, _> = names.iter().map(|name| of_server(name)).collect();
                (names, vec![ExtendedKeyUsagePurpose::ServerAuth])
            }
            Identity::Client(name) => {
                let names = of_client(name).map(|name| vec![name]);
                (names, vec![ExtendedKeyUsagePurpose::ClientAuth])
            }
            Identity::Node(name) => {
                let both =
                    [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
                (of_server(name).map(|name| vec![name]), both.to_vec())
            }
        };
        wanted.subject_alt_names = names.map_err(fault)?;
        wanted.extended_key_usages = purposes;
        let key = KeyPair::generate().map_err(fault)?;
        let certificate = wanted.signed_by(&key, &self.issuer).map_err(fault)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn common(lifetime: Lifetime, name: &str) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.not_before = lifetime.from.into();
    wanted.not_after = lifetime.until.into();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::OrganizationName, "Leveret");
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted
}

fn of_server(name: &str) -> Result<SanType, rcgen::Error> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into()?)),
    }
}

fn of_client(name: &str) -> Result<SanType, rcgen::Error> {
    let text = name.try_into()?;
    Ok(if name.contains('@') { SanType::Rfc822Name(text) } else { SanType::DnsName(text) })
}

/// The key stays out of logs.
impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pair").finish_non_exhaustive()
    }
}
