//! Three processes that are one broker, in a directory that goes with them.

use crate::{
    broker::{fresh_directory, program, wait_until_ready},
    lapin_words::{connect_to, soon},
    process::Process,
};
use lapin::Channel;
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};
use tokio::time::Instant;

const NODES: usize = 3;
/// How long a queue may be without a leader.
const ELECTION: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Nodes {
    folder: PathBuf,
    /// For AMQP, for HTTP, for other nodes.
    ports: Vec<[u16; 3]>,
    running: Vec<Option<Process>>,
}

impl Nodes {
    /// Starts all, and waits until all serve.
    pub(super) fn start() -> Self {
        // Below those that the system gives to connections, which would take them in between.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let begin = 22_000 + (std::process::id() % 100) as u16 * 100;
        let begin = begin + NEXT.fetch_add(20, Ordering::Relaxed);
        let held: Vec<_> = (begin..32_768)
            .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
            .take(3 * NODES)
            .collect();
        let port = |place: usize| held[place].local_addr().expect("it is bound").port();
        let ports = (0..NODES).map(|node| [port(3 * node), port(3 * node + 1), port(3 * node + 2)]);
        let mut nodes = Self {
            folder: fresh_directory(),
            ports: ports.collect(),
            running: (0..NODES).map(|_| None).collect(),
        };
        drop(held);
        nodes.begin(&[0, 1, 2]);
        nodes
    }

    /// Starts these, and waits until they serve.
    pub(super) fn begin(&mut self, nodes: &[usize]) {
        let started: Vec<_> = nodes.iter().map(|node| (*node, self.spawn(*node))).collect();
        for (node, mut process) in started {
            wait_until_ready(&mut process);
            self.running[node] = Some(process);
        }
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.end(node, "KILL");
    }

    /// Stops all, as one stops a machine, and starts them again.
    pub(super) fn restart(&mut self) {
        (0..NODES).for_each(|node| self.end(node, "TERM"));
        self.begin(&[0, 1, 2]);
    }

    pub(super) fn signal(&self, node: usize, signal: &str) {
        self.running[node].as_ref().expect("it runs").signal(signal);
    }

    pub(super) fn name(node: usize) -> String {
        format!("rabbit{}@127.0.0.1", node + 1)
    }

    pub(super) fn url(&self, node: usize) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports[node][0])
    }

    /// A channel on a connection of its own to a node.
    pub(super) async fn channel(&self, node: usize) -> Channel {
        soon(connect_to(&self.url(node), false).await.create_channel()).await
    }

    /// The node that leads a queue, as any node that lives says.
    pub(super) fn leader(&self, queue: &str) -> usize {
        let deadline = Instant::now() + ELECTION;
        while Instant::now() < deadline {
            let mut living = (0..NODES).filter(|node| self.running[*node].is_some());
            if let Some(leader) = living.find_map(|node| self.leader_as_seen(node, queue)) {
                return leader;
            }
            std::thread::yield_now();
        }
        panic!("nobody leads {queue}");
    }

    fn leader_as_seen(&self, node: usize, queue: &str) -> Option<usize> {
        let answer = self.ask(node, queue).ok()?;
        (0..NODES).find(|one| {
            let named = format!("\"leader\":\"{}\"", Self::name(*one));
            self.running[*one].is_some() && answer.contains(&named)
        })
    }

    fn ask(&self, node: usize, queue: &str) -> std::io::Result<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports[node][1]));
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        // guest:guest
        let login = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=";
        write!(
            stream,
            "GET /api/queues/%2f/{queue} HTTP/1.1\r\nHost: here\r\n{login}\r\n\
             Connection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn end(&mut self, node: usize, signal: &str) {
        let mut process = self.running[node].take().expect("it runs");
        process.signal(signal);
        process.end(END_LIMIT);
    }

    fn spawn(&self, node: usize) -> Process {
        let [amqp, http, own] = self.ports[node];
        let mut text = format!(
            "nodename = {}\nlisteners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {http}\ncluster.listener = 127.0.0.1:{own}\n\
             cluster.secret = the secret of these tests\ndisk_free_limit.absolute = 1MB\n\
             cluster.detector.down_after = 1500\n",
            Self::name(node)
        );
        for (other, [_, _, port]) in self.ports.iter().enumerate() {
            let name = Self::name(other);
            text += &format!("cluster_formation.classic_config.nodes.{other} = {name}:{port}\n");
        }
        let file = self.folder.join(format!("{node}.conf"));
        fs::write(&file, text).expect("the directory is ours");
        let mut command = Command::new(program());
        command.arg("--config").arg(file).arg("--data-dir");
        Process::start(command.arg(self.folder.join(node.to_string())))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in self.running.iter().flatten() {
            process.signal("KILL");
        }
        self.running.clear();
        // What a failed test has left is worth a look.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
