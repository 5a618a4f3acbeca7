//! A broker that ends, one way or the other, and comes back on the same data directory.

use crate::{
    broker::{fresh_directory, program, wait_until_ready},
    process::Process,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// How long a broker that was told to stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is told to (SIGTERM), and says goodbye.
    Stop,
    /// It gets no word in (SIGKILL).
    Kill,
}

/// A broker whose data directory outlives its process; dropping it removes both.
pub(crate) struct Lasting {
    pub(crate) ending: Ending,
    directory: PathBuf,
    running: Option<Running>,
}

struct Running {
    process: Process,
    address: String,
}

impl Lasting {
    /// Starts on an empty directory; `ending` is how it will end each time.
    pub(crate) fn start(ending: Ending) -> Self {
        let mut broker = Self::on_empty_directory(ending);
        broker.begin(&[]);
        broker
    }

    /// Has a directory, and has not begun.
    pub(crate) fn on_empty_directory(ending: Ending) -> Self {
        Self { ending, directory: fresh_directory(), running: None }
    }

    /// Ends and begins again.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.begin(&[]);
    }

    /// Ends; the directory stays as it was left.
    pub(crate) fn end(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.process.signal(match self.ending {
            Ending::Stop => "TERM",
            Ending::Kill => "KILL",
        });
        running.process.end(STOP_LIMIT);
    }

    /// Begins on the directory as it is, and waits until it serves.
    pub(crate) fn begin(&mut self, arguments: &[&str]) {
        let mut process = self.spawn(arguments);
        let (host, port) = wait_until_ready(&mut process);
        self.running = Some(Running { process, address: format!("{host}:{port}") });
    }

    /// Starts a process on the directory and does not wait for anything.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(program());
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data_dir());
        command.args(arguments).current_dir(&self.directory);
        Process::start(&mut command)
    }

    pub(crate) fn url(&self) -> String {
        self.url_as("guest:guest", "%2f")
    }

    pub(crate) fn url_as(&self, login: &str, virtual_host: &str) -> String {
        let address = &self.running.as_ref().expect("it runs").address;
        format!("amqp://{login}@{address}/{virtual_host}")
    }

    /// Where files of a test may lie beside the data directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }
}

/// Waits until what was to happen while the broker is down has had its time.
pub(crate) async fn wait_until(deadline: Instant) {
    let waited = timeout_at(deadline, std::future::pending::<()>()).await;
    assert!(waited.is_err(), "only the deadline ends this");
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.running = None;
        // What a failed test has left is worth a look.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Two tests of each story: the broker is stopped in it, or killed.
macro_rules! stopped_and_killed {
    ($($story:ident)*) => { $(
        mod $story {
            use $crate::lasting::{Ending, Lasting};

            #[tokio::test]
            async fn when_it_is_stopped() {
                super::$story(Lasting::start(Ending::Stop)).await;
            }

            #[tokio::test]
            async fn when_it_is_killed() {
                super::$story(Lasting::start(Ending::Kill)).await;
            }
        }
    )* };
}

pub(crate) use stopped_and_killed;
