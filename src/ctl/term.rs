//! Values as Erlang and Elixir print them.

use serde_json::{Map, Value};

/// A table of AMQP arguments as tables show it: `[{"x-max-length",10}]`.
pub(super) fn arguments(table: &Map<String, Value>) -> String {
    let pairs: Vec<_> =
        table.iter().map(|(key, value)| format!("{{{},{}}}", text(key), erlang(value))).collect();
    format!("[{}]", pairs.join(","))
}

/// A table of AMQP arguments as JSON shows it: `[["x-max-length","long",10]]`. HTTP does not tell
/// the types, so that they are those that RabbitMQ's HTTP API would choose for the values.
pub(super) fn typed_arguments(table: &Map<String, Value>) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let (kind, value) = match value {
            Value::Null => ("void", Value::Null),
            Value::Bool(_) => ("bool", value.clone()),
            Value::Number(number) if number.is_f64() => ("double", value.clone()),
            Value::Number(_) => ("long", value.clone()),
            Value::String(_) => ("longstr", value.clone()),
            Value::Array(_) => ("array", value.clone()),
            Value::Object(inner) => ("table", typed_arguments(inner)),
        };
        Value::Array(vec![Value::from(key.as_str()), Value::from(kind), value])
    });
    Value::Array(entries.collect())
}

/// A reason of the HTTP API as Elixir prints the term behind it: `["no_such_user","a"]` is
/// `{:no_such_user, "a"}`, and an array of characters is a list of them in apostrophes.
pub(super) fn inspected(value: &Value) -> String {
    match value {
        Value::Array(items) => match (characters(items), items.split_first()) {
            (Some(text), _) => format!("'{text}'"),
            (None, Some((Value::String(atom), rest))) if !rest.is_empty() => {
                let rest: Vec<_> = rest.iter().map(inspected).collect();
                format!("{{:{atom}, {}}}", rest.join(", "))
            }
            (None, _) => {
                let items: Vec<_> = items.iter().map(inspected).collect();
                format!("{{{}}}", items.join(", "))
            }
        },
        Value::String(text) => format!("{text:?}"),
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn characters(items: &[Value]) -> Option<String> {
    let characters = items.iter().map(|item| {
        let character = item.as_u64().and_then(|code| u8::try_from(code).ok());
        character.filter(|code| (b' '..=b'~').contains(code)).map(char::from)
    });
    characters.collect::<Option<String>>().filter(|text| !text.is_empty())
}

fn erlang(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(string) => text(string),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(erlang).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(table) => arguments(table),
    }
}

/// A text in quotation marks; an empty one is an empty list, as Erlang knows no difference.
fn text(text: &str) -> String {
    match text {
        "" => "[]".to_owned(),
        text => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_pairs_in_braces() {
        let table = json!({ "l": ["a", 1], "m": { "k": "v" }, "t": true, "x": 1, "y": "z" });
        let shown = r#"[{"l",["a",1]},{"m",[{"k","v"}]},{"t",true},{"x",1},{"y","z"}]"#;
        assert_eq!(arguments(table.as_object().unwrap()), shown);
        assert_eq!(arguments(&Map::new()), "[]");
    }

    #[test]
    fn arguments_in_json_have_types() {
        let table = json!({ "a": { "k": 1 }, "b": "s", "c": 1.5, "d": false });
        let shown = json!([
            ["a", "table", [["k", "long", 1]]],
            ["b", "longstr", "s"],
            ["c", "double", 1.5],
            ["d", "bool", false]
        ]);
        assert_eq!(typed_arguments(table.as_object().unwrap()), shown);
    }

    #[test]
    fn reasons_are_terms() {
        let check = |reason: Value, shown: &str| assert_eq!(inspected(&reason), shown);
        check(json!(["no_such_user", "a"]), r#"{:no_such_user, "a"}"#);
        let missing = json!([109, 105, 115, 115, 105, 110, 103, 32, 41]);
        check(
            json!(["invalid_regexp", [40], [missing, 1]]),
            "{:invalid_regexp, '(', {'missing )', 1}}",
        );
    }
}
