//! Parameters: of virtual hosts by component, and global ones that the broker only keeps.

use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    erlang, fields, limits,
    node::Node,
    operator::Role,
    policies,
    routes::{Operation, Route, delete, get, put},
};
use crate::{
    broker::{Policy, PolicyKind},
    model::{FieldValue, Limits, LogPosition, ShortString, VirtualHostName},
};

pub(super) const ROUTES: &[Route] = &[
    Route::new("parameters", &[get(Role::Policymaker, list)]),
    Route::new("parameters/:component", &[get(Role::Policymaker, list)]),
    Route::new("parameters/:component/:vhost", &[get(Role::Policymaker, list)]),
    Route::new("parameters/:component/:vhost/:name", OPERATIONS),
    Route::new("global-parameters", &[get(Role::Policymaker, list_global)]),
    Route::new(
        "global-parameters/:name",
        &[
            get(Role::Policymaker, show_global),
            put(Role::Policymaker, set_global),
            delete(Role::Policymaker, remove_global),
        ],
    ),
];

const OPERATIONS: &[Operation] =
    &[get(Role::Policymaker, show), put(Role::Policymaker, set), delete(Role::Policymaker, remove)];

/// The component of the limits of virtual hosts, and the only name in it.
pub(super) const VHOST_LIMITS: &str = "vhost-limits";
const LIMITS: &str = "limits";

fn list(call: &Call) -> Result<Reply, Failure> {
    let component = call.parts.iter().any(|(name, _)| *name == "component");
    let component = if component { Some(call.text("component")?) } else { None };
    let mut items = Vec::new();
    for home in call.homes()? {
        items.extend(in_home(call, &home));
    }
    items.retain(|item| component.is_none_or(|component| item["component"] == component));
    Ok(Reply::list(items))
}

/// The parameters of a virtual host, as definitions have them, too.
pub(super) fn in_home(call: &Call, home: &VirtualHostName) -> Vec<Value> {
    let options = call.broker().virtual_host_options(home);
    let limits = options.map(|options| options.limits.clone()).unwrap_or_default();
    let mut items = Vec::new();
    if !limits.is_empty() {
        items.push(json!({
            "component": VHOST_LIMITS,
            "vhost": home.text(),
            "name": LIMITS,
            "value": limits::to_json(&limits),
        }));
    }
    for mut policy in policies::in_home(call, home, PolicyKind::Operator) {
        let name = policy["name"].take();
        if let Some(value) = policy.as_object_mut() {
            value.remove("name");
            value.remove("vhost");
        }
        items.push(json!({
            "component": policies::COMPONENT,
            "vhost": home.text(),
            "name": name,
            "value": policy,
        }));
    }
    items
}

fn show(call: &Call) -> Result<Reply, Failure> {
    find(call).map(Reply::one)
}

fn find(call: &Call) -> Result<Value, Failure> {
    let (component, name) = (call.text("component")?, call.text("name")?);
    let mut items = in_home(call, &call.home()?).into_iter();
    let is_meant = |item: &Value| item["component"] == component && item["name"] == name;
    items.find(is_meant).ok_or_else(Failure::not_there)
}

fn set(call: &Call) -> Result<Reply, Failure> {
    let home = call.home_to_change()?;
    let is_new = find(call).is_err();
    let object = call.object_with(&["value"])?;
    let new = read(call.text("component")?, call.text("name")?, &object["value"])?;
    Ok(Reply::put(is_new, new.put(&*call.node, &home)?))
}

/// A parameter of a virtual host, understood.
#[derive(Debug)]
pub(super) enum Parameter {
    Limits(Limits),
    OperatorPolicy(Policy),
}

impl Parameter {
    pub(super) fn put(
        self,
        node: &dyn Node,
        home: &VirtualHostName,
    ) -> Result<LogPosition, Failure> {
        match self {
            Self::Limits(new) => {
                Ok(limits::change_home(node.broker(), home, |limits| *limits = new))
            }
            Self::OperatorPolicy(policy) => {
                let set = node.broker().set_policy(home, PolicyKind::Operator, policy, node.now());
                set.map_err(|missing| policies::gone(&missing))
            }
        }
    }
}

fn remove(call: &Call) -> Result<Reply, Failure> {
    find(call)?;
    let home = call.home()?;
    if call.part("component") == policies::COMPONENT.as_bytes() {
        let name = call.name("name")?;
        let operator = PolicyKind::Operator;
        let cleared = call.broker().clear_policy(&home, operator, &name, call.node.now());
        return cleared.map(Reply::done).map_err(|_| Failure::not_there());
    }
    let written = limits::change_home(call.broker(), &home, |limits| *limits = Limits::default());
    Ok(Reply::done(written))
}

/// The value of a parameter, by component.
pub(super) fn read(component: &str, name: &str, value: &Value) -> Result<Parameter, Failure> {
    if component == policies::COMPONENT {
        let empty = Map::new();
        let name = ShortString::try_from(name).map_err(|_| Failure::not_there())?;
        let policy =
            policies::read(PolicyKind::Operator, name, value.as_object().unwrap_or(&empty));
        return policy.map(Parameter::OperatorPolicy);
    }
    let read = match (component, name) {
        (VHOST_LIMITS, LIMITS) => {
            limits::read(value, limits::OF_HOMES, LIMITS).map(Parameter::Limits)
        }
        (VHOST_LIMITS, _) => {
            Err(Failure::bad_request(format!("{VHOST_LIMITS} have no parameter {name}")))
        }
        _ => Err(Failure::bad_request(format!("component {component} not found"))),
    };
    read.map_err(|failure| {
        let mut failure = limits::validation(&failure);
        let reason = failure.body["reason"].as_str().map(erlang::escaped);
        failure.body["reason"] = reason.into();
        failure
    })
}

fn list_global(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::list(all_global(call)))
}

pub(super) fn all_global(call: &Call) -> Vec<Value> {
    let all = call.broker().global_parameters().into_iter();
    all.map(|(name, value)| global(&name, &value)).collect()
}

fn show_global(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("name")?;
    let value = call.broker().global_parameter(&name).ok_or_else(Failure::not_there)?;
    Ok(Reply::one(global(&name, &value)))
}

fn set_global(call: &Call) -> Result<Reply, Failure> {
    let name = call.name("name")?;
    let object = call.object_with(&["value"])?;
    let value = fields::from_json(&object["value"])?;
    let is_new = call.broker().global_parameter(&name).is_none();
    Ok(Reply::put(is_new, call.broker().set_global_parameter(name, value)))
}

fn remove_global(call: &Call) -> Result<Reply, Failure> {
    let written = call.broker().clear_global_parameter(&call.name("name")?);
    written.map(Reply::done).ok_or_else(Failure::not_there)
}

fn global(name: &ShortString, value: &FieldValue) -> Value {
    json!({ "name": name.text(), "value": fields::to_json(value) })
}
