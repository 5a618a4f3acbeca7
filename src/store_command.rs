//! `leveret store`: says what is in a data directory that no broker uses, changing nothing in it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use leveret::store::{
    Report,
    disk::{Disk, file::Folder},
    verify::{self, Census},
};

use crate::arguments::StoreCommand;

/// Does as it is told and prints what was found. The error is what stands in the way, or the
/// damage.
pub(crate) fn run(command: &StoreCommand) -> Result<(), String> {
    match command {
        StoreCommand::Stat { directory } => inspect(directory, |disk| verify::stat(disk)),
        StoreCommand::Verify { directory } => inspect(directory, |disk| verify::verify(disk)),
    }
}

fn inspect(
    directory: &Path,
    look: impl FnOnce(&dyn Disk) -> Result<Report, leveret::store::Error>,
) -> Result<(), String> {
    let shown = directory.display();
    let folder =
        Folder::open(directory).map_err(|error| format!("cannot open {shown}: {error}"))?;
    let _nobody_else_is_here = folder.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            format!("a broker is using {shown}: stop it first, or look at a copy")
        }
        _ => format!("cannot lock {shown}: {error}"),
    })?;
    if !verify::is_store(&folder).map_err(|error| format!("{shown}: {error}"))? {
        return Err(format!("there is no store in {shown}"));
    }
    let found = look(&folder).and_then(|report| Ok((report, verify::census(&folder)?)));
    let (report, census) = found.map_err(|error| format!("{shown}: {error}"))?;
    print(&describe(directory, &report, census)).map_err(|error| error.to_string())?;
    match report.losses.len() {
        0 => Ok(()),
        places => Err(format!("{shown} is damaged in {places} place(s)")),
    }
}

fn describe(directory: &Path, report: &Report, census: Census) -> String {
    let Census { messages, queues, facts } = census;
    let mut text = format!("store in {}\n", directory.display());
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _a_string_takes_everything = writeln!(text, "{name:<10}{value}");
    };
    let Report { journal_files, journal_octets, records, .. } = report;
    let journal = format!("{journal_files} file(s), {journal_octets} octets, {records} records");
    line("journal", &journal);
    let Report { segments, segment_octets, backlog_messages, .. } = report;
    line(
        "segments",
        &format!("{segments} file(s), {segment_octets} octets, {backlog_messages} messages"),
    );
    line("messages", &format!("{messages} in {queues} queue(s)"));
    line("facts", &facts);
    match &report.torn {
        Some(torn) => line("torn end", torn),
        None => line("torn end", &"none"),
    }
    for loss in &report.losses {
        line("damage", loss);
    }
    if report.losses.is_empty() {
        line("damage", &"none found");
    }
    text
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
