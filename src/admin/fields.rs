//! Field values as JSON and back: arguments of queues, values of parameters.

use serde_json::{Map, Number, Value};

use super::answer::Failure;
use crate::model::{DEEPEST, FieldTable, FieldValue, LongString, ShortString};

/// A value as JSON shows it. What is no text is shown with its octets replaced.
pub(super) fn to_json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Boolean(value) => Value::Bool(*value),
        FieldValue::Float32(value) => number(f64::from(*value)),
        FieldValue::Float64(value) => number(*value),
        FieldValue::Decimal { scale, value } => {
            number(f64::from(*value) / 10_f64.powi(i32::from(*scale)))
        }
        FieldValue::LongString(text) | FieldValue::ByteArray(text) => text.text().into(),
        FieldValue::Array(items) => items.iter().map(to_json).collect(),
        FieldValue::Table(table) => table_to_json(table),
        FieldValue::Timestamp(seconds) => (*seconds).into(),
        FieldValue::Void => Value::Null,
        FieldValue::Int8(_)
        | FieldValue::UInt8(_)
        | FieldValue::Int16(_)
        | FieldValue::UInt16(_)
        | FieldValue::Int32(_)
        | FieldValue::UInt32(_)
        | FieldValue::Int64(_) => value.as_integer().into(),
    }
}

pub(super) fn table_to_json(table: &FieldTable) -> Value {
    let pairs = table.iter().map(|(name, value)| (name.text().into_owned(), to_json(value)));
    Value::Object(pairs.collect())
}

/// A value of JSON as clients of AMQP would have sent it; `null` is [`FieldValue::Void`].
pub(super) fn from_json(value: &Value) -> Result<FieldValue, Failure> {
    check_depth(value)?;
    converted(value)
}

/// What lies deeper could not be read again.
fn check_depth(value: &Value) -> Result<(), Failure> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(pairs) => 1 + pairs.values().map(depth).max().unwrap_or(0),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    match depth(value) < DEEPEST / 2 {
        true => Ok(()),
        false => Err(Failure::bad_request("the value is nested too deep")),
    }
}

fn converted(value: &Value) -> Result<FieldValue, Failure> {
    Ok(match value {
        Value::Null => FieldValue::Void,
        Value::Bool(value) => FieldValue::Boolean(*value),
        Value::Number(number) => from_number(number),
        Value::String(text) => FieldValue::LongString(LongString::from(text.as_str())),
        Value::Array(items) => {
            FieldValue::Array(items.iter().map(converted).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => FieldValue::Table(table_from_json(object)?),
    })
}

fn table_from_json(object: &Map<String, Value>) -> Result<FieldTable, Failure> {
    let pair = |(name, value): (&String, &Value)| {
        let name = ShortString::try_from(name.as_str()).map_err(|_| {
            Failure::bad_request(format!("the name of an argument is too long: {name}"))
        })?;
        Ok((name, converted(value)?))
    };
    object.iter().map(pair).collect::<Result<Vec<_>, _>>().map(FieldTable::from_pairs)
}

/// Arguments of what is declared, in which RabbitMQ has no `null`.
pub(super) fn arguments(value: Option<&Value>) -> Result<FieldTable, Failure> {
    check_depth(value.unwrap_or(&Value::Null))?;
    match value {
        None | Some(Value::Null) => Ok(FieldTable::default()),
        // An empty list is what an empty object looks like to Erlang, and so to its tools.
        Some(Value::Array(items)) if items.is_empty() => Ok(FieldTable::default()),
        Some(Value::Object(object)) if holds_null(object) => {
            Err(Failure::bad_request("null_not_allowed"))
        }
        Some(Value::Object(object)) => table_from_json(object),
        Some(_) => Err(Failure::bad_request("arguments_must_be_an_object")),
    }
}

fn holds_null(object: &Map<String, Value>) -> bool {
    fn is_or_holds(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(is_or_holds),
            Value::Object(object) => object.values().any(is_or_holds),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    object.values().any(is_or_holds)
}

fn from_number(number: &Number) -> FieldValue {
    match number.as_i64() {
        Some(integer) => FieldValue::Int64(integer),
        None => FieldValue::Float64(number.as_f64().unwrap_or_default()),
    }
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A boolean, or the word for it; absent is `None` (RabbitMQ 3.10).
pub(super) fn boolean(object: &Map<String, Value>, key: &str) -> Result<Option<bool>, Failure> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::String(word)) if word == "true" => Ok(Some(true)),
        Some(Value::String(word)) if word == "false" => Ok(Some(false)),
        Some(other) => Err(Failure::bad_request(vec![Value::from("not_boolean"), other.clone()])),
    }
}

/// A text of up to 255 octets.
pub(super) fn short_text(key: &str, value: &Value) -> Result<ShortString, Failure> {
    let Some(text) = value.as_str() else {
        return Err(Failure::bad_request(vec!["not_string", key]));
    };
    ShortString::try_from(text)
        .map_err(|_| Failure::bad_request(format!("{key} should be less than 255 bytes")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_json_survive_the_way_there_and_back() {
        let value = json!({ "a": [1, -2.5, "x", true, null], "t": { "u": {} } });
        assert_eq!(to_json(&from_json(&value).unwrap()), value);
    }

    #[test]
    fn arguments_hold_no_null_and_may_be_an_empty_list() {
        assert!(arguments(Some(&json!({ "x": [null] }))).is_err());
        assert!(arguments(Some(&json!([]))).unwrap().is_empty());
        assert!(arguments(Some(&json!("x"))).is_err());
        assert_eq!(arguments(Some(&json!({ "x": 1 }))).unwrap().len(), 1);
    }

    #[test]
    fn booleans_may_be_words() {
        let object = json!({ "t": "true", "f": false, "w": "yes" });
        let object = object.as_object().unwrap();
        assert_eq!(boolean(object, "t").unwrap(), Some(true));
        assert_eq!(boolean(object, "f").unwrap(), Some(false));
        assert_eq!(boolean(object, "none").unwrap(), None);
        let wrong = boolean(object, "w").unwrap_err();
        assert_eq!(wrong.body["reason"], json!(["not_boolean", "yes"]));
    }
}
