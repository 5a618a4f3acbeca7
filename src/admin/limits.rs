//! Limits of users and of virtual hosts.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    erlang,
    operator::Role,
    routes::{Route, delete, get, put},
    users,
};
use crate::{
    broker::{Broker, User},
    model::{Limit, Limits, LogPosition, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("vhost-limits", &[get(Role::Operator, of_homes)]),
    Route::new("vhost-limits/:vhost", &[get(Role::Visible, of_homes)]),
    Route::new(
        "vhost-limits/:vhost/:name",
        &[put(Role::Administrator, limit_home), delete(Role::Administrator, free_home)],
    ),
    Route::new("user-limits", &[get(Role::Operator, of_users)]),
    Route::new("user-limits/:user", &[get(Role::Operator, of_user)]),
    Route::new(
        "user-limits/:user/:name",
        &[put(Role::Administrator, limit_user), delete(Role::Administrator, free_user)],
    ),
];

/// What may be limited of a virtual host: two by RabbitMQ, the rates here alone.
pub(super) const OF_HOMES: &[Limit] =
    &[Limit::Connections, Limit::Queues, Limit::MessageRate, Limit::OctetRate];

pub(super) const OF_USERS: &[Limit] =
    &[Limit::Connections, Limit::Channels, Limit::MessageRate, Limit::OctetRate];

fn of_homes(call: &Call) -> Result<Reply, Failure> {
    let mut items = Vec::new();
    for home in call.homes()? {
        let options = call.broker().virtual_host_options(&home);
        let limits = options.map(|options| options.limits.clone()).unwrap_or_default();
        if !limits.is_empty() {
            items.push(json!({ "vhost": home.text(), "value": to_json(&limits) }));
        }
    }
    Ok(Reply::list(items))
}

fn of_users(call: &Call) -> Result<Reply, Failure> {
    let users = call.broker().users().into_iter();
    let limited = users.filter(|(_, user)| !user.limits.is_empty());
    Ok(Reply::list(limited.map(|(name, user)| of_one(&name, &user)).collect()))
}

fn of_user(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("user")?;
    let user = call.broker().user(&name).ok_or_else(Failure::not_there)?;
    let is_limited = !user.limits.is_empty();
    Ok(Reply::list(if is_limited { vec![of_one(&name, &user)] } else { Vec::new() }))
}

fn of_one(name: &ShortString, user: &User) -> Value {
    json!({ "user": name.text(), "value": to_json(&user.limits) })
}

fn limit_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home_to_change()?;
    let (name, value) = named_value(call)?;
    let named = Value::Object(Map::from_iter([(name.to_owned(), value)]));
    let new = read(&named, OF_HOMES, "limits").map_err(|failure| validation(&failure))?;
    let written = change_home(call.broker(), &home, |limits| merge(limits, &new));
    Ok(Reply::done(written))
}

fn free_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    let limit = Limit::parse(call.part("name"));
    let written = change_home(call.broker(), &home, |limits| {
        if let Some(limit) = limit {
            limits.set(limit, None);
        }
    });
    Ok(Reply::done(written))
}

fn limit_user(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("user")?;
    let (limit, value) = named_value(call)?;
    let named = Value::Object(Map::from_iter([(limit.to_owned(), value)]));
    let new = read(&named, OF_USERS, "user-limits")?;
    let missing = || users::no_such_user(&name.text());
    let mut user = call.broker().user(&name).ok_or_else(missing)?;
    merge(&mut user.limits, &new);
    Ok(Reply::done(call.broker().put_user(name, user)))
}

fn free_user(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("user")?;
    let mut user = call.broker().user(&name).ok_or_else(Failure::not_there)?;
    if let Some(limit) = Limit::parse(call.part("name")) {
        user.limits.set(limit, None);
    }
    Ok(Reply::done(call.broker().put_user(name, user)))
}

fn named_value(call: &Call) -> Result<(&str, Value), Failure> {
    let mut object = call.object_with(&["value"])?;
    Ok((call.text("name")?, object.remove("value").unwrap_or_default()))
}

fn merge(limits: &mut Limits, new: &Limits) {
    new.iter().for_each(|(limit, value)| limits.set(limit, Some(value)));
}

/// Gives a virtual host other limits; one that is not there has none.
pub(super) fn change_home(
    broker: &Broker,
    home: &VirtualHostName,
    change: impl FnOnce(&mut Limits),
) -> LogPosition {
    let Some(options) = broker.virtual_host_options(home) else { return LogPosition::default() };
    let mut options = (*options).clone();
    change(&mut options.limits);
    broker.put_virtual_host(home.clone(), options)
}

pub(super) fn to_json(limits: &Limits) -> Value {
    let pairs = limits.iter().map(|(limit, value)| (limit.as_str().to_owned(), value.into()));
    Value::Object(pairs.collect())
}

/// Reads limits by their names; `what` is what RabbitMQ calls them in a refusal.
pub(super) fn read(value: &Value, allowed: &[Limit], what: &str) -> Result<Limits, Failure> {
    let pairs = match value {
        Value::Object(pairs) => pairs,
        Value::Array(items) if items.is_empty() => return Ok(Limits::default()),
        other => {
            let other = erlang::term(other);
            return Err(Failure::bad_request(format!("{what} not a list {other}")));
        }
    };
    let known = |name: &str| {
        let limit = Limit::parse(name.as_bytes());
        limit.filter(|limit| allowed.contains(limit))
    };
    let strangers: Vec<_> = pairs.iter().filter(|(name, _)| known(name).is_none()).collect();
    if !strangers.is_empty() {
        let terms = erlang::proplist(strangers);
        return Err(Failure::bad_request(format!("Unrecognised terms {terms} in {what}")));
    }
    let pair = |(name, value): (&String, &Value)| match (known(name), value.as_i64()) {
        (Some(limit), Some(value)) => Ok((limit, value)),
        _ => {
            let value = erlang::term(value);
            let reason = format!("{name} should be a number, actually was {value}");
            Err(Failure::bad_request(reason))
        }
    };
    pairs.iter().map(pair).collect()
}

/// The same refusal as RabbitMQ words it of parameters.
pub(super) fn validation(failure: &Failure) -> Failure {
    let reason = failure.body["reason"].as_str().unwrap_or_default();
    Failure::bad_request(format!("Validation failed\n\n{reason}\n"))
}
