//! Which nodes have queues and lead them, as operators want it.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    operator::Role,
    routes::{Route, post},
};
use crate::{
    broker::Pattern,
    model::{LogPosition, QueueKind, QueueName, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("rebalance/queues", &[post(Role::Administrator, rebalance_all)]),
    Route::new("leveret/rebalance", &[post(Role::Administrator, rebalance)]),
    Route::new("leveret/members", &[post(Role::Administrator, change_member)]),
    Route::new("leveret/members/all", &[post(Role::Administrator, change_members)]),
    Route::new("leveret/maintenance", &[post(Role::Administrator, maintain)]),
];

fn rebalance_all(call: &Call) -> Result<Reply, Failure> {
    call.broker().rebalance(None, |_, _| true, call.node.now());
    Ok(Reply::done(LogPosition::default()))
}

/// The same of some queues, and how many leaders of them each node is to have.
fn rebalance(call: &Call) -> Result<Reply, Failure> {
    let asked = call.object_with(&["type"])?;
    let kind = match asked["type"].as_str() {
        Some("all") => None,
        Some("quorum") => Some(QueueKind::Quorum),
        Some("classic") => Some(QueueKind::Classic),
        _ => return Err(Failure::bad_request("expected `all`, `classic` or `quorum`")),
    };
    let nodes = call.broker().rebalance(kind, meant(&asked)?, call.node.now());
    let item = |(node, (before, after)): (String, (u64, u64))| {
        let mut counts = json!({ "node": node, "leaders_before": before });
        counts["leaders"] = after.into();
        counts
    };
    Ok(Reply::list(nodes.into_iter().map(item).collect()))
}

/// Which queues the patterns of a request mean; none means all.
fn meant(
    asked: &Map<String, Value>,
) -> Result<impl Fn(&VirtualHostName, &QueueName) -> bool, Failure> {
    let pattern = |key: &str| {
        let text = asked.get(key).and_then(Value::as_str).unwrap_or(".*");
        Pattern::new(text).map_err(|bad| Failure::bad_request(format!("`{text}`: {bad}")))
    };
    let (homes, queues) = (pattern("vhost_pattern")?, pattern("queue_pattern")?);
    Ok(move |home: &VirtualHostName, queue: &QueueName| {
        homes.matches(home) && queues.matches(queue)
    })
}

/// Adds a node to the members of a quorum queue, or takes it away.
fn change_member(call: &Call) -> Result<Reply, Failure> {
    let asked = call.object_with(&["vhost", "queue", "node", "member"])?;
    let name = |key: &str| {
        let text = asked[key].as_str().unwrap_or_default();
        ShortString::try_from(text).map_err(|_| Failure::not_there())
    };
    let (home, queue) = (name("vhost")?.into(), name("queue")?.into());
    let node = asked["node"].as_str().unwrap_or_default();
    let is_to_be = asked["member"].as_bool().unwrap_or(true);
    let changed = call.broker().change_member((&home, &queue), node, is_to_be);
    changed.map_err(|not| Failure::bad_request(not.to_string()))?;
    Ok(Reply::done(LogPosition::default()))
}

/// The same for all quorum queues that are meant, and what came of it for each.
fn change_members(call: &Call) -> Result<Reply, Failure> {
    let asked = call.object_with(&["node", "member"])?;
    let node = asked["node"].as_str().unwrap_or_default();
    let is_to_be = asked["member"].as_bool().unwrap_or(true);
    let is_even_only = asked.get("even").and_then(Value::as_bool).unwrap_or(false);
    let (is_meant, broker) = (meant(&asked)?, call.broker());
    let mut items = Vec::new();
    for home in broker.virtual_hosts() {
        for record in broker.queue_records(&home).unwrap_or_default() {
            let is_quorum = record.options.kind == QueueKind::Quorum;
            let Some(place) = broker.whereabouts(&record).filter(|_| is_quorum) else { continue };
            let size = place.members.len();
            let is_member = place.members.iter().any(|member| member == node);
            let is_fit = !is_even_only || size.is_multiple_of(2);
            if is_member == is_to_be || !is_fit || !is_meant(&home, &record.name) {
                continue;
            }
            let changed = broker.change_member((&home, &record.name), node, is_to_be);
            let (size, result) = match changed {
                Ok(()) if is_to_be => (size + 1, "ok".to_owned()),
                Ok(()) => (size - 1, "ok".to_owned()),
                Err(not) => (size, not.to_string()),
            };
            let (vhost, name) = (home.text(), record.name.text());
            items.push(json!({ "vhost": vhost, "name": name, "size": size, "result": result }));
        }
    }
    Ok(Reply::list(items))
}

/// Puts the node into maintenance, or back into service.
fn maintain(call: &Call) -> Result<Reply, Failure> {
    let asked = call.object_with(&["maintenance"])?;
    let Some(maintenance) = asked["maintenance"].as_bool() else {
        return Err(Failure::bad_request("expected true or false"));
    };
    call.node.set_maintenance(maintenance);
    Ok(Reply::done(LogPosition::default()))
}
