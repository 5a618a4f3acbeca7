//! Connections: whose they are, where they come from, and their end.

use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    fields,
    node::Connection,
    operator::Role,
    routes::{Route, delete, get},
};
use crate::model::LogPosition;

pub(super) const ROUTES: &[Route] = &[
    Route::new("connections", &[get(Role::Operator, list)]),
    Route::new(
        "connections/:connection",
        &[get(Role::Operator, show), delete(Role::Operator, close)],
    ),
    Route::new(
        "connections/username/:user",
        &[get(Role::Operator, list_of_user), delete(Role::Operator, close_of_user)],
    ),
    Route::new("vhosts/:vhost/connections", &[get(Role::VirtualHost, list_in_home)]),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::pages(visible(call).iter().map(|each| to_json(call, each)).collect()))
}

fn list_in_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    let mut all = visible(call);
    all.retain(|each| each.virtual_host == home);
    Ok(Reply::pages(all.iter().map(|each| to_json(call, each)).collect()))
}

/// His own, and everybody's for who monitors.
fn visible(call: &Call) -> Vec<Connection> {
    let mut all = call.node.connections();
    if !call.operator.is_monitor() {
        let name = call.operator.name();
        all.retain(|each| each.user == name);
    }
    all
}

fn show(call: &Call) -> Result<Reply, Failure> {
    let found = find(call)?;
    allow(call.operator.is_monitor(), call, &found)?;
    Ok(Reply::one(to_json(call, &found)))
}

/// The reason that the client is told is the header `X-Reason`.
fn close(call: &Call) -> Result<Reply, Failure> {
    let found = find(call)?;
    allow(call.operator.is_administrator(), call, &found)?;
    call.broker().close_connection(found.id, &reason(call));
    Ok(Reply::done(LogPosition::default()))
}

fn list_of_user(call: &Call) -> Result<Reply, Failure> {
    let own = of_user(call, call.operator.is_monitor())?;
    let short = |each: &Connection| {
        json!({
            "name": name(each),
            "vhost": each.virtual_host.text(),
            "user": each.user.text(),
            "node": call.node.names().node,
        })
    };
    Ok(Reply::list(own.iter().map(short).collect()))
}

fn close_of_user(call: &Call) -> Result<Reply, Failure> {
    for connection in of_user(call, call.operator.is_administrator())? {
        call.broker().close_connection(connection.id, &reason(call));
    }
    Ok(Reply::done(LogPosition::default()))
}

fn of_user(call: &Call, may_all: bool) -> Result<Vec<Connection>, Failure> {
    let user = call.name("user")?;
    if !may_all && call.operator.name() != user {
        return Err(Failure::not_authorised(NOT_HIS));
    }
    let mut all = call.node.connections();
    all.retain(|each| each.user == user);
    Ok(all)
}

const NOT_HIS: &str = "User not authorised to access object";

fn allow(may_all: bool, call: &Call, connection: &Connection) -> Result<(), Failure> {
    if may_all || connection.user == call.operator.name() {
        return Ok(());
    }
    Err(Failure::not_authorised(NOT_HIS))
}

fn find(call: &Call) -> Result<Connection, Failure> {
    let wanted = call.text("connection")?;
    let mut all = call.node.connections().into_iter();
    all.find(|each| name(each) == wanted).ok_or_else(Failure::not_there)
}

fn reason(call: &Call) -> String {
    let said = call.headers.get("x-reason").and_then(|value| value.to_str().ok());
    said.unwrap_or("Closed via management plugin").to_owned()
}

/// `127.0.0.1:41234 -> 127.0.0.1:5672`.
pub(super) fn name(connection: &Connection) -> String {
    format!("{} -> {}", connection.remote, connection.local)
}

fn to_json(call: &Call, connection: &Connection) -> Value {
    let Connection { client_properties, .. } = connection;
    let since = u64::try_from(connection.since.since_epoch().as_millis()).unwrap_or(u64::MAX);
    let mut object = json!({
        "name": name(connection),
        "node": call.node.names().node,
        "user": connection.user.text(),
        "user_who_performed_action": connection.user.text(),
        "vhost": connection.virtual_host.text(),
        "state": "running",
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "auth_mechanism": connection.mechanism.text(),
        "client_properties": fields::table_to_json(client_properties),
        "host": connection.local.ip().to_string(),
        "port": connection.local.port(),
        "peer_host": connection.remote.ip().to_string(),
        "peer_port": connection.remote.port(),
        "ssl": connection.security.is_some(),
        "channels": connection.channels,
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat,
        "connected_at": since,
    });
    if let Some(name) = client_properties.lookup("connection_name").and_then(|name| name.as_text())
    {
        object["user_provided_name"] = name.text().into();
    }
    let security = connection.security.as_ref();
    object["ssl_protocol"] = security.map(|security| security.protocol).into();
    object["ssl_key_exchange"] = security.map(|security| security.key_exchange).into();
    object["ssl_cipher"] = security.map(|security| security.cipher).into();
    object["ssl_hash"] = security.map(|security| security.hash).into();
    let peer = security.and_then(|security| security.peer.as_ref());
    object["peer_cert_subject"] = peer.map(|peer| peer.subject.as_str()).into();
    object["peer_cert_issuer"] = peer.map(|peer| peer.issuer.as_str()).into();
    object["peer_cert_validity"] = peer.map(|peer| peer.validity.as_str()).into();
    object
}
