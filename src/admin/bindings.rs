//! Bindings, each found among those of the same ends by a key made of its other properties.

use axum::http::{StatusCode, header::LOCATION};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    answer::{Failure, Reply},
    call::Call,
    fields,
    operator::Role,
    path,
    routes::{Operation, Route, delete, get, post},
};
use crate::{
    broker::{Binding, Destination},
    model::{ExchangeName, FieldTable, RoutingKey, VirtualHostName},
};

/// What is done with the bindings between two ends, and with one of them.
const BETWEEN: &[Operation] = &[get(Role::VirtualHost, between), post(Role::VirtualHost, bind)];
const ONE: &[Operation] = &[get(Role::VirtualHost, show), delete(Role::VirtualHost, unbind)];

pub(super) const ROUTES: &[Route] = &[
    Route::new("bindings", &[get(Role::Operator, list)]),
    Route::new("bindings/:vhost", &[get(Role::VirtualHost, list)]),
    Route::new("bindings/:vhost/e/:source/q/:queue", BETWEEN),
    Route::new("bindings/:vhost/e/:source/e/:exchange", BETWEEN),
    Route::new("bindings/:vhost/e/:source/q/:queue/:key", ONE),
    Route::new("bindings/:vhost/e/:source/e/:exchange/:key", ONE),
];

/// The bindings of an exchange that lead away from it. The default one has one for every queue.
pub(super) fn from(call: &Call, home: &VirtualHostName, source: &ExchangeName) -> Vec<Value> {
    if source.is_empty() {
        return implicit(call, home);
    }
    let mut found = call.broker().bindings_from(home, source);
    found.sort_by(|one, other| order(one).cmp(&order(other)));
    found.iter().map(|binding| to_json(home, binding)).collect()
}

/// The bindings that lead to a queue or an exchange.
pub(super) fn to(call: &Call, home: &VirtualHostName, destination: &Destination) -> Vec<Value> {
    let mut found: Vec<_> = implicit_to(call, home, destination).into_iter().collect();
    let explicit = call.broker().bindings_to(home, destination);
    found.extend(explicit.iter().map(|binding| (**binding).clone()));
    found.iter().map(|binding| to_json(home, binding)).collect()
}

fn list(call: &Call) -> Result<Reply, Failure> {
    let mut items = Vec::new();
    for home in call.open_homes()? {
        items.extend(implicit(call, &home));
        let mut explicit = call.broker().bindings(&home).unwrap_or_default();
        explicit.sort_by(|one, other| order(one).cmp(&order(other)));
        items.extend(explicit.iter().map(|binding| to_json(&home, binding)));
    }
    Ok(Reply::list(items))
}

fn between(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    let found = all_between(call, &home)?;
    Ok(Reply::list(found.iter().map(|binding| to_json(&home, binding)).collect()))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    Ok(Reply::one(to_json(&home, &find(call, &home)?)))
}

/// The answer's `Location` ends in the key under which the binding is found.
fn bind(call: &Call) -> Result<Reply, Failure> {
    let home = call.home_to_change()?;
    let asked = call.object()?;
    let routing_key = match asked.get("routing_key") {
        None | Some(Value::Null) => RoutingKey::default(),
        Some(key) => fields::short_text("routing_key", key)?.into(),
    };
    let arguments = fields::arguments(asked.get("arguments"))?;
    let (source, destination) = ends(call)?;
    let binding = Binding::new(&source, &destination, &routing_key, &arguments);
    let key = properties_key(&binding);
    let mut client = call.client(&home)?;
    client.bind(binding, call.node.now()).map_err(|refusal| call.refused(&refusal))?;
    let end = path::encoded(name_of(&destination));
    let location = format!("{end}/{}", path::encoded(key.as_bytes()));
    let made = Reply::put(true, client.take_awaited());
    debug_assert_eq!(made.status, StatusCode::CREATED);
    Ok(made.with_header(LOCATION, &location))
}

fn unbind(call: &Call) -> Result<Reply, Failure> {
    let home = call.home()?;
    let binding = find(call, &home)?;
    let mut client = call.client(&home)?;
    client.unbind(&binding).map_err(|refusal| call.refused(&refusal))?;
    Ok(Reply::done(client.take_awaited()))
}

fn find(call: &Call, home: &VirtualHostName) -> Result<Binding, Failure> {
    let key = call.text("key")?;
    let mut found = all_between(call, home)?.into_iter();
    found.find(|binding| properties_key(binding) == key).ok_or_else(Failure::not_there)
}

