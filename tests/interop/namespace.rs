//! A host of one's own: a network namespace where port 5672 is free, and no other broker is near.

use crate::process::Process;
use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// Where a broker on its default port disturbs nobody.
pub(crate) enum Host {
    /// A network namespace with only a loopback, held open by this process.
    Namespace { _holder: Process, enter: Vec<String> },
    /// This machine itself, whose port is free, held against the other tests here.
    Machine { _guard: MutexGuard<'static, ()> },
}

static MACHINE: Mutex<()> = Mutex::new(());

impl Host {
    /// A namespace where that is allowed, else the machine while its port is free.
    pub(crate) fn find() -> Result<Self, String> {
        let user = ["--user", "--map-root-user"];
        let entering_user = ["--user", "--preserve-credentials"];
        if let Some(host) =
            Self::namespace(&[], &[]).or_else(|| Self::namespace(&user, &entering_user))
        {
            return Ok(host);
        }
        let guard = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for address in ["127.0.0.1:5672", "[::1]:5672"] {
            TcpListener::bind(address)
                .map_err(|error| format!("no network namespace, and {address}: {error}"))?;
        }
        Ok(Self::Machine { _guard: guard })
    }

    fn namespace(unshare: &[&str], enter: &[&str]) -> Option<Self> {
        let mut command = Command::new("unshare");
        // `tail` on nothing waits for ever; the holder is killed when it is dropped.
        let script = "ip link set lo up && echo up && exec tail -f /dev/null";
        command.args(unshare).args(["--net", "--", "sh", "-c", script]);
        let mut holder = Process::try_start(&mut command).ok()?;
        holder.try_line(Duration::from_secs(10), |line| line == "up")?;
        let mut enter: Vec<_> = enter.iter().map(|&word| word.to_owned()).collect();
        enter.extend(["--net".to_owned(), format!("--target={}", holder.id()), "--".to_owned()]);
        Some(Self::Namespace { _holder: holder, enter })
    }

    /// A command that runs `program` on this host.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Namespace { enter, .. } => {
                let mut command = Command::new("nsenter");
                command.args(enter).arg(program);
                command
            }
            Self::Machine { .. } => Command::new(program),
        }
    }
}
