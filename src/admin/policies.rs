//! Policies of users and of the operator.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    erlang, fields,
    operator::Role,
    permissions::text,
    routes::{Route, delete, get, put},
};
use crate::{
    broker::{MissingPolicy, Policy, PolicyDraft, PolicyKind},
    model::{FieldTable, FieldValue, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("policies", &[get(Role::VirtualHost, list)]),
    Route::new("policies/:vhost", &[get(Role::VirtualHost, list)]),
    Route::new(
        "policies/:vhost/:name",
        &[
            get(Role::Policymaker, show),
            put(Role::Policymaker, set),
            delete(Role::Policymaker, remove),
        ],
    ),
    Route::new("operator-policies", &[get(Role::VirtualHost, list_of_operator)]),
    Route::new("operator-policies/:vhost", &[get(Role::VirtualHost, list_of_operator)]),
    Route::new(
        "operator-policies/:vhost/:name",
        &[
            get(Role::Administrator, show_of_operator),
            put(Role::Administrator, set_of_operator),
            delete(Role::Administrator, remove_of_operator),
        ],
    ),
];

/// The component of parameters in which definitions have operators' policies.
pub(super) const COMPONENT: &str = "operator_policy";

fn list(call: &Call) -> Result<Reply, Failure> {
    list_kind(call, PolicyKind::User)
}

fn list_of_operator(call: &Call) -> Result<Reply, Failure> {
    list_kind(call, PolicyKind::Operator)
}

fn list_kind(call: &Call, kind: PolicyKind) -> Result<Reply, Failure> {
    let homes = call.homes()?;
    Ok(Reply::list(homes.iter().flat_map(|home| in_home(call, home, kind)).collect()))
}

/// The policies of a virtual host, as definitions have them, too.
pub(super) fn in_home(call: &Call, home: &VirtualHostName, kind: PolicyKind) -> Vec<Value> {
    let policies = call.broker().policies(home, kind);
    policies.iter().map(|policy| to_json(home, policy)).collect()
}

fn show(call: &Call) -> Result<Reply, Failure> {
    show_kind(call, PolicyKind::User)
}

fn show_of_operator(call: &Call) -> Result<Reply, Failure> {
    show_kind(call, PolicyKind::Operator)
}

fn show_kind(call: &Call, kind: PolicyKind) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.name("name")?);
    let policies = call.broker().policies(&home, kind);
    let found = policies.iter().find(|policy| policy.name == name);
    found.map(|policy| Reply::one(to_json(&home, policy))).ok_or_else(Failure::not_there)
}

fn set(call: &Call) -> Result<Reply, Failure> {
    // A browser may show what is wrong with a user's policy (RabbitMQ 3.10).
    set_kind(call, PolicyKind::User).map_err(|mut failure| {
        if let Some(reason) = failure.body["reason"].as_str().map(erlang::escaped) {
            failure.body["reason"] = reason.into();
        }
        failure
    })
}

fn set_of_operator(call: &Call) -> Result<Reply, Failure> {
    set_kind(call, PolicyKind::Operator)
}

fn set_kind(call: &Call, kind: PolicyKind) -> Result<Reply, Failure> {
    let (home, name) = (call.home_to_change()?, call.name("name")?);
    let object = call.object_with(&["pattern", "definition"])?;
    let policy = read(kind, name.clone(), &object)?;
    let policies = call.broker().policies(&home, kind);
    let is_new = !policies.iter().any(|policy| policy.name == name);
    let written = call.broker().set_policy(&home, kind, policy, call.node.now());
    written.map(|written| Reply::put(is_new, written)).map_err(|missing| gone(&missing))
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    remove_kind(call, PolicyKind::User)
}

fn remove_of_operator(call: &Call) -> Result<Reply, Failure> {
    remove_kind(call, PolicyKind::Operator)
}

fn remove_kind(call: &Call, kind: PolicyKind) -> Result<Reply, Failure> {
    let (home, name) = (call.home()?, call.name("name")?);
    let written = call.broker().clear_policy(&home, kind, &name, call.node.now());
    written.map(Reply::done).map_err(|_| Failure::not_there())
}

/// A virtual host that went in between.
pub(super) fn gone(missing: &MissingPolicy) -> Failure {
    Failure::bad_request(missing.to_string())
}

fn to_json(home: &VirtualHostName, policy: &Policy) -> Value {
    json!({
        "vhost": home.text(),
        "name": policy.name.text(),
        "pattern": policy.pattern.as_str(),
        "apply-to": policy.apply_to.as_str(),
        "definition": fields::table_to_json(&policy.definition),
        "priority": policy.priority,
    })
}

/// The policy that an object describes.
pub(super) fn read(
    kind: PolicyKind,
    name: ShortString,
    object: &Map<String, Value>,
) -> Result<Policy, Failure> {
    let definition = match object.get("definition").map(fields::from_json).transpose()? {
        Some(FieldValue::Table(definition)) => definition,
        Some(FieldValue::Array(items)) if items.is_empty() => FieldTable::default(),
        _ => return Err(Failure::bad_request("definition_must_be_an_object")),
    };
    let apply_to = match object.get("apply-to") {
        None => String::new(),
        Some(_) => text(object, "apply-to")?.to_owned(),
    };
    let priority = match object.get("priority") {
        None | Some(Value::Null) => FieldValue::Int64(0),
        Some(priority) => fields::from_json(priority)?,
    };
    let pattern = text(object, "pattern")?.to_owned();
    let draft = PolicyDraft { name, pattern, apply_to, priority, definition };
    Policy::parse(kind, draft).map_err(|faults| Failure::bad_request(faults.to_string()))
}
