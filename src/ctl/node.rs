//! Commands about the broker's life: is it there, wait for it, stop it.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Call, Command, Fault, Needs, Scope, Section},
    options::{Switch, Takes},
    outcome::{Failure, Outcome, SOFTWARE, TEMPORARY, UNAVAILABLE},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "await_startup",
        Section::Nodes,
        ("", "Waits until the broker serves, five minutes if no --timeout is given"),
        (0, 0),
        |_| Vec::new(),
        await_startup,
    )
    .needing(Needs::Place),
    Command::new(
        "node_health_check",
        Section::Deprecated,
        ("", "Checks the broker's health; rabbitmq-diagnostics has better checks"),
        (0, 0),
        |call| {
            vec![
                "This command is DEPRECATED and will be removed in a future version.".to_owned(),
                "It performs intrusive, opinionated health checks and requires a fully booted \
                 node."
                    .to_owned(),
                "Use one of the options covered in \
                 https://www.rabbitmq.com/monitoring.html#health-checks instead."
                    .to_owned(),
                format!("Timeout: {} seconds ...", call.timeout_ms(70_000) / 1000),
                format!("Checking health of node {} ...", call.node),
            ]
        },
        node_health_check,
    )
    .timed()
    .scoped(Scope::Both),
    Command::new(
        "ping",
        Section::Monitoring,
        ("", "Asks the broker whether it is there"),
        (0, 0),
        |call| {
            vec![format!(
                "Will ping {}. This only checks if the OS process is running and registered with \
                 epmd. Timeout: {} ms.",
                call.node,
                call.timeout_ms(60_000)
            )]
        },
        |_, broker| {
            broker.greet()?;
            Ok(Outcome::text("Ping succeeded"))
        },
    )
    .timed()
    .scoped(Scope::Both)
    .needing(Needs::Place),
    Command::new(
        "server_version",
        Section::Monitoring,
        ("", "Shows the version of RabbitMQ that the broker says it is"),
        (0, 0),
        |call| vec![format!("Asking node {} for its RabbitMQ version...", call.node)],
        server_version,
    )
    .timed()
    .scoped(Scope::Diagnostics),
    Command::new(
        "shutdown",
        Section::Nodes,
        ("[--wait]", "Stops the broker and waits until its process is gone"),
        (0, 0),
        |_| Vec::new(),
        shutdown,
    )
    .timed()
    .with(&[Switch::new("wait", Takes::Nothing)]),
    Command::new(
        "stop",
        Section::Nodes,
        ("[--idempotent] [<pidfile>]", "Stops the broker"),
        (0, 1),
        |call| match call.words {
            [file] => vec![format!(
                "Stopping and halting node {} (will monitor pid file {file}) ...",
                call.node
            )],
            _ => vec![format!("Stopping and halting node {} ...", call.node)],
        },
        stop,
    )
    .with(&[Switch::new("idempotent", Takes::Nothing)])
    .needing(Needs::Place),
    Command::new(
        "wait",
        Section::Nodes,
        ("[<pidfile>] [--pid|-P <pid>]", "Waits for the broker of a process, or of a pid file"),
        (0, 1),
        |_| Vec::new(),
        wait,
    )
    .timed()
    .scoped(Scope::Both)
    .with(&[Switch::with_letter("pid", 'P', Takes::Number)])
    .needing(Needs::Place)
    .checked(|call| match (call.words, call.line.number("pid")) {
        ([], None) => Err(Fault::Other("No pid or pidfile specified".to_owned())),
        ([_, ..], Some(_)) => Err(Fault::Other("Cannot specify both pid and pidfile".to_owned())),
        ([], Some(_)) | ([_, ..], None) => Ok(()),
    }),
];

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a broker may take to stop before `stop` and `shutdown` give up waiting.
const LONGEST_STOP_MS: i64 = 120_000;

/// Looks again and again until it finds something or the time is over. What the looking itself
/// takes is not counted: it is short, or it fails.
fn repeat<T>(
    broker: &mut Broker,
    limit_ms: i64,
    mut look: impl FnMut(&mut Broker) -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let pause_ms = i64::try_from(PAUSE.as_millis()).unwrap_or(i64::MAX);
    let mut left_ms = limit_ms;
    loop {
        if let Some(found) = look(broker)? {
            return Ok(Some(found));
        }
        left_ms -= pause_ms;
        if left_ms <= 0 {
            return Ok(None);
        }
        broker.pause(PAUSE);
    }
}

/// A broker that is about to start counts as one that starts.
fn await_startup(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let mut last = None;
    let greeted = repeat(broker, call.timeout_ms(300_000), |broker| {
        Ok(match broker.greet() {
            Ok(()) => Some(()),
            Err(failure) => {
                last = Some(failure);
                None
            }
        })
    })?;
    match (greeted, last) {
        (Some(()), _) | (None, None) => Ok(Outcome::Done),
        (None, Some(failure)) => Err(failure),
    }
}

fn node_health_check(_: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let health = broker.get("/api/healthchecks/node")?.accepted()?.json();
    if health["status"] == "ok" {
        return Ok(Outcome::text("Health check passed"));
    }
    let reason = health["reason"].as_str().unwrap_or("the broker does not say why");
    let text = format!("Error: health check failed. Message: {reason}");
    Err(Failure::new(SOFTWARE, text))
}

