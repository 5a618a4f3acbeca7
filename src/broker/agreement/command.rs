//! What is agreed on, as octets.

use thiserror::Error;

use crate::broker::BadFact;

/// Why octets that were agreed on cannot be read.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unreadable {
    #[error("it is of version {0}, which is unknown")]
    Version(u8),
    #[error("its octets mean nothing")]
    Meaningless,
    #[error(transparent)]
    Fact(#[from] BadFact),
}
