//! Consumers: who takes messages out of which queue.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    connections, fields,
    node::Connection,
    operator::Role,
    routes::{Route, get},
};
use crate::{
    broker::{ConsumerView, QueueView},
    model::{ConnectionId, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("consumers", &[get(Role::Operator, list)]),
    Route::new("consumers/:vhost", &[get(Role::VirtualHost, list)]),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    let peers = Peers::of(call);
    let mut items = Vec::new();
    for home in call.open_homes()? {
        for queue in call.broker().queue_views(&home, call.node.now()).unwrap_or_default() {
            let view = |consumer| to_json(call, &peers, (&home, &queue), consumer);
            items.extend(queue.consumers.iter().map(view));
        }
    }
    Ok(Reply::list(items))
}

/// The connections that consumers may have.
pub(super) struct Peers(BTreeMap<ConnectionId, Connection>);

impl Peers {
    pub(super) fn of(call: &Call) -> Self {
        let all = call.node.connections().into_iter();
        Self(all.map(|connection| (connection.id, connection)).collect())
    }

    /// What is shown of a connection beside what is its own.
    pub(super) fn details(&self, connection: ConnectionId) -> Option<Value> {
        let connection = self.0.get(&connection)?;
        Some(json!({
            "name": connections::name(connection),
            "peer_host": connection.remote.ip().to_string(),
            "peer_port": connection.remote.port(),
        }))
    }

    fn channel_details(&self, call: &Call, consumer: &ConsumerView) -> Value {
        let (id, number) = (consumer.subscriber.id.connection, consumer.subscriber.channel);
        // A connection that has just ended: its consumers are about to leave.
        let Some(connection) = self.0.get(&id) else {
            // It may be another node's, which alone knows more.
            let node = call.broker().name_of_node(id.node());
            let Some(node) = node else { return json!({}) };
            let name = format!("{node} ({number})");
            return json!({ "name": name, "number": number.0, "node": node });
        };
        let name = connections::name(connection);
        json!({
            "name": format!("{name} ({number})"),
            "number": number.0,
            "connection_name": name,
            "node": call.node.names().node,
            "user": connection.user.text(),
            "peer_host": connection.remote.ip().to_string(),
            "peer_port": connection.remote.port(),
        })
    }
}

pub(super) fn to_json(
    call: &Call,
    peers: &Peers,
    (home, queue): (&VirtualHostName, &QueueView),
    consumer: &ConsumerView,
) -> Value {
    let ConsumerView { subscriber, is_active } = consumer;
    let is_single = queue.record.options.single_active_consumer;
    let status = match (is_single, *is_active) {
        (false, _) => "up",
        (true, true) => "single_active",
        (true, false) => "waiting",
    };
    json!({
        "consumer_tag": subscriber.tag.text(),
        "ack_required": subscriber.acknowledge,
        "active": is_active,
        "activity_status": status,
        "exclusive": subscriber.exclusive,
        "prefetch_count": subscriber.prefetch,
        "arguments": fields::table_to_json(&subscriber.arguments),
        "queue": { "name": queue.record.name.text(), "vhost": home.text() },
        "channel_details": peers.channel_details(call, consumer),
    })
}
