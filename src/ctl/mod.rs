//! `leveret ctl`: administration in the words, output and exit codes of RabbitMQ's own tools.
//!
//! It is a client of the control plane, which speaks RabbitMQ's management HTTP API: over the
//! Unix socket `control.sock` in the broker's data directory, where the file's permissions are the
//! authentication, or over TCP with a user and a password. RabbitMQ's tools can do a few things
//! for which its HTTP API has no path; the control plane has these for them:
//!
//! | method and path | body | answer |
//! | --- | --- | --- |
//! | `POST /api/leveret/authenticate` | `username`, `password` | 200: `authenticated`, `reason` |
//! | `PUT /api/leveret/vm_memory_high_watermark` | `relative` f or `absolute` octets | 204 |
//! | `PUT /api/leveret/disk_free_limit` | `absolute` octets or `mem_relative` f | 204 |
//! | `POST /api/leveret/stop` | | 204, and then the broker stops in order |
//! | `GET /api/leveret/status` | | 200: `vm_memory_high_watermark` as it was put |
//!
//! Bodies and answers are JSON objects with these keys. A `reason` is told with a refusal alone.
//!
//! Where it adds a key `pid` (a text as `<node.1.2.3>`) to queues, connections and channels, and to
//! `owner_pid_details`, `connection_details` and `channel_details` in them, `list_queues`,
//! `list_connections`, `list_channels` and `list_consumers` show it, and `close_connection` finds
//! it; without it, the column is empty and a connection is closed by its name.

mod broker;
mod checks;
mod cluster;
mod command;
mod commands;
mod connections;
mod definitions;
mod format;
mod help;
mod limits;
mod listing;
mod node;
mod options;
mod outcome;
mod parameters;
mod permissions;
mod place;
mod policies;
mod queues;
mod replicas;
mod settings;
mod status;
mod term;
mod users;
mod vhosts;

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
};

use serde_json::Value;

use broker::Broker;
use command::{Call, Command, Fault, Needs};
use format::Format;
use options::{GENERAL, Line, Switch, Takes};
use outcome::{Failure, SOFTWARE, UNAVAILABLE};
use place::Place;

pub use command::Tool;
pub use place::SOCKET;

/// The options of commands whose usual format is a table.
const OF_TABLES: &[Switch] =
    &[Switch::new("table-headers", Takes::Nothing), Switch::new("pad-to-header", Takes::Nothing)];

/// Runs the command that the arguments name, and returns the exit code: one of `sysexits.h`, as
/// RabbitMQ's tools return them. `program` is what `Usage` calls this; `default_folder` is asked
/// for the data directory when neither options nor the environment name a place to ask.
pub fn run(
    program: &str,
    tool: Tool,
    arguments: &[String],
    default_folder: impl FnOnce() -> Result<PathBuf, String>,
) -> u8 {
    let outcome = obey(program, tool, arguments, default_folder);
    let (code, written) = match outcome {
        Ok(text) => (0, io::stdout().lock().write_all(&text)),
        Err(Failure { code, text }) => {
            let text = text.map(|text| text + "\n").unwrap_or_default();
            (code, io::stderr().lock().write_all(text.as_bytes()))
        }
    };
    // Whoever closed the pipe has seen enough.
    let _nobody_reads_it = written;
    code
}

