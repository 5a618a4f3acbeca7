//! The node: what it measures of itself, and what it is asked to do.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    authentication::{self, Barred, Credentials},
    call::Call,
    node::{Fellow, NotForgotten, Vitals},
    operator::{Operator, Role},
    overview,
    routes::{Route, delete, get, post, put},
};
use crate::{
    config::{AuthMechanism, Limit},
    model::LogPosition,
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("nodes", &[get(Role::Monitor, list)]),
    Route::new("nodes/:node", &[get(Role::Monitor, show)]),
    Route::new("nodes/:node/memory", &[get(Role::Monitor, memory)]),
    Route::new(
        "auth/attempts/:node",
        &[get(Role::Monitor, attempts), delete(Role::Monitor, forget_attempts)],
    ),
    Route::new("reset", &[delete(Role::Administrator, reset)]),
    Route::new("reset/:node", &[delete(Role::Administrator, reset)]),
    Route::new("leveret/authenticate", &[post(Role::Administrator, authenticate)]),
    Route::new("leveret/status", &[get(Role::Monitor, status)]),
    Route::new(
        "leveret/vm_memory_high_watermark",
        &[put(Role::Administrator, set_memory_watermark)],
    ),
    Route::new("leveret/disk_free_limit", &[put(Role::Administrator, set_disk_free_limit)]),
    Route::new("leveret/nodes/:node", &[delete(Role::Administrator, forget)]),
    Route::new("leveret/stop", &[post(Role::Administrator, stop)]),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    let fellows = call.node.fellows();
    let mut nodes: Vec<_> = fellows.iter().map(|other| fellow(call, other)).collect();
    nodes.push(node(call));
    nodes.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    Ok(Reply::list(nodes))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    if named(call).is_ok() {
        return Ok(Reply::one(node(call)));
    }
    let fellows = call.node.fellows();
    let found = fellows.iter().find(|other| call.part("node") == other.name.as_bytes());
    found.map(|other| Reply::one(fellow(call, other))).ok_or_else(Failure::not_there)
}

/// The node of the path must be this one.
fn named(call: &Call) -> Result<(), Failure> {
    let is_this = call.part("node") == call.node.names().node.as_bytes();
    if is_this { Ok(()) } else { Err(Failure::not_there()) }
}

fn node(call: &Call) -> Value {
    let names = call.node.names();
    let mut object = running(&names.node, &call.node.vitals());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    object["processors"] = processors.into();
    object["exchange_types"] = overview::exchange_types();
    object["auth_mechanisms"] = auth_mechanisms(call);
    object["contexts"] = overview::contexts(&names.node, &call.node.listeners());
    object["db_dir"] = names.data_dir.as_deref().unwrap_or_default().into();
    object
}

/// Another node: what it has said of itself, and little when it does not run (RabbitMQ 3.10).
fn fellow(call: &Call, fellow: &Fellow) -> Value {
    let Fellow { name, is_running, vitals } = fellow;
    let Some(vitals) = vitals else {
        return json!({
            "name": name,
            "type": "disc",
            "running": is_running,
            "being_drained": false,
            "cluster_links": [],
            "partitions": [],
        });
    };
    let mut object = running(name, vitals);
    object["exchange_types"] = overview::exchange_types();
    object["auth_mechanisms"] = auth_mechanisms(call);
    object["contexts"] = overview::contexts(name, &vitals.listeners);
    object
}

fn running(name: &str, vitals: &Vitals) -> Value {
    let Vitals { version, uptime, process, sockets, readings, .. } = vitals;
    let uptime = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    json!({
        "name": name,
        "type": "disc",
        "running": true,
        "being_drained": vitals.is_in_maintenance,
        "os_pid": process.to_string(),
        "uptime": uptime,
        "run_queue": 0,
        "rates_mode": "none",
        "net_ticktime": 60,
        "mem_calculation_strategy": "rss",
        "cluster_links": [],
        "partitions": [],
        "mem_used": readings.memory_used.unwrap_or(0),
        "mem_limit": readings.memory_limit.unwrap_or(0),
        "mem_alarm": readings.memory_alarm,
        "disk_free": readings.disk_free.unwrap_or(0),
        "disk_free_limit": readings.disk_free_limit.unwrap_or(0),
        "disk_free_alarm": readings.disk_alarm,
        "fd_total": readings.files_limit.unwrap_or(0),
        "fd_used": readings.files_open.unwrap_or(0),
        "sockets_total": readings.files_limit.unwrap_or(0),
        "sockets_used": sockets,
        "proc_total": 0,
        "proc_used": 0,
        "applications": [],
        "log_files": ["<stderr>"],
        "config_files": [],
        "enabled_plugins": [],
        "rabbitmq_version": version,
        "erlang_version": overview::NO_ERLANG,
    })
}

