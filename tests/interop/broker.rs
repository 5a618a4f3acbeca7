//! The broker under test: a fresh process on a free port, or one that already runs.

use crate::process::Process;
use std::{env, path::PathBuf, process::Command, time::Duration};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A broker that nobody else uses, unless `LEVERET_INTEROP_URL` names a running one.
pub(crate) struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
    _process: Option<Process>,
}

impl Broker {
    pub(crate) fn start() -> Self {
        if let Ok(url) = env::var("LEVERET_INTEROP_URL") {
            let (host, port) = authority(&url);
            return Self { host, port, _process: None };
        }
        let mut command = Command::new(program());
        command.args(["--listen", "127.0.0.1:0"]).current_dir(fresh_directory());
        let mut process = Process::start(&mut command);
        let (host, port) = wait_until_ready(&mut process);
        Self { host, port, _process: Some(process) }
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(self.port, "guest")
    }

    pub(crate) fn url_at(&self, port: u16, password: &str) -> String {
        format!("amqp://guest:{password}@{}:{port}", self.host)
    }
}

/// The program that plays the broker.
pub(crate) fn program() -> PathBuf {
    env::var_os("LEVERET_INTEROP_BROKER")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_leveret")), PathBuf::from)
}

/// Reads the broker's lines up to the last one of its start, and gives its first address.
pub(crate) fn wait_until_ready(process: &mut Process) -> (String, u16) {
    let ready = process.line(START_LIMIT, |line| line.contains("is ready: amqp on "));
    process.line(START_LIMIT, |line| line.contains("Server startup complete"));
    let (_, addresses) = ready.split_once("amqp on ").expect("the line was chosen for it");
    authority(addresses.split([',', ';']).next().expect("a split has a first part"))
}

/// An empty working directory for one process, inside the build's own directory.
pub(crate) fn fresh_directory() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("broker-{}-{number}", std::process::id());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).expect("cargo made the directory above it");
    directory
}

/// Host and port of `host:port` or of a URL.
fn authority(address: &str) -> (String, u16) {
    let authority = address.rsplit('@').next().unwrap_or(address);
    let authority = authority.trim_start_matches("amqp://").split('/').next().unwrap_or(authority);
    let (host, port) =
        authority.trim().rsplit_once(':').unwrap_or_else(|| panic!("`{address}` names no port"));
    let port = port.parse().unwrap_or_else(|_| panic!("`{address}` names no port"));
    (host.to_owned(), port)
}

#[test]
fn addresses_are_read_from_urls_and_from_the_ready_line() {
    let expected = ("127.0.0.1".to_owned(), 4711);
    assert_eq!(authority("amqp://guest:guest@127.0.0.1:4711"), expected);
    assert_eq!(authority("amqp://127.0.0.1:4711/"), expected);
    assert_eq!(authority("127.0.0.1:4711"), expected);
}
