//! `leveret cluster start-local`: a cluster on one machine, for trying it out.

mod children;
mod layout;

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use self::{
    children::{Child, News, What},
    layout::{Layout, Node},
};
use crate::arguments::{ClusterCommand, StartLocalArguments};

/// How long the nodes may take until all of them serve.
const START_LIMIT: Duration = Duration::from_secs(60);
/// With `--restart`, how long a dead node stays dead.
const PAUSE: Duration = Duration::from_secs(1);
/// The end of a node's log that is shown when it does not start.
const LAST_LINES: usize = 5;

/// Does as it is told; blocks until the nodes have ended.
pub(crate) fn run(command: &ClusterCommand) -> Result<(), String> {
    match command {
        ClusterCommand::StartLocal(arguments) => start_local(arguments),
    }
}

fn start_local(arguments: &StartLocalArguments) -> Result<(), String> {
    let StartLocalArguments { nodes, directory, port, restart } = arguments;
    let layout = Layout::find_or_make(directory, *nodes, *port)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| format!("cannot wait for {error}"))?;
        let (report, news) = mpsc::unbounded_channel();
        let nodes = layout.nodes.iter().map(|node| (node, None)).collect();
        let mut flock = Flock { nodes, news, report, signals, was_told: false, failed: false };
        if let Err(why) = flock.start().await {
            flock.stop(Signal::TERM).await;
            return Err(why);
        }
        if flock.was_told {
            return Ok(());
        }
        say(&introduction(&layout, &flock, *restart))?;
        flock.watch(*restart).await
    })
}

/// Ctrl-C and `kill`, which the nodes do not hear of themselves: they are groups of their own.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}

/// The nodes, and the processes of those that run.
struct Flock<'a> {
    nodes: Vec<(&'a Node, Option<Child>)>,
    news: mpsc::UnboundedReceiver<News>,
    report: mpsc::UnboundedSender<News>,
    signals: Signals,
    /// The nodes were told to end.
    was_told: bool,
    /// A node that was told to end did not end well.
    failed: bool,
}

/// What ends a wait.
enum Event {
    News(News),
    Told(Signal),
}

