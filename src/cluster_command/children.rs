//! The nodes' processes: started, told, and heard of.

use std::{
    env,
    fs::OpenOptions,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{self, Command, ExitStatus, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::UnboundedSender;

use super::layout::Node;

/// What would be said to every node alike, and is each one's own.
const NOT_FOR_CHILDREN: [&str; 4] =
    ["RABBITMQ_NODENAME", "RABBITMQ_CONFIG_FILE", "RABBITMQ_PID_FILE", "LEVERET_DATA_DIR"];

/// Something has happened to the node at a place of the list.
pub(super) struct News {
    pub(super) place: usize,
    pub(super) what: What,
}

pub(super) enum What {
    /// It serves.
    Ready,
    Ended(ExitStatus),
}

/// A node that runs.
pub(super) struct Child {
    pid: Pid,
    pub(super) is_ready: bool,
}

impl Child {
    /// Starts it in a process group of its own, out of reach of the terminal's Ctrl-C: the node
    /// would hear it twice.
    pub(super) fn start(
        node: &Node,
        place: usize,
        report: UnboundedSender<News>,
    ) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(&node.log)?;
        let mut command = Command::new(program().ok_or(io::ErrorKind::NotFound)?);
        NOT_FOR_CHILDREN.iter().for_each(|name| {
            command.env_remove(name);
        });
        let mut child = command
            .arg("serve")
            .arg("--config")
            .arg(&node.config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&child);
        let out = child.stdout.take().expect("it was asked for above");
        thread::spawn(move || follow(child, BufReader::new(out), place, &report));
        Ok(Self { pid, is_ready: false })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(super) fn tell(&self, signal: Signal) {
        // It may just have died by itself, which is soon reported.
        let _ = kill_process(self.pid, signal);
    }
}

/// This program.
pub(super) fn program() -> Option<PathBuf> {
    env::current_exe().ok()
}

fn follow(
    mut child: process::Child,
    out: impl BufRead,
    place: usize,
    report: &UnboundedSender<News>,
) {
    // Nobody listens any more when this program ends: nothing is left to tell it.
    let tell = |what| drop(report.send(News { place, what }));
    for line in out.lines().map_while(Result::ok) {
        if line.contains("Server startup complete") {
            tell(What::Ready);
        }
    }
    if let Ok(status) = child.wait() {
        tell(What::Ended(status));
    }
}
