//! Health checks: 200 when something is as it should be, 503 with the reason when it is not.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    node::{CertificateFile, Listening},
    operator::Role,
    routes::{Route, get},
};
use crate::model::QueueKind;

pub(super) const ROUTES: &[Route] = &[
    Route::new("health/checks/alarms", &[get(Role::Operator, cluster_alarms)]),
    Route::new("health/checks/local-alarms", &[get(Role::Operator, local_alarms)]),
    Route::new("health/checks/port-listener/:port", &[get(Role::Operator, port_listener)]),
    Route::new(
        "health/checks/protocol-listener/:protocol",
        &[get(Role::Operator, protocol_listener)],
    ),
    Route::new(
        "health/checks/certificate-expiration/:within/:unit",
        &[get(Role::Operator, certificates)],
    ),
    Route::new("health/checks/virtual-hosts", &[get(Role::Operator, fine)]),
    Route::new("health/checks/node-is-quorum-critical", &[get(Role::Operator, quorum)]),
    Route::new("health/checks/node-is-mirror-sync-critical", &[get(Role::Operator, mirrors)]),
    Route::new("health/checks/metadata-store/initialized", &[get(Role::Operator, fine)]),
    Route::new("health/checks/metadata-store/initialized/with-data", &[get(Role::Operator, fine)]),
    Route::new("health/checks/is-in-service", &[get(Role::Operator, fine)]),
    Route::new("health/checks/ready-to-serve-clients", &[get(Role::Operator, fine)]),
    Route::new("health/checks/below-node-connection-limit", &[get(Role::Operator, fine)]),
    Route::new(
        "health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        &[get(Role::Operator, fine)],
    ),
    Route::new(
        "health/checks/quorum-queues-without-elected-leaders/vhost/:vhost",
        &[get(Role::VirtualHost, fine_home)],
    ),
    Route::new("aliveness-test/:vhost", &[get(Role::VirtualHost, fine_home)]),
    Route::new("healthchecks/node", &[get(Role::Operator, node)]),
    Route::new("healthchecks/node/:node", &[get(Role::Operator, node)]),
];

/// True of a node that answers at all.
fn fine(_: &Call) -> Result<Reply, Failure> {
    Ok(Reply::one(json!({ "status": "ok" })))
}

fn fine_home(call: &Call) -> Result<Reply, Failure> {
    call.home().and_then(|_| fine(call))
}

/// Whether quorum queues could go on without this node.
fn quorum(call: &Call) -> Result<Reply, Failure> {
    let reason =
        "There are quorum queues that would lose their quorum if the target node is shut down";
    critical(call, QueueKind::Quorum, reason)
}

/// The same of mirrored classic queues, which are groups as well.
fn mirrors(call: &Call) -> Result<Reply, Failure> {
    critical(
        call,
        QueueKind::Classic,
        "There are classic mirrored queues without online synchronised mirrors",
    )
}

fn critical(call: &Call, kind: QueueKind, reason: &str) -> Result<Reply, Failure> {
    let broker = call.broker();
    let Some(own) = broker.name_of_node(broker.node()) else {
        return Ok(Reply::one(json!({ "status": "ok", "reason": "single node cluster" })));
    };
    let mut critical = Vec::new();
    for home in broker.virtual_hosts() {
        let records = broker.queue_records(&home).unwrap_or_default();
        for record in records.iter().filter(|record| record.options.kind == kind) {
            let place = broker.whereabouts(record);
            if place.is_some_and(|place| place.needs(&own)) {
                let name = record.name.text();
                critical.push(json!({
                    "name": name,
                    "readable_name": format!("queue '{name}' in vhost '{}'", home.text()),
                    "virtual_host": home.text(),
                    "type": kind.as_str(),
                }));
            }
        }
    }
    if critical.is_empty() {
        return fine(call);
    }
    Err(Failure::unhealthy(reason, json!({ "queues": critical })))
}

fn cluster_alarms(call: &Call) -> Result<Reply, Failure> {
    alarms(call, "There are alarms in effect in the cluster")
}

fn local_alarms(call: &Call) -> Result<Reply, Failure> {
    alarms(call, "There are alarms in effect on the node")
}

fn alarms(call: &Call, reason: &str) -> Result<Reply, Failure> {
    let alarms = alarms_on(call);
    if alarms.is_empty() {
        return fine(call);
    }
    Err(Failure::unhealthy(reason, json!({ "alarms": alarms })))
}

