//! Codes, headers and bodies of answers that are not what was hoped for.

use std::io::Write;

use serde_json::json;

use super::{Managed, client};

#[test]
fn nobody_is_asked_for_a_name_and_strangers_are_refused() {
    let broker = Managed::new();
    let answer = client::ask(broker.http, None, "GET", "/api/overview", "");
    assert_eq!((answer.status, &*answer.body), (401, ""));
    let realm = Some("Basic realm=\"RabbitMQ Management\"");
    assert_eq!(answer.header("www-authenticate"), realm);
    let answer = broker.ask_as("guest:wrong", "GET", "/api/overview", "");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), realm);
    assert_eq!(answer.json(), json!({ "error": "not_authorized", "reason": "Login failed" }));
}

#[test]
fn a_path_that_nobody_has_is_not_found() {
    let broker = Managed::new();
    let nothing = json!({ "error": "Object Not Found", "reason": "Not Found" });
    for path in ["/api/nope", "/api/users/nope", "/api/vhosts/nope", "/", "/api", "/api/%zz"] {
        assert_eq!(broker.check("GET", path, "", 404).json(), nothing, "{path}");
    }
    broker.check("GET", "/api/users/", "", 200);
    broker.check("GET", "/api/vhosts/%2f", "", 200);
    broker.check("GET", "/api//users", "", 404);
}

#[test]
fn a_route_tells_its_methods() {
    let broker = Managed::new();
    let answer = broker.check("PUT", "/api/whoami", "", 405);
    assert_eq!(answer.header("allow"), Some("HEAD, GET, OPTIONS"));
    let answer = client::ask(broker.http, None, "OPTIONS", "/api/users/x", "");
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert_eq!(answer.header("allow"), Some("HEAD, GET, PUT, DELETE, OPTIONS"));
    let answer = broker.check("HEAD", "/api/whoami", "", 200);
    assert_eq!(answer.body, "");
    assert_ne!(answer.header("content-length"), Some("0"));
}

#[test]
fn answers_have_rabbitmqs_headers() {
    let broker = Managed::new();
    let answer = broker.check("GET", "/api/whoami", "", 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("vary"), Some("accept, accept-encoding, origin"));
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    let broker = Managed::new();
    let refused =
        |body: &str| broker.check("PUT", "/api/users/u", body, 400).json()["reason"].clone();
    assert_eq!(refused("{"), "not_json");
    assert_eq!(refused("[]"), "not_json");
    assert_eq!(refused("\"{}\"").as_str().unwrap().split(':').next(), Some("invalid payload"));
    assert_eq!(refused("{}"), "tags_not_present");
    let deep = format!("{{\"value\":{}1{}}}", "[".repeat(120), "]".repeat(120));
    broker.check("PUT", "/api/global-parameters/deep", &deep, 400);
    let deeper = format!("{{\"value\":{}", "[".repeat(100_000));
    broker.check("PUT", "/api/global-parameters/deep", &deeper, 400);
}

#[test]
fn what_is_wrong_with_a_user_or_a_right_is_said() {
    let broker = Managed::new();
    let check = |path: &str, body: &str, reason: serde_json::Value| {
        let answer = broker.check("PUT", path, body, 400);
        assert_eq!(answer.json()["error"], "bad_request", "{path}");
        assert_eq!(answer.json()["reason"], reason, "{path} {body}");
    };
    let both = json!("both_password_and_password_hash_are_provided");
    check("/api/users/u", r#"{"tags":"","password":"a","password_hash":"b"}"#, both);
    let hash = r#"{"tags":"","password_hash":"!!!"}"#;
    check("/api/users/u", hash, json!(["not_base64", "!!!"]));
    let nobody = json!("vhost_or_user_not_found");
    check("/api/permissions/%2F/nobody", "{}", nobody.clone());
    check("/api/permissions/nowhere/guest", "{}", nobody);
    let part = r#"{"configure":"","write":""}"#;
    check("/api/permissions/%2F/guest", part, json!("[{key_missing,read}]"));
    let word = "Validation failed\n\nmax-queues should be a number, actually was <<\"x\">>\n";
    check("/api/vhost-limits/%2F/max-queues", r#"{"value":"x"}"#, json!(word));
    let component = json!("Validation failed\n\ncomponent foo not found\n");
    check("/api/parameters/foo/%2F/x", r#"{"value":1}"#, component);
    let empty = json!("Validation failed\n\nno policy provided\n");
    check("/api/policies/%2F/p", r#"{"pattern":"","definition":{}}"#, empty);
}

#[test]
fn a_huge_body_is_refused_before_it_is_sent() {
    let broker = Managed::new();
    let head = client::request(Some("guest:guest"), "PUT", "/api/users/u", "");
    let head = head.replace("content-length: 0", "content-length: 30000000");
    let answer = client::exchange(client::connect(broker.http), &head);
    assert_eq!(answer.status, 413);
}

#[test]
fn slow_clients_are_in_nobodys_way() {
    let broker = Managed::new();
    let mut waiting = Vec::new();
    for size in ["10", "1000000"] {
        for _ in 0..20 {
            let mut stream = client::connect(broker.http);
            let head = client::request(Some("guest:guest"), "PUT", "/api/users/u", "");
            let head = head.replace("content-length: 0", &format!("content-length: {size}"));
            stream.write_all(head.as_bytes()).unwrap();
            waiting.push(stream);
        }
    }
    broker.check("GET", "/api/whoami", "", 200);
    broker.check("PUT", "/api/vhosts/v", "{}", 201);
    drop(waiting);
    broker.check("GET", "/api/vhosts/v", "", 200);
}
