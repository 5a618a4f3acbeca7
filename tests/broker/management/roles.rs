//! Who may ask what, by his tags and his permissions.

use serde_json::json;

use super::Managed;

/// Paths, and which of the tags may read them: management, policymaker, monitoring, administrator;
/// first without a permission in `/`, then with one. As RabbitMQ 3.10.8 has it.
const MAY: &[(&str, [bool; 4], [bool; 4])] = &[
    ("whoami", ALL, ALL),
    ("overview", ALL, ALL),
    ("cluster-name", ALL, ALL),
    ("extensions", ALL, ALL),
    ("health/checks/alarms", ALL, ALL),
    ("vhosts", ALL, ALL),
    ("connections", ALL, ALL),
    ("policies", ALL, ALL),
    ("operator-policies", ALL, ALL),
    ("policies/%2F", ADMINISTRATOR, ALL),
    ("operator-policies/%2F", ADMINISTRATOR, ALL),
    ("vhosts/%2F/connections", ADMINISTRATOR, ALL),
    ("aliveness-test/%2F", ADMINISTRATOR, ALL),
    ("vhost-limits", ALL, ALL),
    ("vhost-limits/%2F", [false, false, true, true], ALL),
    ("user-limits", ALL, ALL),
    ("user-limits/guest", ALL, ALL),
    ("nodes", MONITOR, MONITOR),
    ("connections/username/guest", MONITOR, MONITOR),
    ("parameters", POLICYMAKER, POLICYMAKER),
    ("parameters/vhost-limits/%2F", ADMINISTRATOR, POLICYMAKER),
    ("global-parameters", POLICYMAKER, POLICYMAKER),
    ("vhosts/%2F", ADMINISTRATOR, ADMINISTRATOR),
    ("vhosts/%2F/permissions", ADMINISTRATOR, ADMINISTRATOR),
    ("users", ADMINISTRATOR, ADMINISTRATOR),
    ("users/guest", ADMINISTRATOR, ADMINISTRATOR),
    ("permissions", ADMINISTRATOR, ADMINISTRATOR),
    ("topic-permissions", ADMINISTRATOR, ADMINISTRATOR),
    ("definitions", ADMINISTRATOR, ADMINISTRATOR),
    ("feature-flags", ADMINISTRATOR, ADMINISTRATOR),
];

const ALL: [bool; 4] = [true; 4];
const MONITOR: [bool; 4] = [false, false, true, true];
const POLICYMAKER: [bool; 4] = [false, true, false, true];
const ADMINISTRATOR: [bool; 4] = [false, false, false, true];

const TAGS: [&str; 4] = ["management", "policymaker", "monitoring", "administrator"];

const EVERYTHING: &str = r#"{"configure":".*","write":".*","read":".*"}"#;

#[test]
fn each_tag_may_ask_what_rabbitmq_lets_it() {
    let broker = Managed::new();
    for (place, tag) in TAGS.iter().enumerate() {
        let user = json!({ "tags": tag, "password": "p" }).to_string();
        broker.check("PUT", &format!("/api/users/{tag}"), &user, 201);
        for (path, without, _) in MAY {
            check(&broker, tag, path, without[place]);
        }
        broker.check("PUT", &format!("/api/permissions/%2F/{tag}"), EVERYTHING, 201);
        for (path, _, with) in MAY {
            check(&broker, tag, path, with[place]);
        }
    }
}

fn check(broker: &Managed, tag: &str, path: &str, may: bool) {
    let answer = broker.ask_as(&format!("{tag}:p"), "GET", &format!("/api/{path}"), "");
    assert_eq!(answer.status, if may { 200 } else { 401 }, "{tag} {path}: {}", answer.body);
    if !may {
        assert_eq!(answer.json()["error"], "not_authorised", "{tag} {path}");
        assert_eq!(answer.header("www-authenticate"), None, "{tag} {path}");
    }
}

#[test]
fn a_user_without_one_of_the_tags_is_no_operator() {
    let broker = Managed::new();
    broker.check("PUT", "/api/users/anna", r#"{"tags":"auditor","password":"p"}"#, 201);
    let answer = broker.ask_as("anna:p", "GET", "/api/whoami", "");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["reason"], "Not management user");
}

#[test]
fn refusals_say_which_right_is_missing() {
    let broker = Managed::new();
    broker.check("PUT", "/api/users/anna", r#"{"tags":"management","password":"p"}"#, 201);
    let reason = |method: &str, path: &str| {
        let answer = broker.ask_as("anna:p", method, path, "{}");
        assert_eq!(answer.status, 401, "{path}");
        answer.json()["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("GET", "/api/users"), "Not administrator user");
    assert_eq!(reason("GET", "/api/nodes"), "Not monitor user");
    let no_entry = "User not authorised to access virtual host";
    assert_eq!(reason("GET", "/api/policies/%2F"), no_entry);
    assert_eq!(reason("GET", "/api/parameters"), "User not authorised to access object");
    assert_eq!(reason("PUT", "/api/policies/%2F/p"), "User not authorised to access object");
    assert_eq!(reason("PUT", "/api/vhosts/v"), "Not administrator user");
}

#[test]
fn lists_show_what_their_reader_may_see() {
    let broker = Managed::new();
    broker.check("PUT", "/api/users/anna", r#"{"tags":"management","password":"p"}"#, 201);
    broker.check("PUT", "/api/vhosts/seen", "", 201);
    broker.check("PUT", "/api/vhosts/unseen", "", 201);
    broker.check("PUT", "/api/permissions/seen/anna", EVERYTHING, 201);
    let names = |user: &str| {
        let answer = broker.ask_as(user, "GET", "/api/vhosts?columns=name", "");
        answer.json()
    };
    assert_eq!(names("anna:p"), json!([{ "name": "seen" }]));
    let all = json!([{ "name": "/" }, { "name": "seen" }, { "name": "unseen" }]);
    assert_eq!(names("guest:guest"), all);
}

#[test]
fn who_makes_a_virtual_host_may_work_in_it() {
    let broker = Managed::new();
    broker.check("PUT", "/api/vhosts/new", "", 201);
    broker.check("PUT", "/api/vhosts/new", "", 204);
    assert_eq!(broker.get("/api/permissions/new/guest")["configure"], ".*");
}
