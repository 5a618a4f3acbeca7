//! A child process whose output is read line by line, under a time limit, and which ends with its
//! owner.

use std::{
    io::{self, BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

/// How long a process may be silent after it was asked to end.
const ENDING: Duration = Duration::from_secs(5);

/// A running program; dropping it kills it and everything it started.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// What it has said, both streams, as far as it has been read here.
    pub(crate) said: String,
}

impl Process {
    /// Starts `command` in a process group of its own.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command)
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
    }

    /// Starts `command` where it is no failure that its program is missing.
    pub(crate) fn try_start(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (sender, lines) = channel();
        forward(child.stdout.take().expect("it was piped"), sender.clone());
        forward(child.stderr.take().expect("it was piped"), sender);
        Ok(Self { child, lines, said: String::new() })
    }

    /// The next line that `wanted` accepts; panics when it ends or is silent for `limit` before.
    pub(crate) fn line(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        self.try_line(limit, wanted)
            .unwrap_or_else(|| panic!("a line that was waited for did not come:\n{}", self.said))
    }

    /// The next line that `wanted` accepts, unless it ends or is silent for `limit` before.
    pub(crate) fn try_line(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        loop {
            let line = self.lines.recv_timeout(limit).ok()?;
            self.said.push_str(&line);
            self.said.push('\n');
            if wanted(&line) {
                return Some(line);
            }
        }
    }

    /// Waits for its end; panics when it says nothing for longer than `limit`.
    pub(crate) fn end(&mut self, limit: Duration) -> ExitStatus {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        loop {
            match self.lines.recv_timeout(limit) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                }
                Err(Disconnected) => return self.child.wait().expect("it was started here"),
                Err(Timeout) => panic!("silent for {limit:?}, and not at its end:\n{}", self.said),
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` (a name that `kill` knows) to the program itself.
    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, &self.child.id().to_string());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A broker gets the chance to end what it started; then whatever is left of the group goes.
        self.signal("TERM");
        while self.lines.recv_timeout(ENDING).is_ok() {}
        kill("KILL", &format!("-{}", self.child.id()));
        let _ = self.child.wait();
    }
}

/// Sends the lines of `output` as they come. It is read to its end even when nobody listens any
/// more: a full pipe would stop the process.
fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
}

fn kill(signal: &str, target: &str) {
    let _ = Command::new("kill").args(["-s", signal, "--", target]).stderr(Stdio::null()).status();
}
