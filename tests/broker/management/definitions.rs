//! Definitions: out of one broker and into another, RabbitMQ's among them.

use std::{fs, net::TcpStream};

use serde_json::{Value, json};

use super::{Managed, client};
use crate::process::check_refused;

/// Exported by RabbitMQ 3.10.8. The passwords are `secret of anna`, and so on.
const OF_RABBITMQ: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/definitions/rabbitmq-3.10.8.json");

#[test]
fn users_of_rabbitmq_come_with_their_passwords() {
    let broker = Managed::start(&["--ephemeral", "--definitions", OF_RABBITMQ]);
    for user in ["anna", "bert", "carl"] {
        let password = format!("secret of {user}");
        assert!(client::logs_in(broker.amqp, user, &password, "shop"), "{user}");
        assert!(!client::logs_in(broker.amqp, user, "secret", "shop"), "{user}");
    }
    // Without a password nobody logs in, and without a permission not there.
    assert!(!client::logs_in(broker.amqp, "dora", "", "shop"));
    assert!(!client::logs_in(broker.amqp, "bert", "secret of bert", "/"));
}

#[test]
fn what_rabbitmq_exported_is_exported_again() {
    let broker = Managed::start(&["--ephemeral", "--definitions", OF_RABBITMQ]);
    let mut theirs: Value = serde_json::from_slice(&fs::read(OF_RABBITMQ).unwrap()).unwrap();
    let mut ours = broker.ask_as("anna:secret of anna", "GET", "/api/definitions", "").json();
    let sections = [
        "users",
        "permissions",
        "topic_permissions",
        "parameters",
        "global_parameters",
        "policies",
        "queues",
        "exchanges",
        "bindings",
    ];
    for section in sections {
        // A queue's type is an argument of every durable queue here, as in 4.x.
        assert_eq!(sorted(&mut ours, section), sorted(&mut theirs, section), "{section}");
    }
}

