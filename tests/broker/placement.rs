//! Three nodes as an operator meets them: who has which queue, and how that is changed.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fmt::Write,
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::process::{Process, run};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nodes of one cluster, in a directory that is gone when the test is over.
struct Nodes {
    folder: PathBuf,
    ports: Vec<[u16; 3]>,
    /// They are killed when the test is over.
    processes: Vec<Process>,
}

impl Nodes {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-{name}-{}", std::process::id()));
        let _it_is_seldom_there = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets: Vec<_> = (0..9).map(|_| free()).collect();
        let ports = sockets.iter().map(|socket| socket.local_addr().unwrap().port());
        let ports: Vec<_> = ports.collect();
        drop(sockets);
        let ports: Vec<[u16; 3]> =
            ports.chunks(3).map(|chunk| [chunk[0], chunk[1], chunk[2]]).collect();
        let mut nodes = Self { folder, ports, processes: Vec::new() };
        let arguments: Vec<_> = (0..3).map(|node| nodes.arguments(node)).collect();
        for arguments in &arguments {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            nodes.processes.push(Process::start(&arguments));
        }
        for process in &nodes.processes {
            process.addresses();
        }
        nodes
    }

    /// Writes a node's configuration, and names it.
    fn arguments(&self, node: usize) -> Vec<String> {
        let [amqp, http, cluster] = self.ports[node];
        let name = |node: usize| format!("rabbit{}@127.0.0.1", node + 1);
        let mut text = format!(
            "nodename = {}\nlisteners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {http}\ndisk_free_limit.absolute = 1MB\n\
             cluster.listener = 127.0.0.1:{cluster}\ncluster.secret = abcdefgh12345678\n",
            name(node)
        );
        for (other, [_, _, cluster]) in self.ports.iter().enumerate() {
            let key = format!("cluster_formation.classic_config.nodes.{}", other + 1);
            writeln!(text, "{key} = {}:{cluster}", name(other)).unwrap();
        }
        let config = self.folder.join(format!("{node}.conf"));
        fs::write(&config, text).unwrap();
        let data = self.folder.join(node.to_string());
        let words = ["--config", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
        words.map(str::to_owned).to_vec()
    }

    /// What `leveret ctl` prints when it asks a node, without remarks.
    fn ctl(&self, node: usize, words: &[&str]) -> String {
        let uri = format!("http://127.0.0.1:{}", self.ports[node][1]);
        let output = run(&[&["ctl", "--quiet", "--uri", &uri], words].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until every node says of a queue what `is_so` asks for: its columns, by name.
    fn await_queue(&self, columns: &[&str], is_so: impl Fn(&[&str]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let words = [&["list_queues", "--no-table-headers"], columns].concat();
        loop {
            let seen: Vec<_> = (0..3).map(|node| self.ctl(node, &words)).collect();
            let all = seen.iter().all(|text| {
                let row: Vec<_> = text.trim_end().split('\t').collect();
                row.len() == columns.len() && is_so(&row)
            });
            if all {
                return;
            }
            assert!(Instant::now() < deadline, "{seen:?}");
        }
    }

    fn import(&self, definitions: &str) {
        let file = self.folder.join("definitions.json");
        fs::write(&file, definitions).unwrap();
        self.ctl(0, &["import_definitions", file.to_str().unwrap()]);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let _it_may_be_in_use = fs::remove_dir_all(&self.folder);
    }
}

const ALL: &str = "[rabbit1@127.0.0.1, rabbit2@127.0.0.1, rabbit3@127.0.0.1]";

/// The names in a list, in order.
fn sorted(list: &str) -> String {
    let mut names: Vec<_> = list.trim_matches(['[', ']']).split(", ").collect();
    names.sort_unstable();
    format!("[{}]", names.join(", "))
}

#[test]
fn a_changed_policy_moves_the_copies_of_a_queue() {
    let nodes = Nodes::start("policies");
    nodes.ctl(1, &["set_policy", "ha", "^q", r#"{"ha-mode":"all"}"#]);
    nodes.import(
        r#"{"queues": [{"name": "q", "vhost": "/", "durable": true, "auto_delete": false,
            "arguments": {}}]}"#,
    );
    let columns = ["leader", "members", "state"];
    nodes.await_queue(&columns, |row| {
        !row[0].is_empty() && sorted(row[1]) == ALL && row[2] == "running"
    });
    let listed = r#"{"ha-mode":"nodes","ha-params":["rabbit2@127.0.0.1","rabbit3@127.0.0.1"]}"#;
    nodes.ctl(2, &["set_policy", "ha", "^q", listed]);
    let left = "[rabbit2@127.0.0.1, rabbit3@127.0.0.1]";
    nodes.await_queue(&columns, |row| left.contains(row[0]) && sorted(row[1]) == left);
    nodes.ctl(0, &["clear_policy", "ha"]);
    nodes.await_queue(&columns, |row| row[1] == format!("[{}]", row[0]) && row[2] == "running");
    nodes.ctl(0, &["set_policy", "ha", "^q", r#"{"ha-mode":"exactly","ha-params":3}"#]);
    nodes.await_queue(&columns, |row| sorted(row[1]) == ALL && row[2] == "running");
}

#[test]
fn a_node_in_maintenance_leads_nothing() {
    let nodes = Nodes::start("maintenance");
    nodes.import(
        r#"{"queues": [{"name": "q", "vhost": "/", "durable": true, "auto_delete": false,
            "arguments": {"x-queue-type": "quorum", "x-quorum-initial-group-size": 1}}]}"#,
    );
    let columns = ["leader", "members"];
    nodes.await_queue(&columns, |row| row[0] == "rabbit1@127.0.0.1");
    // A group that began with less than was asked for, or with one, takes others in.
    for (node, name) in [(0, "rabbit2@127.0.0.1"), (2, "rabbit3@127.0.0.1")] {
        nodes.ctl(node, &["add_member", "q", name]);
        nodes.await_queue(&columns, |row| row[1].contains(name));
    }
    nodes.ctl(0, &["drain"]);
    nodes.await_queue(&columns, |row| !row[0].is_empty() && row[0] != "rabbit1@127.0.0.1");
    nodes.ctl(0, &["revive"]);
    nodes.ctl(1, &["delete_member", "q", "rabbit2@127.0.0.1"]);
    let left = "[rabbit1@127.0.0.1, rabbit3@127.0.0.1]";
    nodes.await_queue(&columns, |row| left.contains(row[0]) && sorted(row[1]) == left);
}