fn all_between(call: &Call, home: &VirtualHostName) -> Result<Vec<Binding>, Failure> {
    let (source, destination) = ends(call)?;
    if source.is_empty() {
        return Ok(implicit_to(call, home, &destination).into_iter().collect());
    }
    let mut found = call.broker().bindings_to(home, &destination);
    found.retain(|binding| binding.source == source);
    Ok(found.iter().map(|binding| (**binding).clone()).collect())
}

fn ends(call: &Call) -> Result<(ExchangeName, Destination), Failure> {
    let is_queue = call.parts.iter().any(|(name, _)| *name == "queue");
    let destination = match is_queue {
        true => Destination::Queue(call.queue("queue")?),
        false => Destination::Exchange(call.exchange("exchange")?),
    };
    Ok((call.exchange("source")?, destination))
}

/// The bindings of the default exchange, by the queues' names.
fn implicit(call: &Call, home: &VirtualHostName) -> Vec<Value> {
    let mut queues = call.broker().queue_records(home).unwrap_or_default();
    queues.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let bindings = queues.iter().map(|queue| {
        let destination = Destination::Queue(queue.name.clone());
        to_json(home, &implicit_binding(&destination))
    });
    bindings.collect()
}

fn implicit_to(call: &Call, home: &VirtualHostName, destination: &Destination) -> Option<Binding> {
    let Destination::Queue(name) = destination else { return None };
    call.broker().queue_record(home, name)?;
    Some(implicit_binding(destination))
}

fn implicit_binding(destination: &Destination) -> Binding {
    let routing_key = RoutingKey::new(name_of(destination).to_vec().into());
    let routing_key = routing_key.expect("a name is as short as a routing key");
    Binding::new(&ExchangeName::default(), destination, &routing_key, &FieldTable::default())
}

/// RabbitMQ lists those that lead to exchanges before those that lead to queues.
fn order(binding: &Binding) -> impl Ord {
    let is_queue = matches!(binding.destination, Destination::Queue(_));
    (&binding.source, is_queue, name_of(&binding.destination), &binding.routing_key)
}

fn name_of(destination: &Destination) -> &[u8] {
    match destination {
        Destination::Queue(name) => name,
        Destination::Exchange(name) => name,
    }
}

/// What was bound, as definitions have it.
pub(super) fn declared(home: &VirtualHostName, binding: &Binding) -> Value {
    let (kind, destination) = match &binding.destination {
        Destination::Queue(name) => ("queue", name.text()),
        Destination::Exchange(name) => ("exchange", name.text()),
    };
    json!({
        "source": binding.source.text(),
        "vhost": home.text(),
        "destination": destination,
        "destination_type": kind,
        "routing_key": binding.routing_key.text(),
        "arguments": fields::table_to_json(binding.arguments.table()),
    })
}

fn to_json(home: &VirtualHostName, binding: &Binding) -> Value {
    let mut object = declared(home, binding);
    object["properties_key"] = properties_key(binding).into();
    object
}

/// The routing key as a form would have it, then, if there are arguments, 32 bits that tell them
/// apart. The bits are other ones than RabbitMQ's, which are those of an Erlang term.
fn properties_key(binding: &Binding) -> String {
    let arguments = binding.arguments.encoded();
    match (binding.routing_key.is_empty(), arguments.is_empty()) {
        (true, true) => "~".to_owned(),
        (_, true) => path::encoded_form(&binding.routing_key),
        (_, false) => {
            let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(arguments)[..4]);
            format!("{}~{hash}", path::encoded_form(&binding.routing_key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldValue;

    fn key(routing_key: &'static str, arguments: &[(&'static str, i64)]) -> String {
        let arguments = arguments.iter().map(|(name, value)| {
            (crate::model::ShortString::from_static(name), FieldValue::Int64(*value))
        });
        properties_key(&Binding::new(
            &ExchangeName::from_static("e"),
            &Destination::Queue(crate::model::QueueName::from_static("q")),
            &RoutingKey::from_static(routing_key),
            &arguments.collect(),
        ))
    }

    #[test]
    fn a_key_is_the_routing_key_as_a_form_has_it() {
        assert_eq!(key("", &[]), "~");
        assert_eq!(key("a.*.#", &[]), "a.%2A.%23");
        assert_eq!(key("a b/c~d\u{e9}", &[]), "a+b%2Fc%7Ed%C3%A9");
    }

    #[test]
    fn arguments_are_told_apart_by_a_hash_whatever_their_order() {
        let one = key("a", &[("x", 1), ("y", 2)]);
        assert_eq!((one.len(), &one[..2]), (8, "a~"));
        assert_eq!(one, key("a", &[("y", 2), ("x", 1)]));
        assert_ne!(one, key("a", &[("x", 1), ("y", 3)]));
        assert!(key("", &[("x", 1)]).starts_with('~'));
    }
}
