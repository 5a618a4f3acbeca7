//! The whole broker on a disk that loses power: what it has promised holds when it is back.

mod judge;
mod life;
mod model;
mod node;
mod universe;
mod world;
mod written;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
};

use self::{
    life::{Life, Tally},
    universe::Scale,
};
use super::random::seed;

const RUNS: u64 = 12;
/// Steps of a life, and further lives of a run.
const STEPS: u64 = 120;
const LIVES: u64 = 2;

/// More than [`RUNS`] when somebody has the time: `LEVERET_CRASH_RUNS`.
fn runs() -> u64 {
    match env::var("LEVERET_CRASH_RUNS") {
        Ok(text) => text.parse().expect("LEVERET_CRASH_RUNS is a number"),
        Err(_) => RUNS,
    }
}

#[test]
fn a_broker_keeps_its_promises_whenever_the_power_fails() {
    let seed = seed();
    let mut tally = Tally::default();
    for number in 0..runs() {
        let seed = seed.wrapping_add(number);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| cut_at_every_write(seed)));
        tally.add(outcome.unwrap_or_else(|fault| {
            println!("LEVERET_SEED={seed}");
            panic::resume_unwind(fault)
        }));
    }
    let Tally { cuts, restarts, confirmed, read } = tally;
    println!(
        "{cuts} cuts, {restarts} restarts: {confirmed} times a confirmed message had to be there \
         and was, {read} messages were read and were what they had to be"
    );
}

/// Lives through a run once to count its writes, then cuts the power at each, and lives on.
fn cut_at_every_write(seed: u64) -> Tally {
    let (scale, stride) = match seed % 12 {
        0 => (Scale::Long, 7),
        1 | 2 => (Scale::Wide, 3),
        _ => (Scale::Small, 1),
    };
    let mut whole = Life::new(seed, scale);
    whole.cut_at(None);
    whole.live(STEPS);
    let writes = whole.operations();
    whole.come_to_rest();
    whole.crash();
    let mut tally = whole.tally;
    let mut cut = 1 + seed % stride;
    while cut <= writes {
        let mut life = Life::new(seed, scale);
        life.cut_at(Some(cut));
        life.live(STEPS);
        life.crash();
        for _ in 0..LIVES {
            let again = 1 + life.dice.below(writes);
            life.cut_at(Some(again));
            life.live(STEPS / 2);
            life.crash();
        }
        life.tally.cuts += 1 + LIVES;
        tally.add(life.tally);
        cut += stride;
    }
    tally
}
