//! The examples of the documents that the project was created from, unchanged, each group of
//! them against a fresh broker with its default arguments, on `localhost:5672`.
//!
//! The folder's own `README.md` says what a fresh RabbitMQ does with each group. The commands of
//! the group `administration` are those of `administration.rs`. Where messages are persistent, the
//! broker is stopped, or killed, between two scripts as well.

use crate::{
    broker::{fresh_directory, program, wait_until_ready},
    clients::{prepare, skip},
    namespace::Host,
    process::Process,
};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);
const SENT: &str = " [x] Sent 'Hello World!'";
const RECEIVED: &str = " [x] Received b'Hello World!'";

#[test]
fn durable_producer() {
    let Some(group) = Group::start("pika") else { return };
    group.produce("000_1_durable_producer.py", SENT);
    group.check("durable-and-persistent");
}

#[test]
fn durable_producer_then_a_restart() {
    for ending in ["TERM", "KILL"] {
        let Some(mut group) = Group::start("pika") else { return };
        group.produce("000_1_durable_producer.py", SENT);
        group.restart(ending);
        group.check("durable-and-persistent");
    }
}

#[test]
fn hello() {
    let Some(group) = Group::start("pika") else { return };
    group.produce("001_1_producer.py", SENT);
    group.consume("001_2_consumer_auto_ack.py", RECEIVED);
    group.check("hello-is-empty");
}

#[test]
fn persistent_and_manual_ack() {
    let Some(group) = Group::start("pika") else { return };
    group.produce("001_3_persistent_producer.py", SENT);
    consume_with_manual_ack(&group);
}

#[test]
fn a_restart_between_persistent_and_manual_ack() {
    for ending in ["TERM", "KILL"] {
        let Some(mut group) = Group::start("pika") else { return };
        group.produce("001_3_persistent_producer.py", SENT);
        group.restart(ending);
        consume_with_manual_ack(&group);
    }
}

fn consume_with_manual_ack(group: &Group) {
    let mut consumer = group.run("001_4_consumer_manual_ack.py");
    consumer.line(LIMIT, |line| line == RECEIVED);
    // The script prints before it acknowledges: once it prints the next message, it has done both.
    group.check("publish-another");
    consumer.line(LIMIT, |line| line == " [x] Received b'another'");
    interrupt(consumer);
    group.check("first-is-gone");
}

#[test]
fn one_script() {
    let Some(group) = Group::start("pika") else { return };
    let mut script = group.run("002_1_publish_and_consume.py");
    script.line(LIMIT, |line| line == SENT);
    script.line(LIMIT, |line| line == RECEIVED);
    interrupt(script);
    group.check("message-is-back");
}

#[test]
fn fanout() {
    let Some(group) = Group::start("pika") else { return };
    group.check("declare-logs");
    let mut script = group.run("003_1_fanout_producer.py");
    let sent = script.line(LIMIT, |line| line.starts_with(" [x] Sent '"));
    assert!(script.end(LIMIT).success(), "{}", script.said);
    let heard = group.check("print-heard");
    assert!(heard.contains(&sent.replace(" [x] Sent", "heard")), "sent {sent}, but {heard}");
}

#[test]
fn old_client_api() {
    let Some(group) = Group::start("pika-0") else { return };
    let mut script = group.run("003_2_consumer_pika_0x.py");
    group.check("publish-to-testq1");
    script.line(LIMIT, |line| line == " [x] Received b'for the old client'");
    interrupt(script);
}

/// One group of examples: a fresh broker on a host of its own, and a Python with the right pika.
struct Group {
    scripts: PathBuf,
    /// The Python of the examples, and that of the checks, which always has pika 1.x.
    python: PathBuf,
    checking_python: PathBuf,
    broker: Process,
    data: PathBuf,
    host: Host,
}

impl Group {
    /// `None`, and said so, where something that is needed is not here.
    fn start(client: &str) -> Option<Self> {
        let scripts = documents()?;
        let checking_python = Path::new(&prepare("pika")?).join("venv/bin/python");
        let python = Path::new(&prepare(client)?).join("venv/bin/python");
        let host = match Host::find() {
            Ok(host) => host,
            Err(why) => {
                skip(&format!("skipped the documents' examples: {why}"));
                return None;
            }
        };
        let data = fresh_directory().join("data");
        let broker = start_broker(&host, &data);
        Some(Self { scripts, python, checking_python, broker, data, host })
    }

    /// Ends the broker by `signal`, and starts it on what it has left.
    fn restart(&mut self, signal: &str) {
        self.broker.signal(signal);
        self.broker.end(LIMIT);
        self.broker = start_broker(&self.host, &self.data);
    }

    fn run(&self, script: &str) -> Process {
        Process::start(self.python(&self.python).arg(self.scripts.join(script)))
    }

    /// A producer prints that it has sent, and ends.
    fn produce(&self, script: &str, sent: &str) {
        let mut producer = self.run(script);
        producer.line(LIMIT, |line| line == sent);
        assert!(producer.end(LIMIT).success(), "{}", producer.said);
    }

    /// A consumer says that it waits and prints what it received, in any order, until interrupted.
    fn consume(&self, script: &str, received: &str) {
        let mut consumer = self.run(script);
        consumer.line(LIMIT, |line| line == received);
        assert!(consumer.said.contains(" [*] Waiting for messages. To exit press CTRL+C"));
        interrupt(consumer);
    }

    /// Asks our own look at the broker, and gives what it printed.
    fn check(&self, question: &str) -> String {
        let checks = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/documents/check.py");
        let mut check =
            Process::start(self.python(&self.checking_python).arg(checks).arg(question));
        assert!(check.end(LIMIT).success(), "{question}:\n{}", check.said);
        check.said.clone()
    }

    /// Python whose prints arrive at once, although nobody's terminal reads them, and which can be
    /// interrupted, although whoever started the tests in the background cannot.
    fn python(&self, python: &Path) -> Command {
        let mut command = self.host.command(Path::new("env"));
        command.arg("--default-signal=INT").arg(python);
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// A broker on its default addresses.
pub(crate) fn start_broker(host: &Host, data: &Path) -> Process {
    let mut broker = Process::start(host.command(&program()).arg("--data-dir").arg(data));
    wait_until_ready(&mut broker);
    broker
}

fn interrupt(mut script: Process) {
    script.signal("INT");
    script.end(LIMIT);
    assert!(script.said.contains("KeyboardInterrupt"), "ended otherwise:\n{}", script.said);
}

fn documents() -> Option<PathBuf> {
    let folder = env::var_os("LEVERET_DOCUMENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/documents"),
        PathBuf::from,
    );
    if folder.join("README.md").exists() {
        return Some(folder);
    }
    skip(&format!("skipped the documents' examples: {} is not there", folder.display()));
    None
}
