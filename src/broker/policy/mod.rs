//! Policies: what operators say of all queues and exchanges of a name, beside what their arguments
//! ask for.
//!
//! One policy of users and one of the operator hold for a queue or an exchange, of several that
//! match those of the highest priority. [`docs/policies.md`](../../../docs/policies.md) has the
//! keys.

mod administration;
mod fault;
mod keys;
mod merge;
mod ranked;
mod term;
#[cfg(test)]
mod tests;

use crate::model::{FieldTable, FieldValue, QueueKind, ShortString};

pub use self::{
    administration::{MissingPolicy, PolicyView},
    fault::{PolicyFault, PolicyFaults},
};
pub(super) use self::{merge::Rules, ranked::Policies};

use super::Pattern;

/// What holds for the queues and exchanges whose names match.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub name: ShortString,
    pub pattern: Pattern,
    pub apply_to: ApplyTo,
    /// Of several that match, the highest counts; of equal ones, the first by name.
    pub priority: i64,
    /// Never empty, sorted by key, each key once, all of them checked.
    pub definition: FieldTable,
}

/// A policy as it was written, before anything of it is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyDraft {
    pub name: ShortString,
    pub pattern: String,
    /// Empty for the default, `all`.
    pub apply_to: String,
    /// A number: what is behind its point is cut off.
    pub priority: FieldValue,
    /// Of a key that occurs twice, the last counts.
    pub definition: FieldTable,
}

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyKind {
    User,
    /// It limits what users' policies and arguments may ask for.
    Operator,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    #[default]
    All,
    Exchanges,
    Queues,
    /// RabbitMQ 3.12 and later, as the next two.
    ClassicQueues,
    QuorumQueues,
    Streams,
}

/// The words for what a policy is for.
const APPLY_TO: [(&str, ApplyTo); 6] = [
    ("all", ApplyTo::All),
    ("exchanges", ApplyTo::Exchanges),
    ("queues", ApplyTo::Queues),
    ("classic_queues", ApplyTo::ClassicQueues),
    ("quorum_queues", ApplyTo::QuorumQueues),
    ("streams", ApplyTo::Streams),
];

impl Policy {
    /// Checks what was written.
    ///
    /// # Errors
    /// All that is wrong with it, in RabbitMQ's order.
    pub fn parse(kind: PolicyKind, draft: PolicyDraft) -> Result<Self, PolicyFaults> {
        let PolicyDraft { name, pattern, apply_to, priority, definition } = draft;
        let mut faults = Vec::new();
        let definition = keys::sorted(&definition);
        faults.extend(keys::check(kind, &definition).err());
        let apply_to = ApplyTo::parse(&apply_to).map_err(|fault| faults.push(fault));
        let pattern = Pattern::new(&pattern).map_err(PolicyFault::Pattern);
        let pattern = pattern.map_err(|fault| faults.push(fault));
        let priority = whole(&priority).ok_or(PolicyFault::Priority(priority));
        let priority = priority.map_err(|fault| faults.push(fault));
        match (apply_to, pattern, priority) {
            (Ok(apply_to), Ok(pattern), Ok(priority)) if faults.is_empty() => {
                Ok(Self { name: name.detached(), pattern, apply_to, priority, definition })
            }
            _ => Err(PolicyFaults(faults)),
        }
    }

    /// Whether it holds for a queue of this name and kind. One with a key that such a queue does
    /// not have is for others altogether (RabbitMQ 3.10).
    pub fn is_for_queue(&self, name: &[u8], kind: QueueKind) -> bool {
        let is_meant = match self.apply_to {
            ApplyTo::All | ApplyTo::Queues => true,
            ApplyTo::ClassicQueues => kind == QueueKind::Classic,
            ApplyTo::QuorumQueues => kind == QueueKind::Quorum,
            ApplyTo::Exchanges | ApplyTo::Streams => false,
        };
        is_meant
            && self.definition.iter().all(|(key, _)| keys::has(kind, key))
            && self.pattern.matches(name)
    }

    /// Whether it holds for an exchange of this name.
    pub fn is_for_exchange(&self, name: &[u8]) -> bool {
        matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges) && self.pattern.matches(name)
    }
}

impl ApplyTo {
    /// What the word means; without a word, everything.
    ///
    /// # Errors
    /// When the word means nothing.
    pub fn parse(word: &str) -> Result<Self, PolicyFault> {
        if word.is_empty() {
            return Ok(Self::All);
        }
        let known = APPLY_TO.iter().find(|(known, _)| *known == word);
        known.map(|(_, meant)| *meant).ok_or_else(|| PolicyFault::ApplyTo(word.to_owned()))
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let known = APPLY_TO.iter().find(|(_, meant)| *meant == self);
        known.map_or("all", |(word, _)| word)
    }
}

/// The whole part of a number.
fn whole(number: &FieldValue) -> Option<i64> {
    match number {
        // Beyond its range, the nearest number counts.
        FieldValue::Float64(number) => Some(*number as i64),
        FieldValue::Float32(number) => Some(*number as i64),
        other => other.as_integer(),
    }
}
