//! Commands about virtual hosts and what is said of them.

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Call, Command, Fault, Section, columns_named},
    options::{Switch, Takes},
    outcome::{Cell, DATA_ERROR, Failure, Outcome, Rows},
    place::path,
};

const METADATA: &[Switch] = &[
    Switch::with_letter("description", 'd', Takes::Text),
    Switch::new("tags", Takes::Text),
    Switch::new("default-queue-type", Takes::Text),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "add_vhost",
        Section::VirtualHosts,
        (
            "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" \
             --default-queue-type <quorum|classic|stream>]",
            "Makes a virtual host",
        ),
        (1, 1),
        |call| vec![format!("Adding vhost \"{}\" ...", call.word(0))],
        add_vhost,
    )
    .with(METADATA),
    Command::new(
        "delete_vhost",
        Section::VirtualHosts,
        ("<vhost>", "Deletes a virtual host and everything in it"),
        (1, 1),
        |call| vec![format!("Deleting vhost \"{}\" ...", call.word(0))],
        delete_vhost,
    ),
    Command::new(
        "list_vhosts",
        Section::AccessControl,
        ("[--no-table-headers] [<column> ...]", "Lists virtual hosts"),
        (0, usize::MAX),
        |_| vec!["Listing vhosts ...".to_owned()],
        list_vhosts,
    )
    .listing()
    .with_columns(&[
        "name",
        "description",
        "tags",
        "default_queue_type",
        "tracing",
        "cluster_state",
    ]),
    Command::new(
        "set_vhost_tags",
        Section::VirtualHosts,
        ("<vhost> <tag> [...]", "Gives a virtual host these tags, and no others"),
        (1, usize::MAX),
        |call| {
            let tags = call.words.get(1..).unwrap_or_default().join(", ");
            vec![format!("Setting tags for virtual host \"{}\" to [{tags}] ...", call.word(0))]
        },
        set_vhost_tags,
    ),
    Command::new(
        "update_vhost_metadata",
        Section::VirtualHosts,
        (
            "<vhost> [--description <description>] [--tags \"<tag1>,<tag2>,<...>\"] \
             [--default-queue-type <quorum|classic|stream>]",
            "Changes a virtual host's description, tags or default queue type",
        ),
        (1, 1),
        |call| vec![format!("Updating metadata of vhost \"{}\" ...", call.word(0))],
        update_vhost_metadata,
    )
    .with(METADATA)
    .checked(|call| {
        let named = METADATA.iter().filter(|switch| call.line.text(switch.name).is_some());
        match call.line.text("default-queue-type") {
            _ if named.count() == 0 => Err(Fault::NotEnough),
            None | Some("quorum" | "stream" | "classic") => Ok(()),
            Some(other) => Err(Fault::Bad(format!(
                "Default queue type must be one of: quorum, stream, classic. Provided: {other}"
            ))),
        }
    }),
];

/// A virtual host that is there already stays as it is.
fn add_vhost(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let place = path(&["vhosts", call.word(0)]);
    if !broker.get(&place)?.is_missing() {
        return Ok(Outcome::Done);
    }
    broker.put(&place, &metadata(call, &Value::Null))?.accepted()?;
    Ok(Outcome::Done)
}

fn update_vhost_metadata(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let place = path(&["vhosts", call.word(0)]);
    let answer = broker.get(&place)?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(call.word(0)));
    }
    let known = answer.accepted()?.json();
    broker.put(&place, &metadata(call, &known))?.accepted()?;
    Ok(Outcome::Done)
}

/// What the options say, and the rest as it is known: HTTP sets everything at once.
fn metadata(call: &Call<'_>, known: &Value) -> Value {
    let text = |option: &str, key: &str| match call.line.text(option) {
        Some(text) => Value::from(text),
        None => known[key].clone(),
    };
    let tags = match call.line.text("tags") {
        Some(tags) => Value::from(tags),
        None => joined(&known["tags"]),
    };
    let mut body = json!({
        "description": text("description", "description"),
        "tags": tags,
        "tracing": known["tracing"],
        "default_queue_type": text("default-queue-type", "default_queue_type"),
    });
    if let Some(body) = body.as_object_mut() {
        body.retain(|_, value| !value.is_null() && *value != json!("undefined"));
    }
    body
}

fn joined(tags: &Value) -> Value {
    let tags: Vec<_> = tags.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    Value::from(tags.join(","))
}

fn delete_vhost(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let answer = broker.delete(&path(&["vhosts", call.word(0)]))?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(call.word(0)));
    }
    answer.accepted()?;
    Ok(Outcome::Done)
}

fn set_vhost_tags(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let name = call.word(0);
    let place = path(&["vhosts", name]);
    let answer = broker.get(&place)?;
    if answer.is_missing() {
        return Err(match call.wants_json() {
            true => {
                let text = format!("Virtual host \"{name}\" does not exists");
                Failure::refused_in_json(call.node, &text)
            }
            false => Failure::new(DATA_ERROR, format!("Virtual host \"{name}\" does not exist")),
        });
    }
    let mut changed = metadata(call, &answer.accepted()?.json());
    changed["tags"] = Value::from(call.words.get(1..).unwrap_or_default().join(","));
    broker.put(&place, &changed)?.accepted()?;
    Ok(Outcome::Done)
}

fn list_vhosts(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let mut columns = columns_named(call.words);
    if columns.is_empty() {
        columns.push("name".to_owned());
    }
    let vhosts = broker.get("/api/vhosts")?.list()?;
    let row = |vhost: &Value| columns.iter().map(|name| cell(vhost, name)).collect();
    let rows = vhosts.iter().map(row).collect();
    let columns: Vec<_> = columns.iter().map(String::as_str).collect();
    Ok(Outcome::Rows(Rows::new(&columns, rows)))
}

fn cell(vhost: &Value, column: &str) -> Cell {
    match (column, &vhost[column]) {
        ("tags", Value::Array(tags)) => {
            Cell::Words(tags.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        ("cluster_state", Value::Object(nodes)) => {
            let state = |state: &Value| state.as_str().unwrap_or_default().to_owned();
            Cell::Pairs(nodes.iter().map(|(node, value)| (node.clone(), state(value))).collect())
        }
        (_, other) => Cell::Plain(other.clone()),
    }
}
