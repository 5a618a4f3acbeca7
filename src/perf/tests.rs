//! Whole runs against a broker of the tests' own.

use std::time::Duration;

use clap::Parser;

use super::{
    fake_broker::{self, Character},
    load,
    plan::Plan,
    process::Processes,
    *,
};

/// Runs a command line against a broker of such a character.
fn run_against(character: Character, line: &str) -> Result<Report, Failure> {
    let words = std::iter::once("perf").chain(line.split_ascii_whitespace());
    let plan = match Perf::try_parse_from(words).unwrap().command {
        Command::Throughput(options) => options.plan(),
        Command::Latency(options) => options.plan(),
        Command::Churn(_) | Command::Declare(_) | Command::Logins(_) | Command::Sync(_) => {
            unreachable!("not a load")
        }
    };
    let address = fake_broker::start(character);
    let stall = Duration::from_secs(1);
    load::run(&Plan { address, stall, quiet: true, ..plan }, &Processes::default())
}

#[test]
fn every_message_is_accounted_for() {
    let report = run_against(
        Character::default(),
        "throughput --messages 3001 --confirm 50 --ack each --prefetch 10 --verify \
         --publishers 2 --consumers 3 --queues 5",
    )
    .unwrap();
    let Whole { published, confirmed, received, drained, .. } = report.whole;
    assert_eq!((published, confirmed, received, drained), (3001, 3001, 3001, true));
    assert_eq!((report.measured.published, report.measured.received), (3001, 3001));
    assert!(report.verification.unwrap().is_passed());
}

#[test]
fn confirms_are_timed() {
    let line = "throughput --messages 500 --confirm 1 --consumers 0";
    let report = run_against(Character::default(), line).unwrap();
    assert_eq!(report.confirm.unwrap().count, 500);
}

#[test]
fn what_an_earlier_run_has_kept_is_waited_for() {
    let line = "throughput --name kept --publishers 0 --messages 5 --verify";
    let report = run_against(Character::default(), line).unwrap();
    assert!(!report.whole.drained, "{report}");
    assert_eq!(report.verification.unwrap().lost, 5);
}

#[test]
fn queues_are_declared_and_deleted_in_batches() {
    let address = fake_broker::start(Character::default());
    for delete in ["", " --delete"] {
        let line = format!("perf declare --queues 25 --batch 10{delete}");
        let perf = Perf::try_parse_from(line.split_ascii_whitespace()).unwrap();
        let Command::Declare(mut options) = perf.command else { unreachable!("it was asked for") };
        options.target.uri = address.clone();
        assert_eq!(declare(&options).unwrap().queues, 25);
    }
}

#[test]
fn a_run_ends_after_its_time() {
    let report = run_against(
        Character::default(),
        "throughput --seconds 0.1 --warm-up 0.05 --max-backlog 100 --batch 7 --verify",
    )
    .unwrap();
    assert!(report.measured.received > 0 && report.whole.drained);
    assert!(report.verification.unwrap().is_passed());
}

#[test]
fn a_loss_is_found() {
    let lossy = Character { loses_every: Some(100), ..Character::default() };
    let report = run_against(lossy, "throughput --messages 1000 --verify").unwrap();
    assert_eq!(report.verification.unwrap().lost, 10);
    assert!(!report.whole.drained);
}

#[test]
fn a_duplicate_is_found() {
    let stammering = Character { repeats_every: Some(10), ..Character::default() };
    let report = run_against(stammering, "throughput --messages 1000 --verify").unwrap();
    assert!(report.verification.unwrap().duplicated > 0);
}

#[test]
fn latency_counts_from_the_schedule() {
    let line = "latency --rate 2000 --seconds 0.2 --warm-up 0.05 --confirm 10";
    let report = run_against(Character::default(), line).unwrap();
    let (latency, lateness) = (report.latency.unwrap(), report.lateness.unwrap());
    assert!(latency.count > 0, "{report}");
    assert!(latency.max >= lateness.p50, "{latency}, {lateness}");
}

#[test]
fn the_end_of_a_run_that_fails_says_why() {
    let check = |character, expected: &str| {
        let line = "throughput --messages 1000 --confirm 100";
        let failure = run_against(character, line).unwrap_err().to_string();
        assert!(failure.contains(expected), "{failure}");
    };
    let honest = Character::default;
    check(Character { refuses_after: Some(40), ..honest() }, "404 NOT_FOUND - no exchange 'x'");
    check(Character { hangs_up_on_login: true, ..honest() }, "are the user, the password");
    check(Character { is_silent: true, ..honest() }, "100 messages were never confirmed");
}
