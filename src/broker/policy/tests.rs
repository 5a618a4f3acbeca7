//! Policies, by themselves and through the broker.

mod keys;
mod live;
mod merging;

use super::*;

/// A policy that may be wrong.
fn draft(definition: FieldTable) -> PolicyDraft {
    PolicyDraft {
        name: ShortString::from_static("p"),
        pattern: "".into(),
        apply_to: "all".into(),
        priority: FieldValue::Int64(0),
        definition,
    }
}

fn table<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> FieldTable {
    pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)).collect()
}

fn policy<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> Policy {
    Policy::parse(PolicyKind::User, draft(table(pairs))).expect("a valid policy")
}
