//! Queues: what there are and what is in them, declared, purged and deleted with the rights that
//! AMQP asks for.

use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    bindings,
    call::Call,
    consumers::{self, Peers},
    fields, messages,
    operator::Role,
    routes::{Route, delete, get, post, put},
};
use crate::{
    broker::{Destination, QueueDeclaration, QueueState, QueueView, Whereabouts},
    model::{LogPosition, Names, QueueKind, QueueName, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("queues", &[get(Role::Operator, list)]),
    Route::new("queues/detailed", &[get(Role::Operator, list)]),
    Route::new("queues/:vhost", &[get(Role::VirtualHost, list)]),
    Route::new(
        "queues/:vhost/:queue",
        &[
            get(Role::VirtualHost, show),
            put(Role::VirtualHost, declare),
            delete(Role::VirtualHost, remove),
        ],
    ),
    Route::new("queues/:vhost/:queue/bindings", &[get(Role::VirtualHost, list_bindings)]),
    Route::new("queues/:vhost/:queue/contents", &[delete(Role::VirtualHost, purge)]),
    Route::new("queues/:vhost/:queue/get", &[post(Role::VirtualHost, messages::get)]),
    Route::new("queues/:vhost/:queue/actions", &[post(Role::Administrator, act)]),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    let mut items = Vec::new();
    for home in call.open_homes()? {
        let mut views = call.broker().queue_views(&home, call.node.now()).unwrap_or_default();
        views.sort_unstable_by(|one, other| one.record.name.cmp(&other.record.name));
        items.extend(views.iter().map(|view| to_json(call, &home, view)));
    }
    Ok(Reply::pages(items))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    let view = find(call, &home, &call.queue("queue")?)?;
    let mut found = to_json(call, &home, &view);
    if call.query.is_true("disable_stats") {
        return Ok(Reply::one(found));
    }
    let peers = Peers::of(call);
    let details = view.consumers.iter();
    let details =
        details.map(|consumer| consumers::to_json(call, &peers, (&home, &view), consumer));
    found["consumer_details"] = details.collect();
    found["incoming"] = json!([]);
    found["deliveries"] = json!([]);
    if let Some(owner) = view.record.owner.and_then(|owner| peers.details(owner)) {
        found["owner_pid_details"] = owner;
    }
    Ok(Reply::one(found))
}

fn declare(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = (call.home_to_change()?, call.new_name("queue", "queue")?);
    let asked = call.object()?;
    if let Some(node) = asked.get("node").filter(|node| **node != call.node.names().node) {
        let node = node.as_str().map_or_else(|| node.to_string(), str::to_owned);
        return Err(Failure::bad_request(format!("Node {node} could not be contacted")));
    }
    let flag = |key| fields::boolean(&asked, key).map(Option::unwrap_or_default);
    let generated = name.is_empty();
    let name = match generated {
        true => Names::new(call.node.entropy()).draw("amq.gen-"),
        false => name,
    };
    let declaration = QueueDeclaration {
        name: name.into(),
        generated,
        durable: flag("durable")?,
        auto_delete: flag("auto_delete")?,
        // The connection of a request ends with it: no queue can be its own.
        exclusive: None,
        arguments: fields::arguments(asked.get("arguments"))?,
    };
    let is_new = call.broker().queue_record(&home, &declaration.name).is_none();
    let mut client = call.client(&home)?;
    let declared = client.declare_queue(&declaration, call.node.now());
    declared.map_err(|refusal| call.refused(&refusal))?;
    Ok(Reply::put(is_new, client.take_awaited()))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = there(call)?;
    let [if_unused, if_empty] = ["if-unused", "if-empty"].map(|key| call.query.is_true(key));
    let mut client = call.client(&home)?;
    let deleted = client.delete_queue(&name, if_unused, if_empty, call.node.now());
    deleted.map_err(|refusal| call.refused(&refusal))?;
    Ok(Reply::done(client.take_awaited()))
}

fn purge(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = there(call)?;
    let mut client = call.client(&home)?;
    let purged = client.purge_queue(&name, call.node.now());
    purged.map_err(|refusal| call.refused(&refusal))?;
    Ok(Reply::done(client.take_awaited()))
}

fn list_bindings(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.queue("queue")?);
    Ok(Reply::list(bindings::to(call, &home, &Destination::Queue(name))))
}

/// What one does with the mirrors of a queue: a node alone has none, and they are in step.
fn act(call: &Call) -> Result<Reply, Failure> {
    there(call)?;
    let asked = call.object_with(&["action"])?;
    match asked["action"].as_str() {
        Some("sync" | "cancel_sync") => Ok(Reply::done(LogPosition::default())),
        _ => Err(Failure::bad_request(vec!["unknown".into(), asked["action"].clone()])),
    }
}