fn server_version(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let overview = broker.get("/api/overview?columns=rabbitmq_version")?.accepted()?.json();
    let version = overview["rabbitmq_version"].as_str().unwrap_or_default();
    Ok(match call.wants_json() {
        true => Outcome::Object(json!({ "result": "ok", "value": version })),
        false => Outcome::text(version),
    })
}

/// Asks the broker to stop. One that goes before it has answered has stopped, too.
fn ask_to_stop(broker: &mut Broker) -> Result<(), Failure> {
    let answer = broker.post("/api/leveret/stop", "")?;
    answer.accepted()?;
    broker.forget_connection();
    Ok(())
}

fn stop(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    if call.line.flag("idempotent") && !broker.is_there() {
        return Ok(Outcome::text(format!("Node {} is no longer running", call.node)));
    }
    let pid = match call.words {
        [file] => Some(pid_of(file).map_err(|why| Failure::new(UNAVAILABLE, why))?),
        _ => None,
    };
    ask_to_stop(broker)?;
    let gone = repeat(broker, LONGEST_STOP_MS, |broker| {
        let is_gone = match pid {
            Some(pid) => !is_alive(pid),
            None => !broker.is_there(),
        };
        Ok(is_gone.then_some(()))
    })?;
    match (gone, pid) {
        (None, _) => Err(Failure::new(TEMPORARY, "the broker has been told to stop, and runs on")),
        (Some(()), None) => Ok(Outcome::Done),
        (Some(()), Some(pid)) => Ok(Outcome::text(format!(
            "process {pid} (take from pid file {}) is no longer running",
            call.word(0)
        ))),
    }
}

fn pid_of(file: &str) -> Result<i64, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("could not read pid from file {file}. Error: {error}"))?;
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .map_err(|_| format!("could not read pid from file {file}. File contents: {text}"))
}

fn shutdown(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let node = call.node;
    let page = broker.get(&path(&["nodes", node]))?.accepted()?.json();
    let pid = match &page["os_pid"] {
        Value::String(pid) => pid.parse().ok(),
        other => other.as_i64(),
    };
    if call.line.denies("wait") {
        ask_to_stop(broker)?;
        return Ok(Outcome::Done);
    }
    let pid: i64 =
        pid.ok_or_else(|| Failure::new(UNAVAILABLE, "the broker does not tell its process"))?;
    say(call, &format!("Shutting down RabbitMQ node {node} running at PID {pid}"));
    ask_to_stop(broker)?;
    say(call, &format!("Waiting for PID {pid} to terminate"));
    let gone = repeat(broker, call.timeout_ms(LONGEST_STOP_MS), |broker| {
        Ok((!is_alive(pid) && !broker.is_there()).then_some(()))
    })?;
    match gone {
        Some(()) => Ok(Outcome::text(format!(
            "RabbitMQ node {node} running at PID {pid} successfully shut down"
        ))),
        None => Err(Failure::new(TEMPORARY, "the broker has been told to stop, and runs on")),
    }
}

fn wait(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let limit_ms = call.timeout_ms(10_000);
    let node = call.node;
    let pid = match (call.words, call.line.number("pid")) {
        ([file], _) => {
            say(call, &format!("Waiting for pid file '{file}' to appear"));
            let pid = repeat(broker, limit_ms, |_| read_pid(file))?;
            let pid = pid.ok_or_else(|| waited_in_vain(call, limit_ms))?;
            say(call, &format!("pid is {pid}"));
            pid
        }
        (_, pid) => pid.unwrap_or_default(),
    };
    say(
        call,
        &format!(
            "Waiting for erlang distribution on node '{node}' while OS process '{pid}' is running"
        ),
    );
    let found = repeat(broker, limit_ms, |broker| {
        if !is_alive(pid) {
            return Err(Failure::new(UNAVAILABLE, "process_not_running"));
        }
        Ok(broker.is_there().then_some(()))
    })?;
    found.ok_or_else(|| waited_in_vain(call, limit_ms))?;
    let applications = "'rabbit_and_plugins'";
    say(call, &format!("Waiting for applications {applications} to start on node '{node}'"));
    broker.greet()?;
    say(call, &format!("Applications {applications} are running on node '{node}'"));
    Ok(Outcome::Done)
}

/// A pid file that is not there, or still empty, may come.
fn read_pid(file: &str) -> Result<Option<i64>, Failure> {
    let failure = |text: &str| Failure::new(SOFTWARE, text);
    match fs::read_to_string(file) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(_) => match pid_of(file) {
            Ok(pid) => Ok(Some(pid)),
            Err(_) => Err(failure("Error: garbage in pid file.")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(&format!("Error: could not read pid. Detail: {error}"))),
    }
}

fn waited_in_vain(call: &Call<'_>, limit_ms: i64) -> Failure {
    Failure::bare(
        TEMPORARY,
        format!(
            "Error: operation wait on node {} timed out. Timeout value used: {limit_ms}",
            call.node
        ),
    )
}

/// Where the system has no `/proc`, every process is taken to be alive.
fn is_alive(pid: i64) -> bool {
    let processes = Path::new("/proc");
    if !processes.join("self").exists() {
        return true;
    }
    // A process that nobody has waited for is dead, though it has an entry.
    match fs::read_to_string(processes.join(pid.to_string()).join("stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")),
        Err(_) => false,
    }
}

/// A step of something that takes its time.
fn say(call: &Call<'_>, text: &str) {
    if !call.line.flag("quiet") {
        // Whoever closed stdout does not want to know.
        let _nobody_reads_it = writeln!(io::stdout(), "{text}");
    }
}
