//! The names of the files in a data directory.

use std::fmt;

pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const NEW_CHECKPOINT: &str = "checkpoint.new";

/// No number in a store is higher, so that there is always a next one.
pub(super) const HIGHEST: u64 = u64::MAX >> 2;

/// A numbered file. Numbers are never used twice for files of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileName {
    /// Part of the journal.
    Journal(u64),
    /// Room for a part of the journal to come.
    Spare(u64),
    /// Messages that outlived their part of the journal.
    Segment(u64),
    /// The facts of the topology, as of a checkpoint.
    Topology(u64),
}

impl FileName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (sort, number) = name.split_once('-')?;
        let number = u64::from_str_radix(number, 16).ok().filter(|number| *number <= HIGHEST)?;
        let file = match sort {
            "journal" => Self::Journal(number),
            "spare" => Self::Spare(number),
            "segment" => Self::Segment(number),
            "topology" => Self::Topology(number),
            _ => return None,
        };
        (file.to_string() == name).then_some(file)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(number) => write!(formatter, "journal-{number:016x}"),
            Self::Spare(number) => write!(formatter, "spare-{number:016x}"),
            Self::Segment(number) => write!(formatter, "segment-{number:016x}"),
            Self::Topology(number) => write!(formatter, "topology-{number:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_no_other() {
        for name in [FileName::Journal(1), FileName::Segment(HIGHEST), FileName::Spare(0)] {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for name in [
            "journal-1",
            "journal-000000000000000A",
            "lock",
            "checkpoint",
            "journal-",
            "spare-ffffffffffffffff",
        ] {
            assert_eq!(FileName::parse(name), None);
        }
    }
}
