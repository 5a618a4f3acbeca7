//! Commands that list queues, exchanges, bindings, connections, channels and consumers.

mod columns;

use serde_json::Value;

use super::{
    broker::Broker,
    command::{Call, Command, Section, columns_named},
    options::{Switch, Takes},
    outcome::{Cell, Failure, Outcome, Rows, UNAVAILABLE},
    place::path,
};

const VHOST_USAGE: &str = "[--vhost <vhost>] [--no-table-headers] [<column> ...]";
const USAGE: &str = "[--no-table-headers] [<column> ...]";
const ANY: (usize, usize) = (0, usize::MAX);

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "list_bindings",
        Section::Monitoring,
        (VHOST_USAGE, "Lists a virtual host's bindings"),
        ANY,
        |call| vec![format!("Listing bindings for vhost {}...", call.vhost())],
        |call, broker| {
            let all = columns::BINDINGS;
            list(call, broker, &["bindings", call.vhost()], all, columns::of_binding)
        },
    )
    .listing()
    .with_columns(columns::BINDINGS),
    Command::new(
        "list_channels",
        Section::Monitoring,
        (USAGE, "Lists the channels of all connections"),
        ANY,
        |_| vec!["Listing channels ...".to_owned()],
        |call, broker| {
            let usual = &["pid", "user", "consumer_count", "messages_unacknowledged"];
            let answer = broker.get(&path(&["channels"]))?;
            if answer.is_missing() {
                return Err(Failure::new(UNAVAILABLE, "this broker does not tell of its channels"));
            }
            Ok(rows(wanted(call, usual), &answer.list()?, columns::of_channel))
        },
    )
    .listing()
    .untimed()
    .with_columns(columns::CHANNELS),
    Command::new(
        "list_connections",
        Section::Monitoring,
        (USAGE, "Lists clients' connections"),
        ANY,
        |_| vec!["Listing connections ...".to_owned()],
        |call, broker| {
            let usual = &["user", "peer_host", "peer_port", "state"];
            list(call, broker, &["connections"], usual, columns::of_connection)
        },
    )
    .listing()
    .with_columns(columns::CONNECTIONS),
    Command::new(
        "list_consumers",
        Section::Monitoring,
        (VHOST_USAGE, "Lists a virtual host's consumers"),
        ANY,
        |call| vec![format!("Listing consumers in vhost {} ...", call.vhost())],
        |call, broker| {
            let usual = &[
                "queue_name",
                "channel_pid",
                "consumer_tag",
                "ack_required",
                "prefetch_count",
                "active",
                "arguments",
            ];
            list_in_order(call, broker, usual)
        },
    )
    .listing()
    .with_columns(columns::CONSUMERS),
    Command::new(
        "list_exchanges",
        Section::Monitoring,
        (VHOST_USAGE, "Lists a virtual host's exchanges"),
        ANY,
        |call| vec![format!("Listing exchanges for vhost {} ...", call.vhost())],
        |call, broker| {
            let place = ["exchanges", call.vhost()];
            list(call, broker, &place, &["name", "type"], columns::of_exchange)
        },
    )
    .listing()
    .with_columns(columns::EXCHANGES),
    Command::new(
        "list_queues",
        Section::Monitoring,
        (
            "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, \
             ...]",
            "Lists a virtual host's queues",
        ),
        ANY,
        |call| {
            let timeout_ms = call.timeout_ms(60_000);
            let (seconds, tenths) = (timeout_ms / 1000, timeout_ms % 1000 / 100);
            vec![
                format!("Timeout: {seconds}.{tenths} seconds ..."),
                format!("Listing queues for vhost {} ...", call.vhost()),
            ]
        },
        list_queues,
    )
    .listing()
    .with(&[
        Switch::new("offline", Takes::Nothing),
        Switch::new("online", Takes::Nothing),
        Switch::new("local", Takes::Nothing),
    ])
    .with_columns(columns::QUEUES),
];

type CellOf = fn(&Value, &str) -> Cell;

/// `--offline` alone asks for the queues that are down.
fn list_queues(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let usual: &[&str] = &["name", "messages"];
    let is_down = |queue: &Value| queue["state"] == "down" || queue["state"] == "stopped";
    let (line, place) = (call.line, path(&["queues", call.vhost()]));
    let kept: fn(bool) -> bool =
        match (line.flag("local"), line.flag("offline"), line.flag("online")) {
            (false, true, false) => |down| down,
            (false, false, true) => |down| !down,
            _ => |_| true,
        };
    let mut queues = items(broker, &place)?;
    queues.retain(|queue| kept(is_down(queue)));
    if line.flag("local") {
        queues.retain(|queue| queue["node"] == call.node);
    }
    Ok(rows(wanted(call, usual), &queues, columns::of_queue))
}

/// Consumers: their columns have one order, however they are asked for.
fn list_in_order(call: &Call<'_>, broker: &mut Broker, usual: &[&str]) -> Result<Outcome, Failure> {
    let asked = wanted(call, usual);
    let mut names = columns::CONSUMERS.to_vec();
    names.retain(|name| asked.iter().any(|asked| asked == name));
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let consumers = items(broker, &path(&["consumers", call.vhost()]))?;
    Ok(rows(names, &consumers, columns::of_consumer))
}

fn list(
    call: &Call<'_>,
    broker: &mut Broker,
    place: &[&str],
    usual: &[&str],
    cell: CellOf,
) -> Result<Outcome, Failure> {
    let found = items(broker, &path(place))?;
    Ok(rows(wanted(call, usual), &found, cell))
}

/// A virtual host that is not there has nothing in it.
fn items(broker: &mut Broker, place: &str) -> Result<Vec<Value>, Failure> {
    let answer = broker.get(place)?;
    if answer.is_missing() {
        return Ok(Vec::new());
    }
    answer.list()
}

fn wanted(call: &Call<'_>, usual: &[&str]) -> Vec<String> {
    let mut columns = columns_named(call.words);
    if columns.is_empty() {
        columns.extend(usual.iter().map(|name| (*name).to_owned()));
    }
    columns
}

fn rows(columns: Vec<String>, items: &[Value], cell: CellOf) -> Outcome {
    let row = |item: &Value| columns.iter().map(|name| cell(item, name)).collect();
    let rows = items.iter().map(row).collect();
    Outcome::Rows(Rows::streamed(columns, rows))
}
