//! Topic permissions: with which routing keys users may publish to a topic exchange, and bind.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    operator::Role,
    permissions::{self, gone, place, text},
    routes::{Route, delete, get, put},
};
use crate::{
    broker::{TopicPermission, TopicPermissionView},
    model::{ExchangeName, LogPosition, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("topic-permissions", &[get(Role::Administrator, list)]),
    Route::new("topic-permissions/:vhost/:user", OPERATIONS),
    Route::new("topic-permissions/:vhost/:user/:exchange", OPERATIONS),
    Route::new("users/:user/topic-permissions", &[get(Role::Administrator, of_user)]),
    Route::new("vhosts/:vhost/topic-permissions", &[get(Role::Administrator, in_home)]),
];

const OPERATIONS: &[super::routes::Operation] = &[
    get(Role::Administrator, show),
    put(Role::Administrator, set),
    delete(Role::Administrator, remove),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    Ok(select(call, |_| true))
}

fn of_user(call: &Call) -> Result<Reply, Failure> {
    let (name, _) = permissions::user(call)?;
    Ok(select(call, |held| held.user == name))
}

fn in_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    Ok(select(call, |held| held.virtual_host == home))
}

/// All of the user's in the virtual host, whether an exchange is named or not (RabbitMQ 3.10).
fn show(call: &Call) -> Result<Reply, Failure> {
    let (user, home) = place(call)?;
    let held = of_place(call, &user, &home);
    if held.is_empty() {
        return Err(Failure::not_there());
    }
    Ok(Reply::list(held.iter().map(to_json).collect()))
}

fn set(call: &Call) -> Result<Reply, Failure> {
    let nobody = |_| Failure::bad_request("vhost_or_user_not_found");
    let (user, virtual_host) = place(call).map_err(nobody)?;
    let is_new = of_place(call, &user, &virtual_host).is_empty();
    let object = call.object_with(&["exchange", "write", "read"])?;
    let held = read(&object, user, virtual_host)?;
    let written = call.broker().set_topic_permission(held).map_err(|missing| gone(&missing))?;
    Ok(Reply::put(is_new, written))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let (user, home) = place(call)?;
    let all = of_place(call, &user, &home);
    if all.is_empty() {
        return Err(Failure::not_there());
    }
    let exchange = call.parts.iter().find(|(name, _)| *name == "exchange");
    let meant = |held: &&TopicPermissionView| {
        exchange.is_none_or(|(_, exchange)| **held.exchange == **exchange)
    };
    let mut written = LogPosition::default();
    for held in all.iter().filter(meant) {
        let cleared = call.broker().clear_topic_permission(&user, &home, &held.exchange);
        written = written.max(cleared.unwrap_or_default());
    }
    Ok(Reply::done(written))
}

fn of_place(call: &Call, user: &ShortString, home: &VirtualHostName) -> Vec<TopicPermissionView> {
    let mut all = call.broker().topic_permissions();
    all.retain(|held| held.user == *user && held.virtual_host == *home);
    all
}

fn select(call: &Call, is_meant: impl Fn(&TopicPermissionView) -> bool) -> Reply {
    let all = call.broker().topic_permissions();
    Reply::list(all.iter().filter(|held| is_meant(held)).map(to_json).collect())
}

pub(super) fn to_json(held: &TopicPermissionView) -> Value {
    json!({
        "user": held.user.text(),
        "vhost": held.virtual_host.text(),
        "exchange": held.exchange.text(),
        "write": held.permission.write(),
        "read": held.permission.read(),
    })
}

pub(super) fn read(
    object: &Map<String, Value>,
    user: ShortString,
    virtual_host: VirtualHostName,
) -> Result<TopicPermissionView, Failure> {
    let exchange = ExchangeName::try_from(text(object, "exchange")?)
        .map_err(|_| Failure::bad_request("exchange_name_too_long"))?;
    let (write, read) = (text(object, "write")?, text(object, "read")?);
    let permission = TopicPermission::new(&user, &virtual_host, write, read)
        .map_err(|bad| permissions::invalid(&bad))?;
    Ok(TopicPermissionView { user, virtual_host, exchange, permission })
}
