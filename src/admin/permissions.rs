//! Permissions: what users may do with the exchanges and queues of a virtual host, by name.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    operator::Role,
    routes::{Route, delete, get, put},
};
use crate::{
    broker::{BadPattern, Missing, Permission, PermissionView, User},
    model::{ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("permissions", &[get(Role::Administrator, list)]),
    Route::new(
        "permissions/:vhost/:user",
        &[
            get(Role::Administrator, show),
            put(Role::Administrator, set),
            delete(Role::Administrator, remove),
        ],
    ),
    Route::new("users/:user/permissions", &[get(Role::Administrator, of_user)]),
    Route::new("vhosts/:vhost/permissions", &[get(Role::Administrator, in_home)]),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    Ok(select(call, |_| true))
}

fn of_user(call: &Call) -> Result<Reply, Failure> {
    let (name, _) = user(call)?;
    Ok(select(call, |held| held.user == name))
}

fn in_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    Ok(select(call, |held| held.virtual_host == home))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    let ((name, _), home) = (user(call)?, call.home()?);
    let all = call.broker().permissions();
    let held = all.iter().find(|held| held.user == name && held.virtual_host == home);
    held.map(to_json).map(Reply::one).ok_or_else(Failure::not_there)
}

fn set(call: &Call) -> Result<Reply, Failure> {
    let nobody = |_| Failure::bad_request("vhost_or_user_not_found");
    let (user, virtual_host) = place(call).map_err(nobody)?;
    let permission = read(&call.object_with(&["configure", "write", "read"])?)?;
    let is_new = !call.broker().authority().may_enter(&user, &virtual_host);
    let held = PermissionView { user, virtual_host, permission };
    let written = call.broker().set_permission(held).map_err(|missing| gone(&missing))?;
    Ok(Reply::put(is_new, written))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let (user, home) = place(call)?;
    let written = call.broker().clear_permission(&user, &home);
    written.map(Reply::done).ok_or_else(Failure::not_there)
}

fn select(call: &Call, is_meant: impl Fn(&PermissionView) -> bool) -> Reply {
    let all = call.broker().permissions();
    Reply::list(all.iter().filter(|held| is_meant(held)).map(to_json).collect())
}

/// The user of the path, who must be there.
pub(super) fn user(call: &Call) -> Result<(ShortString, User), Failure> {
    let name = call.name("user")?;
    let user = call.broker().user(&name).ok_or_else(Failure::not_there)?;
    Ok((name, user))
}

/// User and virtual host of the path, both of which must be there.
pub(super) fn place(call: &Call) -> Result<(ShortString, VirtualHostName), Failure> {
    Ok((user(call)?.0, call.home()?))
}

/// What is missing by the time that it is used.
pub(super) fn gone(missing: &Missing) -> Failure {
    match missing {
        Missing::User(name) => Failure::bad_request(vec!["no_such_user".into(), name.text()]),
        Missing::VirtualHost(name) => {
            Failure::bad_request(vec!["no_such_vhost".into(), name.text()])
        }
    }
}

pub(super) fn to_json(held: &PermissionView) -> Value {
    let Permission { configure, write, read } = &held.permission;
    json!({
        "user": held.user.text(),
        "vhost": held.virtual_host.text(),
        "configure": configure.as_str(),
        "write": write.as_str(),
        "read": read.as_str(),
    })
}

pub(super) fn read(object: &Map<String, Value>) -> Result<Permission, Failure> {
    let [configure, write, read] = ["configure", "write", "read"].map(|key| text(object, key));
    Permission::new(configure?, write?, read?).map_err(|bad| invalid(&bad))
}

/// A text that must be there.
pub(super) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, Failure> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Failure::bad_request(format!("{key}_must_be_a_string"))),
        None => Err(Failure::bad_request(format!("[{{key_missing,{key}}}]"))),
    }
}

pub(super) fn invalid(bad: &BadPattern) -> Failure {
    Failure::bad_request(vec!["invalid_regexp", &bad.text, &bad.fault])
}
