//! Messages over HTTP, and what is told of queues that clients of AMQP use.

use lapin::{
    Connection, ConnectionProperties,
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::{Value, json};

use super::Managed;

impl Managed {
    /// Publishes to a queue, and says whether it was routed.
    pub(super) fn publish(&self, queue: &str, payload: &str) -> Value {
        let body = json!({
            "properties": {}, "routing_key": queue, "payload": payload,
            "payload_encoding": "string",
        });
        self.check("POST", "/api/exchanges/%2F//publish", &body.to_string(), 200).json()
    }

    fn take(&self, queue: &str, more: &Value) -> Value {
        let mut body = json!({ "count": 10, "ackmode": "ack_requeue_true", "encoding": "auto" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/api/queues/%2F/{queue}/get");
        self.check("POST", &path, &body.to_string(), 200).json()
    }

    fn with_queue() -> Self {
        let broker = Self::new();
        broker.check("PUT", "/api/queues/%2F/q", "{}", 201);
        broker
    }
}

#[test]
fn a_publisher_is_told_whether_a_queue_took_it() {
    let broker = Managed::with_queue();
    assert_eq!(broker.publish("q", "x"), json!({ "routed": true }));
    assert_eq!(broker.publish("nope", "x"), json!({ "routed": false }));
}

#[test]
fn a_message_comes_as_it_was_sent() {
    let broker = Managed::with_queue();
    let properties = json!({
        "delivery_mode": 2, "priority": 1, "type": "t", "user_id": "guest", "timestamp": 12,
        "headers": { "a": [1, { "b": "c" }] },
    });
    let body = json!({
        "properties": properties, "routing_key": "q", "payload": "/wA=",
        "payload_encoding": "base64",
    });
    broker.check("POST", "/api/exchanges/%2F/amq.default/publish", &body.to_string(), 200);
    let taken = broker.take("q", &json!({}));
    let expected = json!([{
        "payload_bytes": 2, "redelivered": false, "exchange": "", "routing_key": "q",
        "message_count": 0, "properties": properties, "payload": "/wA=",
        "payload_encoding": "base64",
    }]);
    assert_eq!(taken, expected);
}

#[test]
fn messages_go_back_or_not_as_it_was_asked() {
    let broker = Managed::with_queue();
    for payload in ["a", "b", "c"] {
        broker.publish("q", payload);
    }
    let payloads = |more: &Value| -> Vec<(String, bool)> {
        let taken = broker.take("q", more);
        let taken = taken.as_array().unwrap().iter();
        taken
            .map(|it| (it["payload"].as_str().unwrap().to_owned(), it["redelivered"] == true))
            .collect()
    };
    let seen = |expected: &[(&str, bool)]| -> Vec<(String, bool)> {
        expected.iter().map(|(payload, again)| ((*payload).to_owned(), *again)).collect()
    };
    let all = [("a", false), ("b", false), ("c", false)];
    assert_eq!(payloads(&json!({})), seen(&all));
    let again = all.map(|(payload, _)| (payload, true));
    assert_eq!(payloads(&json!({ "ackmode": "reject_requeue_true", "count": "5" })), seen(&again));
    let one = json!({ "ackmode": "ack_requeue_false", "count": 1 });
    assert_eq!(payloads(&one), seen(&again[..1]));
    let one = json!({ "ackmode": "reject_requeue_false", "count": 1 });
    assert_eq!(payloads(&one), seen(&again[1..2]));
    assert_eq!(payloads(&json!({ "count": -1, "truncate": 0 })), seen(&[("", true)]));
    assert_eq!(payloads(&json!({ "count": 0 })), seen(&[]));
    assert_eq!(broker.get("/api/queues/%2F/q")["messages"], 1);
}

#[test]
fn a_text_may_be_cut_or_come_as_base64() {
    let broker = Managed::with_queue();
    broker.publish("q", "\u{e9}t\u{e9}");
    let shown = |more: &Value| {
        let taken = broker.take("q", more);
        (taken[0]["payload"].clone(), taken[0]["payload_encoding"].clone())
    };
    assert_eq!(shown(&json!({})), (json!("\u{e9}t\u{e9}"), json!("string")));
    assert_eq!(shown(&json!({ "truncate": 3 })), (json!("\u{e9}t"), json!("string")));
    assert_eq!(shown(&json!({ "truncate": 1 })), (json!("ww=="), json!("base64")));
    assert_eq!(shown(&json!({ "encoding": "base64" })).1, json!("base64"));
}

#[test]
fn a_message_that_makes_no_sense_is_refused() {
    let broker = Managed::with_queue();
    let publish = |exchange: &str, more: &Value| {
        let mut body = json!({
            "properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/api/exchanges/%2F/{exchange}/publish");
        broker.check("POST", &path, &body.to_string(), 400).json()["reason"].clone()
    };
    let plain = json!({});
    assert_eq!(publish("nope", &plain), "404 NOT_FOUND - no exchange 'nope' in vhost '/'");
    assert_eq!(
        publish("amq.rabbitmq.trace", &plain),
        "403 ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'"
    );
    let other = json!({ "properties": { "user_id": "other" } });
    assert_eq!(
        publish("amq.default", &other),
        "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was \
         'guest'"
    );
    for (more, reason) in [
        (json!({ "payload": 5 }), json!("payload_not_string")),
        (json!({ "payload_encoding": "x" }), json!(["unsupported_encoding", "x"])),
        (json!({ "payload_encoding": "base64" }), json!(["not_base64", "x"])),
        (json!({ "properties": { "delivery_mode": "2" } }), json!(["not_int", "delivery_mode"])),
        (json!({ "properties": { "headers": { "a": null } } }), json!("null_not_allowed")),
    ] {
        assert_eq!(publish("amq.default", &more), reason);
    }
    let missing = broker.check("POST", "/api/queues/%2F/q/get", "{}", 400).json();
    let keys = "[{key_missing,count},{key_missing,ackmode},{key_missing,encoding}]";
    assert_eq!(missing["reason"], keys);
}

#[test]
fn nothing_is_published_while_memory_is_short() {
    let broker = Managed::with_queue();
    let watermark = "/api/leveret/vm_memory_high_watermark";
    broker.check("PUT", watermark, r#"{"absolute":1}"#, 204);
    let body = r#"{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}"#;
    broker.check("POST", "/api/exchanges/%2F//publish", body, 503);
    broker.check("PUT", watermark, r#"{"relative":0.9}"#, 204);
    broker.check("POST", "/api/exchanges/%2F//publish", body, 200);
    assert_eq!(broker.get("/api/queues/%2F/q")["messages"], 1);
}

#[test]
fn who_stands_by_for_a_single_active_consumer_is_told() {
    let broker = Managed::new();
    let single = r#"{"arguments": {"x-single-active-consumer": true}}"#;
    broker.check("PUT", "/api/queues/%2F/q", single, 201);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = format!("amqp://guest:guest@{}", broker.amqp);
    let _connected = runtime.block_on(async {
        let connection = Connection::connect(&address, ConnectionProperties::default());
        let connection = connection.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let mut consumers = Vec::new();
        for tag in ["first", "second"] {
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let consumer =
                channel.basic_consume("q".into(), tag.into(), options, FieldTable::default());
            consumers.push(consumer.await.unwrap());
        }
        (connection, channel, consumers)
    });
    let queue = broker.get("/api/queues/%2F/q");
    assert_eq!(queue["single_active_consumer_tag"], "first");
    assert_eq!(queue["exclusive_consumer_tag"], Value::Null);
    for (index, active, status) in [(0, true, "single_active"), (1, false, "waiting")] {
        let consumer = &queue["consumer_details"][index];
        assert_eq!(
            (&consumer["active"], &consumer["activity_status"]),
            (&json!(active), &json!(status))
        );
        assert_eq!(consumer["ack_required"], false);
    }
}

#[test]
fn expired_messages_are_not_counted() {
    let broker = Managed::new();
    broker.check("PUT", "/api/queues/%2F/q", r#"{"arguments": {"x-message-ttl": 0}}"#, 201);
    broker.publish("q", "x");
    assert_eq!(broker.get("/api/queues/%2F/q")["messages"], 0);
}

#[test]
fn what_consumers_hold_is_counted_and_the_consumers_are_told_of() {
    let broker = Managed::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = format!("amqp://guest:guest@{}", broker.amqp);
    let connection = runtime.block_on(async {
        let connection = Connection::connect(&address, ConnectionProperties::default());
        let connection = connection.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("q".into(), options, FieldTable::default()).await.unwrap();
        channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume("q".into(), "watcher".into(), options, FieldTable::default())
            .await
            .unwrap();
        (connection, channel, consumer)
    });
    for payload in ["one", "two!", "three"] {
        broker.publish("q", payload);
    }
    let queue = broker.get("/api/queues/%2F/q");
    for (key, value) in [
        ("messages", json!(3)),
        ("messages_ready", json!(1)),
        ("messages_unacknowledged", json!(2)),
        ("message_bytes", json!(12)),
        ("message_bytes_ready", json!(5)),
        ("message_bytes_unacknowledged", json!(7)),
        ("consumers", json!(1)),
        ("exclusive", json!(true)),
        ("state", json!("running")),
    ] {
        assert_eq!(queue[key], value, "{key}");
    }
    let owner = queue["owner_pid_details"]["name"].as_str().unwrap();
    assert!(owner.ends_with(&format!(" -> {}", broker.amqp)), "{owner}");
    let consumers = broker.get("/api/consumers/%2F");
    assert_eq!(consumers, queue["consumer_details"]);
    let consumer = &consumers[0];
    assert_eq!(consumer["channel_details"]["name"], format!("{owner} (1)"));
    assert_eq!(consumer["channel_details"]["user"], "guest");
    for (key, value) in [
        ("consumer_tag", json!("watcher")),
        ("ack_required", json!(true)),
        ("active", json!(true)),
        ("activity_status", json!("up")),
        ("exclusive", json!(false)),
        ("prefetch_count", json!(2)),
        ("arguments", json!({})),
        ("queue", json!({ "name": "q", "vhost": "/" })),
    ] {
        assert_eq!(consumer[key], value, "{key}");
    }
    let refused = broker.check("DELETE", "/api/queues/%2F/q", "", 400).json();
    assert!(refused["reason"].as_str().unwrap().contains("exclusive access"), "{refused}");
    drop(connection);
}
