//! Health checks: alarms, listeners, virtual hosts, and whether the broker runs at all.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Banner, Call, Command, Fault, Run, Scope, Section},
    outcome::{Cell, Failure, Outcome, Rows, UNAVAILABLE},
    status::listener_line,
};

const fn check(name: &'static str, about: &'static str, banner: Banner, run: Run) -> Command {
    Command::new(name, Section::Monitoring, ("", about), (0, 0), banner, run)
        .timed()
        .scoped(Scope::Diagnostics)
}

pub(super) const COMMANDS: &[Command] = &[
    check(
        "alarms",
        "Lists the alarms that are in effect",
        |call| vec![format!("Asking node {} to report any known resource alarms ...", call.node)],
        show_alarms,
    ),
    check("check_alarms", "Fails if an alarm is in effect", asking_for_alarms, |call, broker| {
        check_alarms(call, broker, Which::All)
    }),
    check(
        "check_local_alarms",
        "Fails if an alarm of this node is in effect",
        asking_for_alarms,
        |call, broker| check_alarms(call, broker, Which::Local),
    ),
    check(
        "check_port_connectivity",
        "Fails if a listener does not accept a connection",
        |call| {
            let node = call.node;
            vec![format!("Testing TCP connections to all active listeners on node {node} ...")]
        },
        check_port_connectivity,
    ),
    Command::new(
        "check_port_listener",
        Section::Monitoring,
        ("<port>", "Fails if nothing listens on this port"),
        (1, 1),
        |call| {
            let (node, port) = (call.node, call.word(0));
            vec![format!("Asking node {node} if there's an active listener on port {port} ...")]
        },
        check_port_listener,
    )
    .timed()
    .scoped(Scope::Diagnostics)
    .checked(|call| match call.word(0).parse::<u64>() {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Fault::Bad("Argument must be a positive integer".to_owned())),
    }),
    Command::new(
        "check_protocol_listener",
        Section::Monitoring,
        ("<protocol>", "Fails if nothing listens for this protocol"),
        (1, 1),
        |call| {
            let (node, protocol) = (call.node, call.word(0));
            vec![format!(
                "Asking node {node} if there's an active listener for protocol {protocol} ..."
            )]
        },
        check_protocol_listener,
    )
    .timed()
    .scoped(Scope::Diagnostics),
    check(
        "check_running",
        "Fails if the broker does not serve",
        |call| vec![format!("Checking if RabbitMQ is running on node {} ...", call.node)],
        |call, _| Ok(Outcome::text(running(call))),
    ),
    check(
        "check_virtual_hosts",
        "Fails if a virtual host does not work",
        |call| vec![format!("Checking if all vhosts are running on node {} ...", call.node)],
        check_virtual_hosts,
    ),
    check(
        "is_running",
        "Says whether the broker serves",
        |call| vec![format!("Asking node {} for its status ...", call.node)],
        |call, _| {
            Ok(match call.wants_json() {
                true => Outcome::Object(json!({ "result": true, "message": running(call) })),
                false => Outcome::text(running(call)),
            })
        },
    ),
    check(
        "listeners",
        "Lists what the broker listens on",
        |call| vec![format!("Asking node {} to report its protocol listeners ...", call.node)],
        show_listeners,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Local,
}

fn asking_for_alarms(call: &Call<'_>) -> Vec<String> {
    vec![format!("Asking node {} to report any local resource alarms ...", call.node)]
}

fn running(call: &Call<'_>) -> String {
    format!("RabbitMQ on node {} is fully booted and running", call.node)
}

/// The alarms in effect, as `{type, resource, node}`.
pub(super) fn alarms(broker: &mut Broker, which: &str) -> Result<Vec<Value>, Failure> {
    let answer = broker.get(&format!("/api/health/checks/{which}"))?;
    if answer.status != hyper::StatusCode::SERVICE_UNAVAILABLE {
        answer.accepted()?;
        return Ok(Vec::new());
    }
    let body = answer.json();
    let alarm = |alarm: &Value| {
        let (resource, node) = (&alarm["resource"], &alarm["node"]);
        json!({ "type": "resource_limit", "resource": resource, "node": node })
    };
    Ok(body["alarms"].as_array().into_iter().flatten().map(alarm).collect())
}

pub(super) fn alarm_lines(alarms: &[Value]) -> Vec<String> {
    let line = |alarm: &Value| {
        let text = |key: &str| alarm[key].as_str().unwrap_or_default();
        let name = match text("resource") {
            "memory" => "Memory",
            "disk" => "Free disk space",
            _ => "File descriptor limit",
        };
        format!("{name} alarm on node {}", text("node"))
    };
    alarms.iter().map(line).collect()
}

