//! Why the store cannot do what it was asked: the world's fault, never the client's.

use std::{fmt, io};

use thiserror::Error;

/// What went wrong, with the facts an operator needs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("the data directory {directory} is in use by another process")]
    Locked { directory: String },

    #[error("{file}: could not {operation}: {reason}")]
    Disk { file: String, operation: Operation, kind: io::ErrorKind, reason: String },

    #[error("{file} is damaged at octet {offset}: {what}; {loss}")]
    Damaged { file: String, offset: u64, what: Damage, loss: Loss },

    #[error("{file} has format version {found}; this program reads version {expected}")]
    Version { file: String, found: u32, expected: u32 },

    #[error("a record of {octets} octets exceeds the limit of {limit}")]
    TooLarge { octets: usize, limit: usize },

    #[error("the journal takes no more records since it failed: {cause}")]
    Failed { cause: String },

    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Joins what the system said with the file and the intention.
    pub(super) fn disk(file: &str, operation: Operation, error: &io::Error) -> Self {
        let file = file.to_owned();
        Self::Disk { file, operation, kind: error.kind(), reason: error.to_string() }
    }

    /// A file that cannot be taken for what it should be. Nothing is known of what it held.
    pub(super) fn damaged(file: &str, offset: u64, what: Damage) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what, loss: Loss::default() }
    }

    /// Whether the disk was full: the one fault that passes by itself. A sync that finds it full is
    /// not meant: it has lost what it should have written.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Disk { kind, operation, .. }
            if full.contains(kind) && *operation != Operation::Sync)
    }
}

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Open,
    Create,
    Read,
    Write,
    Sync,
    List,
    Rename,
    Remove,
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::List => "list",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Lock => "lock",
        })
    }
}

/// In what way octets are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file's head is not one.
    Head,
    /// A record's header does not match its checksum.
    Header,
    /// A record's payload does not match its checksum.
    Payload,
    /// A record is whole and yet not the one that belongs here.
    OutOfOrder,
    /// A record is whole and its payload says nothing known.
    Meaningless,
    /// The file ends before its records do.
    Short,
    /// The file is named by another and is not there.
    Missing,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Head => "the head of the file is not one",
            Self::Header => "a record's header does not match its checksum",
            Self::Payload => "a record does not match its checksum",
            Self::OutOfOrder => "a record is not the one that belongs here",
            Self::Meaningless => "a record cannot be understood",
            Self::Short => "the file ends too early",
            Self::Missing => "the file is missing",
        })
    }
}

/// What cannot be read because of damage: so many octets up to the next whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub octets: u64,
    /// Records between the last whole one before and the first whole one after, if there is one.
    pub records: Option<u64>,
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { octets: 0, records: None } => formatter.write_str("what it held is unknown"),
            Self { octets, records: None } => write!(formatter, "{octets} octets would be lost"),
            Self { octets, records: Some(records) } => {
                write!(formatter, "{octets} octets with {records} records would be lost")
            }
        }
    }
}
