//! Virtual hosts.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    fields,
    operator::{Operator, Role},
    permissions,
    routes::{Route, delete, get, post, put},
    users,
};
use crate::{
    broker::{Permission, PermissionView},
    model::{QueueKind, VirtualHostName, VirtualHostOptions},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("vhosts", &[get(Role::Operator, list)]),
    Route::new(
        "vhosts/:vhost",
        &[
            get(Role::Administrator, show),
            put(Role::Administrator, set),
            delete(Role::Administrator, remove),
        ],
    ),
    Route::new("vhosts/:vhost/start/:node", &[post(Role::Administrator, start)]),
];

fn list(call: &Call) -> Result<Reply, Failure> {
    let homes = call.homes()?;
    Ok(Reply::pages(homes.iter().filter_map(|home| to_json(call, home)).collect()))
}

fn show(call: &Call) -> Result<Reply, Failure> {
    to_json(call, &call.home()?).map(Reply::one).ok_or_else(Failure::not_there)
}

/// Whoever makes a virtual host may do everything in it (RabbitMQ 3.10).
fn set(call: &Call) -> Result<Reply, Failure> {
    let name = VirtualHostName::from(call.name("vhost")?);
    let known = call.broker().virtual_host_options(&name);
    let options = read(&call.object()?, known.as_deref())?;
    let mut written = call.broker().put_virtual_host(name.clone(), options);
    if let (None, Operator::User { name: user, .. }) = (&known, &call.operator) {
        let permission = Permission::full();
        let held = PermissionView { user: user.clone(), virtual_host: name, permission };
        let granted = call.broker().set_permission(held);
        written = written.max(granted.map_err(|missing| permissions::gone(&missing))?);
    }
    Ok(Reply::put(known.is_none(), written))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    let written = call.broker().delete_virtual_host(&call.home()?, call.node.now());
    written.map(Reply::done).ok_or_else(Failure::not_there)
}

/// It runs, if it is there.
fn start(call: &Call) -> Result<Reply, Failure> {
    call.home()?;
    if call.part("node") != call.node.names().node.as_bytes() {
        return Err(Failure::not_there());
    }
    Ok(Reply::done(crate::model::LogPosition::default()))
}

fn to_json(call: &Call, home: &VirtualHostName) -> Option<Value> {
    let options = call.broker().virtual_host_options(home)?;
    let mut object = described(home, &options);
    object["cluster_state"] = json!({ &call.node.names().node: "running" });
    Some(object)
}

/// A virtual host as definitions have it, too.
pub(super) fn described(home: &VirtualHostName, options: &VirtualHostOptions) -> Value {
    let tags: Vec<_> = options.tags.iter().map(|tag| tag.text()).collect();
    let kind = options.default_queue_type.unwrap_or_default().as_str();
    json!({
        "name": home.text(),
        "description": options.description,
        "tags": tags,
        "default_queue_type": kind,
        "metadata": {
            "description": options.description,
            "tags": tags,
            "default_queue_type": kind,
        },
        "tracing": options.tracing,
        "protected_from_deletion": false,
    })
}

/// The options that an object names, beside those of `known` that it does not. Definitions have
/// them in `metadata`, too.
pub(super) fn read(
    object: &Map<String, Value>,
    known: Option<&VirtualHostOptions>,
) -> Result<VirtualHostOptions, Failure> {
    let empty = Map::new();
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let find = |key: &str| {
        let found = object.get(key).or_else(|| metadata.get(key));
        found.filter(|value| !value.is_null())
    };
    let mut options = known.cloned().unwrap_or_default();
    // What is not said of these two is no more (RabbitMQ 3.10).
    options.description = match find("description") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(Failure::bad_request("description_must_be_a_string")),
    };
    options.tags = find("tags").map(users::read_tags).transpose()?.unwrap_or_default();
    if let Some(kind) = find("default_queue_type") {
        options.default_queue_type = queue_type(kind)?;
    }
    if let Some(tracing) = fields::boolean(object, "tracing")? {
        options.tracing = tracing;
    }
    Ok(options)
}

fn queue_type(kind: &Value) -> Result<Option<QueueKind>, Failure> {
    match kind.as_str() {
        Some("undefined" | "") => Ok(None),
        Some("classic" | "rabbit_classic_queue") => Ok(Some(QueueKind::Classic)),
        Some("quorum" | "rabbit_quorum_queue") => Ok(Some(QueueKind::Quorum)),
        _ => Err(Failure::bad_request(format!("unknown queue type {kind}"))),
    }
}
