//! `status`: what a node says of itself, for people and in JSON.

use serde_json::{Value, json};

use super::{
    broker::Broker,
    checks::{alarm_lines, alarms, listeners},
    command::{Call, Command, Fault, Scope, Section},
    options::{Switch, Takes},
    outcome::{Failure, Outcome},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[Command::new(
    "status",
    Section::Monitoring,
    ("[--unit <unit>]", "Shows how the broker is"),
    (0, 0),
    |call| vec![format!("Status of node {} ...", call.node)],
    status,
)
.timed()
.scoped(Scope::Both)
.with(&[Switch::new("unit", Takes::Text)])
.checked(|call| match Unit::of(call) {
    Some(_) => Ok(()),
    None => Err(Fault::Other(format!(
        "unit '{}' is not supported. Please use one of: bytes, mb, gb",
        call.line.text("unit").unwrap_or_default()
    ))),
})];

/// How sizes are shown: the name of a unit, as it was given, and its octets.
#[derive(Clone, Copy)]
struct Unit<'a> {
    name: &'a str,
    octets: f64,
}

impl<'a> Unit<'a> {
    fn of(call: &'a Call<'_>) -> Option<Self> {
        let name = call.line.text("unit").unwrap_or("gb");
        let octets = match name.to_lowercase().as_str() {
            "bytes" => 1.0,
            "kb" | "kilobytes" => 1e3,
            "mb" | "megabytes" => 1e6,
            "gb" | "gigabytes" => 1e9,
            "tb" | "terabytes" => 1e12,
            _ => return None,
        };
        Some(Self { name, octets })
    }