/// The virtual host and the queue of the path, which must be there.
fn there(call: &Call) -> Result<(VirtualHostName, QueueName), Failure> {
    let (home, name) = (call.home()?, call.queue("queue")?);
    match call.broker().queue_record(&home, &name) {
        Some(_) => Ok((home, name)),
        None => Err(Failure::not_there()),
    }
}

fn find(call: &Call, home: &VirtualHostName, name: &QueueName) -> Result<QueueView, Failure> {
    let view = call.broker().queue_view(home, name, call.node.now());
    view.ok_or_else(Failure::not_there)
}

fn to_json(call: &Call, home: &VirtualHostName, view: &QueueView) -> Value {
    let QueueView { record, ready, unacknowledged, .. } = view;
    let mut object = json!({
        "name": record.name.text(),
        "vhost": home.text(),
        "node": node_of(call, view),
        "type": record.options.kind.as_str(),
        "durable": record.durable,
        "auto_delete": record.auto_delete,
        "exclusive": record.owner.is_some(),
        "arguments": fields::table_to_json(&record.arguments),
    });
    let state = view.whereabouts.as_ref().map_or(QueueState::Running, |it| it.state);
    let totals = json!({
        "messages": ready + unacknowledged,
        "messages_ready": ready,
        "messages_unacknowledged": unacknowledged,
    });
    let policies = policies(call, home, &record.name);
    let is_short = call.query.is_true("disable_stats");
    if !is_short {
        if view.is_seen() {
            extend(&mut object, statistics(view));
        }
        extend(&mut object, policies);
    } else if !policies["policy"].is_null() {
        object["policy"] = policies["policy"].clone();
    }
    match is_short && !call.query.is_true("enable_queue_totals") {
        true => object["state"] = "live".into(),
        false => {
            object["state"] = state.as_str().into();
            extend(&mut object, if view.is_seen() { totals } else { json!({}) });
        }
    }
    extend(&mut object, copies(call, view));
    object
}

/// The node that leads the queue, or that would if it were there.
fn node_of(call: &Call, view: &QueueView) -> String {
    let elsewhere = view.whereabouts.as_ref();
    let node = elsewhere.and_then(|it| it.leader.as_ref().or_else(|| it.members.first()));
    node.unwrap_or_else(|| &call.node.names().node).clone()
}

/// Which nodes have a copy. Every mirror has what was confirmed: those that are there are in step.
fn copies(call: &Call, view: &QueueView) -> Value {
    let own = &call.node.names().node;
    match (view.record.options.kind, &view.whereabouts) {
        (QueueKind::Quorum, None) => json!({ "leader": own, "members": [own], "online": [own] }),
        (QueueKind::Quorum, Some(Whereabouts { leader, members, online, .. })) => {
            json!({ "leader": leader, "members": members, "online": online })
        }
        (QueueKind::Classic, Some(Whereabouts { leader, members, online, .. }))
            if members.len() > 1 =>
        {
            let is_mirror = |name: &&String| Some(*name) != leader.as_ref();
            let mirrors: Vec<_> = online.iter().filter(is_mirror).collect();
            json!({
                "leader": leader,
                "members": members,
                "online": online,
                "slave_nodes": mirrors,
                "synchronised_slave_nodes": mirrors,
                "recoverable_slaves": mirrors,
            })
        }
        (QueueKind::Classic, Some(Whereabouts { leader, members, online, .. })) => {
            json!({ "leader": leader, "members": members, "online": online })
        }
        (QueueKind::Classic, None) => json!({}),
    }
}

fn statistics(view: &QueueView) -> Value {
    let QueueView { ready_octets, unacknowledged_octets, consumers, record, .. } = view;
    let tag = |is_meant: &dyn Fn(&crate::broker::ConsumerView) -> bool| {
        let found = consumers.iter().find(|consumer| is_meant(consumer));
        found.map(|consumer| consumer.subscriber.tag.text().into_owned())
    };
    let is_single = record.options.single_active_consumer;
    json!({
        "message_bytes": ready_octets + unacknowledged_octets,
        "message_bytes_ready": ready_octets,
        "message_bytes_unacknowledged": unacknowledged_octets,
        "consumers": consumers.len(),
        "exclusive_consumer_tag": tag(&|consumer| consumer.subscriber.exclusive),
        "single_active_consumer_tag": tag(&|consumer| is_single && consumer.is_active),
    })
}

/// Which policies hold, and what comes of them together.
fn policies(call: &Call, home: &VirtualHostName, queue: &QueueName) -> Value {
    let view = call.broker().queue_policy(home, queue);
    let name = |policy: Option<&ShortString>| policy.map(|name| name.text().into_owned());
    json!({
        "policy": name(view.as_ref().and_then(|view| view.policy.as_ref())),
        "operator_policy": name(view.as_ref().and_then(|view| view.operator_policy.as_ref())),
        "effective_policy_definition":
            view.map_or_else(|| json!({}), |view| fields::table_to_json(&view.definition)),
    })
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
