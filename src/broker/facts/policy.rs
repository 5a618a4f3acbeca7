//! A policy as octets.

use bytes::Bytes;

use super::{Fault, put_table, read_table};
use crate::{
    broker::policy::{ApplyTo, Policy, PolicyDraft, PolicyKind},
    model::{
        FieldValue, ShortString,
        compact::{Reader, put_octets},
    },
};

pub(super) fn put(value: &mut Vec<u8>, policy: &Policy) {
    put_octets(value, policy.pattern.as_str().as_bytes());
    put_octets(value, policy.apply_to.as_str().as_bytes());
    value.extend_from_slice(&policy.priority.cast_unsigned().to_le_bytes());
    put_table(value, &policy.definition);
}

/// Reads a policy, and checks it as if it were new: what is kept has been checked before.
pub(super) fn read(kind: PolicyKind, name: ShortString, value: &Bytes) -> Result<Policy, Fault> {
    let mut reader = Reader::new(value);
    let pattern = text(reader.octets())?;
    let apply_to = text(reader.octets())?;
    if ApplyTo::parse(&apply_to).map(ApplyTo::as_str) != Ok(&*apply_to) {
        return Err(Fault::Meaningless);
    }
    let priority = FieldValue::Int64(reader.u64().ok_or(Fault::Meaningless)?.cast_signed());
    let definition = read_table(value, reader)?;
    let draft = PolicyDraft { name, pattern, apply_to, priority, definition };
    Policy::parse(kind, draft).map_err(Fault::Policy)
}

fn text(octets: Option<&[u8]>) -> Result<String, Fault> {
    let text = octets.and_then(|octets| std::str::from_utf8(octets).ok());
    text.map(str::to_owned).ok_or(Fault::Meaningless)
}
