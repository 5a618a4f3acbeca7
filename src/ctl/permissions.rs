//! Commands about what users may do: permissions and topic permissions.

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Call, Command, Section},
    outcome::{Cell, Failure, NO_USER, Outcome, Rows, UNAVAILABLE},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "clear_permissions",
        Section::AccessControl,
        ("[--vhost <vhost>] <username>", "Takes a user's permissions in a virtual host away"),
        (1, 1),
        |call| {
            let (user, vhost) = (call.word(0), call.vhost());
            vec![format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ...")]
        },
        |call, broker| clear(call, broker, &["permissions", call.vhost(), call.word(0)]),
    ),
    Command::new(
        "clear_topic_permissions",
        Section::AccessControl,
        (
            "[--vhost <vhost>] <username> [<exchange>]",
            "Takes a user's topic permissions in a virtual host away, or those on one exchange",
        ),
        (1, 2),
        |call| {
            let (user, vhost) = (call.word(0), call.vhost());
            let exchange = match call.words {
                [_, exchange] => format!(" on \"{exchange}\""),
                _ => String::new(),
            };
            vec![format!(
                "Clearing topic permissions{exchange} for user \"{user}\" in vhost \"{vhost}\" ..."
            )]
        },
        |call, broker| match call.words {
            [user, exchange] => {
                let place = ["topic-permissions", call.vhost(), user, exchange];
                clear(call, broker, &place)
            }
            _ => clear(call, broker, &["topic-permissions", call.vhost(), call.word(0)]),
        },
    ),
    Command::new(
        "list_permissions",
        Section::AccessControl,
        ("[--vhost <vhost>] [--no-table-headers]", "Lists who may do what in a virtual host"),
        (0, 0),
        |call| vec![format!("Listing permissions for vhost \"{}\" ...", call.vhost())],
        |call, broker| {
            in_vhost(call, broker, "permissions", &["user", "configure", "write", "read"])
        },
    )
    .listing(),
    Command::new(
        "list_topic_permissions",
        Section::AccessControl,
        ("[--vhost <vhost>] [--no-table-headers]", "Lists topic permissions in a virtual host"),
        (0, 0),
        |call| vec![format!("Listing topic permissions for vhost \"{}\" ...", call.vhost())],
        |call, broker| {
            in_vhost(call, broker, "topic-permissions", &["user", "exchange", "write", "read"])
        },
    )
    .listing(),
    Command::new(
        "list_user_permissions",
        Section::AccessControl,
        ("[--no-table-headers] <username>", "Lists what a user may do in each virtual host"),
        (1, 1),
        |call| vec![format!("Listing permissions for user \"{}\" ...", call.word(0))],
        |call, broker| {
            let columns = ["vhost", "configure", "write", "read"];
            Ok(Outcome::Rows(of_user(call, broker, "permissions", &columns)?))
        },
    )
    .listing(),
    Command::new(
        "list_user_topic_permissions",
        Section::AccessControl,
        ("[--no-table-headers] <username>", "Lists a user's topic permissions"),
        (1, 1),
        |call| vec![format!("Listing topic permissions for user \"{}\" ...", call.word(0))],
        |call, broker| {
            let columns = ["vhost", "exchange", "write", "read"];
            let rows = of_user(call, broker, "topic-permissions", &columns)?;
            Ok(Outcome::Rows(rows.without_header()))
        },
    )
    .listing(),
    Command::new(
        "set_permissions",
        Section::AccessControl,
        (
            "[--vhost <vhost>] <username> <conf> <write> <read>",
            "Lets a user configure, write and read what these patterns match",
        ),
        (4, 4),
        |call| {
            let (user, vhost) = (call.word(0), call.vhost());
            vec![format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ...")]
        },
        |call, broker| {
            let (configure, write, read) = (call.word(1), call.word(2), call.word(3));
            let granted = json!({ "configure": configure, "write": write, "read": read });
            grant(call, broker, "permissions", &granted)
        },
    ),
    Command::new(
        "set_topic_permissions",
        Section::AccessControl,
        (
            "[--vhost <vhost>] <username> <exchange> <write> <read>",
            "Lets a user write and read routing keys that these patterns match",
        ),
        (4, 4),
        |call| {
            let (user, exchange, vhost) = (call.word(0), call.word(1), call.vhost());
            vec![format!(
                "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \
                 \"{vhost}\" ..."
            )]
        },
        |call, broker| {
            let (exchange, write, read) = (call.word(1), call.word(2), call.word(3));
            let granted = json!({ "exchange": exchange, "write": write, "read": read });
            grant(call, broker, "topic-permissions", &granted)
        },
    ),
];

fn grant(
    call: &Call<'_>,
    broker: &mut Broker,
    what: &str,
    granted: &Value,
) -> Result<Outcome, Failure> {
    need_both(call, broker)?;
    broker.put(&path(&[what, call.vhost(), call.word(0)]), granted)?.accepted()?;
    Ok(Outcome::Done)
}

/// Permissions that are not there are cleared already.
fn clear(call: &Call<'_>, broker: &mut Broker, place: &[&str]) -> Result<Outcome, Failure> {
    need_both(call, broker)?;
    let answer = broker.delete(&path(place))?;
    if !answer.is_missing() {
        answer.accepted()?;
    }
    Ok(Outcome::Done)
}

/// The user of the first argument, and the virtual host.
fn need_both(call: &Call<'_>, broker: &mut Broker) -> Result<(), Failure> {
    let (user, vhost) = (call.word(0), call.vhost());
    if broker.get(&path(&["users", user]))?.is_missing() {
        let text = format!("User {user} does not exist");
        return Err(match call.wants_json() {
            true => Failure::refused_in_json(call.node, &text),
            false => Failure::new(NO_USER, text),
        });
    }
    if broker.get(&path(&["vhosts", vhost]))?.is_missing() {
        let text = format!("Virtual host {vhost} does not exist");
        return Err(match call.wants_json() {
            true => Failure::refused_in_json(call.node, &text),
            false => Failure::new(UNAVAILABLE, text),
        });
    }
    Ok(())
}

fn in_vhost(
    call: &Call<'_>,
    broker: &mut Broker,
    what: &str,
    columns: &[&str],
) -> Result<Outcome, Failure> {
    let answer = broker.get(&path(&["vhosts", call.vhost(), what]))?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(call.vhost()));
    }
    Ok(Outcome::Rows(rows(&answer.list()?, columns)))
}

fn of_user(
    call: &Call<'_>,
    broker: &mut Broker,
    what: &str,
    columns: &[&str],
) -> Result<Rows, Failure> {
    let answer = broker.get(&path(&["users", call.word(0), what]))?;
    if answer.is_missing() {
        return Err(Failure::no_such_user_term(call.word(0)));
    }
    Ok(rows(&answer.list()?, columns))
}

fn rows(items: &[Value], columns: &[&str]) -> Rows {
    let row = |item: &Value| columns.iter().map(|name| Cell::Plain(item[*name].clone())).collect();
    Rows::new(columns, items.iter().map(row).collect())
}