fn obey(
    program: &str,
    tool: Tool,
    arguments: &[String],
    default_folder: impl FnOnce() -> Result<PathBuf, String>,
) -> Result<Vec<u8>, Failure> {
    let as_words: &[String] = &["version".to_owned()];
    let arguments = if arguments == ["--version"] { as_words } else { arguments };
    let global = Line::parse(arguments, GENERAL);
    let name = global.words.first().map(String::as_str).unwrap_or_default();
    if arguments == ["--help"] {
        return Ok((help::of_tool(program, tool) + "\n").into_bytes());
    }
    let command = commands::available(tool).find(|command| command.name == name);
    let Some(command) = command else { return Err(help::unknown(name, program, tool)) };
    let formatted = if command.is_tabular { OF_TABLES } else { &[] };
    let line = Line::parse(arguments, &[GENERAL, formatted, command.switches].concat());
    let fault = |fault: Fault| mistaken(program, command, arguments, &fault);
    if !line.invalid.is_empty() {
        return Err(fault(Fault::Options(line.invalid)));
    }
    let words = line.words.get(1..).unwrap_or_default();
    if line.flag("help") {
        return Ok((help::of_command(program, command) + "\n").into_bytes());
    }
    let mut call = Call { words, line: &line, node: "", tool: program };
    let format = Format::of(&call).map_err(fault)?;
    command.validate(&call).map_err(fault)?;
    if command.name == "help" {
        return answer_help(&call, tool);
    }
    let place = match command.needs {
        Needs::Nothing => Ok(Place::Nowhere),
        Needs::Broker | Needs::Place => {
            Place::find(&line, |name| env::var_os(name), default_folder)
        }
    };
    let place = place.map_err(|why| Failure::new(UNAVAILABLE, why))?;
    let limit_ms = line.number("timeout").map(|_| call.timeout_ms(0));
    let limit_ms = limit_ms.map(|limit_ms| u64::try_from(limit_ms).unwrap_or_default());
    let mut broker = Broker::new(place, fallback_node(&line), command.name, limit_ms)
        .map_err(|error| Failure::new(SOFTWARE, format!("cannot start the runtime: {error}")))?;
    match command.needs {
        Needs::Broker => broker.greet()?,
        // It is there or not: the command looks for itself.
        Needs::Place => drop(broker.greet()),
        Needs::Nothing => {}
    }
    let node = broker.node().to_owned();
    call.node = &node;
    show_banner(command, &call, format);
    if line.flag("dry-run") {
        return Ok(Vec::new());
    }
    let outcome = (command.run)(&call, &mut broker)?;
    Ok(format::render(&outcome, format, &call))
}

/// What a program reads has nothing above the result, and neither has what shall be quiet.
fn show_banner(command: &Command, call: &Call<'_>, format: Format) {
    if call.is_terse() || format.is_for_machines() {
        return;
    }
    let lines: String = (command.banner)(call).iter().map(|line| format!("{line}\n")).collect();
    // Whoever closed stdout does not want to see it.
    let _nobody_reads_it = io::stdout().lock().write_all(lines.as_bytes());
}

fn mistaken(program: &str, command: &Command, arguments: &[String], fault: &Fault) -> Failure {
    let (what, given) = (fault.text(), arguments.join(" "));
    let usage = help::usage(program, command);
    let text = format!("Error (argument validation): {what}\nArguments given:\n\t{given}\n{usage}");
    Failure::bare(fault.code(), text)
}

fn answer_help(call: &Call<'_>, tool: Tool) -> Result<Vec<u8>, Failure> {
    if call.line.flag("list-commands") {
        let names: String =
            commands::available(tool).map(|command| format!("{}\n", command.name)).collect();
        return Ok(names.into_bytes());
    }
    let text = match call.words {
        [] => help::of_tool(call.tool, tool),
        [name, ..] => match commands::available(tool).find(|command| command.name == name) {
            Some(command) => help::of_command(call.tool, command),
            None => return Err(help::unknown(name, call.tool, tool)),
        },
    };
    Ok((text + "\n").into_bytes())
}

/// An argument that is JSON.
fn json_argument(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|_| Failure::new(UNAVAILABLE, "JSON decoding error. Reason: badarg"))
}

/// What the node is called as long as it has not told: as RabbitMQ's tools would call it.
fn fallback_node(line: &Line) -> String {
    let named = line.text("node").map(str::to_owned);
    let name = named.or_else(|| env::var("RABBITMQ_NODENAME").ok());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "rabbit".to_owned());
    if name.contains('@') {
        return name;
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim().split('.').next() {
        Some(host) if !host.is_empty() => format!("{name}@{host}"),
        _ => format!("{name}@localhost"),
    }
}
