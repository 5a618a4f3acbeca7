//! What there is, as a document that RabbitMQ 3.10 imports.

use serde_json::{Value, json};

use crate::{
    admin::{
        bindings, call::Call, exchanges, fields, parameters, permissions, policies,
        topic_permissions, users, virtual_hosts,
    },
    broker::{Binding, Destination, PolicyKind, QueueRecord},
    model::VirtualHostName,
};

/// All of it.
pub(super) fn everything(call: &Call) -> Value {
    let broker = call.broker();
    let homes = broker.virtual_hosts();
    let described = homes.iter().filter_map(|home| {
        Some(virtual_hosts::described(home, &*broker.virtual_host_options(home)?))
    });
    let users = broker.users();
    let (permissions, topics) = (broker.permissions(), broker.topic_permissions());
    let mut document = head(call, "cluster");
    document["users"] = users.iter().map(|(name, user)| users::to_json(name, user)).collect();
    document["vhosts"] = described.collect();
    document["permissions"] = permissions.iter().map(permissions::to_json).collect();
    document["topic_permissions"] = topics.iter().map(topic_permissions::to_json).collect();
    document["global_parameters"] = parameters::all_global(call).into();
    for (section, items) in in_homes(call, &homes) {
        document[section] = items.into();
    }
    document
}

/// What is in one virtual host; its parts do not name it.
pub(super) fn virtual_host(call: &Call, home: &VirtualHostName) -> Value {
    let mut document = head(call, "single_virtual_host");
    document["original_vhost_name"] = home.text().into();
    for (section, mut items) in in_homes(call, std::slice::from_ref(home)) {
        for item in &mut items {
            if let Some(item) = item.as_object_mut() {
                item.remove("vhost");
            }
        }
        document[section] = items.into();
    }
    document
}

fn head(call: &Call, format: &str) -> Value {
    let names = call.node.names();
    json!({
        "rabbit_version": names.version,
        "rabbitmq_version": names.version,
        "product_name": names.product,
        "product_version": names.version,
        "rabbitmq_definition_format": format,
    })
}

fn in_homes(call: &Call, homes: &[VirtualHostName]) -> [(&'static str, Vec<Value>); 5] {
    let names = ["policies", "parameters", "exchanges", "queues", "bindings"];
    let mut sections = names.map(|name| (name, vec![]));
    let [policies_found, parameters, exchanges, queues, bindings] = &mut sections;
    for home in homes {
        let broker = call.broker();
        policies_found.1.extend(policies::in_home(call, home, PolicyKind::User));
        parameters.1.extend(parameters::in_home(call, home));
        let all = broker.exchanges(home).unwrap_or_default();
        let own = all.iter().filter(|exchange| !exchange.name.starts_with(b"amq."));
        exchanges.1.extend(own.map(|record| exchanges::declared(home, record)));
        let all = broker.queue_records(home).unwrap_or_default();
        queues.1.extend(all.iter().filter_map(|record| queue(home, record)));
        let is_passing = |binding: &Binding| match &binding.destination {
            Destination::Queue(name) => {
                all.iter().any(|queue| queue.name == *name && queue.owner.is_some())
            }
            Destination::Exchange(_) => false,
        };
        let all = broker.bindings(home).unwrap_or_default();
        let lasting = all.iter().filter(|binding| !is_passing(binding));
        bindings.1.extend(lasting.map(|each| bindings::declared(home, each)));
    }
    sections
}

/// None for an exclusive one, which goes with its connection.
fn queue(home: &VirtualHostName, record: &QueueRecord) -> Option<Value> {
    if record.owner.is_some() {
        return None;
    }
    Some(json!({
        "name": record.name.text(),
        "vhost": home.text(),
        "type": record.options.kind.as_str(),
        "durable": record.durable,
        "auto_delete": record.auto_delete,
        "arguments": fields::table_to_json(&record.arguments),
    }))
}
