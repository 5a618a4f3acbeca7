//! Commands that empty and delete queues.

use super::{
    broker::Broker,
    command::{Call, Command, Fault, Section},
    options::{Switch, Takes},
    outcome::{Failure, Outcome, UNAVAILABLE, USAGE},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "delete_queue",
        Section::Queues,
        ("<queue_name> [--if-empty|-e] [--if-unused|-u]", "Deletes a queue"),
        (1, 1),
        |call| {
            let mut conditions = Vec::new();
            if call.line.flag("if-empty") {
                conditions.push("if queue is empty ");
            }
            if call.line.flag("if-unused") {
                conditions.push("if queue is unused ");
            }
            let (queue, vhost) = (call.word(0), call.vhost());
            let conditions = conditions.join("and ");
            vec![format!("Deleting queue '{queue}' on vhost '{vhost}' {conditions}...")]
        },
        delete_queue,
    )
    .timed()
    .with(&[
        Switch::with_letter("if-empty", 'e', Takes::Nothing),
        Switch::with_letter("if-unused", 'u', Takes::Nothing),
    ])
    .checked(|call| match call.word(0) {
        "" => Err(Fault::Bad("queue name cannot be an empty string".to_owned())),
        _ => Ok(()),
    }),
    Command::new(
        "purge_queue",
        Section::Queues,
        ("<queue>", "Throws away the messages that a queue has ready"),
        (1, 1),
        |call| {
            let (queue, vhost) = (call.word(0), call.vhost());
            vec![format!("Purging queue '{queue}' in vhost '{vhost}' ...")]
        },
        purge_queue,
    )
    .timed(),
];

fn purge_queue(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let answer = broker.delete(&path(&["queues", call.vhost(), call.word(0), "contents"]))?;
    if answer.is_missing() {
        return Err(Failure::new(UNAVAILABLE, "not_found"));
    }
    answer.accepted()?;
    Ok(Outcome::Done)
}

/// The count is of the moment before: HTTP does not tell how many messages went.
fn delete_queue(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let missing = || Failure::new(USAGE, "Queue not found");
    let place = path(&["queues", call.vhost(), call.word(0)]);
    let found = broker.get(&place)?;
    if found.is_missing() {
        return Err(missing());
    }
    let ready = found.accepted()?.json()["messages_ready"].as_u64().unwrap_or_default();
    let conditions = ["if-empty", "if-unused"];
    let conditions: Vec<_> = conditions
        .iter()
        .filter(|name| call.line.flag(name))
        .map(|name| format!("{name}=true"))
        .collect();
    let answer = broker.delete(&format!("{place}?{}", conditions.join("&")))?;
    if answer.is_missing() {
        return Err(missing());
    }
    if !answer.status.is_success() {
        let reason = answer.reason();
        let text = match reason.as_str() {
            reason if reason.ends_with("not empty") => "Queue is not empty",
            reason if reason.ends_with("in use") => "Queue is in use",
            reason => return Err(Failure::new(UNAVAILABLE, reason)),
        };
        return Err(Failure::new(USAGE, text));
    }
    Ok(Outcome::text(format!("Queue was successfully deleted with {ready} ready messages")))
}
