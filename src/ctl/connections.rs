//! Commands that close clients' connections.

use std::time::Duration;

use serde_json::Value;

use super::{
    broker::Broker,
    command::{Call, Command, Section},
    options::{Switch, Takes},
    outcome::{Failure, Outcome, UNAVAILABLE},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "close_all_connections",
        Section::Operations,
        (
            "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay \
             <delay>] <explanation>",
            "Closes all connections of a virtual host, or of the broker",
        ),
        (1, 1),
        |call| {
            let (reason, vhost) = (call.word(0), call.vhost());
            vec![match (call.line.flag("global"), limit(call)) {
                (true, _) => format!(
                    "Closing all connections to node {} (across all vhosts), reason: {reason}...",
                    call.node
                ),
                (false, 0) => {
                    format!("Closing all connections in vhost {vhost}, reason: {reason}...")
                }
                (false, limit) => {
                    format!("Closing {limit} connections in vhost {vhost}, reason: {reason}...")
                }
            }]
        },
        close_all_connections,
    )
    .with(&[
        Switch::new("global", Takes::Nothing),
        Switch::new("per-connection-delay", Takes::Number),
        Switch::new("limit", Takes::Number),
    ]),
    Command::new(
        "close_all_user_connections",
        Section::Operations,
        ("<username> <explanation>", "Closes all connections of a user"),
        (2, 2),
        |call| {
            let (user, reason) = (call.word(0), call.word(1));
            vec![format!("Closing connections of user {user}, reason: {reason}...")]
        },
        |call, broker| {
            let place = path(&["connections", "username", call.word(0)]);
            let answer = broker.close(&place, call.word(1))?;
            if !answer.is_missing() {
                answer.accepted()?;
            }
            Ok(Outcome::Done)
        },
    ),
    Command::new(
        "close_connection",
        Section::Operations,
        ("<connection pid> <explanation>", "Closes one connection"),
        (2, 2),
        |call| {
            let (pid, reason) = (call.word(0), call.word(1));
            vec![format!("Closing connection {pid}, reason: {reason}...")]
        },
        close_connection,
    ),
];

fn limit(call: &Call<'_>) -> usize {
    let limit = call.line.number("limit").unwrap_or_default();
    usize::try_from(limit).unwrap_or_default()
}

fn close_all_connections(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let answer = match call.line.flag("global") {
        true => broker.get("/api/connections")?,
        false => broker.get(&path(&["vhosts", call.vhost(), "connections"]))?,
    };
    let mut connections = if answer.is_missing() { Vec::new() } else { answer.list()? };
    if !call.line.flag("global") && limit(call) > 0 {
        connections.truncate(limit(call));
    }
    let delay_ms = call.line.number("per-connection-delay").unwrap_or_default();
    for connection in &connections {
        close(broker, connection, call.word(0))?;
        if let Ok(delay_ms @ 1..) = u64::try_from(delay_ms) {
            broker.pause(Duration::from_millis(delay_ms));
        }
    }
    Ok(Outcome::text(format!("Closed {} connections", connections.len())))
}

/// A connection that has gone meanwhile is closed, too.
fn close(broker: &mut Broker, connection: &Value, reason: &str) -> Result<(), Failure> {
    let name = connection["name"].as_str().unwrap_or_default();
    let answer = broker.close(&path(&["connections", name]), reason)?;
    if !answer.is_missing() {
        answer.accepted()?;
    }
    Ok(())
}

/// The connection of this process identifier, which `list_connections pid` shows, or of this
/// name. One that is not there is closed already.
fn close_connection(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let wanted = call.word(0);
    let connections = broker.get("/api/connections")?.list()?;
    let is_it = |connection: &&Value| {
        connection["pid"].as_str() == Some(wanted) || connection["name"].as_str() == Some(wanted)
    };
    if let Some(connection) = connections.iter().find(is_it) {
        close(broker, connection, call.word(1))?;
        return Ok(Outcome::Done);
    }
    match is_process_identifier(wanted) {
        true => Ok(Outcome::Done),
        false => {
            let text = format!("Error:\n{{:invalid_pid_syntax, {wanted:?}}}");
            Err(Failure::new(UNAVAILABLE, text))
        }
    }
}

/// `<node.1.2.3>`: a node's name and three numbers.
fn is_process_identifier(text: &str) -> bool {
    let inside = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let Some(inside) = inside else { return false };
    let parts: Vec<_> = inside.rsplitn(4, '.').collect();
    let [numbers @ .., node] = parts.as_slice() else { return false };
    numbers.len() == 3 && !node.is_empty() && numbers.iter().all(|part| part.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_identifier_has_a_node_and_three_numbers() {
        let check = |text: &str, is_one: bool| {
            assert_eq!(is_process_identifier(text), is_one, "{text}");
        };
        check("<rabbit@host.example.1.2.3>", true);
        check("<rabbit@host.1.2>", false);
        check("<rabbit@host.1.2.x>", false);
        check("rabbit@host.1.2.3", false);
        check("<.1.2.3>", false);
        check("junk", false);
    }
}