fn show_alarms(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let node = call.node;
    let lines = alarm_lines(&alarms(broker, "alarms")?);
    Ok(match (lines.is_empty(), call.wants_json()) {
        (true, true) => Outcome::Object(json!({ "result": "ok", "node": node, "alarms": [] })),
        (true, false) => {
            Outcome::text(format!("Node {node} reported no alarms, local or clusterwide"))
        }
        (false, true) => Outcome::Object(json!({
            "result": "ok",
            "local": lines,
            "global": [],
            "message": format!("Node {node} reported alarms"),
        })),
        (false, false) => Outcome::text(lines.join("\n")),
    })
}

fn check_alarms(call: &Call<'_>, broker: &mut Broker, which: Which) -> Result<Outcome, Failure> {
    let node = call.node;
    let (page, kind, none) = match which {
        Which::All => ("alarms", "alarms", "no alarms, local or clusterwide"),
        Which::Local => ("local-alarms", "local alarms", "no local alarms"),
    };
    let lines = alarm_lines(&alarms(broker, page)?);
    if lines.is_empty() {
        return Ok(match (call.wants_json(), call.line.flag("silent")) {
            (true, _) => Outcome::Object(json!({ "result": "ok" })),
            (false, true) => Outcome::Nothing,
            (false, false) => Outcome::text(format!("Node {node} reported {none}")),
        });
    }
    Err(match (call.wants_json(), call.line.flag("silent"), which) {
        (true, _, _) => {
            let message = format!("Node {node} reported {kind}");
            let mut object = json!({ "result": "error", "local": lines, "message": message });
            if which == Which::All {
                object["global"] = json!([]);
            }
            Failure::object(&object)
        }
        (false, true, _) => Failure::silent(UNAVAILABLE),
        (false, false, Which::All) => Failure::bare(UNAVAILABLE, lines.join("\n")),
        (false, false, Which::Local) => Failure::new(UNAVAILABLE, lines.join("\n")),
    })
}

/// What the broker listens on, as `{node, protocol, interface, port, purpose}`.
pub(super) fn listeners(overview: &Value) -> Vec<Value> {
    let mut all = listeners_of_all(overview);
    all.retain(|listener| listener["node"] == overview["node"]);
    all
}

/// The same for all nodes of the cluster.
pub(super) fn listeners_of_all(overview: &Value) -> Vec<Value> {
    let listener = |listener: &Value| {
        let address = listener["ip_address"].as_str().unwrap_or_default();
        let interface =
            if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let protocol = listener["protocol"].as_str().unwrap_or_default();
        json!({
            "node": listener["node"],
            "protocol": protocol,
            "interface": interface,
            "port": listener["port"],
            "purpose": purpose(protocol),
        })
    };
    overview["listeners"].as_array().into_iter().flatten().map(listener).collect()
}

fn purpose(protocol: &str) -> &str {
    match protocol {
        "amqp" => "AMQP 0-9-1",
        "amqp/ssl" => "AMQP 0-9-1 over TLS",
        "http" => "HTTP API",
        "https" => "HTTP API over TLS (HTTPS)",
        "http/prometheus" => "Prometheus exporter API over HTTP",
        "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
        "clustering" => "inter-node and CLI tool communication",
        "mqtt" => "MQTT",
        "mqtt/ssl" => "MQTT over TLS",
        "stomp" => "STOMP",
        "stomp/ssl" => "STOMP over TLS",
        other => other,
    }
}

fn asked_listeners(broker: &mut Broker) -> Result<Vec<Value>, Failure> {
    Ok(listeners(&broker.get("/api/overview?columns=listeners")?.accepted()?.json()))
}

fn show_listeners(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    const COLUMNS: &[&str] = &["node", "protocol", "interface", "port", "purpose"];
    let listeners = asked_listeners(broker)?;
    if call.wants_json() {
        let object = json!({ "result": "ok", "node": call.node, "listeners": listeners });
        return Ok(Outcome::Object(object));
    }
    if call.line.text("formatter").is_some_and(|name| name.eq_ignore_ascii_case("csv")) {
        let row = |listener: &Value| {
            COLUMNS.iter().map(|name| Cell::Plain(listener[*name].clone())).collect()
        };
        return Ok(Outcome::Rows(Rows::new(COLUMNS, listeners.iter().map(row).collect())));
    }
    if listeners.is_empty() {
        return Ok(Outcome::text(format!("Node {} reported no enabled listeners.", call.node)));
    }
    let lines: Vec<_> = listeners.iter().map(listener_line).collect();
    Ok(Outcome::text(lines.join("\n")))
}

fn check_port_listener(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let (node, port) = (call.node, call.word(0));
    let listeners = asked_listeners(broker)?;
    let number = port.parse::<u64>().ok();
    if listeners.iter().any(|listener| number.is_some() && listener["port"].as_u64() == number) {
        return Ok(match call.wants_json() {
            true => Outcome::Object(json!({ "result": "ok", "node": node, "port": port })),
            false => {
                Outcome::text(format!("A listener for port {port} is running on node {node}."))
            }
        });
    }
    let ports: Vec<_> = listeners.iter().map(|listener| listener["port"].clone()).collect();
    if call.wants_json() {
        return Err(Failure::object(&json!({
            "result": "error", "missing": port, "ports": ports, "listeners": listeners,
        })));
    }
    Err(Failure::bare(
        UNAVAILABLE,
        format!(
            "No listener for port {port} is active on node {node}. Found listeners that use the \
             following ports: {}",
            sorted_ports(&listeners)
        ),
    ))
}

