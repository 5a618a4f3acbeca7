//! Commands about users: their passwords, their tags.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, BufRead, Write},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    broker::{Answer, Broker},
    command::{Call, Command, Fault, Needs, Section},
    outcome::{Cell, DATA_ERROR, Failure, NO_USER, Outcome, Rows, SOFTWARE},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "add_user",
        Section::Users,
        ("<username> <password>", "Makes a user, who has no permissions yet"),
        (1, 2),
        |call| vec![format!("Adding user \"{}\" ...", call.word(0))],
        add_user,
    )
    .checked(|call| match call.words {
        [name, _] if name.is_empty() => {
            Err(Fault::Bad("user cannot be an empty string".to_owned()))
        }
        _ => Ok(()),
    }),
    Command::new(
        "authenticate_user",
        Section::Users,
        ("<username> <password>", "Tries a user's password and fails if it is wrong"),
        (1, 2),
        |call| vec![format!("Authenticating user \"{}\" ...", call.word(0))],
        authenticate_user,
    ),
    Command::new(
        "change_password",
        Section::Users,
        ("<username> <password>", "Gives a user another password"),
        (1, 2),
        |call| vec![format!("Changing password for user \"{}\" ...", call.word(0))],
        change_password,
    ),
    Command::new(
        "clear_password",
        Section::Users,
        ("<username>", "Takes a user's password away, so that none is right"),
        (1, 1),
        |call| vec![format!("Clearing password for user \"{}\" ...", call.word(0))],
        clear_password,
    ),
    Command::new(
        "delete_user",
        Section::Users,
        ("<username>", "Deletes a user"),
        (1, 1),
        |call| vec![format!("Deleting user \"{}\" ...", call.word(0))],
        delete_user,
    ),
    Command::new(
        "hash_password",
        Section::Users,
        ("<cleartext_password>", "Prints the salted SHA-256 hash of a password"),
        (0, 1),
        |call| match call.words {
            [] => vec!["Will hash provided password".to_owned()],
            _ => vec![format!("Will hash password {}", call.word(0))],
        },
        hash_password,
    )
    .needing(Needs::Nothing)
    .checked(|call| match call.words {
        [password] if password.is_empty() => {
            Err(Fault::Bad("password cannot be an empty string".to_owned()))
        }
        _ => Ok(()),
    }),
    Command::new(
        "list_users",
        Section::Users,
        ("[--no-table-headers]", "Lists users and their tags"),
        (0, 0),
        |_| vec!["Listing users ...".to_owned()],
        list_users,
    )
    .listing(),
    Command::new(
        "set_user_tags",
        Section::Users,
        ("<username> <tag> [...]", "Gives a user these tags, and no others"),
        (1, usize::MAX),
        |call| {
            let tags = call.words.get(1..).unwrap_or_default().join(", ");
            vec![format!("Setting tags for user \"{}\" to [{tags}] ...", call.word(0))]
        },
        set_user_tags,
    ),
];

const ADDED: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! See \
                     'rabbitmqctl help set_permissions' to learn more.";
const NO_PASSWORD: &str = "Password is not provided via argument or stdin";

fn add_user(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let name = call.word(0);
    let password = password(call, DATA_ERROR)?;
    let place = path(&["users", name]);
    if !broker.get(&place)?.is_missing() {
        return Err(match call.wants_json() {
            true => Failure::refused_in_json(call.node, &format!("User {name} already exists")),
            false => Failure::new(SOFTWARE, format!("User \"{name}\" already exists")),
        });
    }
    broker.put(&place, &with_password(&password, Value::from("")))?.accepted()?;
    Ok(match (call.wants_json(), call.is_terse()) {
        (true, _) => {
            Outcome::Object(json!({ "status": "ok", "node": call.node, "message": ADDED }))
        }
        (false, true) => Outcome::Done,
        (false, false) => Outcome::text(ADDED),
    })
}

/// What makes a user of this password; an empty one is no password.
fn with_password(password: &str, tags: Value) -> Value {
    match password {
        "" => json!({ "password_hash": "", "tags": tags }),
        password => json!({ "password": password, "tags": tags }),
    }
}