/// The entries without what newer versions add, in a fixed order.
fn sorted(document: &mut Value, section: &str) -> Vec<String> {
    let items = document[section].as_array_mut().unwrap();
    for item in items.iter_mut().filter(|_| section == "queues") {
        item.as_object_mut().unwrap().remove("type");
        let arguments = item["arguments"].as_object_mut().unwrap();
        if arguments.get("x-queue-type") == Some(&json!("classic")) {
            arguments.remove("x-queue-type");
        }
    }
    let mut lines: Vec<_> = items.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn an_export_makes_the_same_broker_again_however_often() {
    let first = Managed::start(&["--ephemeral", "--definitions", OF_RABBITMQ]);
    let document = |broker: &Managed| {
        let answer = broker.ask_as("anna:secret of anna", "GET", "/api/definitions", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let exported = document(&first);
    let second = Managed::new();
    for user in ["guest:guest", "anna:secret of anna"] {
        let text = exported.to_string();
        let answer = second.ask_as(user, "POST", "/api/definitions", &text);
        assert_eq!(answer.status, 204, "{}", answer.body);
        assert_eq!(document(&second), exported);
    }
}

#[test]
fn a_virtual_host_is_exported_and_imported_by_itself() {
    let first = Managed::start(&["--ephemeral", "--definitions", OF_RABBITMQ]);
    let answer = first.ask_as("anna:secret of anna", "GET", "/api/definitions/shop", "");
    let second = Managed::new();
    second.check("POST", "/api/definitions/branch", &answer.body, 404);
    second.check("PUT", "/api/vhosts/branch", "", 201);
    second.check("POST", "/api/definitions/branch", &answer.body, 204);
    let (mut there, mut here) = (answer.json(), second.get("/api/definitions/branch"));
    for section in ["queues", "exchanges", "bindings", "policies", "parameters"] {
        assert_eq!(sorted(&mut here, section), sorted(&mut there, section), "{section}");
    }
}

#[test]
fn a_form_may_hold_the_file() {
    let broker = Managed::new();
    let body = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\r\n\
                {\"vhosts\":[{\"name\":\"v\"}]}\r\n--b--\r\n";
    let request = client::request(Some("guest:guest"), "POST", "/api/definitions", body);
    let kind = "host: x\r\ncontent-type: multipart/form-data; boundary=b";
    let request = request.replace("host: x", kind);
    assert_eq!(client::exchange(client::connect(broker.http), &request).status, 204);
    broker.check("GET", "/api/vhosts/v", "", 200);
}

#[test]
fn one_wrong_entry_is_named_and_nothing_is_imported() {
    let broker = Managed::new();
    let before = broker.get("/api/definitions");
    for (section, entry, sentence) in WRONG {
        let mut document = json!({
            "users": [{ "name": "first", "tags": "", "password": "p" }],
            "vhosts": [{ "name": "new" }],
            "exchanges": [{ "name": "first", "vhost": "new", "type": "fanout", "durable": true }],
            "queues": [{ "name": "first", "vhost": "new", "durable": true }],
        });
        let entry: Value = serde_json::from_str(entry).unwrap();
        match document[*section].as_array_mut() {
            Some(entries) => entries.push(entry.clone()),
            None => document[*section] = json!([entry.clone()]),
        }
        let answer = broker.check("POST", "/api/definitions", &document.to_string(), 400);
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(sentence), "{section} {entry}: {reason}");
        assert_eq!(broker.get("/api/definitions"), before, "{section} {document}");
    }
    let reason = broker.check("POST", "/api/definitions", "{", 400).json()["reason"].clone();
    assert_eq!(reason, "failed_to_parse_json");
    broker.check("POST", "/api/definitions", r#"{"users":5}"#, 400);
    assert_eq!(broker.get("/api/definitions"), before);
}

/// Section, entry, and what the refusal says.
const WRONG: &[(&str, &str, &str)] = &[
    ("users", r#"{"name":"u"}"#, "users[1] 'u': tags_not_present"),
    ("users", r#"{"tags":""}"#, "users[1]: [{key_missing,name}]"),
    ("users", "5", "users[1]: not an object"),
    ("users", r#"{"name":"u","tags":7}"#, "users[1] 'u': tags_must_be"),
    ("users", r#"{"name":"u","tags":"","password_hash":"?"}"#, "not_base64"),
    (
        "users",
        r#"{"name":"u","tags":"","password_hash":"aGVsbG8=","hashing_algorithm":"rot13"}"#,
        "unknown_hashing_algorithm",
    ),
    (
        "users",
        r#"{"name":"u","tags":"","limits":{"max-connections":"many"}}"#,
        "max-connections should be a number",
    ),
    ("vhosts", r#"{"name":"v","tracing":"maybe"}"#, "vhosts[1] 'v': [\"not_boolean\""),
    ("vhosts", r#"{"name":"v","default_queue_type":"stack"}"#, "unknown queue type"),
    (
        "permissions",
        r#"{"user":"nobody","vhost":"/","configure":"","write":"","read":""}"#,
        "permissions[0] 'nobody': there is no user 'nobody'",
    ),
    (
        "permissions",
        r#"{"user":"guest","vhost":"nowhere","configure":"","write":"","read":""}"#,
        "there is no virtual host 'nowhere'",
    ),
    (
        "permissions",
        r#"{"user":"guest","vhost":"/","configure":"(","write":"","read":""}"#,
        "permissions[0] 'guest': [\"invalid_regexp\"",
    ),
    (
        "topic_permissions",
        r#"{"user":"guest","vhost":"/","exchange":"amq.topic","write":"[","read":""}"#,
        "topic_permissions[0] 'guest': [\"invalid_regexp\"",
    ),
    (
        "parameters",
        r#"{"component":"vhost-limits","vhost":"new","name":"limits","value":{"max-q":1}}"#,
        "parameters[0] 'limits': Validation failed  Unrecognised terms",
    ),
    (
        "parameters",
        r#"{"component":"shovel","vhost":"new","name":"s","value":{}}"#,
        "component shovel not found",
    ),
    (
        "parameters",
        r#"{"component":"vhost-limits","vhost":"new","name":"limits","value":{"max-queues":0}}"#,
        "above its limit of 0",
    ),
    (
        "policies",
        r#"{"vhost":"new","name":"p","pattern":"(","definition":{"max-length":1}}"#,
        "policies[0] 'p': Validation failed  pattern should be regular expression",
    ),
    (
        "policies",
        r#"{"vhost":"new","name":"p","pattern":"","definition":{"max-len":1}}"#,
        "are not recognised policy settings",
    ),
    (
        "exchanges",
        r#"{"name":"x","vhost":"new","type":"ring","durable":true}"#,
        "exchanges[1] 'x': unknown exchange type 'ring'",
    ),
    (
        "queues",
        r#"{"name":"q","vhost":"new","durable":true,"arguments":{"x-message-ttl":"soon"}}"#,
        "queues[1] 'q': invalid arg 'x-message-ttl' for queue 'q' in vhost 'new'",
    ),
    (
        "queues",
        r#"{"name":"q","vhost":"new","durable":false,"arguments":{"x-queue-type":"quorum"}}"#,
        "invalid property 'non-durable'",
    ),
    ("queues", r#"{"name":"q","vhost":"new","arguments":{"x":null}}"#, "null_not_allowed"),
    ("queues", r#"{"name":"q","vhost":"nowhere"}"#, "there is no virtual host 'nowhere'"),
    (
        "bindings",
        r#"{"source":"first","vhost":"new","destination":"first","destination_type":"shelf"}"#,
        "bindings[0] 'first': destination_type is 'shelf'",
    ),
];

#[test]
fn a_wrong_file_stops_the_start() {
    let path = std::env::temp_dir().join(format!("leveret-definitions-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("a.json"), r#"{"users":[{"name":"u"}]}"#).unwrap();
    let shown = path.display().to_string();
    let sentence = "a.json: users[0] 'u': tags_not_present";
    let arguments = ["--ephemeral", "--listen", "127.0.0.1:0", "--management", "none"];
    check_refused(&[&arguments[..], &["--definitions", &shown]].concat(), sentence);
    check_refused(
        &[&arguments[..], &["--definitions", "/no/such.json"]].concat(),
        "cannot read the definitions /no/such.json",
    );
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn definitions_come_in_place_of_the_first_user() {
    let path = std::env::temp_dir().join(format!("leveret-seed-{}.json", std::process::id()));
    fs::write(&path, r#"{"vhosts":[{"name":"v"}]}"#).unwrap();
    let broker = Managed::start(&["--ephemeral", "--definitions", &path.display().to_string()]);
    TcpStream::connect(broker.amqp).unwrap();
    assert!(!client::logs_in(broker.amqp, "guest", "guest", "/"));
    assert_eq!(broker.ask("GET", "/api/whoami", "").status, 401);
    fs::remove_file(path).unwrap();
}
