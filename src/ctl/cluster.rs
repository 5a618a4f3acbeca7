//! Commands about the nodes of a cluster: who they are, and who is one no longer.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    broker::Broker,
    checks::{alarm_lines, alarms, listeners_of_all},
    command::{Call, Command, Scope, Section},
    outcome::{Failure, Outcome, UNAVAILABLE},
    place::path,
    status::{listener_line, or_none, sections_text},
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "cluster_status",
        Section::Cluster,
        ("", "Shows the nodes of the cluster"),
        (0, 0),
        |call| vec![format!("Cluster status of node {} ...", call.node)],
        cluster_status,
    )
    .timed()
    .scoped(Scope::Both),
    Command::new(
        "forget_cluster_node",
        Section::Cluster,
        ("<node>", "Takes a node that does not run out of the cluster, for good"),
        (1, 1),
        |call| vec![format!("Removing node {} from the cluster", call.word(0))],
        forget_cluster_node,
    )
    .timed(),
];

/// The cluster as the HTTP API shows it.
struct Picture {
    overview: Value,
    /// All nodes, running or not.
    nodes: Vec<Value>,
    listeners: Vec<Value>,
    alarms: Vec<Value>,
    flags: Vec<Value>,
}

impl Picture {
    fn ask(broker: &mut Broker) -> Result<Self, Failure> {
        let overview = broker.get("/api/overview")?.accepted()?.json();
        let nodes = broker.get("/api/nodes")?.list()?;
        let flags = broker.get("/api/feature-flags")?;
        Ok(Self {
            alarms: alarms(broker, "alarms")?,
            flags: if flags.status.is_success() { flags.list()? } else { Vec::new() },
            listeners: listeners_of_all(&overview),
            nodes,
            overview,
        })
    }

    fn text(&self, key: &str) -> &str {
        self.overview[key].as_str().unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().map(name).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Value> {
        self.nodes.iter().filter(|node| node["running"] == true)
    }

    fn object(&self) -> Value {
        let of_running = |value: &dyn Fn(&Value) -> Value| {
            let pairs = self.running().map(|node| (name(node), value(node)));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let listeners = |node: &Value| {
            let own = self.listeners.iter().filter(|listener| listener["node"] == node["name"]);
            own.cloned().collect()
        };
        let versions = |node: &Value| {
            json!({
                "rabbitmq_name": self.text("product_name"),
                "rabbitmq_version": node["rabbitmq_version"],
                "erlang_version": node["erlang_version"],
            })
        };
        json!({
            "alarms": self.alarms,
            "cluster_name": self.overview["cluster_name"],
            "disk_nodes": self.names(),
            "feature_flags": self.flags,
            "listeners": of_running(&listeners),
            "maintenance_status": of_running(&|node| Value::from(maintenance_of(node))),
            "partitions": {},
            "ram_nodes": [],
            "running_nodes": self.running().map(name).collect::<Vec<_>>(),
            "versions": of_running(&versions),
        })
    }

    fn sections(&self) -> String {
        let version = |node: &Value| {
            let text = |key: &str| node[key].as_str().unwrap_or_default();
            let (product, version) = (self.text("product_name"), text("rabbitmq_version"));
            format!("{}: {product} {version} on Erlang {}", name(node), text("erlang_version"))
        };
        // As RabbitMQ 3.10 has it, with its colour.
        let maintenance = |node: &Value| match maintenance_of(node) {
            MARKED => format!("Node: {}, status: \u{1b}[35m{MARKED}\u{1b}[0m", name(node)),
            status => format!("Node: {}, status: {status}", name(node)),
        };
        let listener = |listener: &Value| {
            let node = listener["node"].as_str().unwrap_or_default();
            let line = listener_line(listener);
            format!("Node: {node}, i{}", line.trim_start_matches('I'))
        };
        let flag = |flag: &Value| {
            let text = |key: &str| flag[key].as_str().unwrap_or_default();
            format!("Flag: {}, state: {}", text("name"), text("state"))
        };
        sections_text(&[
            ("Basics", vec![format!("Cluster name: {}", self.text("cluster_name"))]),
            ("Disk Nodes", self.names()),
            ("Running Nodes", self.running().map(name).collect()),
            ("Versions", self.running().map(version).collect()),
            ("Maintenance status", self.running().map(maintenance).collect()),
            ("Alarms", or_none(alarm_lines(&self.alarms))),
            ("Network Partitions", vec!["(none)".to_owned()]),
            ("Listeners", or_none(self.listeners.iter().map(listener).collect())),
            ("Feature flags", or_none(self.flags.iter().map(flag).collect())),
        ])
    }
}

const MARKED: &str = "marked for maintenance";

fn maintenance_of(node: &Value) -> &'static str {
    if node["being_drained"] == true { MARKED } else { "not under maintenance" }
}

fn name(node: &Value) -> String {
    node["name"].as_str().unwrap_or_default().to_owned()
}

fn cluster_status(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let picture = Picture::ask(broker)?;
    Ok(match call.wants_json() {
        true => Outcome::Object(picture.object()),
        false => Outcome::text(picture.sections()),
    })
}

fn forget_cluster_node(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let answer = broker.delete(&path(&["leveret", "nodes", call.word(0)]))?;
    let reason = match answer.status {
        status if status.is_success() => return Ok(Outcome::Done),
        // As an Erlang term (RabbitMQ 3.10).
        StatusCode::NOT_FOUND => format!("{{:not_a_cluster_node, '{}'}}", answer.reason()),
        _ => answer.reason(),
    };
    Err(Failure::new(UNAVAILABLE, reason))
}
