//! One test for each client in `interop/`: its program's cases, held one by one.

use crate::{broker::Broker, process::Process};
use std::{env, path::Path, process::Command, time::Duration};

/// What every program covers, in whatever order.
const CASES: [&str; 17] = [
    "publish-consume",
    "publisher-confirms",
    "manual-ack",
    "redelivery-after-nack",
    "redelivery-after-connection-loss",
    "prefetch",
    "mandatory-return",
    "headers-round-trip",
    "empty-body",
    "large-body",
    "error-403",
    "error-404",
    "error-405",
    "error-406",
    "login-refused",
    "consumer-cancel-notification",
    "reconnect",
];

/// The status by which `interop/run` says that a tool the client needs is not installed.
const NOT_HERE: i32 = 77;

/// Long enough for a first preparation, during which a package manager may say nothing.
const SILENCE: Duration = Duration::from_secs(600);

#[test]
fn pika_works() {
    check("pika");
}

#[test]
fn pika_of_before_1_0_works() {
    check("pika-0");
}

#[test]
fn aio_pika_works() {
    check("aio-pika");
}

#[test]
fn kombu_works() {
    check("kombu");
}

#[test]
fn amqplib_for_node_works() {
    check("amqplib");
}

#[test]
fn amqp091_go_works() {
    check("amqp091-go");
}

#[test]
fn the_java_client_works() {
    check("java-client");
}

fn check(client: &str) {
    if prepare(client).is_none() {
        return;
    }
    let broker = Broker::start();
    let mut process = Process::start(run().args([client, &broker.url()]));
    let status = process.end(SILENCE);
    let missing: Vec<_> =
        CASES.iter().filter(|case| !process.said.lines().any(|line| holds(line, case))).collect();
    assert!(
        status.success() && missing.is_empty(),
        "{client}: {status}; not held: {missing:?}\n{}",
        process.said
    );
}

/// Whether `line` says that `case` held, or that `interop/expected.toml` excuses it.
fn holds(line: &str, case: &str) -> bool {
    line.strip_prefix("ok ") == Some(case)
        || line.strip_prefix("excused ").is_some_and(|rest| {
            rest.strip_prefix(case).is_some_and(|reason| reason.starts_with(": "))
        })
}

/// Installs what `client` needs and gives the directory that holds it, or `None` where its
/// language is not installed; under CI that is a failure.
pub(crate) fn prepare(client: &str) -> Option<String> {
    let mut process = Process::start(run().args(["--prepare", client]));
    let status = process.end(SILENCE);
    if status.code() == Some(NOT_HERE) {
        skip(process.said.trim());
        return None;
    }
    assert!(status.success(), "{client} could not be prepared:\n{}", process.said);
    process.said.lines().last().map(str::to_owned)
}

/// Reports what could not be tested here; under CI everything can be.
pub(crate) fn skip(what: &str) {
    println!("{what}");
    assert!(env::var("CI").as_deref() != Ok("true"), "under CI nothing is skipped: {what}");
}

fn run() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/run"))
}
