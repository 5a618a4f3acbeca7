//! Why octets from a peer could not be read.

use thiserror::Error;

/// What is wrong with octets that should have been a method, a table or a set of properties.
///
/// The peer is at fault; the session decides which reply code tells it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("the octets end before the value does")]
    Truncated,
    #[error("{0} octets follow the last value")]
    TrailingOctets(usize),
    #[error("class {0} has no method {1}")]
    UnknownMethod(u16, u16),
    #[error("no field value has the type tag {0}")]
    UnknownFieldType(u8),
    #[error("tables and arrays are nested too deeply")]
    TooDeep,
    #[error("a short string is not valid UTF-8")]
    InvalidUtf8,
    #[error("a floating-point value is not a finite number")]
    NotFinite,
}