/// What `rabbitmqctl forget_cluster_node` asks for.
fn forget(call: &Call) -> Result<Reply, Failure> {
    let name = String::from_utf8_lossy(call.part("node")).into_owned();
    tracing::info!("operator '{}' has node '{name}' forgotten", call.operator.name());
    match call.node.forget_node(&name) {
        Ok(()) => Ok(done()),
        Err(NotForgotten::Unknown) => {
            Err(Failure::missing("The node selected is not in the cluster."))
        }
        Err(NotForgotten::Running) => Err(Failure::bad_request(format!(
            "RabbitMQ on node {name} must be stopped with 'rabbitmqctl -n {name} stop_app' before \
             it can be removed"
        ))),
        Err(NotForgotten::NoQuorum) => Err(Failure::named(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_quorum",
            "no majority of the cluster has agreed in time",
        )),
    }
}

fn auth_mechanisms(call: &Call) -> Value {
    let described = |mechanism: &AuthMechanism| {
        let (name, description) = match mechanism {
            AuthMechanism::Plain => ("PLAIN", "SASL PLAIN authentication mechanism"),
            AuthMechanism::AmqPlain => ("AMQPLAIN", "QPid AMQPLAIN mechanism"),
            AuthMechanism::Anonymous => ("ANONYMOUS", "SASL ANONYMOUS authentication mechanism"),
            AuthMechanism::External => ("EXTERNAL", "SASL EXTERNAL authentication mechanism"),
        };
        json!({ "name": name, "description": description, "enabled": true })
    };
    call.node.names().mechanisms.iter().map(described).collect()
}

/// What RabbitMQ tells apart; here it is one heap.
const MEMORY_PARTS: &[&str] = &[
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "queue_slave_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "metadata_store",
    "metadata_store_ets",
    "quorum_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "allocated_unused",
    "reserved_unallocated",
];

fn memory(call: &Call) -> Result<Reply, Failure> {
    named(call)?;
    let used = call.node.readings().memory_used.unwrap_or(0);
    let mut parts = json!({
        "other_system": used,
        "strategy": "rss",
        "total": { "erlang": used, "rss": used, "allocated": used },
    });
    for part in MEMORY_PARTS {
        parts[*part] = 0.into();
    }
    Ok(Reply::one(json!({ "memory": parts })))
}

fn attempts(call: &Call) -> Result<Reply, Failure> {
    named(call)?;
    let item = |(protocol, succeeded, failed): (&str, u64, u64)| {
        json!({
            "protocol": protocol,
            "auth_attempts": succeeded + failed,
            "auth_attempts_succeeded": succeeded,
            "auth_attempts_failed": failed,
        })
    };
    Ok(Reply::list(call.node.login_attempts().into_iter().map(item).collect()))
}

fn forget_attempts(call: &Call) -> Result<Reply, Failure> {
    named(call)?;
    call.node.forget_login_attempts();
    Ok(done())
}

/// There are no statistics to forget.
fn reset(_: &Call) -> Result<Reply, Failure> {
    Ok(done())
}

fn done() -> Reply {
    Reply::done(LogPosition::default())
}

/// Whether somebody could log in, wherever he is.
fn authenticate(call: &Call) -> Result<Reply, Failure> {
    let object = call.object_with(&["username", "password"])?;
    let text = |key: &str| object[key].as_str().unwrap_or_default().as_bytes().to_vec();
    let credentials = Credentials { name: text("username"), password: text("password") };
    let answer = match authentication::log_in(call.broker(), call.peer, &credentials) {
        Ok(Operator::User { .. } | Operator::Local) | Err(Barred::Forbidden(_)) => {
            json!({ "authenticated": true })
        }
        Err(Barred::Refused(_) | Barred::Unknown) => {
            let name = String::from_utf8_lossy(&credentials.name);
            let reason = format!("user '{name}' - invalid credentials");
            json!({ "authenticated": false, "reason": reason })
        }
    };
    Ok(Reply::one(answer))
}

/// What RabbitMQ's paths do not tell.
fn status(call: &Call) -> Result<Reply, Failure> {
    let watermark = match call.node.memory_watermark() {
        Limit::Relative(share) => json!({ "relative": share }),
        Limit::Absolute(octets) => json!({ "absolute": octets }),
    };
    Ok(Reply::one(json!({ "vm_memory_high_watermark": watermark })))
}

fn set_memory_watermark(call: &Call) -> Result<Reply, Failure> {
    call.node.set_memory_watermark(limit(call, "relative")?);
    Ok(done())
}

fn set_disk_free_limit(call: &Call) -> Result<Reply, Failure> {
    call.node.set_disk_free_limit(limit(call, "mem_relative")?);
    Ok(done())
}

fn limit(call: &Call, share: &str) -> Result<Limit, Failure> {
    let object = call.object()?;
    let relative = object.get(share).and_then(Value::as_f64);
    let absolute = object.get("absolute").and_then(Value::as_u64);
    match (relative.filter(|share| *share >= 0.0), absolute) {
        (Some(share), None) => Ok(Limit::Relative(share)),
        (None, Some(octets)) => Ok(Limit::Absolute(octets)),
        _ => Err(Failure::bad_request(format!("expected `{share}` or `absolute`"))),
    }
}

fn stop(call: &Call) -> Result<Reply, Failure> {
    tracing::info!("operator '{}' asks the node to stop", call.operator.name());
    call.node.stop();
    Ok(done())
}
