//! Whole clusters, with everything going wrong that may: what was acknowledged is never lost.

mod disk;
mod judge;
mod network;
mod node;
mod scale;
mod world;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    thread,
};

use leveret::cluster::host::Broken;

use self::world::{Tally, World};

/// More than this many when somebody has the time: `LEVERET_CLUSTER_RUNS`.
const RUNS: u64 = 10_000;
/// Things that go wrong in one life.
const MISHAPS: u64 = 60;
/// Within so many lives a broken rule must show.
const ENOUGH: u64 = 5_000;

fn runs() -> u64 {
    match env::var("LEVERET_CLUSTER_RUNS") {
        Ok(text) => text.parse().expect("LEVERET_CLUSTER_RUNS is a number"),
        Err(_) => RUNS,
    }
}

/// A life, and a number that differs if anything in it did.
fn live(seed: u64, broken: Option<Broken>) -> (u64, Tally) {
    let mut world = World::new(seed, broken);
    world.live(MISHAPS);
    (world.around.judge.trace(), world.tally)
}

#[test]
fn a_cluster_keeps_what_it_has_acknowledged() {
    let start = super::random::seed();
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let total = thread::scope(|scope| {
        let lives = |worker| move || live_all(start, (worker..runs()).step_by(workers as usize));
        let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(lives(worker))).collect();
        let mut total = Tally::default();
        for worker in workers {
            total.add(&worker.join().expect("a seed that was printed"));
        }
        total
    });
    println!("{total:?}");
}

fn live_all(start: u64, numbers: impl Iterator<Item = u64>) -> Tally {
    let mut total = Tally::default();
    for number in numbers {
        let seed = start.wrapping_add(number);
        let life = panic::catch_unwind(AssertUnwindSafe(|| live(seed, None)));
        let (trace, tally) = life.unwrap_or_else(|fault| {
            println!("LEVERET_SEED={seed}");
            panic::resume_unwind(fault)
        });
        if number % 97 == 0 {
            assert_eq!(trace, live(seed, None).0, "seed {seed} is not the same twice");
        }
        total.add(&tally);
    }
    total
}

/// Breaks a rule on purpose, and lives until somebody notices.
fn is_noticed(broken: Broken) {
    let start = super::random::seed();
    let notices = |number: &u64| {
        let seed = start.wrapping_add(*number);
        panic::catch_unwind(AssertUnwindSafe(|| live(seed, Some(broken)))).is_err()
    };
    let lives = (0..ENOUGH).find(notices);
    println!("{broken:?} was noticed after {lives:?} lives");
    assert!(lives.is_some(), "{broken:?} went unnoticed");
}

#[test]
fn messages_that_are_glued_together_are_noticed() {
    is_noticed(Broken::GlueMessages);
}

#[test]
fn calling_written_what_is_not_is_noticed() {
    is_noticed(Broken::DeclareEarly);
}

#[test]
fn promising_before_writing_is_noticed() {
    is_noticed(Broken::SendEarly);
}

#[test]
fn applying_a_snapshot_before_writing_it_is_noticed() {
    is_noticed(Broken::ApplyEarly);
}

#[test]
fn snapshots_for_somebody_else_are_noticed() {
    is_noticed(Broken::KeepSnapshot);
}

#[test]
fn believing_in_a_leader_that_is_down_is_noticed() {
    is_noticed(Broken::KeepLease);
}

#[test]
fn leading_without_being_a_member_is_noticed() {
    is_noticed(Broken::RemoveSelf);
}
