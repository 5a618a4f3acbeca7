//! Queues, exchanges and bindings over HTTP.

use serde_json::{Value, json};

use super::Managed;

/// Names that paths must keep apart: in the path, and as they are.
const NAMES: [(&str, &str); 7] = [
    ("plain", "plain"),
    ("a%2Fb", "a/b"),
    ("%2F%2F", "//"),
    ("100%25", "100%"),
    ("a+b", "a+b"),
    ("a%20b", "a b"),
    ("%C3%A9%E2%82%AC", "\u{e9}\u{20ac}"),
];

#[test]
fn queues_of_all_names_are_made_once_found_and_deleted() {
    let broker = Managed::new();
    for (path, name) in NAMES {
        let path = format!("/api/queues/%2F/{path}");
        broker.check("PUT", &path, r#"{"durable": true}"#, 201);
        broker.check("PUT", &path, r#"{"durable": "true"}"#, 204);
        let queue = broker.get(&path);
        assert_eq!((&queue["name"], &queue["durable"]), (&json!(name), &json!(true)));
        assert_eq!(queue["type"], "classic");
    }
    let listed: Vec<_> = names(&broker.get("/api/queues/%2F"));
    let mut expected = NAMES.map(|(_, name)| name.to_owned());
    expected.sort();
    assert_eq!(listed, expected);
    for (path, _) in NAMES {
        broker.check("DELETE", &format!("/api/queues/%2F/{path}"), "", 204);
        broker.check("DELETE", &format!("/api/queues/%2F/{path}"), "", 404);
    }
}

#[test]
fn exchanges_of_all_names_are_made_once_found_and_deleted() {
    let broker = Managed::new();
    for (path, name) in NAMES {
        let path = format!("/api/exchanges/%2F/{path}");
        broker.check("PUT", &path, r#"{"type": "topic"}"#, 201);
        broker.check("PUT", &path, r#"{"type": "topic"}"#, 204);
        let exchange = broker.get(&path);
        assert_eq!((&exchange["name"], &exchange["type"]), (&json!(name), &json!("topic")));
        assert_eq!(exchange["incoming"], json!([]));
        broker.check("DELETE", &path, "", 204);
        broker.check("DELETE", &path, "", 404);
    }
}

#[test]
fn the_default_exchange_has_an_empty_name_and_another_one() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/q", "", 201);
    for path in ["/api/exchanges/%2F//", "/api/exchanges/%2F/amq.default"] {
        let exchange = broker.get(path);
        assert_eq!((&exchange["name"], &exchange["type"]), (&json!(""), &json!("direct")));
        let refused = broker.check("PUT", path, r#"{"type": "direct"}"#, 401).json();
        assert_eq!(refused["reason"], "Access refused.");
        broker.check("DELETE", path, "", 401);
    }
    for path in ["/api/exchanges/%2F//bindings/source", "/api/bindings/%2F/e//q/q"] {
        let bindings = broker.get(path);
        assert_eq!(bindings[0]["destination"], "q");
        assert_eq!(bindings[0]["properties_key"], "q");
    }
    broker.check("POST", "/api/bindings/%2F/e//q/q", r#"{"routing_key": "x"}"#, 401);
    broker.check("DELETE", "/api/bindings/%2F/e//q/q/q", "", 401);
    broker.check("PUT", "/api/exchanges/%2F/amq.new", r#"{"type": "direct"}"#, 401);
    broker.check("PUT", "/api/queues/%2F/amq.new", "{}", 401);
    let first = &names(&broker.get("/api/exchanges"))[0];
    assert_eq!(first, "");
}

#[test]
fn a_queue_without_a_name_is_given_one() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F//", "{}", 201);
    let listed = names(&broker.get("/api/queues"));
    assert!(listed.len() == 1 && listed[0].starts_with("amq.gen-"), "{listed:?}");
    broker.check("PUT", "/api/queues/%2F/", "{}", 405);
}

#[test]
fn what_is_declared_otherwise_is_refused_in_the_words_of_amqp() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/q", r#"{"arguments": {"x-max-length": 5}}"#, 201);
    broker.check("PUT", "/api/exchanges/%2F/e", r#"{"type": "direct"}"#, 201);
    let reason = |path: &str, body: &str| {
        broker.check("PUT", path, body, 400).json()["reason"].as_str().unwrap().to_owned()
    };
    let queue = |body: &str| reason("/api/queues/%2F/q", body);
    assert_eq!(
        queue(r#"{"durable": true}"#),
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is \
         'false'"
    );
    assert_eq!(
        queue("{}"),
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is \
         the value '5' of type 'long'"
    );
    let other = |body: &str| reason("/api/queues/%2F/other", body);
    assert_eq!(
        other(r#"{"arguments": {"x-message-ttl": "5"}}"#),
        "invalid arg 'x-message-ttl' for queue 'other' in vhost '/': \"expected integer, got \
         longstr\""
    );
    assert_eq!(other(r#"{"arguments": {"a": null}}"#), "null_not_allowed");
    assert_eq!(other(r#"{"node": "rabbit@nope"}"#), "Node rabbit@nope could not be contacted");
    assert_eq!(
        reason(&format!("/api/queues/%2F/{}", "a".repeat(256)), "{}"),
        "queue should be less than 255 bytes, actually was 256\n"
    );
    let exchange = |body: &str| reason("/api/exchanges/%2F/e", body);
    assert_eq!(
        exchange(r#"{"type": "fanout"}"#),
        "inequivalent arg 'type' for exchange 'e' in vhost '/': received 'fanout' but current is \
         'direct'"
    );
    assert_eq!(exchange(r#"{"type": "nosuch"}"#), "unknown exchange type 'nosuch'");
    for kind in ["queues", "exchanges"] {
        let failure = broker.check("PUT", &format!("/api/{kind}/nope/x"), "{}", 404).json();
        assert_eq!(failure, json!({ "error": "not_found", "reason": "vhost_not_found" }));
    }
}

#[test]
fn a_binding_is_found_again_where_its_location_says() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/a%20b", "{}", 201);
    let ends = "/api/bindings/%2F/e/amq.topic/q/a%20b";
    for (body, key, last) in [
        ("{}", "~", "a%20b/~"),
        (r#"{"routing_key": "a.*.#"}"#, "a.%2A.%23", "a%20b/a.%252A.%2523"),
        (r#"{"routing_key": "r k/1~"}"#, "r+k%2F1%7E", "a%20b/r%2Bk%252F1%257E"),
    ] {
        let made = broker.check("POST", ends, body, 201);
        assert_eq!(made.header("location"), Some(last));
        broker.check("POST", ends, body, 201);
        let place = format!("/api/bindings/%2F/e/amq.topic/q/{last}");
        assert_eq!(broker.get(&place)["properties_key"], key);
        let dotted = place.replacen("a.%", "a%2E%", 1);
        broker.check("DELETE", &dotted, "", 204);
        broker.check("DELETE", &place, "", 404);
        broker.check("GET", &place, "", 404);
    }
}

#[test]
fn bindings_with_other_arguments_have_other_keys() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/q", "{}", 201);
    let ends = "/api/bindings/%2F/e/amq.headers/q/q";
    for body in [r#"{"arguments": {"x": 1}}"#, r#"{"arguments": {"x": "1"}}"#, "{}"] {
        broker.check("POST", ends, body, 201);
    }
    let found = broker.get(ends);
    let keys: Vec<_> = found.as_array().unwrap().iter().map(|it| &it["properties_key"]).collect();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let place = format!("{ends}/{}", key.as_str().unwrap());
        assert_eq!(&broker.get(&place)["properties_key"], key);
        broker.check("DELETE", &place, "", 204);
    }
    assert_eq!(broker.get(ends), json!([]));
}

#[test]
fn a_binding_of_what_is_not_there_is_not_found() {
    let broker = Managed::new();
    let reason = |path: &str| broker.check("POST", path, "{}", 404).json()["reason"].clone();
    assert_eq!(reason("/api/bindings/%2F/e/nope/q/q"), "no exchange 'nope' in vhost '/'");
    assert_eq!(reason("/api/bindings/%2F/e/amq.direct/q/q"), "no queue 'q' in vhost '/'");
    assert_eq!(reason("/api/bindings/%2F/e/amq.direct/e/x"), "no exchange 'x' in vhost '/'");
    assert_eq!(reason("/api/bindings/nope/e/amq.direct/q/q"), "vhost_not_found");
    broker.check("POST", "/api/bindings/%2F/e/amq.direct/x/q", "{}", 404);
    broker.check("PUT", "/api/bindings/%2F/e/amq.direct/q/q/~", "{}", 405);
}

#[test]
fn a_deletion_may_ask_for_an_unused_or_empty_queue() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/q", "{}", 201);
    broker.publish("q", "x");
    let refused = broker.check("DELETE", "/api/queues/%2F/q?if-empty=true", "", 400).json();
    assert_eq!(refused["reason"], "queue 'q' in vhost '/' not empty");
    broker.check("DELETE", "/api/queues/%2F/q/contents", "", 204);
    broker.check("DELETE", "/api/queues/%2F/q?if-empty=true&if-unused=true", "", 204);
    broker.check("DELETE", "/api/queues/%2F/q/contents", "", 404);
}

#[test]
fn rights_are_those_of_amqp() {
    let broker = Managed::new();
    broker.check("PUT", "/api/users/u", r#"{"password": "p", "tags": "management"}"#, 201);
    let ask = |method: &str, path: &str, body: &str, status: u16| {
        let answer = broker.ask_as("u:p", method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer.json()
    };
    let refused = ask("GET", "/api/queues/%2F", "", 401);
    assert_eq!(refused["reason"], "User not authorised to access virtual host");
    assert_eq!(ask("GET", "/api/queues", "", 200), json!([]));
    let rights = r#"{"configure": "^c", "write": "^w", "read": "^r"}"#;
    broker.check("PUT", "/api/permissions/%2F/u", rights, 201);
    for name in ["w", "r"] {
        broker.check("PUT", &format!("/api/queues/%2F/{name}"), "{}", 201);
        broker.check("PUT", &format!("/api/exchanges/%2F/{name}"), "{}", 201);
    }
    ask("PUT", "/api/queues/%2F/c", "{}", 201);
    for (method, path, body) in [
        ("PUT", "/api/queues/%2F/x", "{}"),
        ("PUT", "/api/exchanges/%2F/x", "{}"),
        ("DELETE", "/api/queues/%2F/w", ""),
        ("DELETE", "/api/queues/%2F/w/contents", ""),
        ("POST", "/api/bindings/%2F/e/w/q/w", "{}"),
    ] {
        assert_eq!(ask(method, path, body, 401)["reason"], "Access refused.", "{path}");
    }
    ask("POST", "/api/bindings/%2F/e/r/q/w", "{}", 201);
    ask("DELETE", "/api/queues/%2F/r/contents", "", 204);
    let asked = r#"{"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}"#;
    let refused = ask("POST", "/api/queues/%2F/w/get", asked, 401);
    assert!(refused["reason"].as_str().unwrap().starts_with("ACCESS_REFUSED - "), "{refused}");
    let refused = ask("POST", "/api/queues/%2F/w/actions", r#"{"action": "sync"}"#, 401);
    assert_eq!(refused["reason"], "Not administrator user");
}

#[test]
fn a_policy_is_shown_where_it_holds() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/q", "{}", 201);
    let policy = r#"{"pattern": "^q", "definition": {"max-length": 3}, "apply-to": "queues"}"#;
    broker.check("PUT", "/api/policies/%2F/p", policy, 201);
    let queue = broker.get("/api/queues/%2F/q");
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&json!("p"), &Value::Null));
    assert_eq!(queue["effective_policy_definition"], json!({ "max-length": 3 }));
}

#[test]
fn lists_come_in_pages_and_with_chosen_columns() {
    let broker = Managed::new();
    for name in ["q1", "q2", "q3"] {
        broker.check("PUT", &format!("/api/queues/%2F/{name}"), "{}", 201);
    }
    let page = broker.get("/api/queues/%2F?page=2&page_size=2&columns=name");
    assert_eq!(page["items"], json!([{ "name": "q3" }]));
    assert_eq!((&page["page_count"], &page["total_count"]), (&json!(2), &json!(3)));
    let short = broker.get("/api/queues?disable_stats=true");
    assert_eq!((&short[0]["state"], &short[0]["messages"]), (&json!("live"), &Value::Null));
    let totals = broker.get("/api/queues?disable_stats=true&enable_queue_totals=true");
    assert_eq!((&totals[0]["messages"], &totals[0]["consumers"]), (&json!(0), &Value::Null));
}

pub(super) fn names(list: &Value) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}
