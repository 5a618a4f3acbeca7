//! The `leveret` binary: arguments, configuration, run, exit code.

mod arguments;
mod cluster_command;
mod store_command;
mod tls_command;

use std::{
    env, fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use leveret::{config::Config, ctl, perf, server::Server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::fmt::{format::Writer, time::FormatTime, time::SystemTime};

use arguments::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some((name, tool)) = tool_of_this_name() {
        let words: Vec<_> =
            env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        return administer(&name, tool, &words);
    }
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Perf(perf)) => perf::run(&perf).map_err(|failure| failure.to_string()),
        Some(Command::Store(store)) => store_command::run(&store),
        Some(Command::Tls(tls)) => tls_command::run(&tls),
        Some(Command::Cluster(cluster)) => cluster_command::run(&cluster),
        Some(Command::Ctl(ctl)) => {
            return administer("leveret ctl", ctl::Tool::Control, &ctl.words);
        }
        Some(Command::Serve(serve)) => serve.config().and_then(|config| serve_until_told(&config)),
        None => arguments.serve.config().and_then(|config| serve_until_told(&config)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _nowhere_to_say_it = writeln!(io::stderr(), "leveret: {message}");
            ExitCode::FAILURE
        }
    }
}

/// RabbitMQ's tool that this program is called as, by way of a link.
fn tool_of_this_name() -> Option<(String, ctl::Tool)> {
    let program = env::args_os().next()?;
    let name = Path::new(&program).file_name()?.to_str()?;
    ctl::Tool::named(name).map(|tool| (name.to_owned(), tool))
}

fn administer(program: &str, tool: ctl::Tool, words: &[String]) -> ExitCode {
    ExitCode::from(ctl::run(program, tool, words, arguments::folder_with_socket))
}

/// Runs the broker until SIGTERM or SIGINT; a second one ends the process at once.
fn serve_until_told(config: &Config) -> Result<(), String> {
    start_logging(&config.log)?;
    allow_many_connections();
    let _pid_file = PidFile::write()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let served = runtime.block_on(async {
        let told = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        let mut terminate = told(SignalKind::terminate())?;
        let mut interrupt = told(SignalKind::interrupt())?;
        let hang_up = told(SignalKind::hangup())?;
        let server = tokio::select! {
            started = Server::start(config) => started.map_err(|error| error.to_string())?,
            // It may wait for the other nodes of its cluster.
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        announce(&server, config)
            .map_err(|error| format!("cannot say that it is ready: {error}"))?;
        let outcome = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            () = server.asked_to_stop() => Ok(()),
            () = reload_when_told(&server, hang_up) => Ok(()),
            failure = server.failed() => Err(failure),
        };
        tracing::info!("stopping: closing the clients' connections");
        tokio::select! {
            () = server.stop() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        outcome
    });
    runtime.shutdown_timeout(Duration::ZERO);
    served
}

/// The file that `RABBITMQ_PID_FILE` names: scripts wait for it with `rabbitmqctl wait`. It goes
/// with the process (RabbitMQ 3.10).
struct PidFile(PathBuf);

impl PidFile {
    fn write() -> Result<Option<Self>, String> {
        let Some(path) = env::var_os("RABBITMQ_PID_FILE").filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, format!("{}\n", std::process::id())))
            .map_err(|error| {
                format!("cannot write RABBITMQ_PID_FILE {}: {error}", path.display())
            })?;
        Ok(Some(Self(path)))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _it_may_be_gone = fs::remove_file(&self.0);
    }
}

/// Reads the certificates again at each SIGHUP.
async fn reload_when_told(server: &Server, mut hang_up: Signal) {
    loop {
        if hang_up.recv().await.is_none() {
            return std::future::pending().await;
        }
        match server.tls() {
            Some(tls) => {
                let tls = Arc::clone(tls);
                // The log says how it went.
                let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
            }
            None => tracing::info!("SIGHUP: there is no TLS, and nothing else to read again"),
        }
    }
}

/// Takes as many file descriptors as the system grants: each connection is one.
fn allow_many_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) else {
        return;
    };
    tracing::warn!(?current, %error, "the number of open files stays limited");
}

/// One line for people and scripts, and the one that tools made for RabbitMQ wait for.
fn announce(server: &Server, config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let version = env!("CARGO_PKG_VERSION");
    let kept = match &config.data_dir {
        Some(folder) => format!("data in {}", folder.display()),
        None => "ephemeral".to_owned(),
    };
    let plain = listed("amqp", server.addresses());
    let listeners: Vec<_> = plain
        .into_iter()
        .chain(listed("amqps", server.tls_addresses()))
        .chain(listed("management", server.management_addresses()))
        .collect();
    writeln!(out, "Leveret {version} is ready: {}; {kept}", listeners.join("; "))?;
    let time = timestamp();
    writeln!(out, "{time} [info] <0.1.0> Server startup complete; 0 plugins started.")?;
    out.flush()
}

/// `amqp on 127.0.0.1:5672, [::1]:5672`; nothing without an address.
fn listed(protocol: &str, addresses: &[SocketAddr]) -> Option<String> {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| format!("{protocol} on {}", addresses.join(", ")))
}

/// The time as RabbitMQ's log has it: `2026-11-21 14:10:27.351002+00:00`.
fn timestamp() -> String {
    let mut time = String::new();
    let _a_string_takes_everything = SystemTime.format_time(&mut Writer::new(&mut time));
    time.replace('T', " ").replace('Z', "+00:00")
}

fn start_logging(directives: &str) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(directives)
        .map_err(|error| format!("`{directives}` is no log level: {error}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    Ok(())
}
