//! Names as RabbitMQ writes them: of people in certificates, of the ciphers of TLS.

use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};
use x509_parser::{
    asn1_rs::{Any, FromDer, Tag},
    oid_registry::Oid,
    x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name},
};

/// Dotted identifiers of the parts of a name, and what RabbitMQ calls them; any other keeps its
/// numbers.
const PARTS: [(&str, &str); 16] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// A distinguished name as RFC 4514 writes it, the last part first. Beyond its rules, RabbitMQ
/// writes every octet that is not printable ASCII, and the tilde, in hexadecimal digits.
pub(super) fn distinguished(name: &X509Name<'_>) -> String {
    let mut parts: Vec<_> = name.iter_rdn().map(part).collect();
    parts.reverse();
    parts.join(",")
}

fn part(part: &RelativeDistinguishedName<'_>) -> String {
    let values: Vec<_> = part.iter().map(value).collect();
    values.join("+")
}

fn value(value: &AttributeTypeAndValue<'_>) -> String {
    format!("{}={}", kind(value.attr_type()), escaped(&text(value.attr_value())))
}

fn kind(identifier: &Oid<'_>) -> String {
    let dotted = identifier.to_id_string();
    let known = PARTS.iter().find(|(numbers, _)| *numbers == dotted);
    known.map_or(dotted, |(_, name)| (*name).to_owned())
}

fn escaped(text: &[u8]) -> String {
    let last = text.len().saturating_sub(1);
    let mut written = String::with_capacity(text.len());
    for (place, octet) in text.iter().enumerate() {
        let is_special = match octet {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => true,
            b' ' => place == 0 || place == last,
            b'#' => place == 0,
            _ => false,
        };
        match octet {
            _ if is_special => written.extend(['\\', char::from(*octet)]),
            b' '..=b'}' => written.push(char::from(*octet)),
            _ => written.push_str(&format!("\\{octet:02X}")),
        }
    }
    written
}

/// The text of a value in UTF-8, of whatever type of string it is. What is no string is shown in
/// hexadecimal digits, as RFC 4514 has it.
pub(super) fn text(value: &Any<'_>) -> Vec<u8> {
    string(value).unwrap_or_else(|| {
        let digits = value.data.iter().map(|octet| format!("{octet:02x}"));
        format!("#{}", digits.collect::<String>()).into_bytes()
    })
}

fn string(value: &Any<'_>) -> Option<Vec<u8>> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            Some(value.data.to_vec())
        }
        Tag::TeletexString => {
            let text: String = value.data.iter().map(|octet| char::from(*octet)).collect();
            Some(text.into_bytes())
        }
        Tag::BmpString => {
            let units = value.data.chunks(2).map(|unit| big_endian(unit) as u16);
            let text: String = char::decode_utf16(units).map(or_replacement).collect();
            Some(text.into_bytes())
        }
        Tag::UniversalString => {
            let units = value.data.chunks(4).map(|unit| char::from_u32(big_endian(unit)));
            let text: String = units.map(|unit| or_replacement(unit.ok_or(()))).collect();
            Some(text.into_bytes())
        }
        _ => None,
    }
}

fn or_replacement<E>(read: Result<char, E>) -> char {
    read.unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn big_endian(unit: &[u8]) -> u32 {
    unit.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet))
}

/// The text of an alternative name of another kind: the string within its explicit tag.
pub(super) fn of_other_name(value: &[u8]) -> Option<Vec<u8>> {
    let (_, outer) = Any::from_der(value).ok()?;
    let (_, inner) = Any::from_der(outer.data).ok()?;
    string(&inner)
}

/// Protocol, key exchange, cipher and hash, as RabbitMQ shows them.
pub(super) fn of_suite(suite: Option<SupportedCipherSuite>) -> [&'static str; 4] {
    use CipherSuite as Suite;
    let Some(suite) = suite else { return [""; 4] };
    let protocol = of_version(suite.version());
    let name = suite.suite();
    let cipher = match name {
        Suite::TLS13_AES_128_GCM_SHA256
        | Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "aes_128_gcm",
        Suite::TLS13_CHACHA20_POLY1305_SHA256
        | Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "chacha20_poly1305",
        _ => "aes_256_gcm",
    };
    let key_exchange = match name {
        Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ecdhe_ecdsa",
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        | Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        | Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ecdhe_rsa",
        _ => "any",
    };
    [protocol, key_exchange, cipher, "aead"]
}

fn of_version(version: &SupportedProtocolVersion) -> &'static str {
    if version == &rustls::version::TLS12 { "tlsv1.2" } else { "tlsv1.3" }
}
