//! The broker is killed again and again under load, and what every client saw must add up.
//!
//! `LEVERET_CRASHES` kills, six unless it says otherwise, at moments drawn from `LEVERET_SEED`.
//! `interop/crash/README.md` tells the rules that are checked.

mod consumers;
mod foreign;
mod ledger;
mod load;
mod publishers;

use crate::{
    clients::prepare,
    lapin_words::*,
    lasting::{Ending, Lasting, wait_until},
    random::{self, Random},
};
use ledger::{Faults, Figures, Ledger};
use load::Load;
use std::{env, path::PathBuf, time::Duration};
use tokio::time::Instant;

/// Kills of a usual run of the tests.
const CRASHES: usize = 6;
/// The shortest and the longest time between the broker's first word and its death.
const LIFE_MS: std::ops::Range<usize> = 20..900;
/// How long nothing may happen before what is missing is lost.
const STANDSTILL: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_by_kills() {
    let seed = random::seed();
    let crashes = env::var("LEVERET_CRASHES")
        .map_or(CRASHES, |count| count.parse().expect("LEVERET_CRASHES is a number"));
    let outcome = Run::new(seed, prepare("pika").map(PathBuf::from)).run(crashes).await;
    println!("{}", outcome.figures);
    assert!(outcome.faults.is_empty(), "seed {seed}:\n{}", outcome.faults);
}

struct Outcome {
    figures: Figures,
    faults: Faults,
}

struct Run {
    random: Random,
    // Before the broker, whose directory it writes to.
    load: Load,
    broker: Lasting,
}

impl Run {
    fn new(seed: u64, pika: Option<PathBuf>) -> Self {
        let broker = Lasting::on_empty_directory(Ending::Kill);
        let load = Load::start(seed, Ledger::default(), broker.directory(), pika);
        Self { random: Random::seeded(seed), load, broker }
    }

    async fn run(mut self, crashes: usize) -> Outcome {
        for _ in 0..crashes {
            if self.random.chance(5) {
                self.die_while_beginning().await;
            }
            self.live().await;
            let life_ms = self.random.below(LIFE_MS.end - LIFE_MS.start) + LIFE_MS.start;
            pause(Duration::from_millis(life_ms as u64)).await;
            self.load.ledger().dies();
            self.broker.end();
            self.load.ledger().died();
            if !self.load.ledger().faults().is_empty() {
                return self.outcome();
            }
        }
        self.live().await;
        if self.load.ledger().faults().is_empty() {
            self.drain().await;
        }
        self.outcome()
    }

    /// Begins, shows itself to the clients, and has had a confirm and a delivery before it may die.
    async fn live(&mut self) {
        self.broker.begin(&[]);
        let ledger = self.load.ledger();
        let before = ledger.progress();
        ledger.lives();
        self.load.finds_its_broker(&self.broker).await;
        let deadline = Instant::now() + STANDSTILL;
        while ledger.faults().is_empty() && !ledger.progress().is_beyond(&before) {
            if Instant::now() > deadline {
                ledger.fault("a broker that has begun confirms or delivers nothing");
                return;
            }
            pause(GLANCE).await;
        }
    }

    /// A recovery that is cut short is a crash like any other.
    async fn die_while_beginning(&mut self) {
        let mut process = self.broker.spawn(&[]);
        pause(Duration::from_millis(self.random.below(40) as u64)).await;
        process.signal("KILL");
        process.end(STANDSTILL);
        self.load.ledger().died();
    }

    /// Publishers stop; consumers go on until everything has arrived and is settled.
    async fn drain(&mut self) {
        self.load.stop_publishers().await;
        let ledger = self.load.ledger();
        let mut moved = (Instant::now(), ledger.progress());
        while ledger.missing() > 0 && moved.0.elapsed() < STANDSTILL {
            let progress = ledger.progress();
            if progress != moved.1 {
                moved = (Instant::now(), progress);
            }
            pause(GLANCE).await;
        }
        self.drain_unconfirmed().await;
        ledger.close();
        self.load.stop_consumers().await;
        ledger.dies();
        self.broker.ending = Ending::Stop;
        self.broker.restart();
        let channel = open_channel(&self.broker).await;
        for queue in load::QUEUES {
            let left = ready(&channel, queue).await;
            if left > 0 {
                ledger.fault(&format!("{left} messages of {queue} are back after a clean restart"));
            }
        }
    }

    /// What was published and not confirmed may have survived, too.
    async fn drain_unconfirmed(&self) {
        let channel = open_channel(&self.broker).await;
        let deadline = Instant::now() + STANDSTILL;
        for queue in load::QUEUES {
            while ready(&channel, queue).await > 0 && Instant::now() < deadline {
                pause(GLANCE).await;
            }
        }
    }

    fn outcome(self) -> Outcome {
        let ledger = self.load.ledger();
        Outcome { figures: ledger.figures(), faults: ledger.faults() }
    }
}

async fn pause(duration: Duration) {
    wait_until(Instant::now() + duration).await;
}
