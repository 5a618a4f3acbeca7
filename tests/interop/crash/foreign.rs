//! Clients of another language: `interop/crash/client.py`, whose lines go into the ledger.

use super::{
    ledger::{Ledger, Number, Receipt},
    load::{self, QUEUES},
};
use crate::process::Process;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};
use tokio::task::JoinHandle;

/// The longest time between two lines: a broker's life and its next beginning.
const SILENCE: Duration = Duration::from_secs(60);

/// A running program, and the file by which it learns where the broker is.
pub(super) struct Foreign {
    address: PathBuf,
    listening: Option<JoinHandle<()>>,
}

impl Foreign {
    /// Starts it with the Python in `pika`; what it receives counts as received by `consumer`.
    pub(super) fn start(
        pika: &Path,
        directory: &Path,
        ledger: Ledger,
        arguments: &[&str],
        consumer: usize,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let address = directory.join(format!("address-{}", COUNT.fetch_add(1, Relaxed)));
        load::write_whole(&address, "");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/crash/client.py");
        let mut command = Command::new(pika.join("venv/bin/python"));
        command.arg(program).arg(&address).args(arguments);
        let mut process = Process::start(&mut command);
        let publisher = arguments[1].parse().unwrap_or_default();
        let queue = QUEUES.iter().position(|queue| arguments[1] == *queue).unwrap_or_default();
        let whose = (publisher, consumer, queue);
        let listening = tokio::task::spawn_blocking(move || {
            while let Some(line) = process.try_line(SILENCE, |_| true) {
                let words: Vec<_> = line.split(' ').collect();
                let noted = note(&words, &ledger, whose);
                noted.unwrap_or_else(|| ledger.fault(&format!("pika says: {line}")));
            }
        });
        Self { address, listening: Some(listening) }
    }

    pub(super) fn tell(&self, url: &str) {
        load::write_whole(&self.address, url);
    }

    /// Tells it to come to its end, and waits until all that it said is in the ledger.
    pub(super) async fn stop(&mut self) {
        self.tell("stop");
        if let Some(listening) = self.listening.take() {
            listening.await.expect("the listener does not panic");
        }
    }
}

/// A run that fails leaves no program behind.
impl Drop for Foreign {
    fn drop(&mut self) {
        if self.listening.is_some() {
            self.tell("stop");
        }
    }
}

/// Enters a line; `None` for one that says something else.
fn note(
    words: &[&str],
    ledger: &Ledger,
    (publisher, consumer, queue): (usize, usize, usize),
) -> Option<()> {
    let number = |sequence: &str| Some(Number { publisher, sequence: sequence.parse().ok()? });
    match words {
        ["published", sequence] => ledger.published(number(sequence)?),
        ["confirmed", sequence] => ledger.confirmed(number(sequence)?),
        ["refused", sequence] => ledger.refused(number(sequence)?),
        ["received", publisher, sequence, redelivered] => {
            let publisher = publisher.parse().ok()?;
            let number = Number { publisher, ..number(sequence)? };
            let redelivered = *redelivered == "True";
            ledger.received(number, Receipt { consumer, queue, redelivered });
        }
        ["lost", ..] => {}
        ["corrupt"] => ledger.fault("pika received other octets"),
        _ => return None,
    }
    Some(())
}