fn alarms_on(call: &Call) -> Vec<Value> {
    let readings = call.node.readings();
    let alarms = [(readings.memory_alarm, "memory"), (readings.disk_alarm, "disk")];
    let on = alarms.into_iter().filter(|(is_on, _)| *is_on);
    on.map(|(_, resource)| json!({ "node": call.node.names().node, "resource": resource }))
        .collect()
}

fn port_listener(call: &Call) -> Result<Reply, Failure> {
    let port: u16 = call.text("port")?.parse().map_err(|_| Failure::bad_request("Invalid port"))?;
    let listeners = call.node.listeners();
    let mut ports: Vec<_> = listeners.iter().map(|each| each.address.port()).collect();
    if ports.contains(&port) {
        return Ok(Reply::one(json!({ "status": "ok", "port": port })));
    }
    ports.sort_unstable();
    ports.dedup();
    let facts = json!({ "missing": port, "ports": ports });
    Err(Failure::unhealthy("No active listener", facts))
}

fn protocol_listener(call: &Call) -> Result<Reply, Failure> {
    let protocol = known_protocol(call.text("protocol")?);
    let listeners = call.node.listeners();
    let mut protocols: Vec<_> = listeners.iter().map(|each| each.protocol).collect();
    if protocols.contains(&protocol) {
        return Ok(Reply::one(json!({ "status": "ok", "protocol": protocol })));
    }
    protocols.sort_unstable();
    protocols.dedup();
    let facts = json!({ "missing": protocol, "protocols": protocols });
    Err(Failure::unhealthy("No active listener", facts))
}

/// The name that listeners have, for all the names that people have for it (RabbitMQ 3.10).
fn known_protocol(name: &str) -> &str {
    match name {
        "amqp" | "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp10" | "amqp1.0" | "amqp1-0" => "amqp",
        "amqps" | "amqp/ssl" | "amqp091s" => "amqp/ssl",
        other => other,
    }
}

/// Whether a certificate of a listener ends within so many units of time.
fn certificates(call: &Call) -> Result<Reply, Failure> {
    let within = call.text("within")?.parse::<u32>();
    let within = within.map_err(|_| Failure::bad_request("Invalid expiration value."))?;
    let days = match call.text("unit")? {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => {
            return Err(Failure::bad_request(
                "Time unit not recognised. Supported units: days, weeks, months, years.",
            ));
        }
    };
    let limit = call.node.now() + Duration::from_secs(86_400 * days) * within;
    let files = call.node.certificates();
    let ends_soon = |file: &CertificateFile| file.ends.iter().any(|(end, _)| *end <= limit);
    if !files.iter().any(ends_soon) {
        return fine(call);
    }
    let listeners = call.node.listeners();
    let secured = listeners.iter().filter(|listener| listener.protocol == "amqp/ssl");
    let expired: Vec<_> = secured.map(|listener| expiring(call, listener, &files)).collect();
    Err(Failure::unhealthy("Certificates expiring", json!({ "expired": expired })))
}

fn expiring(call: &Call, listener: &Listening, files: &[CertificateFile]) -> Value {
    let mut shown = json!({
        "node": call.node.names().node,
        "protocol": listener.protocol,
        "interface": listener.address.ip().to_string(),
        "port": listener.address.port(),
    });
    for file in files {
        let ends: Vec<_> = file.ends.iter().map(|(_, words)| words.as_str()).collect();
        shown[file.setting] = file.path.as_str().into();
        shown[format!("{}_expires_on", file.setting)] = ends.into();
    }
    shown
}

fn node(call: &Call) -> Result<Reply, Failure> {
    let named = call.parts.iter().find(|(name, _)| *name == "node");
    if named.is_some_and(|(_, name)| *name != call.node.names().node.as_bytes()) {
        return Err(Failure::not_there());
    }
    let alarms = alarms_on(call);
    if alarms.is_empty() {
        return fine(call);
    }
    let on: Vec<_> = alarms.iter().filter_map(|alarm| alarm["resource"].as_str()).collect();
    let reason = format!("resource alarm(s) in effect: {}", on.join(", "));
    // This old check says so with 200 (RabbitMQ 3.10).
    Ok(Reply::one(json!({ "status": "failed", "reason": reason })))
}
