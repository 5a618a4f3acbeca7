//! A client of HTTP that sends one request and reads one answer, and one of AMQP that logs in.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Asks as `name:password`, or as nobody.
pub(super) fn ask(
    address: SocketAddr,
    user: Option<&str>,
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    exchange(connect(address), &request(user, method, path, body))
}

/// Asks through the broker's own socket.
pub(super) fn ask_locally(socket: &Path, method: &str, path: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(stream, &request(None, method, path, body))
}

pub(super) fn request(user: Option<&str>, method: &str, path: &str, body: &str) -> String {
    let credentials =
        user.map(|user| format!("authorization: Basic {}\r\n", STANDARD.encode(user)));
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {}\r\n{}\r\n{body}",
        body.len(),
        credentials.unwrap_or_default()
    )
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(super) fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    read(stream)
}

pub(super) fn read(mut stream: impl Read) -> Answer {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    let text = String::from_utf8(octets).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Whether AMQP lets this user into this virtual host.
pub(super) fn logs_in(address: SocketAddr, user: &str, password: &str, home: &str) -> bool {
    let mut stream = connect(address);
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0, 5];
    start_ok.extend(b"PLAIN");
    let response = format!("\0{user}\0{password}");
    start_ok.extend(u32::try_from(response.len()).unwrap().to_be_bytes());
    start_ok.extend(response.as_bytes());
    start_ok.extend(b"\x05en_US");
    let tune_ok = [0, 10, 0, 31, 0, 100, 0, 2, 0, 0, 0, 0];
    let mut open = vec![0, 10, 0, 40, u8::try_from(home.len()).unwrap()];
    open.extend(home.as_bytes());
    open.extend([0, 0]);
    let octets = [b"AMQP\0\0\x09\x01".to_vec(), frame(&start_ok), frame(&tune_ok), frame(&open)];
    stream.write_all(&octets.concat()).unwrap();
    let (mut read, mut octet) = (Vec::new(), [0]);
    let (opened, closed) = ([0, 10, 0, 41], [0, 10, 0, 50]);
    while stream.read(&mut octet).is_ok_and(|count| count == 1) {
        read.push(octet[0]);
        if read.ends_with(&opened) {
            return true;
        }
        if read.ends_with(&closed) {
            return false;
        }
    }
    false
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1, 0, 0], &size[..], payload, &[0xCE]].concat()
}
