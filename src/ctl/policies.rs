//! Commands about policies and operator policies.

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Call, Command, Section},
    options::{Switch, Takes},
    outcome::{Cell, Failure, Outcome, Rows},
    place::path,
};

const OPTIONS: &[Switch] =
    &[Switch::new("priority", Takes::Number), Switch::new("apply-to", Takes::Text)];
const LIST_USAGE: &str = "[--vhost <vhost>] [--no-table-headers]";
const SET_USAGE: &str = "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> \
                         <pattern> <definition>";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "clear_operator_policy",
        Section::Policies,
        ("[--vhost <vhost>] <name>", "Deletes an operator policy"),
        (1, 1),
        |call| {
            let (name, vhost) = (call.word(0), call.vhost());
            vec![format!("Clearing operator policy \"{name}\" on vhost \"{vhost}\" ...")]
        },
        |call, broker| clear(call, broker, "operator-policies"),
    ),
    Command::new(
        "clear_policy",
        Section::Policies,
        ("[--vhost <vhost>] <name>", "Deletes a policy"),
        (1, 1),
        |call| {
            let (name, vhost) = (call.word(0), call.vhost());
            vec![format!("Clearing policy \"{name}\" on vhost \"{vhost}\" ...")]
        },
        |call, broker| clear(call, broker, "policies"),
    ),
    Command::new(
        "list_operator_policies",
        Section::Policies,
        (LIST_USAGE, "Lists a virtual host's operator policies"),
        (0, 0),
        |call| {
            vec![format!("Listing operator policy overrides for vhost \"{}\" ...", call.vhost())]
        },
        |call, broker| list(call, broker, "operator-policies"),
    )
    .listing(),
    Command::new(
        "list_policies",
        Section::Policies,
        (LIST_USAGE, "Lists a virtual host's policies"),
        (0, 0),
        |call| vec![format!("Listing policies for vhost \"{}\" ...", call.vhost())],
        |call, broker| list(call, broker, "policies"),
    )
    .listing(),
    Command::new(
        "set_operator_policy",
        Section::Policies,
        (SET_USAGE, "Sets an operator policy, which users' policies cannot exceed"),
        (3, 3),
        |call| vec![setting("operator policy override", call)],
        |call, broker| set(call, broker, "operator-policies"),
    )
    .with(OPTIONS),
    Command::new(
        "set_policy",
        Section::Policies,
        (SET_USAGE, "Sets a policy for the queues and exchanges that its pattern matches"),
        (3, 3),
        |call| vec![setting("policy", call)],
        |call, broker| set(call, broker, "policies"),
    )
    .with(OPTIONS),
];

fn setting(what: &str, call: &Call<'_>) -> String {
    let (name, pattern, definition) = (call.word(0), call.word(1), call.word(2));
    let (priority, vhost) = (priority(call), call.vhost());
    format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \
         \"{priority}\" for vhost \"{vhost}\" ..."
    )
}

fn priority(call: &Call<'_>) -> i64 {
    call.line.number("priority").unwrap_or_default()
}

fn set(call: &Call<'_>, broker: &mut Broker, what: &str) -> Result<Outcome, Failure> {
    let definition = super::json_argument(call.word(2))?;
    let policy = json!({
        "pattern": call.word(1),
        "definition": definition,
        "priority": priority(call),
        "apply-to": call.line.text("apply-to").unwrap_or("all"),
    });
    let answer = broker.put(&path(&[what, call.vhost(), call.word(0)]), &policy)?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(call.vhost()));
    }
    answer.accepted()?;
    Ok(Outcome::Done)
}

fn clear(call: &Call<'_>, broker: &mut Broker, what: &str) -> Result<Outcome, Failure> {
    super::parameters::cleared(broker.delete(&path(&[what, call.vhost(), call.word(0)]))?)
}

fn list(call: &Call<'_>, broker: &mut Broker, what: &str) -> Result<Outcome, Failure> {
    const COLUMNS: &[&str] = &["vhost", "name", "pattern", "apply-to", "definition", "priority"];
    let answer = broker.get(&path(&[what, call.vhost()]))?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(call.vhost()));
    }
    let row = |policy: &Value| {
        let cell = |name: &&str| match *name {
            "definition" => Cell::text(policy["definition"].to_string()),
            name => Cell::Plain(policy[name].clone()),
        };
        COLUMNS.iter().map(cell).collect()
    };
    Ok(Outcome::Rows(Rows::new(COLUMNS, answer.list()?.iter().map(row).collect())))
}
