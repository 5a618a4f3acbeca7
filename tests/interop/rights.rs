//! Rights and limits of users, with pika: `interop/pika/rights.py` and `limits.py`, which
//! `interop/oracle/rights` runs on a real RabbitMQ.

use crate::{
    broker::{fresh_directory, program, wait_until_ready},
    clients::prepare,
    process::Process,
};
use std::{path::Path, process::Command, time::Duration};

/// How long a program may take for everything.
const PROGRAM_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn every_operation_asks_for_the_rights_of_the_table() {
    check("rights");
}

#[test]
fn limits_of_users_and_virtual_hosts_hold_at_below_and_above() {
    check("limits");
}

fn check(name: &str) {
    let Some(directory) = prepare("pika") else { return };
    let mut command = Command::new(program());
    command.args(["--listen", "127.0.0.1:0", "--management", "127.0.0.1:0", "--ephemeral"]);
    let mut broker = Process::start(command.current_dir(fresh_directory()));
    let (host, port) = wait_until_ready(&mut broker);
    let managed = broker.said.lines().find_map(|line| line.split_once("management on "));
    let (_, management) = managed.expect("the ready line names where it is managed");
    let management = management.split([',', ';']).next().expect("a split has a first part");

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/pika");
    let mut command = Command::new(Path::new(&directory).join("venv/bin/python"));
    command.arg(root.join(format!("{name}.py"))).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args([format!("amqp://{host}:{port}"), format!("http://{management}")]);
    let mut program = Process::start(&mut command);
    assert!(program.end(PROGRAM_LIMIT).success(), "{}", program.said);
}
