//! A message's properties as JSON and back.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{answer::Failure, fields};
use crate::model::{Properties, ShortString};

/// The properties that are there. None at all is an empty list, as RabbitMQ has it: its own tools
/// print a column for it.
pub(super) fn to_json(octets: &Bytes) -> Value {
    let Properties {
        content_type,
        content_encoding,
        headers,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = Properties::decode(octets).unwrap_or_default();
    let text = |value: Option<ShortString>| value.map(|text| Value::from(text.text()));
    let pairs = [
        ("content_type", text(content_type)),
        ("content_encoding", text(content_encoding)),
        ("headers", headers.map(|headers| fields::table_to_json(&headers))),
        ("delivery_mode", delivery_mode.map(Value::from)),
        ("priority", priority.map(Value::from)),
        ("correlation_id", text(correlation_id)),
        ("reply_to", text(reply_to)),
        ("expiration", text(expiration)),
        ("message_id", text(message_id)),
        ("timestamp", timestamp.map(Value::from)),
        ("type", text(kind)),
        ("user_id", text(user_id)),
        ("app_id", text(app_id)),
        ("cluster_id", text(cluster_id)),
    ];
    let there = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let there: Map<String, Value> = there.collect();
    if there.is_empty() { Value::Array(Vec::new()) } else { Value::Object(there) }
}

/// Properties of a message to be published; names that mean nothing are passed over.
pub(super) fn from_json(value: &Value) -> Result<Properties, Failure> {
    let nothing = Map::new();
    let object = match value {
        Value::Object(object) => object,
        Value::Array(items) if items.is_empty() => &nothing,
        _ => return Err(Failure::bad_request("properties_not_an_object")),
    };
    let text = |name| object.get(name).map(|value| fields::short_text(name, value)).transpose();
    let octet = |name| integer(object, name).map(|value| value.map(u8::try_from));
    let out_of_range = |name: &'static str| move |_| not_integer(name);
    Ok(Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: match object.get("headers") {
            None => None,
            headers => Some(fields::arguments(headers)?),
        },
        delivery_mode: octet("delivery_mode")?
            .transpose()
            .map_err(out_of_range("delivery_mode"))?,
        priority: octet("priority")?.transpose().map_err(out_of_range("priority"))?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: integer(object, "timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

fn integer(object: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Failure> {
    let Some(value) = object.get(name) else { return Ok(None) };
    value.as_u64().map(Some).ok_or_else(|| not_integer(name))
}

fn not_integer(name: &str) -> Failure {
    Failure::bad_request(vec!["not_int", name])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn properties_survive_the_way_there_and_back() {
        let all = json!({
            "content_type": "text/plain", "content_encoding": "gzip", "priority": 3,
            "headers": { "a": [1, "x", { "y": true }] }, "delivery_mode": 2,
            "correlation_id": "c", "reply_to": "r", "expiration": "1000", "message_id": "m",
            "timestamp": 1_700_000_000, "type": "t", "user_id": "guest", "app_id": "a",
            "cluster_id": "",
        });
        assert_eq!(to_json(&from_json(&all).unwrap().to_bytes()), all);
        let unknown = json!({ "unknown": 1 });
        assert_eq!(to_json(&from_json(&unknown).unwrap().to_bytes()), json!([]));
    }

    #[test]
    fn a_property_of_the_wrong_type_is_named() {
        let reason = |value: Value| from_json(&value).unwrap_err().body["reason"].clone();
        assert_eq!(reason(json!({ "delivery_mode": "2" })), json!(["not_int", "delivery_mode"]));
        assert_eq!(reason(json!({ "priority": 256 })), json!(["not_int", "priority"]));
        assert_eq!(reason(json!({ "timestamp": 1.5 })), json!(["not_int", "timestamp"]));
        assert_eq!(reason(json!({ "type": 5 })), json!(["not_string", "type"]));
        assert_eq!(reason(json!({ "headers": { "a": null } })), json!("null_not_allowed"));
    }
}
