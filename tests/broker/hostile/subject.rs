//! The broker that is put to the test, and what it costs the system.

use crate::process::Process;
use leveret::{config::Config, server::Server};
use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Nothing here takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker in a process of its own, whose memory and sockets can be counted.
pub struct Subject {
    process: Process,
    address: SocketAddr,
}

impl Subject {
    pub fn start() -> Self {
        let process = Process::start(&["--ephemeral", "--listen", "127.0.0.1:0", "--log", "error"]);
        let address = process.addresses()[0];
        Self { process, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// KiB of memory that are really there; 0 on a system that does not say.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// KiB of memory that were asked for, whether used or not; 0 on a system that does not say.
    pub fn reserved(&self) -> u64 {
        self.status("VmData:")
    }

    /// Files and sockets that are open; 0 on a system that does not say.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    }
}

/// A broker in this process, configured as the test needs it.
pub struct Hosted {
    runtime: tokio::runtime::Runtime,
    server: Server,
}

impl Hosted {
    pub fn start(config: Config) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let server = runtime.block_on(Server::start(&Config { listen, ..config })).unwrap();
        Self { runtime, server }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    pub fn stop(self) {
        self.runtime.block_on(self.server.stop());
    }
}

/// Asks until it is so. Asking makes a round trip, or reads what the system knows.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}
