//! Exchanges: what there are, declared and deleted with the rights that AMQP asks for.

use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    call::{Call, exchange_name},
    fields,
    operator::Role,
    routes::{Route, delete, get, post, put},
    {bindings, messages},
};
use crate::{
    broker::{Destination, ExchangeDeclaration, ExchangeRecord},
    model::{ExchangeName, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("exchanges", &[get(Role::Operator, list)]),
    Route::new("exchanges/:vhost", &[get(Role::VirtualHost, list)]),
    Route::new(
        "exchanges/:vhost/:exchange",
        &[
            get(Role::VirtualHost, show),
            put(Role::VirtualHost, declare),
            delete(Role::VirtualHost, remove),
        ],
    ),
    Route::new("exchanges/:vhost/:exchange/publish", &[post(Role::VirtualHost, messages::publish)]),
    Route::new("exchanges/:vhost/:exchange/bindings/source", &[get(Role::VirtualHost, sources)]),
    Route::new(
        "exchanges/:vhost/:exchange/bindings/destination",
        &[get(Role::VirtualHost, destinations)],
    ),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    let mut items = Vec::new();
    for home in call.open_homes()? {
        let records = call.broker().exchanges(&home).unwrap_or_default();
        items.push(default_exchange(&home));
        items.extend(records.iter().map(|record| to_json(call, &home, record)));
    }
    Ok(Reply::pages(items))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.exchange("exchange")?);
    let mut found = match name.is_empty() {
        true => default_exchange(&home),
        false => to_json(call, &home, &*find(call, &home, &name)?),
    };
    found["incoming"] = json!([]);
    found["outgoing"] = json!([]);
    Ok(Reply::one(found))
}

fn declare(call: &Call) -> Result<Reply, Failure> {
    let home = call.home_to_change()?;
    let name = exchange_name(call.new_name("exchange", "exchange")?);
    let asked = call.object()?;
    let kind = match asked.get("type") {
        None => ShortString::from_static("direct"),
        Some(kind) => fields::short_text("type", kind)?,
    };
    let flag = |key| fields::boolean(&asked, key).map(Option::unwrap_or_default);
    let declaration = ExchangeDeclaration {
        name,
        kind,
        durable: flag("durable")?,
        auto_delete: flag("auto_delete")?,
        internal: flag("internal")?,
        arguments: fields::arguments(asked.get("arguments"))?,
    };
    let is_new = find(call, &home, &declaration.name).is_err();
    let mut client = call.client(&home)?;
    client.declare_exchange(&declaration).map_err(|refusal| call.refused(&refusal))?;
    Ok(Reply::put(is_new, client.take_awaited()))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.exchange("exchange")?);
    if !name.is_empty() {
        find(call, &home, &name)?;
    }
    let mut client = call.client(&home)?;
    let deleted = client.delete_exchange(&name, call.query.is_true("if-unused"));
    deleted.map_err(|refusal| call.refused(&refusal))?;
    Ok(Reply::done(client.take_awaited()))
}

/// The bindings that lead away from it.
fn sources(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.exchange("exchange")?);
    Ok(Reply::list(bindings::from(call, &home, &name)))
}

/// The bindings that lead to it.
fn destinations(call: &Call) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.exchange("exchange")?);
    Ok(Reply::list(bindings::to(call, &home, &Destination::Exchange(name))))
}

fn find(
    call: &Call,
    home: &VirtualHostName,
    name: &ExchangeName,
) -> Result<std::sync::Arc<ExchangeRecord>, Failure> {
    call.broker().exchange(home, name).ok_or_else(Failure::not_there)
}

/// What was declared, as definitions have it.
pub(super) fn declared(home: &VirtualHostName, record: &ExchangeRecord) -> Value {
    json!({
        "name": record.name.text(),
        "vhost": home.text(),
        "type": record.kind.as_str(),
        "durable": record.durable,
        "auto_delete": record.auto_delete,
        "internal": record.internal,
        "arguments": fields::table_to_json(&record.arguments),
    })
}

fn to_json(call: &Call, home: &VirtualHostName, record: &ExchangeRecord) -> Value {
    let mut object = declared(home, record);
    let view = call.broker().exchange_policy(home, &record.name);
    if let Some(policy) = view.and_then(|view| view.policy) {
        object["policy"] = policy.text().into();
    }
    if record.name.starts_with(b"amq.") {
        object["user_who_performed_action"] = NOBODY.into();
    }
    object
}

/// Every virtual host has it, and no record of it.
fn default_exchange(home: &VirtualHostName) -> Value {
    json!({
        "name": "",
        "vhost": home.text(),
        "type": "direct",
        "durable": true,
        "auto_delete": false,
        "internal": false,
        "arguments": {},
        "user_who_performed_action": NOBODY,
    })
}

/// Who declares what every virtual host has (RabbitMQ 3.10).
const NOBODY: &str = "rmq-internal";