fn sorted_ports(listeners: &[Value]) -> String {
    let mut ports: Vec<_> = listeners.iter().filter_map(|item| item["port"].as_u64()).collect();
    ports.sort_unstable();
    ports.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn check_protocol_listener(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let node = call.node;
    let wanted = call.word(0).to_lowercase();
    let wanted = protocol_named(&wanted);
    let listeners = asked_listeners(broker)?;
    if listeners.iter().any(|listener| listener["protocol"] == wanted) {
        return Ok(match call.wants_json() {
            true => Outcome::Object(json!({ "result": "ok", "node": node, "protocol": wanted })),
            false => Outcome::text(format!(
                "A listener for protocol {wanted} is running on node {node}."
            )),
        });
    }
    let protocols: Vec<_> = listeners.iter().map(|item| item["protocol"].clone()).collect();
    if call.wants_json() {
        return Err(Failure::object(&json!({
            "result": "error",
            "missing": wanted,
            "protocols": protocols,
            "listeners": listeners,
        })));
    }
    let mut names: Vec<_> = protocols.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    Err(Failure::new(
        UNAVAILABLE,
        format!(
            "No listener for protocol {wanted} is active on node {node}. Found listeners for the \
             following protocols: {}",
            names.join(", ")
        ),
    ))
}

/// The name that listeners give a protocol which has several.
fn protocol_named(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0_9_1" | "amqp10" | "amqp1.0" | "amqp1-0"
        | "amqp1_0" => "amqp",
        "amqps" => "amqp/ssl",
        "http1" | "http1.1" | "http_api" | "management" | "management_ui" | "ui" => "http",
        "cli" | "distribution" => "clustering",
        "mqtts" | "mqtt+tls" | "mqtt+ssl" => "mqtt/ssl",
        "stomps" | "stomp+tls" | "stomp+ssl" => "stomp/ssl",
        other => other,
    }
}

/// Each listener gets its share of the time.
fn check_port_connectivity(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let node = call.node;
    let listeners = asked_listeners(broker)?;
    let time_ms = u64::try_from(call.timeout_ms(30_000)).unwrap_or_default();
    let share_ms = time_ms / (listeners.len() as u64 + 1);
    let fails = |listener: &&Value| {
        let host = match listener["interface"].as_str().unwrap_or_default() {
            "[::]" | "0.0.0.0" => broker.host(),
            interface => interface.trim_start_matches('[').trim_end_matches(']'),
        };
        let port = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let limit = Duration::from_millis(share_ms);
        !port.is_some_and(|port| broker.accepts(host, port, limit))
    };
    let failing: Vec<Value> = listeners.iter().filter(fails).cloned().collect();
    if failing.is_empty() {
        return Ok(match call.wants_json() {
            true => {
                Outcome::Object(json!({ "result": "ok", "node": node, "listeners": listeners }))
            }
            false => Outcome::text(format!(
                "Successfully connected to ports {} on node {node}.",
                sorted_ports(&listeners)
            )),
        });
    }
    if call.wants_json() {
        let object = json!({ "result": "error", "node": node, "failures": failing });
        return Err(Failure::object(&object));
    }
    let lines: Vec<_> = failing.iter().map(listener_line).collect();
    let text = format!(
        "Connection to ports of the following listeners on node {node} failed: \n{}",
        lines.join("\n")
    );
    Err(Failure::new(UNAVAILABLE, text))
}

fn check_virtual_hosts(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let answer = broker.get("/api/health/checks/virtual-hosts")?;
    if answer.status.is_success() {
        return Ok(match (call.wants_json(), call.line.flag("silent")) {
            (true, _) => Outcome::Object(json!({ "result": "ok" })),
            (false, true) => Outcome::Nothing,
            (false, false) => {
                Outcome::text(format!("Node {} reported all vhosts as running", call.node))
            }
        });
    }
    let body = answer.json();
    let Value::Array(down) = &body["virtual-hosts"] else {
        return Err(Failure::new(UNAVAILABLE, answer.reason()));
    };
    if call.wants_json() {
        return Err(Failure::object(&json!({ "result": "error", "down_vhosts": down })));
    }
    if call.line.flag("silent") {
        return Err(Failure::silent(UNAVAILABLE));
    }
    let names: Vec<_> = down.iter().filter_map(Value::as_str).collect();
    let (node, names) = (call.node, names.join("\n"));
    let text = format!("Some virtual hosts on node {node} are down:\n{names}");
    Err(Failure::new(UNAVAILABLE, text))
}
