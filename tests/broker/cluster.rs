//! Nodes of a cluster as operators meet them: they find each other, come, go, and come back without
//! what they had.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    env, fs,
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::process::leveret;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Some nodes that list each other, in a directory that goes with them.
struct Nodes {
    folder: PathBuf,
    ports: Vec<u16>,
    running: Vec<Option<Child>>,
}

impl Nodes {
    fn new(count: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("leveret-nodes-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        Self { folder, ports, running: (0..count).map(|_| None).collect() }
    }

    fn name(node: usize) -> String {
        format!("node{node}@127.0.0.1")
    }

    fn data(&self, node: usize) -> PathBuf {
        self.folder.join(format!("data{node}"))
    }

    fn log(&self, node: usize) -> String {
        fs::read_to_string(self.folder.join(format!("log{node}"))).unwrap_or_default()
    }

    fn start(&mut self, node: usize) {
        self.start_with(node, "the secret of these nodes");
    }

    fn start_with(&mut self, node: usize, secret: &str) {
        let mut text = format!(
            "nodename = {}\nlisteners.tcp.1 = 127.0.0.1:0\nmanagement.tcp.ip = 127.0.0.1\n\
             management.tcp.port = 0\ndisk_free_limit.absolute = 1MB\n\
             cluster.listener = 127.0.0.1:{}\ncluster.secret = {secret}\n\
             cluster.detector.down_after = 1000\n",
            Self::name(node),
            self.ports[node]
        );
        for (other, port) in self.ports.iter().enumerate() {
            let (key, name) = ("cluster_formation.classic_config.nodes", Self::name(other));
            text += &format!("{key}.{other} = {name}:{port}\n");
        }
        let file = self.folder.join(format!("conf{node}"));
        fs::write(&file, text).unwrap();
        let log = File::create(self.folder.join(format!("log{node}"))).unwrap();
        let mut command = leveret(&["--config", file.to_str().unwrap(), "--data-dir"]);
        command.arg(self.data(node)).stdout(log.try_clone().unwrap()).stderr(log);
        self.running[node] = Some(command.spawn().unwrap());
    }

    fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.running[node].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its data directory is lost.
    fn wipe(&self, node: usize) {
        fs::remove_dir_all(self.data(node)).unwrap();
    }

    fn control(&self, node: usize, words: &[&str]) -> Output {
        let mut command = leveret(&["ctl", "-q", "--data-dir"]);
        command.arg(self.data(node)).args(words).stderr(Stdio::piped()).output().unwrap()
    }

    /// What it prints, once the command succeeds.
    fn ask(&self, node: usize, words: &[&str]) -> String {
        let mut said = String::new();
        self.wait(&format!("{words:?} on node {node}"), || {
            let output = self.control(node, words);
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success()
        });
        said
    }

    fn wait_for_line(&self, node: usize, line: &str) {
        self.wait(line, || self.log(node).contains(line));
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            if Instant::now() > deadline {
                let logs: Vec<_> = (0..self.ports.len()).map(|node| self.log(node)).collect();
                panic!("{what} has not come to be: {}", logs.join("\n----\n"));
            }
            thread::sleep(PAUSE);
        }
    }

    fn start_all(&mut self) {
        (0..self.ports.len()).for_each(|node| self.start(node));
        (0..self.ports.len()).for_each(|node| self.wait_for_line(node, " is ready: "));
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..self.ports.len()).for_each(|node| self.kill(node));
        let _it_may_be_gone = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_node_that_lost_its_data_comes_back_as_another_and_votes() {
    let mut nodes = Nodes::new(3);
    nodes.start_all();
    nodes.ask(1, &["add_user", "one", "secret"]);
    nodes.kill(2);
    nodes.wipe(2);
    nodes.start(2);
    nodes.wait_for_line(2, " as node 4");
    nodes.wait_for_line(2, " is ready: ");
    assert!(nodes.ask(2, &["list_users"]).contains("one"));
    // It takes the two that are left to agree.
    nodes.kill(0);
    nodes.ask(2, &["add_user", "two", "secret"]);
    assert!(nodes.ask(1, &["list_users"]).contains("two"));
    nodes.start(0);
    nodes.wait_for_line(0, " is ready: ");
    assert!(nodes.ask(0, &["list_users"]).contains("two"));
}

#[test]
fn a_node_that_was_forgotten_is_none_any_more() {
    let mut nodes = Nodes::new(3);
    nodes.start_all();
    let name = Nodes::name(2);
    let refused = nodes.control(0, &["forget_cluster_node", &name]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("must be stopped with 'rabbitmqctl -n node2@127.0.0.1 stop_app'"),
        "{said}"
    );
    assert_eq!(refused.status.code(), Some(69));
    let unknown = nodes.control(0, &["forget_cluster_node", "nobody@127.0.0.1"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("{:not_a_cluster_node, 'The node selected is not in the cluster.'}"));
    nodes.kill(2);
    nodes.wait("the node to be missed", || {
        !running(&nodes.ask(0, &["cluster_status", "--formatter", "json"])).contains(&name)
    });
    nodes.ask(0, &["forget_cluster_node", &name]);
    assert!(!nodes.ask(1, &["cluster_status"]).contains(&name));
    nodes.start(2);
    nodes.wait_for_line(2, "there is no such member here");
}

#[test]
fn a_node_with_another_secret_stays_outside() {
    let mut nodes = Nodes::new(2);
    nodes.start(0);
    nodes.start_with(1, "another secret");
    nodes.wait_for_line(1, "it has another `cluster.secret`");
    nodes.wait_for_line(0, "it waits for node1@127.0.0.1");
    assert!(!nodes.log(0).contains(" is ready: "));
    nodes.kill(1);
    nodes.start(1);
    nodes.wait_for_line(0, " is ready: ");
    nodes.wait_for_line(1, " is ready: ");
}

#[test]
fn a_node_that_was_by_itself_does_not_join_with_its_data() {
    let mut nodes = Nodes::new(2);
    let mut alone: Command = leveret(&["--listen", "127.0.0.1:0", "--data-dir"]);
    let mut child = alone.arg(nodes.data(1)).stdout(Stdio::null()).spawn().unwrap();
    nodes.ask(1, &["await_startup"]);
    nodes.ask(1, &["stop"]);
    child.wait().unwrap();
    nodes.start(1);
    nodes.wait_for_line(1, "a node that joins a cluster begins with an empty one");
}

/// The part of the cluster's status that lists who runs.
fn running(status: &str) -> String {
    let (_, rest) = status.split_once("\"running_nodes\":").unwrap();
    rest.split(']').next().unwrap().to_owned()
}
