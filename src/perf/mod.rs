//! The load generator: a client of any broker that costs less than what it measures.
//!
//! Publishes are built once and written in blocks, what arrives is cut into frames and counted, and
//! every connection has one blocking thread to itself.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a measurement reads the clock, keeps a schedule and prints its result"
)]

mod address;
mod churn;
mod client;
mod confirms;
mod consumer;
mod declare;
mod failure;
#[cfg(test)]
mod fake_broker;
mod ledger;
mod load;
mod logins;
mod notice;
mod options;
mod plan;
mod process;
mod progress;
mod publisher;
mod report;
mod scanner;
mod sync;
mod template;
#[cfg(test)]
mod tests;
mod topology;

pub use address::Address;
pub use churn::{ChurnReport, Subject};
pub use declare::DeclareReport;
pub use failure::Failure;
pub use logins::LoginsReport;
pub use options::{
    ChurnOptions, Command, DeclareOptions, Latency, Load, LoginsOptions, Perf, SyncOptions, Target,
    Throughput,
};
pub use plan::{Acknowledge, ExchangeKind, QueueArgument};
pub use report::{Measured, Percentiles, Report, Verification, Whole};
pub use sync::SyncReport;

/// Does what the command line asks for, and prints the result.
///
/// A result that shows a fault of the broker is printed too, and is an error nevertheless.
pub fn run(arguments: &Perf) -> Result<(), Failure> {
    match &arguments.command {
        Command::Throughput(options) => {
            let report = throughput(options)?;
            print(&report, options.load.target.json);
            judge(&report)
        }
        Command::Latency(options) => {
            let report = latency(options)?;
            print(&report, options.load.target.json);
            judge(&report)
        }
        Command::Churn(options) => {
            let report = churn(options)?;
            print(&report, options.target.json);
            Ok(())
        }
        Command::Declare(options) => {
            print(&declare(options)?, options.target.json);
            Ok(())
        }
        Command::Logins(options) => {
            print(&logins(options)?, options.target.json);
            Ok(())
        }
        Command::Sync(options) => {
            print(&sync(options)?, options.json);
            Ok(())
        }
    }
}

/// Measures throughput.
pub fn throughput(options: &Throughput) -> Result<Report, Failure> {
    load::run(&options.plan(), &options.load.target.processes()?)
}

/// Measures latency.
pub fn latency(options: &Latency) -> Result<Report, Failure> {
    sharpen_timers();
    load::run(&options.plan(), &options.load.target.processes()?)
}

/// Opens and closes connections or channels.
pub fn churn(options: &ChurnOptions) -> Result<ChurnReport, Failure> {
    options.plan().run(&options.target.processes()?)
}

/// Tries wrong logins.
pub fn logins(options: &LoginsOptions) -> Result<LoginsReport, Failure> {
    options.plan().run(&options.target.processes()?)
}

/// Declares, or deletes, many queues.
pub fn declare(options: &DeclareOptions) -> Result<DeclareReport, Failure> {
    declare::run(options, &options.target.processes()?)
}

/// Measures this machine's own syncs.
pub fn sync(options: &SyncOptions) -> Result<SyncReport, Failure> {
    sync::run(options)
}

fn print(report: &(impl serde::Serialize + std::fmt::Display), as_json: bool) {
    if as_json {
        let json = serde_json::to_string(report).expect("a report is numbers under names");
        println!("{json}");
    } else {
        println!("{report}");
    }
}

fn judge(report: &Report) -> Result<(), Failure> {
    match &report.verification {
        Some(verification) if !verification.is_passed() => {
            Err(Failure::Verification(verification.to_string()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Asks the kernel not to put off the wake-ups of this process's threads by its usual 50 µs, which
/// would be counted as latency. Where it refuses, the report's lateness shows it.
fn sharpen_timers() {
    std::fs::write("/proc/self/timerslack_ns", "1").unwrap_or_default();
}
