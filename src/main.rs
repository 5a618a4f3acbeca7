//! The `leveret` binary: arguments, configuration, run, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use leveret::perf::{self, Perf};

/// A message broker that speaks AMQP 0-9-1 exactly as RabbitMQ does.
#[derive(Parser)]
#[command(version)]
struct Leveret {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Perf(Perf),
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn main() -> ExitCode {
    let Command::Perf(arguments) = Leveret::parse().command;
    match perf::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("leveret perf: {failure}");
            ExitCode::FAILURE
        }
    }
}
