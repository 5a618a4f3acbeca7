//! Commands about the limits of virtual hosts and of users.

use serde_json::{Map, Value, json};

use super::{
    broker::{Answer, Broker},
    command::{Call, Command, Section},
    options::{Switch, Takes},
    outcome::{Cell, Failure, Outcome, Rows, UNAVAILABLE},
    place::path,
};

const GLOBAL: Switch = Switch::new("global", Takes::Nothing);

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "clear_user_limits",
        Section::Users,
        ("<username> <limit_type> | all", "Takes a user's limit away, or all of them"),
        (2, 2),
        |call| match call.word(1) {
            "all" => vec![format!("Clearing all limits for user \"{}\" ...", call.word(0))],
            limit => {
                vec![format!("Clearing \"{limit}\" limit for user \"{}\" ...", call.word(0))]
            }
        },
        clear_user_limits,
    ),
    Command::new(
        "clear_vhost_limits",
        Section::VirtualHosts,
        ("[--vhost <vhost>]", "Takes a virtual host's limits away"),
        (0, 0),
        |call| vec![format!("Clearing vhost \"{}\" limits ...", call.vhost())],
        clear_vhost_limits,
    ),
    Command::new(
        "list_user_limits",
        Section::Users,
        ("[--user <username>] [--global]", "Lists a user's limits, or all users'"),
        (0, 0),
        |call| match call.line.flag("global") {
            true => vec!["Listing limits for all users ...".to_owned()],
            false => vec![format!("Listing limits for user \"{}\" ...", user(call))],
        },
        list_user_limits,
    )
    .listing()
    .untimed()
    .with(&[GLOBAL, Switch::new("user", Takes::Text)]),
    Command::new(
        "list_vhost_limits",
        Section::VirtualHosts,
        (
            "[--vhost <vhost>] [--global] [--no-table-headers]",
            "Lists a virtual host's limits, or all virtual hosts'",
        ),
        (0, 0),
        |call| match call.line.flag("global") {
            true => vec!["Listing limits for all vhosts ...".to_owned()],
            false => vec![format!("Listing limits for vhost \"{}\" ...", call.vhost())],
        },
        list_vhost_limits,
    )
    .listing()
    .untimed()
    .with(&[GLOBAL]),
    Command::new(
        "set_user_limits",
        Section::Users,
        ("<username> <definition>", "Limits a user's connections and channels"),
        (2, 2),
        |call| {
            let (user, definition) = (call.word(0), call.word(1));
            vec![format!("Setting user limits to \"{definition}\" for user \"{user}\" ...")]
        },
        set_user_limits,
    ),
    Command::new(
        "set_vhost_limits",
        Section::VirtualHosts,
        ("[--vhost <vhost>] <definition>", "Limits a virtual host's connections and queues"),
        (1, 1),
        |call| {
            let (definition, vhost) = (call.word(0), call.vhost());
            vec![format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ...")]
        },
        set_vhost_limits,
    ),
];

/// Two of RabbitMQ, and the rates, which Leveret alone knows.
const USER_LIMITS: &[&str] =
    &["max-connections", "max-channels", "max-message-rate", "max-byte-rate"];

/// All at once, as the parameter that they are.
fn set_vhost_limits(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let value = super::json_argument(call.word(0))?;
    let vhost = call.vhost();
    let body = json!({
        "component": "vhost-limits", "vhost": vhost, "name": "limits", "value": value,
    });
    let answer = broker.put(&path(&["parameters", "vhost-limits", vhost, "limits"]), &body)?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(vhost));
    }
    answer.accepted()?;
    Ok(Outcome::Done)
}

fn clear_vhost_limits(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let place = path(&["parameters", "vhost-limits", call.vhost(), "limits"]);
    super::parameters::cleared(broker.delete(&place)?)
}

/// Each is set by itself: so that none is when one is wrong, all are looked at before.
fn set_user_limits(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let name = call.word(0);
    let limits = match super::json_argument(call.word(1))? {
        Value::Object(limits) => limits,
        other => return Err(Failure::new(UNAVAILABLE, format!("{other} is no set of limits"))),
    };
    known(name, broker.get(&path(&["users", name]))?)?;
    if let Some(fault) = fault_in(&limits) {
        return Err(Failure::new(UNAVAILABLE, fault));
    }
    for (limit, value) in &limits {
        let place = path(&["user-limits", name, limit]);
        broker.put(&place, &json!({ "value": value }))?.accepted()?;
    }
    Ok(Outcome::Done)
}

fn fault_in(limits: &Map<String, Value>) -> Option<String> {
    let unknown: Vec<_> = limits
        .iter()
        .filter(|(name, _)| !USER_LIMITS.contains(&name.as_str()))
        .map(|(name, value)| format!("{{<<\"{name}\">>,{}}}", erlang(value)))
        .collect();
    if !unknown.is_empty() {
        return Some(format!("Unrecognised terms [{}] in user-limits", unknown.join(",")));
    }
    let wrong = limits.iter().find(|(_, value)| !value.is_i64() && !value.is_u64());
    wrong.map(|(name, value)| format!("{name} should be a number, actually was {}", erlang(value)))
}

fn erlang(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<{text:?}>>"),
        other => other.to_string(),
    }
}

fn clear_user_limits(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let (name, limit) = (call.word(0), call.word(1));
    known(name, broker.get(&path(&["users", name]))?)?;
    let limits = if limit == "all" { USER_LIMITS } else { &[limit] };
    for limit in limits {
        let answer = broker.delete(&path(&["user-limits", name, limit]))?;
        if !answer.is_missing() {
            answer.accepted()?;
        }
    }
    Ok(Outcome::Done)
}

fn list_vhost_limits(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    if call.line.flag("global") {
        return all(broker, "vhost-limits", "vhost");
    }
    let answer = broker.get(&path(&["vhost-limits", call.vhost()]))?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(call.vhost()));
    }
    Ok(match (answer.list()?.first(), call.wants_json()) {
        (Some(item), true) => {
            let value = item["value"].to_string();
            Outcome::Object(json!({ "node": call.node, "result": "ok", "value": value }))
        }
        (Some(item), false) => Outcome::text(item["value"].to_string()),
        (None, _) => Outcome::Rows(Rows::new(&[], Vec::new())),
    })
}

fn list_user_limits(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    if call.line.flag("global") {
        return all(broker, "user-limits", "user");
    }
    let name = user(call);
    let limits = known(name, broker.get(&path(&["user-limits", name]))?)?.list()?;
    let value = limits.first().map_or_else(|| "{}".to_owned(), |item| item["value"].to_string());
    Ok(Outcome::text(value))
}

fn all(broker: &mut Broker, what: &str, owner: &str) -> Result<Outcome, Failure> {
    let limits = broker.get(&path(&[what]))?.list()?;
    let row = |item: &Value| {
        vec![Cell::Plain(item[owner].clone()), Cell::text(item["value"].to_string())]
    };
    Ok(Outcome::Rows(Rows::new(&[owner, "limits"], limits.iter().map(row).collect())))
}

fn user<'a>(call: &'a Call<'_>) -> &'a str {
    call.line.text("user").unwrap_or("guest")
}

fn known(name: &str, answer: Answer) -> Result<Answer, Failure> {
    match answer.is_missing() {
        true => Err(Failure::no_such_user_term(name)),
        false => answer.accepted(),
    }
}