    fn show(self, size: &Value) -> String {
        let Self { name, octets } = self;
        if octets == 1.0 {
            return format!("{size} {name}");
        }
        format!("{:?} {name}", rounded(size.as_f64().unwrap_or_default() / octets, 4))
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// What the HTTP API says of the node, from several of its pages.
struct Report {
    overview: Value,
    node: Value,
    memory: Value,
    /// What RabbitMQ's HTTP API does not tell.
    more: Value,
    vhosts: usize,
    alarms: Vec<Value>,
    listeners: Vec<Value>,
}

impl Report {
    fn ask(broker: &mut Broker) -> Result<Self, Failure> {
        let overview = broker.get("/api/overview")?.accepted()?.json();
        let name = overview["node"].as_str().unwrap_or_default().to_owned();
        let optional = |broker: &mut Broker, place: &str| -> Result<Value, Failure> {
            let answer = broker.get(place)?;
            Ok(if answer.status.is_success() { answer.json() } else { Value::Null })
        };
        Ok(Self {
            node: broker.get(&path(&["nodes", &name]))?.accepted()?.json(),
            memory: optional(broker, &path(&["nodes", &name, "memory"]))?["memory"].clone(),
            more: optional(broker, "/api/leveret/status")?,
            vhosts: broker.get("/api/vhosts?columns=name")?.list()?.len(),
            alarms: alarms(broker, "alarms")?,
            listeners: listeners(&overview),
            overview,
        })
    }

    fn memory_used(&self) -> Value {
        let strategy = self.memory["strategy"].as_str().unwrap_or("rss");
        match &self.memory["total"][strategy] {
            Value::Null => self.node["mem_used"].clone(),
            total => total.clone(),
        }
    }

    fn object(&self) -> Value {
        let Self { overview, node, memory, more, .. } = self;
        let whole = |value: &Value| value.as_u64().map_or(Value::Null, Value::from);
        let pid = node["os_pid"].as_str().and_then(|pid| pid.parse::<u64>().ok());
        let mut object = json!({
            "active_plugins": node["enabled_plugins"],
            "alarms": self.alarms,
            "config_files": node["config_files"],
            "data_directory": node["db_dir"],
            "disk_free": node["disk_free"],
            "disk_free_limit": node["disk_free_limit"],
            "erlang_version": overview["erlang_full_version"],
            "file_descriptors": {
                "total_limit": node["fd_total"],
                "total_used": node["fd_used"],
                "sockets_limit": node["sockets_total"],
                "sockets_used": node["sockets_used"],
            },
            "is_under_maintenance": node["being_drained"].as_bool().unwrap_or_default(),
            "listeners": self.listeners,
            "log_files": node["log_files"],
            "memory": memory,
            "net_ticktime": node["net_ticktime"],
            "os": "Linux",
            "pid": pid,
            "processes": { "limit": node["proc_total"], "used": node["proc_used"] },
            "product_name": overview["product_name"],
            "product_version": overview["product_version"],
            "rabbitmq_version": overview["rabbitmq_version"],
            "release_series_support_status": overview["release_series_support_status"],
            "run_queue": node["run_queue"],
            "totals": {
                "virtual_host_count": self.vhosts,
                "connection_count": whole(&overview["object_totals"]["connections"]),
                "queue_count": whole(&overview["object_totals"]["queues"]),
            },
            "uptime": node["uptime"].as_u64().map(|uptime_ms| uptime_ms / 1000),
            "vm_memory_calculation_strategy": memory["strategy"],
            "vm_memory_high_watermark_limit": node["mem_limit"],
        });
        if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
            let setting = more.get("vm_memory_high_watermark").cloned().unwrap_or_default();
            object.insert("vm_memory_high_watermark_setting".to_owned(), setting);
        }
        object
    }

    /// The sections that RabbitMQ's tool prints; what the node does not tell has no line.
    fn text(&self, name: &str, unit: Unit<'_>) -> String {
        let sections = [
            ("Runtime", self.runtime(name)),
            ("Plugins", self.plugins()),
            ("Data directory", said("Node data directory", &self.node["db_dir"])),
            ("Config files", starred(&self.node["config_files"])),
            ("Log file(s)", starred(&self.node["log_files"])),
            ("Alarms", or_none(alarm_lines(&self.alarms))),
            ("Memory", self.memory_lines(unit)),
            ("File Descriptors", self.descriptors()),
            ("Free Disk Space", self.disk(unit)),
            ("Totals", self.totals()),
            ("Listeners", or_none(self.listeners.iter().map(listener_line).collect())),
        ];
        sections_text(&sections)
    }

    fn runtime(&self, name: &str) -> Vec<String> {
        let Self { overview, node, .. } = self;
        let uptime = node["uptime"].as_u64().map_or(Value::Null, |ms| Value::from(ms / 1000));
        let under_maintenance = node["being_drained"].as_bool().unwrap_or_default();
        [
            said("OS PID", &node["os_pid"]),
            vec!["OS: Linux".to_owned()],
            said("Uptime (seconds)", &uptime),
            vec![format!("Is under maintenance?: {under_maintenance}")],
            said("RabbitMQ version", &overview["rabbitmq_version"]),
            said(
                "RabbitMQ release series support status",
                &overview["release_series_support_status"],
            ),
            vec![format!("Node name: {name}")],
            said("Erlang configuration", &overview["erlang_full_version"]),
            vec![format!(
                "Erlang processes: {} used, {} limit",
                node["proc_used"], node["proc_total"]
            )],
            said("Scheduler run queue", &node["run_queue"]),
            said("Cluster heartbeat timeout (net_ticktime)", &node["net_ticktime"]),
        ]
        .concat()
    }

    fn plugins(&self) -> Vec<String> {
        let mut lines = vec!["Enabled plugins:".to_owned(), String::new()];
        lines.extend(starred(&self.node["enabled_plugins"]));
        lines
    }

    fn memory_lines(&self, unit: Unit<'_>) -> Vec<String> {
        let limit = unit.show(&self.node["mem_limit"]);
        let setting = match &self.more["vm_memory_high_watermark"] {
            Value::Object(setting) if setting.contains_key("relative") => {
                format!("{} of available memory, ", setting["relative"])
            }
            Value::Object(setting) if setting.contains_key("absolute") => {
                format!("{}, ", unit.show(&setting["absolute"]))
            }
            _ => String::new(),
        };
        let mut lines = vec![
            format!("Total memory used: {}", unit.show(&self.memory_used())),
            format!("Calculation strategy: {}", self.memory["strategy"].as_str().unwrap_or("rss")),
            format!("Memory high watermark setting: {setting}computed to: {limit}"),
            String::new(),
        ];
        lines.extend(breakdown(&self.memory, unit));
        lines
    }

    fn descriptors(&self) -> Vec<String> {
        let node = &self.node;
        vec![
            format!("Total: {}, limit: {}", node["fd_used"], node["fd_total"]),
            format!("Sockets: {}, limit: {}", node["sockets_used"], node["sockets_total"]),
        ]
    }

    fn disk(&self, unit: Unit<'_>) -> Vec<String> {
        vec![
            format!("Low free disk space watermark: {}", unit.show(&self.node["disk_free_limit"])),
            format!("Free disk space: {}", unit.show(&self.node["disk_free"])),
        ]
    }

    fn totals(&self) -> Vec<String> {
        let totals = &self.overview["object_totals"];
        vec![
            format!("Connection count: {}", totals["connections"]),
            format!("Queue count: {}", totals["queues"]),
            format!("Virtual host count: {}", self.vhosts),
        ]
    }
}

/// Each part of the memory in use, the greatest first.
fn breakdown(memory: &Value, unit: Unit<'_>) -> Vec<String> {
    let totals = memory["total"].as_object();
    let total = totals.into_iter().flatten().filter_map(|(_, value)| value.as_f64());
    let total = total.fold(1.0, f64::max);
    let parts = memory.as_object().into_iter().flatten();
    let mut parts: Vec<_> =
        parts.filter_map(|(name, octets)| Some((name, octets, octets.as_f64()?))).collect();
    parts.sort_by(|(_, _, one), (_, _, other)| other.total_cmp(one));
    let line = |(name, octets, number): &(&String, &Value, f64)| {
        format!("{name}: {} ({:?} %)", unit.show(octets), rounded(number / total * 100.0, 2))
    };
    parts.iter().map(line).collect()
}

fn said(name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![format!("{name}: {text}")],
        other => vec![format!("{name}: {other}")],
    }
}

fn starred(names: &Value) -> Vec<String> {
    let names = names.as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(|name| format!(" * {name}")).collect()
}

pub(super) fn or_none(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() { vec!["(none)".to_owned()] } else { lines }
}

pub(super) fn listener_line(listener: &Value) -> String {
    let text = |key: &str| listener[key].as_str().unwrap_or_default();
    let (interface, port) = (text("interface"), &listener["port"]);
    let (protocol, purpose) = (text("protocol"), text("purpose"));
    format!("Interface: {interface}, port: {port}, protocol: {protocol}, purpose: {purpose}")
}

pub(super) fn sections_text(sections: &[(&str, Vec<String>)]) -> String {
    let section = |(title, lines): &(&str, Vec<String>)| {
        let lines: String = lines.iter().map(|line| format!("\n{line}")).collect();
        format!("\u{1b}[1m{title}\u{1b}[0m\n{lines}")
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n\n")
}

fn status(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let report = Report::ask(broker)?;
    if call.wants_json() {
        return Ok(Outcome::Object(report.object()));
    }
    let unit = Unit::of(call).unwrap_or(Unit { name: "gb", octets: 1e9 });
    Ok(Outcome::text(report.text(call.node, unit)))
}