fn authenticate_user(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let name = call.word(0);
    let password = password(call, SOFTWARE)?;
    let question = json!({ "username": name, "password": password });
    let answer = broker.post("/api/leveret/authenticate", question.to_string())?.accepted()?.json();
    if answer["authenticated"] == json!(true) {
        return Ok(Outcome::text("Success"));
    }
    let reason = match answer["reason"].as_str() {
        Some(reason) => reason.to_owned(),
        None => format!("user '{name}' - invalid credentials"),
    };
    let text = format!("Error: failed to authenticate user \"{name}\"\n{reason}");
    Err(Failure::new(DATA_ERROR, text))
}

fn change_password(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let password = password(call, SOFTWARE)?;
    let user = existing(call, broker)?;
    let changed = with_password(&password, user["tags"].clone());
    broker.put(&path(&["users", call.word(0)]), &changed)?.accepted()?;
    Ok(Outcome::Done)
}

fn clear_password(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let place = path(&["users", call.word(0)]);
    let answer = broker.get(&place)?;
    if answer.is_missing() {
        return Err(Failure::no_such_user_term(call.word(0)));
    }
    let tags = answer.accepted()?.json()["tags"].clone();
    broker.put(&place, &with_password("", tags))?.accepted()?;
    Ok(Outcome::Done)
}

fn delete_user(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let answer = broker.delete(&path(&["users", call.word(0)]))?;
    known(call, answer)?.accepted()?;
    Ok(Outcome::Done)
}

fn set_user_tags(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let mut user = existing(call, broker)?;
    user["tags"] = json!(call.words.get(1..).unwrap_or_default());
    broker.put(&path(&["users", call.word(0)]), &user)?.accepted()?;
    Ok(Outcome::Done)
}

fn list_users(_: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let users = broker.get("/api/users")?.list()?;
    let rows = users.iter().map(|user| {
        let tags = user["tags"].as_array().into_iter().flatten();
        let tags = tags.filter_map(Value::as_str).map(str::to_owned).collect();
        vec![Cell::Plain(user["name"].clone()), Cell::Words(tags)]
    });
    Ok(Outcome::Rows(Rows::new(&["user", "tags"], rows.collect())))
}

/// `base64(salt, SHA-256(salt, password))`, as RabbitMQ keeps it.
fn hash_password(call: &Call<'_>, _: &mut Broker) -> Result<Outcome, Failure> {
    let password = match call.words {
        [password] => password.clone(),
        _ => asked_for(call, SOFTWARE)?,
    };
    // A hash under keys that the system's randomness made.
    let drawn = RandomState::new().build_hasher().finish();
    let [first, second, third, fourth, ..] = drawn.to_be_bytes();
    let salt = [first, second, third, fourth];
    let digest = Sha256::new().chain_update(salt).chain_update(&password).finalize();
    Ok(Outcome::text(BASE64_STANDARD.encode([salt.as_slice(), digest.as_slice()].concat())))
}

fn existing(call: &Call<'_>, broker: &mut Broker) -> Result<Value, Failure> {
    let answer = broker.get(&path(&["users", call.word(0)]))?;
    Ok(known(call, answer)?.accepted()?.json())
}

fn known(call: &Call<'_>, answer: Answer) -> Result<Answer, Failure> {
    if !answer.is_missing() {
        return Ok(answer);
    }
    let name = call.word(0);
    Err(match call.wants_json() {
        true => Failure::refused_in_json(call.node, &format!("User {name} does not exists")),
        false => Failure::new(NO_USER, format!("User \"{name}\" does not exist")),
    })
}

/// The second argument, or a line of standard input.
fn password(call: &Call<'_>, code: u8) -> Result<String, Failure> {
    match call.words {
        [_, password] => Ok(password.clone()),
        _ => asked_for(call, code),
    }
}

fn asked_for(call: &Call<'_>, code: u8) -> Result<String, Failure> {
    if !call.is_terse() {
        // Whoever closed stdout does not want to be asked.
        let _nobody_reads_it = writeln!(io::stdout(), "Password: ");
    }
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(Failure::new(code, NO_PASSWORD)),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(Failure::new(code, format!("{NO_PASSWORD}: {error}"))),
    }
}
