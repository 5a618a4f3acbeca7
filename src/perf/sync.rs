//! What the machine itself takes to make a small write durable: no broker can confirm faster.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    failure::Failure,
    options::SyncOptions,
    report::{Percentiles, histogram},
};

/// Octets of the file that is written over and over.
const RECYCLED_OCTETS: u64 = 64 * 1024 * 1024;

/// How long a write and its `fdatasync` took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SyncReport {
    pub size: usize,
    /// In a file that has its size and its blocks already.
    pub recycled: Percentiles,
    /// At the end of a file that grows.
    pub growing: Percentiles,
}

/// Measures in files of its own in the directory, which it removes.
pub(super) fn run(options: &SyncOptions) -> Result<SyncReport, Failure> {
    let path = options.dir.join(format!("perf-sync-{}", std::process::id()));
    let outcome = measure(&path, options);
    let removed = fs::remove_file(&path);
    let unusable = |source| Failure::File { path: path.display().to_string(), source };
    let report = outcome.map_err(unusable)?;
    removed.map_err(unusable)?;
    Ok(report)
}

fn measure(path: &Path, options: &SyncOptions) -> io::Result<SyncReport> {
    let size = options.size.clamp(1, RECYCLED_OCTETS as usize);
    let duration = Duration::from_secs_f64(options.seconds.max(0.0));
    let open = || OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let growing = times(&open()?, size, u64::MAX, duration)?;
    let file = open()?;
    let zeros = vec![0; 1024 * 1024];
    for at in (0..RECYCLED_OCTETS).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    let recycled = times(&file, size, RECYCLED_OCTETS, duration)?;
    Ok(SyncReport { size, recycled, growing })
}

/// Writes one block behind the other, from the start again at `end`, and syncs each.
fn times(file: &File, size: usize, end: u64, duration: Duration) -> io::Result<Percentiles> {
    let block = vec![b'x'; size];
    let mut times_ns = histogram();
    let (started, mut at) = (Instant::now(), 0);
    while started.elapsed() < duration || times_ns.is_empty() {
        let began = Instant::now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        times_ns.saturating_record(began.elapsed().as_nanos() as u64);
        at += size as u64;
        if at + size as u64 > end {
            at = 0;
        }
    }
    Ok(Percentiles::of(&times_ns))
}

impl fmt::Display for SyncReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{} octets and fdatasync", self.size)?;
        writeln!(to, "recycled file {}", self.recycled)?;
        write!(to, "growing file  {}", self.growing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_measured_and_nothing_is_left() {
        let dir = std::env::temp_dir().join(format!("leveret-sync-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let options = SyncOptions { dir: dir.clone(), size: 4096, seconds: 0.0, json: false };
        let report = run(&options).unwrap();
        assert_eq!((report.recycled.count, report.growing.count), (1, 1), "{report}");
        fs::remove_dir(&dir).unwrap();
        assert!(run(&options).unwrap_err().to_string().contains("cannot use"));
    }
}
