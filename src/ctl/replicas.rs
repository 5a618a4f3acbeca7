//! Commands about replicas and leaders: those of `rabbitmq-queues` and `rabbitmq-upgrade`.

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Call, Command, Fault, Scope, Section},
    options::{Switch, Takes},
    outcome::{Cell, Failure, Outcome, Rows, UNAVAILABLE},
};

const PATTERNS: &[Switch] =
    &[Switch::new("vhost-pattern", Takes::Text), Switch::new("queue-pattern", Takes::Text)];

const GROWING: &[Switch] = &[
    Switch::new("vhost-pattern", Takes::Text),
    Switch::new("queue-pattern", Takes::Text),
    Switch::new("errors-only", Takes::Nothing),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "rebalance",
        Section::Queues,
        (
            "< all | classic | quorum > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
            "Spreads the leaders of replicated queues over the nodes that are there",
        ),
        (1, 1),
        |call| vec![rebalancing(call.word(0)).to_owned()],
        rebalance,
    )
    .with(PATTERNS)
    .checked(|call| match call.word(0) {
        "all" | "classic" | "quorum" => Ok(()),
        other => Err(Fault::Bad(format!(
            "type {other} is not supported. Try one of all, classic, quorum."
        ))),
    }),
    Command::new(
        "add_member",
        Section::Queues,
        ("[--vhost <vhost>] <queue> <node>", "Adds a replica of a quorum queue on a node"),
        (2, 2),
        |call| {
            let (queue, node) = (call.word(0), call.word(1));
            vec![format!("Adding a replica for queue {queue} on node {node}...")]
        },
        |call, broker| change_member(call, broker, true),
    )
    .timed(),
    Command::new(
        "delete_member",
        Section::Queues,
        ("[--vhost <vhost>] <queue> <node>", "Removes the replica of a quorum queue on a node"),
        (2, 2),
        |call| {
            let (queue, node) = (call.word(0), call.word(1));
            vec![format!("Removing a replica of queue {queue} on node {node}...")]
        },
        |call, broker| change_member(call, broker, false),
    ),
    Command::new(
        "grow",
        Section::Queues,
        (
            "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
            "Adds a replica on a node to all quorum queues, or to those with an even number",
        ),
        (2, 2),
        |call| vec![format!("Growing {} quorum queues on {}...", call.word(1), call.word(0))],
        grow,
    )
    .with(GROWING)
    .checked(|call| match call.word(1) {
        "all" | "even" => Ok(()),
        other => Err(Fault::Bad(format!("strategy '{other}' is not recognised."))),
    }),
    Command::new(
        "shrink",
        Section::Queues,
        ("<node> [--errors-only]", "Removes the replicas of quorum queues on a node"),
        (1, 1),
        |call| vec![format!("Shrinking quorum queues on {}...", call.word(0))],
        shrink,
    )
    .with(&[Switch::new("errors-only", Takes::Nothing)]),
    Command::new(
        "drain",
        Section::Operations,
        ("", "Puts the node into maintenance: it serves no clients and leads no replicated queue"),
        (0, 0),
        |call| {
            vec![format!(
                "Will put node {} into maintenance mode. The node will no longer serve any \
                 client traffic!",
                call.node
            )]
        },
        |_, broker| maintain(broker, true),
    ),
    Command::new(
        "revive",
        Section::Operations,
        ("", "Puts the node out of maintenance"),
        (0, 0),
        |call| {
            vec![format!(
                "Will put node {} back into regular operating mode. The node will again serve \
                 client traffic and host primary queue replicas.",
                call.node
            )]
        },
        |_, broker| maintain(broker, false),
    ),
    Command::new(
        "check_if_node_is_quorum_critical",
        Section::Monitoring,
        ("", "Fails if quorum queues would lose their quorum without the node"),
        (0, 0),
        |call| {
            let node = call.node;
            vec![format!("Checking if node {node} is critical for quorum of any quorum queues ...")]
        },
        |call, broker| check_critical(call, broker, &QUORUM),
    )
    .timed()
    .scoped(Scope::Both),
    Command::new(
        "check_if_node_is_mirror_sync_critical",
        Section::Monitoring,
        ("", "Fails if mirrored classic queues could not go on without the node"),
        (0, 0),
        |call| {
            vec![format!(
                "Checking if node {} is critical for data safety of any classic mirrored queues \
                 ...",
                call.node
            )]
        },
        |call, broker| check_critical(call, broker, &MIRRORS),
    )
    .timed()
    .scoped(Scope::Both),
];

fn rebalancing(kind: &str) -> &'static str {
    match kind {
        "quorum" => "Re-balancing leaders of quorum queues...",
        "classic" => {
            "Re-balancing leaders of replicated (mirrored, non-exclusive) classic queues..."
        }
        _ => "Re-balancing leaders of all replicated queues...",
    }
}

