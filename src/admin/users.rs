//! Users: who they are, how their passwords are kept, what they are tagged with.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    limits,
    operator::Role,
    routes::{Route, delete, get, post, put},
};
use crate::{
    broker::{Hashing, PasswordHash, User},
    model::{LogPosition, ShortString},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("users", &[get(Role::Administrator, list)]),
    Route::new("users/without-permissions", &[get(Role::Administrator, list_powerless)]),
    Route::new("users/bulk-delete", &[post(Role::Administrator, delete_several)]),
    Route::new(
        "users/:user",
        &[
            get(Role::Administrator, show),
            put(Role::Administrator, set),
            delete(Role::Administrator, remove),
        ],
    ),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::list(call.broker().users().iter().map(|(name, user)| to_json(name, user)).collect()))
}

/// Those who may enter no virtual host.
fn list_powerless(call: &Call) -> Result<Reply, Failure> {
    let held = call.broker().permissions();
    let users = call.broker().users().into_iter();
    let powerless = users.filter(|(name, _)| !held.iter().any(|held| held.user == *name));
    Ok(Reply::list(powerless.map(|(name, user)| to_json(&name, &user)).collect()))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("user")?;
    let user = call.broker().user(&name).ok_or_else(Failure::not_there)?;
    Ok(Reply::one(to_json(&name, &user)))
}

fn set(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("user")?;
    let known = call.broker().user(&name);
    let user = read(&call.object()?, known.as_ref(), call.node.entropy())?;
    Ok(Reply::put(known.is_none(), call.broker().put_user(name, user)))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let position = call.broker().delete_user(&call.name("user")?);
    position.map(Reply::done).ok_or_else(Failure::not_there)
}

/// One that is not there is named in the end; the others are gone by then (RabbitMQ 3.10).
fn delete_several(call: &Call) -> Result<Reply, Failure> {
    let object = call.object_with(&["users"])?;
    let wrong = || Failure::bad_request("users_must_be_a_list_of_names");
    let names = object["users"].as_array().ok_or_else(wrong)?;
    let mut written = LogPosition::default();
    let mut missing = None;
    for name in names {
        let name = name.as_str().ok_or_else(wrong)?;
        let known = ShortString::try_from(name).ok();
        match known.and_then(|known| call.broker().delete_user(&known)) {
            Some(position) => written = written.max(position),
            None => missing = missing.or(Some(name)),
        }
    }
    match missing {
        None => Ok(Reply::done(written)),
        Some(name) => Err(no_such_user(name)),
    }
}

pub(super) fn no_such_user(name: &str) -> Failure {
    Failure::bad_request(vec!["no_such_user", name])
}

pub(super) fn to_json(name: &ShortString, user: &User) -> Value {
    let hash = user.password.as_ref();
    let tags: Vec<_> = user.tags.iter().map(|tag| tag.text()).collect();
    json!({
        "name": name.text(),
        "password_hash": hash.map(|hash| STANDARD.encode(hash.octets())).unwrap_or_default(),
        "hashing_algorithm": hash.map(PasswordHash::hashing).unwrap_or_default().as_str(),
        "tags": tags,
        "limits": limits::to_json(&user.limits),
    })
}

/// The user whom an object describes. Limits that it does not name stay those of `known`.
pub(super) fn read(
    object: &Map<String, Value>,
    known: Option<&User>,
    entropy: u128,
) -> Result<User, Failure> {
    let tags = object.get("tags").ok_or_else(|| Failure::bad_request("tags_not_present"))?;
    let limits = match object.get("limits") {
        None => known.map(|user| user.limits.clone()).unwrap_or_default(),
        Some(named) => limits::read(named, limits::OF_USERS, "user-limits")?,
    };
    Ok(User { password: password(object, entropy)?, tags: read_tags(tags)?, limits })
}

fn password(object: &Map<String, Value>, entropy: u128) -> Result<Option<PasswordHash>, Failure> {
    let text = |key: &'static str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Failure::bad_request(format!("{key}_must_be_a_string"))),
    };
    let hashing = match text("hashing_algorithm")? {
        None => Hashing::default(),
        Some(name) => Hashing::parse(name.as_bytes())
            .ok_or_else(|| Failure::bad_request(vec!["unknown_hashing_algorithm", name]))?,
    };
    let [salt, secret] = [entropy as u64, (entropy >> 64) as u64];
    let salt = (salt as u32).to_le_bytes();
    // No password is hashed with MD5 any more.
    let strong = if hashing == Hashing::Md5 { Hashing::default() } else { hashing };
    match (text("password")?, text("password_hash")?) {
        (Some(_), Some(_)) => {
            Err(Failure::bad_request("both_password_and_password_hash_are_provided"))
        }
        (None, Some("")) => Ok(None),
        (None, Some(hash)) => match STANDARD.decode(hash) {
            Ok(octets) => Ok(Some(PasswordHash::from_octets(hashing, &octets))),
            Err(_) => Err(Failure::bad_request(vec!["not_base64", hash])),
        },
        // A password that nobody knows: logging in with one is impossible.
        (None | Some(""), None) => Ok(Some(PasswordHash::new(strong, &secret.to_le_bytes(), salt))),
        (Some(password), None) => Ok(Some(PasswordHash::new(strong, password.as_bytes(), salt))),
    }
}

/// Tags as a list, or as one text with commas.
pub(super) fn read_tags(tags: &Value) -> Result<Vec<ShortString>, Failure> {
    let wrong = || Failure::bad_request("tags_must_be_a_list_or_a_string");
    let words: Vec<&str> = match tags {
        Value::String(text) => text.split(',').map(str::trim).collect(),
        Value::Array(items) => {
            items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    let words = words.into_iter().filter(|word| !word.is_empty());
    words.map(|word| ShortString::try_from(word).map_err(|_| wrong())).collect()
}
