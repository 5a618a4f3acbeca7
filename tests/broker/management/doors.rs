//! The ways in: the port, the broker's own socket; and the way out.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Managed, client};
use crate::process::{Process, check_refused, leveret, run};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _it_may_be_gone = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_socket_in_the_data_directory_makes_an_administrator() {
    let folder = Folder::new("socket");
    let broker = Managed::start(&["--data-dir", &folder.join("data")]);
    let socket = folder.0.join("data/control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = client::ask_locally(&socket, "GET", "/api/whoami", "");
    assert_eq!(answer.json()["tags"], json!(["administrator"]));
    let answer = client::ask_locally(&socket, "PUT", "/api/vhosts/v", "");
    assert_eq!(answer.status, 201);
    // Nobody of that name is there to get a permission.
    assert_eq!(broker.get("/api/vhosts/v/permissions"), json!([]));
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("stale");
    let path = folder.join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    let arguments = ["--ephemeral", "--listen", "127.0.0.1:0", "--management", "none"];
    let arguments = [&arguments[..], &["--control-socket", &path]].concat();
    let process = Process::start(&arguments);
    process.line();
    assert_eq!(client::ask_locally(Path::new(&path), "GET", "/api/whoami", "").status, 200);
    check_refused(&arguments, "another process listens on the control socket");
    assert_eq!(client::ask_locally(Path::new(&path), "GET", "/api/whoami", "").status, 200);
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = Folder::new("file");
    let path = folder.join("control.sock");
    fs::write(&path, "kept").unwrap();
    let arguments = ["--ephemeral", "--listen", "127.0.0.1:0", "--management", "none"];
    check_refused(&[&arguments[..], &["--control-socket", &path]].concat(), "it is no socket");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
}

#[test]
fn a_path_too_long_for_a_socket_is_passed_over() {
    let folder = Folder::new(&"x".repeat(120));
    let broker = Managed::start(&["--data-dir", &folder.join("data")]);
    assert_eq!(broker.get("/api/whoami")["name"], "guest");
}

#[test]
fn an_operator_stops_the_broker() {
    let mut broker = Managed::new();
    broker.check("POST", "/api/leveret/stop", "", 204);
    assert_eq!(broker.process.wait().code(), Some(0));
}

#[test]
fn what_was_answered_survives_a_crash() {
    let folder = Folder::new("crash");
    let data = folder.join("data");
    let broker = Managed::start(&["--data-dir", &data]);
    broker.check("PUT", "/api/users/anna", r#"{"tags":"a,b","password":"p"}"#, 201);
    broker.check("PUT", "/api/vhosts/v", r#"{"description":"d"}"#, 201);
    broker.check("PUT", "/api/vhost-limits/v/max-queues", r#"{"value":7}"#, 204);
    let policy = r#"{"pattern":"^a","definition":{"max-length":5}}"#;
    broker.check("PUT", "/api/policies/v/p", policy, 201);
    broker.check("PUT", "/api/global-parameters/g", r#"{"value":{"a":[1]}}"#, 201);
    broker.check("PUT", "/api/queues/%2F/q", r#"{"durable":true}"#, 201);
    broker.check("PUT", "/api/exchanges/%2F/e", r#"{"durable":true}"#, 201);
    broker.check("POST", "/api/bindings/%2F/e/e/q/q", r#"{"routing_key":"k"}"#, 201);
    let message = r#"{"properties":{"delivery_mode":2},"routing_key":"k","payload":"p",
        "payload_encoding":"string"}"#;
    broker.check("POST", "/api/exchanges/%2F/e/publish", message, 200);
    let before = broker.get("/api/definitions");
    drop(broker);
    let broker = Managed::start(&["--data-dir", &data]);
    assert_eq!(broker.get("/api/definitions"), before);
    assert_eq!(broker.get("/api/queues/%2F/q")["messages"], 1);
}

#[test]
fn limits_of_the_node_are_set_while_it_runs() {
    let broker = Managed::new();
    let path = "/api/leveret/vm_memory_high_watermark";
    broker.check("PUT", path, r#"{"absolute":1}"#, 204);
    let answer = broker.check("GET", "/api/health/checks/alarms", "", 503).json();
    assert_eq!(answer["alarms"][0]["resource"], "memory");
    assert_eq!(answer["reason"], "There are alarms in effect in the cluster");
    broker.check("PUT", path, r#"{"relative":0.9}"#, 204);
    broker.check("GET", "/api/health/checks/alarms", "", 200);
    broker.check("PUT", path, r#"{"relative":-1}"#, 400);
    let status = broker.get("/api/leveret/status");
    assert_eq!(status["vm_memory_high_watermark"], json!({ "relative": 0.9 }));
}

#[test]
fn the_environment_names_the_first_user() {
    let arguments = ["--ephemeral", "--listen", "127.0.0.1:0", "--management", "127.0.0.1:0"];
    let mut command = leveret(&arguments);
    let variables = [("USER", "anna"), ("PASS", "secret"), ("VHOST", "shop")];
    command.envs(variables.map(|(name, value)| (format!("RABBITMQ_DEFAULT_{name}"), value)));
    let process = Process::spawn(&mut command);
    let address = process.addresses()[0];
    assert!(client::logs_in(address, "anna", "secret", "shop"));
    assert!(!client::logs_in(address, "guest", "guest", "shop"));
}

#[test]
fn clients_are_told_the_name_that_the_cluster_was_given() {
    use std::io::{Read, Write};
    let broker = Managed::new();
    broker.check("PUT", "/api/cluster-name", r#"{"name":"shop@example"}"#, 204);
    assert_eq!(broker.get("/api/cluster-name")["name"], "shop@example");
    let mut stream = client::connect(broker.amqp);
    stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
    let (mut read, mut octet) = (Vec::<u8>::new(), [0_u8; 1]);
    while !read.ends_with(b"shop@example") {
        assert_eq!(stream.read(&mut octet).unwrap(), 1);
        read.push(octet[0]);
    }
}

#[test]
fn connections_are_listed_and_closed() {
    use std::io::Read;
    let broker = Managed::new();
    let mut stream = crate::process::open(broker.amqp);
    let listed = broker.get("/api/connections");
    assert_eq!(listed[0]["user"], "guest");
    assert_eq!(listed[0]["vhost"], "/");
    let name = listed[0]["name"].as_str().unwrap().replace(' ', "%20").replace('>', "%3E");
    assert_eq!(broker.get(&format!("/api/connections/{name}"))["name"], listed[0]["name"]);
    assert_eq!(broker.get("/api/connections/username/guest")[0]["name"], listed[0]["name"]);
    broker.check("DELETE", &format!("/api/connections/{name}"), "", 204);
    let (mut read, mut octets) = (Vec::<u8>::new(), [0_u8; 256]);
    let text = b"Closed via management plugin";
    while !read.windows(text.len()).any(|window| *window == text[..]) {
        let count = stream.read(&mut octets).unwrap();
        assert_ne!(count, 0);
        read.extend(&octets[..count]);
    }
}

#[test]
fn certificates_that_end_soon_are_told() {
    let folder = Folder::new("certificates");
    let certificates = folder.join("tls");
    assert!(run(&["tls", "generate", &certificates, "--days", "10"]).status.success());
    let file = |name: &str| format!("{certificates}/{name}.pem");
    let config = format!(
        "listeners.ssl.1 = 127.0.0.1:0\nssl_options.certfile = {}\nssl_options.keyfile = {}\n",
        file("server_certificate"),
        file("server_key")
    );
    fs::write(folder.join("conf"), config).unwrap();
    let broker = Managed::start(&["--ephemeral", "--config", &folder.join("conf")]);
    let path = "/api/health/checks/certificate-expiration";
    assert_eq!(broker.get(&format!("{path}/1/weeks")), json!({ "status": "ok" }));
    let failed = broker.check("GET", &format!("{path}/2/weeks"), "", 503).json();
    assert_eq!(failed["reason"], "Certificates expiring");
    let expired = &failed["expired"][0];
    assert_eq!(
        (&expired["protocol"], &expired["interface"]),
        (&json!("amqp/ssl"), &json!("127.0.0.1"))
    );
    assert_eq!(expired["certfile"], file("server_certificate"));
    assert_eq!(expired["certfile_expires_on"].as_array().map(Vec::len), Some(1));
    broker.check("GET", &format!("{path}/x/weeks"), "", 400);
    broker.check("GET", &format!("{path}/1/hours"), "", 400);
}

#[test]
fn who_waits_for_the_pid_file_goes_on_when_the_broker_serves() {
    let folder = Folder::new("pid");
    let (data, pid_file) = (folder.join("data"), folder.join("run/broker.pid"));
    let arguments = ["--data-dir", &data, "--listen", "127.0.0.1:0", "--management", "none"];
    let mut command = leveret(&arguments);
    let mut broker = Process::spawn(command.env("RABBITMQ_PID_FILE", &pid_file));
    let wait = ["ctl", "--data-dir", &data, "wait", &pid_file, "--timeout", "60"];
    let waited = run(&wait);
    assert!(waited.status.success(), "{waited:?}");
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), broker.id().to_string());
    let stopped = run(&["ctl", "--data-dir", &data, "stop", &pid_file]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(broker.wait().success());
    assert!(!Path::new(&pid_file).exists());
}