fn rebalance(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let kind = call.word(0);
    let pattern = |name: &str| call.line.text(name).unwrap_or(".*").to_owned();
    let asked = json!({
        "type": kind,
        "vhost_pattern": pattern("vhost-pattern"),
        "queue_pattern": pattern("queue-pattern"),
    });
    let answer = broker.post("/api/leveret/rebalance", asked.to_string())?.accepted()?;
    let nodes = answer.list()?;
    let title = match kind {
        "quorum" => "Number of quorum queues",
        "classic" => "Number of replicated classic queues",
        _ => "Number of replicated queues",
    };
    let row = |node: &Value| {
        vec![Cell::Plain(node["node"].clone()), Cell::Plain(node["leaders"].clone())]
    };
    Ok(Outcome::Rows(Rows::new(&["Node name", title], nodes.iter().map(row).collect())))
}

fn change_member(call: &Call<'_>, broker: &mut Broker, is_to_be: bool) -> Result<Outcome, Failure> {
    let asked = json!({
        "vhost": call.vhost(),
        "queue": call.word(0),
        "node": call.word(1),
        "member": is_to_be,
    });
    let answer = broker.post("/api/leveret/members", asked.to_string())?;
    if answer.status.is_success() {
        return Ok(Outcome::Done);
    }
    let reason = answer.reason();
    let text = match reason.as_str() {
        "classic_queue_not_supported" => "Cannot add members to a classic queue",
        other => other,
    };
    Err(Failure::new(UNAVAILABLE, text))
}

fn grow(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    change_members(call, broker, true)
}

fn shrink(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    change_members(call, broker, false)
}

/// One row for each queue: how many members it is to have, and whether it could be.
fn change_members(
    call: &Call<'_>,
    broker: &mut Broker,
    is_to_be: bool,
) -> Result<Outcome, Failure> {
    let pattern = |name: &str| call.line.text(name).unwrap_or(".*");
    let asked = json!({
        "node": call.word(0),
        "member": is_to_be,
        "even": call.word(1) == "even",
        "vhost_pattern": pattern("vhost-pattern"),
        "queue_pattern": pattern("queue-pattern"),
    });
    let answer = broker.post("/api/leveret/members/all", asked.to_string())?;
    let mut queues = answer.list()?;
    queues.retain(|queue| !call.line.flag("errors-only") || queue["result"] != "ok");
    let row = |queue: &Value| {
        let result = match queue["result"].as_str().unwrap_or_default() {
            "ok" => "ok".to_owned(),
            "last_node" => "error: the last node cannot be removed".to_owned(),
            reason => format!("error: {reason}"),
        };
        let shown = |key: &str| Cell::Plain(queue[key].clone());
        vec![shown("vhost"), shown("name"), shown("size"), Cell::text(result)]
    };
    let rows = queues.iter().map(row).collect();
    Ok(Outcome::Rows(Rows::new(&["vhost", "name", "size", "result"], rows)))
}

fn maintain(broker: &mut Broker, maintenance: bool) -> Result<Outcome, Failure> {
    let asked = json!({ "maintenance": maintenance });
    broker.post("/api/leveret/maintenance", asked.to_string())?.accepted()?;
    Ok(Outcome::Done)
}

/// A check of what would not survive the node, in RabbitMQ's words.
struct Critical {
    page: &'static str,
    /// What a node without such queues reports.
    none: &'static str,
    some: &'static str,
}

const QUORUM: Critical = Critical {
    page: "/api/health/checks/node-is-quorum-critical",
    none: "no quorum queues with minimum quorum",
    some: "local queues with minimum online quorum",
};

const MIRRORS: Critical = Critical {
    page: "/api/health/checks/node-is-mirror-sync-critical",
    none: "no classic mirrored queues without online synchronised mirrors",
    some: "local classic mirrored queues without online synchronised mirrors",
};

fn check_critical(
    call: &Call<'_>,
    broker: &mut Broker,
    check: &Critical,
) -> Result<Outcome, Failure> {
    let node = call.node;
    let answer = broker.get(check.page)?;
    let body = answer.json();
    if answer.status.is_success() {
        return Ok(match (call.wants_json(), body["reason"].is_string()) {
            (true, _) => Outcome::Object(json!({ "result": "check_passed" })),
            (false, true) => Outcome::text(format!(
                "Node {node} seems to be the only one in a single node cluster, the check does \
                 not apply"
            )),
            (false, false) => Outcome::text(format!("Node {node} reported {}", check.none)),
        });
    }
    let queues = body["queues"].as_array().cloned().unwrap_or_default();
    if queues.is_empty() {
        answer.accepted()?;
        return Ok(Outcome::Done);
    }
    let message = format!("Node {node} reported {}", check.some);
    if call.wants_json() {
        let object = json!({ "result": "check_failed", "message": message, "queues": queues });
        return Err(Failure::object(&object));
    }
    let name = |queue: &Value| queue["readable_name"].as_str().unwrap_or_default().to_owned();
    let lines = std::iter::once(message).chain(queues.iter().map(name));
    Err(Failure::bare(UNAVAILABLE, lines.collect::<Vec<_>>().join("\n")))
}
