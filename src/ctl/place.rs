//! Where the control plane is: a socket in the data directory, or an address with a password.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::options::Line;

/// The name of the socket in the data directory.
pub const SOCKET: &str = "control.sock";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A Unix socket, whose permissions say who may use it.
    Socket(PathBuf),
    /// An HTTP port, and the value of the header `Authorization`.
    Address { host: String, port: u16, authorization: String },
    /// No place at all, for what asks nobody.
    Nowhere,
}

impl Place {
    /// `--uri` and `--data-dir` go before the environment; `default_folder` is asked last.
    pub(super) fn find(
        line: &Line,
        variable: impl Fn(&str) -> Option<OsString>,
        default_folder: impl FnOnce() -> Result<PathBuf, String>,
    ) -> Result<Self, String> {
        if let Some(uri) = line.text("uri") {
            return address(uri);
        }
        if let Some(folder) = line.text("data-dir") {
            return Ok(Self::Socket(Path::new(folder).join(SOCKET)));
        }
        match variable("LEVERET_URI").filter(|uri| !uri.is_empty()) {
            Some(uri) => address(&uri.to_string_lossy()),
            None => Ok(Self::Socket(default_folder()?.join(SOCKET))),
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Address { host, port, .. } if host.contains(':') => {
                format!("http://[{host}]:{port}")
            }
            Self::Address { host, port, .. } => format!("http://{host}:{port}"),
            Self::Nowhere => "nowhere".to_owned(),
        }
    }
}

/// Reads `http://user:password@host:port`; without a user it is guest, without a port 15672.
fn address(uri: &str) -> Result<Place, String> {
    let wrong = |why: &str| format!("'{uri}' is no address of a control plane: {why}");
    let rest = uri.strip_prefix("http://").ok_or_else(|| wrong("it must begin with http://"))?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let (credentials, place) = match authority.rsplit_once('@') {
        Some((credentials, place)) => (credentials, place),
        None => ("guest:guest", authority),
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let credentials = format!("{}:{}", decoded(user), decoded(password));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !place.ends_with(']') => {
            (host, port.parse().map_err(|_| wrong("the port is no port"))?)
        }
        _ => (place, 15672),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    let authorization = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    Ok(Place::Address { host, port, authorization })
}

/// Undoes percent-encoding; what is none stays.
fn decoded(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let digits = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) => {
                octets.push(octet);
                rest = &after[2..];
            }
            None => {
                octets.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// A path of these segments, with everything encoded that is no letter, digit, or one of `-._`.
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/api");
    for segment in segments {
        path.push('/');
        for octet in segment.bytes() {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    path.push(char::from(octet));
                }
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::options::{GENERAL, Line};

    fn find(arguments: &[&str], uri: Option<&str>) -> Result<Place, String> {
        let words: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        Place::find(
            &Line::parse(&words, GENERAL),
            |name| uri.filter(|_| name == "LEVERET_URI").map(OsString::from),
            || Ok(PathBuf::from("/default")),
        )
    }

    #[test]
    fn options_go_before_the_environment_and_the_default_comes_last() {
        let at = |path: &str| Ok(Place::Socket(PathBuf::from(path)));
        assert_eq!(find(&[], None), at("/default/control.sock"));
        assert_eq!(find(&["--data-dir", "/d"], Some("http://h")), at("/d/control.sock"));
        assert_eq!(find(&[], Some("http://h:1")).unwrap().shown(), "http://h:1");
        assert_eq!(find(&["--uri", "http://[::1]"], None).unwrap().shown(), "http://[::1]:15672");
    }

    #[test]
    fn an_address_names_user_and_password() {
        let Ok(Place::Address { authorization, .. }) = address("http://a%40b:p%3Aw@host:99/x")
        else {
            panic!("an address")
        };
        assert_eq!(authorization, format!("Basic {}", BASE64_STANDARD.encode("a@b:p:w")));
        for wrong in ["https://host", "host", "http://", "http://host:port", "http://a@:1"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_encoded_in_paths() {
        assert_eq!(path(&["vhosts", "/", "a b", "ü%"]), "/api/vhosts/%2F/a%20b/%C3%BC%25");
    }
}
