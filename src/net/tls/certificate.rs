//! A client's certificate: whom it names, in RabbitMQ's words, and which user that is.

use std::{net::IpAddr, path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    certificate::Validity,
    extensions::GeneralName,
    oid_registry::OID_X509_COMMON_NAME,
    prelude::{ASN1Time, FromDer, X509Certificate},
};

use super::names;
use crate::{
    config::{AlternativeName, CertificateLogin, LoginFrom},
    model::Moment,
};

/// A client's certificate, after it was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    pub der: Vec<u8>,
    /// As RabbitMQ shows it: `CN=client,O=test`, the last part of the name first.
    pub subject: String,
    pub issuer: String,
    /// `2026-11-21T19:15:59Z - 2026-12-21T19:15:59Z`
    pub validity: String,
    /// The user that it names, if the part of it that is to name one is there.
    pub login: Option<Vec<u8>>,
}

impl PeerCertificate {
    /// Nothing when it cannot be understood.
    pub(super) fn read(der: &CertificateDer<'_>, login: &CertificateLogin) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let subject = names::distinguished(parsed.subject());
        let user = match login.from {
            LoginFrom::DistinguishedName => Some(subject.clone().into_bytes()),
            LoginFrom::CommonName => common_name(&parsed),
            LoginFrom::AlternativeName => alternative_name(&parsed, login.kind, login.index),
        };
        Some(Self {
            der: der.to_vec(),
            issuer: names::distinguished(parsed.issuer()),
            validity: span(parsed.validity()),
            login: user.filter(|name| !name.is_empty()),
            subject,
        })
    }
}

/// When the certificates of a file end, with the words that RabbitMQ has for it. What cannot be
/// read has no end.
pub(super) fn ends(path: &Path) -> Vec<(Moment, String)> {
    let certificates = CertificateDer::pem_file_iter(path).into_iter().flatten().flatten();
    let end = |der: CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let end = parsed.validity().not_after;
        let seconds = u64::try_from(end.timestamp()).unwrap_or_default();
        let words = time(end).replace('T', " ").replace('Z', "");
        Some((Moment::from_unix(Duration::from_secs(seconds)), words))
    };
    certificates.filter_map(end).collect()
}

/// Whether its time is over. What cannot be read has not expired.
pub(super) fn has_expired(der: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(der);
    parsed.is_ok_and(|(_, parsed)| parsed.validity().not_after < ASN1Time::now())
}

/// RabbitMQ joins several by commas.
fn common_name(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let names = certificate.subject().iter_by_oid(&OID_X509_COMMON_NAME);
    let names: Vec<_> = names.map(|name| names::text(name.attr_value())).collect();
    if names.is_empty() { None } else { Some(names.join(&b','.clone())) }
}

fn alternative_name(
    certificate: &X509Certificate<'_>,
    kind: AlternativeName,
    index: usize,
) -> Option<Vec<u8>> {
    let names = certificate.subject_alternative_name().ok()??;
    let of_kind = |name: &&GeneralName<'_>| match kind {
        AlternativeName::Dns => matches!(name, GeneralName::DNSName(_)),
        AlternativeName::Ip => matches!(name, GeneralName::IPAddress(_)),
        AlternativeName::Email => matches!(name, GeneralName::RFC822Name(_)),
        AlternativeName::Uri => matches!(name, GeneralName::URI(_)),
        AlternativeName::Other => matches!(name, GeneralName::OtherName(..)),
    };
    match names.value.general_names.iter().filter(of_kind).nth(index)? {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some(name.as_bytes().to_vec())
        }
        GeneralName::IPAddress(octets) => Some(address(octets)?.to_string().into_bytes()),
        GeneralName::OtherName(_, value) => names::of_other_name(value),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from))
}

fn span(validity: &Validity) -> String {
    format!("{} - {}", time(validity.not_before), time(validity.not_after))
}

fn time(moment: ASN1Time) -> String {
    let moment = moment.to_datetime();
    let (date, time) = (moment.date(), moment.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
