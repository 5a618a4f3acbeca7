//! Values as Erlang prints them: RabbitMQ's sentences have them in their middle.

use serde_json::Value;

/// `<<"text">>`, `5`, `true`, `[1,2]`, `[{<<"key">>,5}]`.
pub(super) fn term(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) => format!("<<{value}>>"),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(term).collect::<Vec<_>>().join(","))
        }
        Value::Object(pairs) => proplist(pairs),
    }
}

/// Pairs of names and values: `[{<<"key">>,5}]`.
pub(super) fn proplist<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a Value)>) -> String {
    let pair = |(name, value): (&String, &Value)| {
        format!("{{{},{}}}", term(&Value::from(name.as_str())), term(value))
    };
    format!("[{}]", pairs.into_iter().map(pair).collect::<Vec<_>>().join(","))
}

/// What RabbitMQ does to a sentence that a browser may show.
pub(super) fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_erlang_prints_them() {
        let value = json!({ "a": ["x", 1, true], "b": { "c": 2.5 } });
        assert_eq!(term(&value), r#"[{<<"a">>,[<<"x">>,1,true]},{<<"b">>,[{<<"c">>,2.5}]}]"#);
        assert_eq!(escaped("<<1>>"), "&lt;&lt;1&gt;&gt;");
    }
}
