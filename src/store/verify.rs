//! A data directory checked and described from outside, changing nothing.

use super::{
    disk::Disk,
    error::Error,
    names::FileName,
    recovery::{self, Report},
    retirement,
    segment::Segment,
};

/// Describes the store: what a start would find. Quick: segments are not read but for their
/// indexes.
pub fn stat(disk: &dyn Disk) -> Result<Report, Error> {
    let examined = recovery::examine(disk, false)?;
    Ok(examined.report)
}

/// Reads every octet that a start or a reader could ever need. The report lists what is damaged
/// among its losses; nothing is lost by looking.
pub fn verify(disk: &dyn Disk) -> Result<Report, Error> {
    let examined = recovery::examine(disk, true)?;
    let mut report = examined.report;
    for number in examined.backlog.segments.keys() {
        let name = FileName::Segment(*number).to_string();
        let verified = Segment::open(disk, *number).and_then(|segment| segment.verify());
        note(&mut report, verified, &name);
    }
    for part in &examined.parts {
        let name = FileName::Journal(part.sequence).to_string();
        let read = retirement::collect(disk, examined.summary.store, &[*part], true);
        note(&mut report, read, &name);
    }
    Ok(report)
}

/// Adds a fault to the report unless it is known already.
fn note<T>(report: &mut Report, outcome: Result<T, Error>, name: &str) {
    let Err(error) = outcome else { return };
    let known = report.losses.iter().any(|loss| loss.to_string().starts_with(name));
    if !known {
        report.losses.push(error);
    }
}
