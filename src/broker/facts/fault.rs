//! What can be wrong with a fact that was read.

use thiserror::Error;

use super::Key;
use crate::broker::policy::PolicyFaults;
use crate::model::{Malformed, QueueId, Refusal};

/// A fact that cannot be what was written: nothing is built from facts of which one is like this.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("the stored {subject} cannot be restored: {fault}")]
pub struct BadFact {
    subject: String,
    fault: Box<Fault>,
}

#[derive(Clone, Debug, PartialEq, Error)]
pub(super) enum Fault {
    #[error("its octets mean nothing")]
    Meaningless,
    #[error("it is of version {0}, which is unknown")]
    Version(u8),
    #[error("its arguments cannot be read: {0}")]
    Arguments(Malformed),
    #[error("its arguments are refused: {0:?}")]
    Refused(Refusal),
    #[error("{0}")]
    Policy(PolicyFaults),
    #[error("no queue has the number {0}")]
    NoQueueHasNumber(QueueId),
    #[error("another queue has the number {0}")]
    SameNumber(QueueId),
    #[error("every vhost has an exchange of that name")]
    Predeclared,
    #[error("there is no {0}")]
    Missing(Key),
}

/// So much of a key that means nothing is shown.
const SHOWN: usize = 64;

impl BadFact {
    pub(super) fn new(key: &Key, fault: Fault) -> Self {
        Self { subject: key.to_string(), fault: Box::new(fault) }
    }

    /// A key that is none.
    pub(super) fn unreadable(key: &[u8]) -> Self {
        let shown = key[..key.len().min(SHOWN)].escape_ascii();
        let subject = format!("fact under the key \"{shown}\"");
        Self { subject, fault: Box::new(Fault::Meaningless) }
    }
}
