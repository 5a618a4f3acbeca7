//! Which nodes have queues and lead them, as operators want it.

use serde_json::{Value, json};

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
    let pattern = |key: &str| {
        let text = asked.get(key).and_then(Value::as_str).unwrap_or(".*");
        Pattern::new(text).map_err(|bad| Failure::bad_request(format!("`{text}`: {bad}")))
    };
    let (homes, queues) = (pattern("vhost_pattern")?, pattern("queue_pattern")?);
    let is_meant =
        |home: &VirtualHostName, queue: &QueueName| homes.matches(home) && queues.matches(queue);
    let nodes = call.broker().rebalance(kind, is_meant, call.node.now());
    let nodes = nodes.into_iter();
    let item = |(node, (before, after)): (String, (u64, u64))| json!({ "node": node, "leaders_before": before, "leaders": after });
    Ok(Reply::list(nodes.map(item).collect()))
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

/// Puts the node into maintenance, or back into service.
fn maintain(call: &Call) -> Result<Reply, Failure> {
    let asked = call.object_with(&["maintenance"])?;
    let Some(maintenance) = asked["maintenance"].as_bool() else {
        return Err(Failure::bad_request("expected true or false"));
    };
    call.node.set_maintenance(maintenance);
    Ok(Reply::done(LogPosition::default()))
}