impl Flock<'_> {
    /// Starts all, and returns once all serve, or once they have ended because somebody said so.
    async fn start(&mut self) -> Result<(), String> {
        for place in 0..self.nodes.len() {
            self.start_one(place)?;
        }
        let deadline = Instant::now() + START_LIMIT;
        while self.nodes.iter().any(|(_, child)| child.as_ref().is_none_or(|one| !one.is_ready)) {
            match timeout_at(deadline, self.next()).await {
                Ok(Event::News(News { place, what: What::Ended(status) })) => {
                    let (node, child) = &mut self.nodes[place];
                    *child = None;
                    let ended = ending(&status);
                    let log = last_lines(&node.log);
                    return Err(format!(
                        "{} {ended} at its start; its log ends:\n{log}",
                        node.name
                    ));
                }
                Ok(Event::News(news)) => self.note(&news),
                Ok(Event::Told(signal)) => {
                    self.stop(signal).await;
                    return Ok(());
                }
                Err(_) => {
                    let late = self
                        .nodes
                        .iter()
                        .filter(|(_, child)| child.as_ref().is_none_or(|one| !one.is_ready));
                    let late: Vec<_> =
                        late.map(|(node, _)| node.log.display().to_string()).collect();
                    let seconds = START_LIMIT.as_secs();
                    let logs = late.join(", ");
                    return Err(format!("not all nodes serve after {seconds} s; see {logs}"));
                }
            }
        }
        Ok(())
    }

    /// Waits until all nodes have ended. They are not started again unless `restart` says so.
    async fn watch(&mut self, restart: bool) -> Result<(), String> {
        while self.nodes.iter().any(|(_, child)| child.is_some()) {
            match self.next().await {
                Event::Told(signal) => {
                    self.stop(signal).await;
                    break;
                }
                Event::News(News { place, what: What::Ended(status) }) => {
                    self.mourn(place, &status, restart).await?;
                }
                Event::News(news) => self.note(&news),
            }
        }
        match (self.was_told, self.failed) {
            (true, false) => Ok(()),
            (true, true) => Err("not every node has ended well".to_owned()),
            (false, _) => Err("none of the nodes that were started here is left".to_owned()),
        }
    }

    fn start_one(&mut self, place: usize) -> Result<(), String> {
        let (node, child) = &mut self.nodes[place];
        let started = Child::start(node, place, self.report.clone());
        *child = Some(started.map_err(|error| format!("cannot start {}: {error}", node.name))?);
        Ok(())
    }

    /// Says that a node has died, and what can be done.
    async fn mourn(
        &mut self,
        place: usize,
        status: &ExitStatus,
        restart: bool,
    ) -> Result<(), String> {
        let (node, child) = &mut self.nodes[place];
        *child = None;
        let (name, ended) = (&node.name, ending(status));
        if !restart {
            let again = start_again(node);
            return say(&format!("{name} {ended}. To start it again:\n  {again}\n"));
        }
        say(&format!("{name} {ended}; it starts again\n"))?;
        match timeout(PAUSE, self.signals.next()).await {
            Ok(signal) => {
                self.stop(signal).await;
                Ok(())
            }
            Err(_) => self.start_one(place),
        }
    }

    /// Passes the signal on, and any that follows, until all have ended.
    async fn stop(&mut self, signal: Signal) {
        self.was_told = true;
        self.pass_on(signal);
        while self.nodes.iter().any(|(_, child)| child.is_some()) {
            match self.next().await {
                Event::Told(signal) => self.pass_on(signal),
                Event::News(News { place, what: What::Ended(status) }) => {
                    self.nodes[place].1 = None;
                    self.failed |= !status.success();
                }
                Event::News(_) => {}
            }
        }
    }

    fn pass_on(&self, signal: Signal) {
        self.nodes.iter().filter_map(|(_, child)| child.as_ref()).for_each(|one| one.tell(signal));
    }

    fn note(&mut self, news: &News) {
        if let (Some(child), What::Ready) = (&mut self.nodes[news.place].1, &news.what) {
            child.is_ready = true;
        }
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            news = self.news.recv() => Event::News(news.expect("a sender is kept beside it")),
            signal = self.signals.next() => Event::Told(signal),
        }
    }
}

/// What is where, and what to try.
fn introduction(layout: &Layout, flock: &Flock<'_>, restart: bool) -> String {
    let mut text = format!("{:<20} {:<22} {:<24} {:<8} data\n", "node", "AMQP", "HTTP", "pid");
    for (node, child) in &flock.nodes {
        let pid = child.as_ref().map_or_else(|| "-".to_owned(), |child| child.pid().to_string());
        let Node { name, amqp, http, data, .. } = node;
        let (amqp, http) = (amqp.to_string(), format!("http://{http}"));
        let data = data.display();
        let _a_string_takes_everything =
            writeln!(text, "{name:<20} {amqp:<22} {http:<24} {pid:<8} {data}");
    }
    let count = layout.nodes.len();
    let spare = (count - 1) / 2;
    let _a_string_takes_everything = writeln!(
        text,
        "\n{count} node(s) are one broker, user guest, password guest. Mirrored queues \
         (x-queue-type\n= quorum, or a policy with ha-mode) go on while {} of them live.",
        count - spare
    );
    if count.is_multiple_of(2) {
        let fewer = count - 1;
        let _a_string_takes_everything =
            writeln!(text, "An odd number is better: {fewer} node(s) may lose as many as {count}.");
    }
    let Some((first, Some(child))) = flock.nodes.first() else { return text };
    let _a_string_takes_everything = writeln!(text, "To kill one: kill -9 {}", child.pid());
    let again = match restart {
        true => "It starts again by itself.".to_owned(),
        false => format!("To start it again: {}", start_again(first)),
    };
    let _a_string_takes_everything = writeln!(text, "{again}\nCtrl-C stops all of them.");
    text
}

fn start_again(node: &Node) -> String {
    let program = children::program();
    let program = program.as_deref().map_or_else(|| "leveret".into(), Path::to_string_lossy);
    format!("{program} --config {}", node.config.display())
}

fn ending(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("has ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "has ended".to_owned(),
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    said.map_err(|error| format!("cannot say what happens: {error}"))
}
