//! What processes cost, as /proc tells it: processor time and memory.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use super::failure::Failure;

/// `utime` and `stime` count hundredths of a second on every Linux (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// The broker's processes: those named, and all that descend from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes {
    roots: Vec<u32>,
}

/// What the processes have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub cpu: Duration,
    pub resident_octets: u64,
}

impl Processes {
    /// Finds the processes by number and by name; a name that nothing has is an error.
    pub(super) fn find(pids: &[u32], names: &[String]) -> Result<Self, Failure> {
        let mut roots = pids.to_vec();
        for name in names {
            let found: Vec<u32> = all().filter(|pid| is_named(*pid, name)).collect();
            if found.is_empty() {
                return Err(Failure::NoProcess(name.clone()));
            }
            roots.extend(found);
        }
        match roots.iter().find(|pid| stat(**pid).is_none()) {
            Some(missing) => Err(Failure::NoProcess(missing.to_string())),
            None => Ok(Self { roots }),
        }
    }

    /// This process alone.
    pub(super) fn own() -> Self {
        Self { roots: vec![std::process::id()] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for pid in self.with_children() {
            usage.cpu += stat(pid).map(|stat| stat.cpu).unwrap_or_default();
            usage.resident_octets += resident_octets(pid);
        }
        usage
    }

    fn with_children(&self) -> BTreeSet<u32> {
        let mut family: BTreeSet<u32> = self.roots.iter().copied().collect();
        let parents: Vec<(u32, u32)> =
            all().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
        loop {
            let before = family.len();
            let children = parents.iter().filter(|(_, parent)| family.contains(parent));
            let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
            family.extend(children);
            if family.len() == before {
                return family;
            }
        }
    }
}

struct Stat {
    parent: u32,
    cpu: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields behind the program's name, which stands in brackets and may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks: u32 = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu: TICK * ticks })
}

fn resident_octets(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    kibibytes.unwrap_or(0_u64) * 1024
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the kernel's short name, or the file of the program, is `name`.
fn is_named(pid: u32, name: &str) -> bool {
    let short = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = line.split(|octet| *octet == 0).next().unwrap_or_default();
    let program = String::from_utf8_lossy(program);
    let file = Path::new(&*program).file_name().is_some_and(|file| file == name);
    (short.trim_end() == name || file) && pid != std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_a_stat_line_may_hold_brackets_and_spaces() {
        let stat = parse_stat("42 (a) b (c)) S 7 42 42 0 -1 4 1 2 3 4 150 50 0 0 20 0").unwrap();
        assert_eq!((stat.parent, stat.cpu), (7, Duration::from_secs(2)));
    }

    #[test]
    fn the_own_process_has_memory_and_a_missing_one_is_an_error() {
        assert!(Processes::own().usage().resident_octets > 0);
        assert!(Processes::find(&[u32::MAX], &[]).is_err());
        assert!(Processes::find(&[], &["no such program".to_owned()]).is_err());
    }
}
