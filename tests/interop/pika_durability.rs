//! What survives the end of the broker, with pika: `interop/pika/durability.py` before and after.

use crate::{
    clients::prepare,
    lasting::{Ending, Lasting, wait_until},
    process::Process,
};
use std::{path::Path, process::Command, time::Duration};
use tokio::time::Instant;

/// How long the program of another language may take for all its cases.
const PROGRAM_LIMIT: Duration = Duration::from_secs(120);

/// The longest that a message of the program lives which is to expire while the broker is down.
const PROGRAM_TIME_TO_LIVE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn pika_finds_what_it_left_when_the_broker_is_stopped() {
    pika_finds_what_it_left(Lasting::start(Ending::Stop)).await;
}

#[tokio::test]
async fn pika_finds_what_it_left_when_the_broker_is_killed() {
    pika_finds_what_it_left(Lasting::start(Ending::Kill)).await;
}

async fn pika_finds_what_it_left(mut broker: Lasting) {
    let Some(directory) = prepare("pika") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let start = |stage: &str, url: &str| {
        let mut command = Command::new(Path::new(&directory).join("venv/bin/python"));
        command.arg(root.join("pika/durability.py")).args([stage, url]);
        command.env("PYTHONPATH", root.join("shared")).env("PYTHONDONTWRITEBYTECODE", "1");
        Process::start(&mut command)
    };
    let mut leaving = start("leave", &broker.url());
    leaving.line(PROGRAM_LIMIT, |line| line == "left everything");
    let deadline = Instant::now() + PROGRAM_TIME_TO_LIVE;
    broker.end();
    leaving.end(PROGRAM_LIMIT);
    wait_until(deadline).await;
    broker.begin(&[]);
    let stage = match broker.ending {
        Ending::Stop => "find",
        Ending::Kill => "find-after-kill",
    };
    let mut finding = start(stage, &broker.url());
    assert!(finding.end(PROGRAM_LIMIT).success(), "{}", finding.said);
}
