//! Who one is and what this is: the small questions that every tool begins with.

use axum::http::header::SET_COOKIE;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    answer::{Failure, Reply},
    authentication::{self, Barred, Credentials},
    call::Call,
    operator::{Operator, Role},
    query::Query,
    routes::{Route, get, post, put},
};
use crate::model::{FieldValue, ShortString};

pub(super) const ROUTES: &[Route] = &[
    Route::new("whoami", &[get(Role::Operator, who_am_i)]),
    Route::new("version", &[get(Role::Operator, version)]),
    Route::new(
        "cluster-name",
        &[get(Role::Operator, cluster_name), put(Role::Administrator, set_cluster_name)],
    ),
    Route::new("extensions", &[get(Role::Operator, extensions)]),
    Route::new("auth", &[get(Role::Public, other_logins)]),
    Route::new("login", &[post(Role::Public, log_in)]),
    Route::new("feature-flags", &[get(Role::Administrator, none)]),
    Route::new("deprecated-features", &[get(Role::Administrator, none)]),
    Route::new("deprecated-features/used", &[get(Role::Administrator, none)]),
];

/// The global parameter in which RabbitMQ keeps the cluster's name.
const CLUSTER_NAME: ShortString = ShortString::from_static("cluster_name");

fn who_am_i(call: &Call) -> Result<Reply, Failure> {
    let tags: Vec<Value> = match &call.operator {
        Operator::User { tags, .. } => tags.iter().map(|tag| tag.text().into()).collect(),
        Operator::Local => vec!["administrator".into()],
    };
    let name = call.operator.name();
    Ok(Reply::one(json!({ "name": name.text(), "tags": tags, "is_internal_user": true })))
}

fn version(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::one(call.node.names().version.as_str().into()))
}

fn cluster_name(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::one(json!({ "name": name_of_cluster(call) })))
}

/// The name that an operator has given the cluster, or the configured one.
pub(super) fn name_of_cluster(call: &Call) -> String {
    call.broker().chosen_cluster_name().unwrap_or_else(|| call.node.names().cluster.clone())
}

fn set_cluster_name(call: &Call) -> Result<Reply, Failure> {
    let object = call.object_with(&["name"])?;
    let name = object["name"].as_str().ok_or_else(|| Failure::bad_request("name_not_a_string"))?;
    let name = FieldValue::LongString(name.into());
    Ok(Reply::done(call.broker().set_global_parameter(CLUSTER_NAME, name)))
}

/// What tools load of the web interface; there is one in name only.
fn extensions(_: &Call) -> Result<Reply, Failure> {
    Ok(Reply::one(json!([{ "javascript": "dispatcher.js" }])))
}

/// How else one could log in: not at all.
fn other_logins(_: &Call) -> Result<Reply, Failure> {
    Ok(Reply::one(json!({ "enable_uaa": false, "uaa_client_id": "", "uaa_location": "" })))
}

/// A form with name and password; the answer sets a cookie (RabbitMQ 3.10).
fn log_in(call: &Call) -> Result<Reply, Failure> {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let value = |name| form.value(name).unwrap_or_default().as_bytes().to_vec();
    let credentials = Credentials { name: value("username"), password: value("password") };
    let operator = authentication::log_in(call.broker(), call.peer, &credentials);
    let operator = operator.map_err(|barred| match barred {
        Barred::Refused(failure) | Barred::Forbidden(failure) => failure,
        Barred::Unknown => Failure::not_authorised("Login failed"),
    })?;
    if !operator.is_operator() {
        return Err(Failure::not_authorised("Not management user"));
    }
    let pair = [&credentials.name[..], b":", &credentials.password].concat();
    let cookie = format!("auth={}; Version=1", STANDARD.encode(pair));
    Ok(Reply::one("ok".into()).with_header(SET_COOKIE, &cookie))
}

/// Nothing can be switched here.
fn none(_: &Call) -> Result<Reply, Failure> {
    Ok(Reply::list(Vec::new()))
}
