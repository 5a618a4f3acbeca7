//! What there is at a glance: the node, its listeners, how many there are of everything.

use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    basics,
    call::Call,
    node::Listening,
    operator::Role,
    routes::{Route, get},
};
use crate::broker::{Totals, routing::ExchangeKind};

pub(super) const ROUTES: &[Route] = &[Route::new("overview", &[get(Role::Operator, overview)])];

fn overview(call: &Call) -> Result<Reply, Failure> {
    let names = call.node.names();
    let mut object = json!({
        "management_version": names.version,
        "rabbitmq_version": names.version,
        "product_version": names.version,
        "product_name": names.product,
        "cluster_name": basics::name_of_cluster(call),
        "erlang_version": NO_ERLANG,
        "erlang_full_version": format!("none: Leveret {}", env!("CARGO_PKG_VERSION")),
        "crypto_lib_version": "",
        "release_series_support_status": "supported",
        "rates_mode": "none",
        "sample_retention_policies": { "global": [], "basic": [], "detailed": [] },
        "exchange_types": exchange_types(),
        "disable_stats": true,
        "enable_queue_totals": false,
        "is_op_policy_updating_enabled": true,
        "require_definition_json_extension": false,
        "default_queue_type": "classic",
        "cluster_tags": {},
        "node_tags": {},
        "object_totals": object_totals(call),
    });
    let has_figures = !call.query.is_true("disable_stats");
    if has_figures {
        object["queue_totals"] = queue_totals(call);
        object["message_stats"] = json!({});
        object["statistics_db_event_queue"] = 0.into();
    }
    // Of the node itself only who monitors is told (RabbitMQ 3.10).
    if call.operator.is_monitor() {
        object["node"] = names.node.as_str().into();
        if has_figures {
            object["listeners"] = listeners(call);
            object["contexts"] = all_contexts(call);
        }
    }
    Ok(Reply::one(object))
}

/// There is none; tools want a number.
pub(super) const NO_ERLANG: &str = "0.0";

/// Over the virtual hosts that the caller may see.
fn totals(call: &Call) -> Totals {
    let homes = call.homes().unwrap_or_default();
    let now = call.node.now();
    let all = homes.iter().filter_map(|home| call.broker().totals(home, now));
    all.fold(Totals::default(), |sum, each| sum + each)
}

fn object_totals(call: &Call) -> Value {
    let totals = totals(call);
    let connections = call.broker().connections();
    let name = call.operator.name();
    let is_monitor = call.operator.is_monitor();
    let visible = connections.iter().filter(|each| is_monitor || each.user == name);
    let (connections, channels) =
        visible.fold((0_u64, 0), |(count, sum), each| (count + 1, sum + each.channels));
    json!({
        "connections": connections,
        "channels": channels,
        "consumers": totals.consumers,
        "exchanges": totals.exchanges,
        "queues": totals.queues,
    })
}

fn queue_totals(call: &Call) -> Value {
    let Totals { ready, unacknowledged, .. } = totals(call);
    let rate = json!({ "rate": 0.0 });
    json!({
        "messages": ready + unacknowledged,
        "messages_details": rate,
        "messages_ready": ready,
        "messages_ready_details": rate,
        "messages_unacknowledged": unacknowledged,
        "messages_unacknowledged_details": rate,
    })
}

/// The types of exchanges, as tools list them.
pub(super) fn exchange_types() -> Value {
    let kind = |kind: ExchangeKind| {
        let name = kind.as_str();
        let description = match name.strip_prefix("x-") {
            None => format!("AMQP {name} exchange, as per the AMQP specification"),
            Some(name) => format!("The exchange type {name}, as RabbitMQ's plugin has it"),
        };
        json!({ "name": name, "description": description, "enabled": true })
    };
    ExchangeKind::all().map(kind).collect()
}

/// Of all nodes that run.
pub(super) fn listeners(call: &Call) -> Value {
    let nodes = listening(call).into_iter();
    let all = nodes.flat_map(|(name, listeners)| {
        let listener = move |each: Listening| {
            json!({
                "node": name,
                "protocol": each.protocol,
                "ip_address": each.address.ip().to_string(),
                "port": each.address.port(),
                "socket_opts": { "nodelay": true },
            })
        };
        listeners.into_iter().map(listener)
    });
    all.collect()
}

/// Where the nodes listen, this one and the others that run, by name.
fn listening(call: &Call) -> Vec<(String, Vec<Listening>)> {
    let others = call.node.fellows().into_iter();
    let others = others.filter_map(|other| Some((other.name, other.vitals?.listeners)));
    let mut nodes: Vec<_> = others.collect();
    nodes.push((call.node.names().node.clone(), call.node.listeners()));
    nodes.sort_by(|one, other| one.0.cmp(&other.0));
    nodes
}

fn all_contexts(call: &Call) -> Value {
    let nodes = listening(call).into_iter();
    let contexts = nodes.flat_map(|(name, listeners)| match contexts(&name, &listeners) {
        Value::Array(contexts) => contexts,
        _ => Vec::new(),
    });
    contexts.collect()
}

/// What serves HTTP on a node; the port is a text here (RabbitMQ 3.10).
pub(super) fn contexts(node: &str, listeners: &[Listening]) -> Value {
    let of_http = listeners.iter().filter(|each| each.protocol == "http");
    let context = |each: &Listening| {
        json!({
            "ssl_opts": [],
            "node": node,
            "description": "RabbitMQ Management",
            "path": "/",
            "cowboy_opts": "",
            "ip": each.address.ip().to_string(),
            "port": each.address.port().to_string(),
        })
    };
    of_http.map(context).collect()
}
