//! How much memory this process uses and may use, and how much room its disk has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::config::Config;

/// Where the figures come from. None: nobody knows.
pub(crate) trait Gauges: Send + Sync {
    /// Octets of memory that this process may use at most.
    fn memory_limit(&self) -> Option<u64>;

    /// Octets of memory that this process holds.
    fn memory_used(&self) -> Option<u64>;

    /// Octets that fit into the file system of the data directory.
    fn disk_free(&self) -> Option<u64>;
}

/// The machine that this process runs on.
#[derive(Debug)]
pub(crate) struct Machine {
    folder: Option<PathBuf>,
}

impl Machine {
    pub(crate) fn of(config: &Config) -> Self {
        Self { folder: config.data_dir.clone() }
    }
}

impl Gauges for Machine {
    fn memory_limit(&self) -> Option<u64> {
        let machine = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let files = cgroup_limits(&memberships);
        let limits =
            files.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        Some(limits.fold(machine, u64::min))
    }

    fn memory_used(&self) -> Option<u64> {
        kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
    }

    fn disk_free(&self) -> Option<u64> {
        let figures = rustix::fs::statvfs(self.folder.as_ref()?).ok()?;
        Some(figures.f_bavail.saturating_mul(figures.f_frsize))
    }
}

/// The figure of a line of `/proc/meminfo` or `/proc/self/status`, in octets.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let figure = text.lines().find_map(|line| line.strip_prefix(name))?;
    figure.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may hold a limit of this process's memory, from the lines of `/proc/self/cgroup`.
///
/// A limit of a group holds for the groups in it. In a container the path may be one of the world
/// outside, and the root is what the container sees as its own.
fn cgroup_limits(memberships: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let groups = Path::new(path).ancestors().filter_map(|group| group.strip_prefix("/").ok());
        files.extend(groups.map(|group| Path::new(root).join(group).join(name)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name() {
        let text = "MemTotal:       24684196 kB\nVmRSS:\t     612 kB\nVmHWM: 1 MB\n";
        assert_eq!(kilobytes(text, "MemTotal:"), Some(24_684_196 * 1024));
        assert_eq!(kilobytes(text, "VmRSS:"), Some(612 * 1024));
        assert_eq!(kilobytes(text, "VmHWM:"), None);
        assert_eq!(kilobytes(text, "VmSwap:"), None);
    }

    #[test]
    fn limits_of_groups_are_sought_up_to_the_root() {
        let files =
            |text| cgroup_limits(text).iter().map(|file| file.display().to_string()).collect();
        let found: Vec<_> = files("0::/system/broker\n");
        assert_eq!(
            found,
            [
                "/sys/fs/cgroup/system/broker/memory.max",
                "/sys/fs/cgroup/system/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        let found: Vec<_> = files("9:cpu,memory:/a\n8:pids:/\nnonsense\n");
        assert_eq!(
            found,
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_gives_figures() {
        let folder = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let machine = Machine { folder };
        assert!(machine.memory_used() < machine.memory_limit());
        assert!(machine.memory_used() > Some(1 << 20));
        assert!(machine.disk_free().is_some());
        assert_eq!(Machine { folder: None }.disk_free(), None);
    }
}
