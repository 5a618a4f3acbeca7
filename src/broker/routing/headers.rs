//! Matching by headers: what a binding asks for, and what a message has.

use crate::model::{FieldTable, FieldValue, Message, PropertyView, Refusal, ShortString};

use super::{
    binding::Arguments,
    targets::{Found, Target},
};

/// What one binding to a headers exchange asks of a message.
#[derive(Debug)]
struct Matcher {
    /// Any of the criteria suffices.
    any: bool,
    /// In order; a void value stands for any value.
    criteria: Vec<(ShortString, FieldValue)>,
}

impl Matcher {
    /// Reads the arguments of a binding that has been checked by [`check`]; what is no `x-match`
    /// counts as `all`.
    fn new(arguments: &FieldTable) -> Self {
        let mode = arguments.lookup("x-match").and_then(FieldValue::as_text);
        let mode: &[u8] = mode.map_or(b"all", |mode| mode);
        let with_x = mode.ends_with(b"-with-x");
        let compared =
            |name: &ShortString| **name != *b"x-match" && (with_x || !name.starts_with(b"x-"));
        Self {
            any: mode.starts_with(b"any"),
            criteria: arguments.iter().filter(|(name, _)| compared(name)).cloned().collect(),
        }
    }

    fn accepts(&self, headers: &Headers) -> bool {
        let mut criteria = self.criteria.iter();
        if self.any {
            criteria.any(|it| headers.meets(it))
        } else {
            criteria.all(|it| headers.meets(it))
        }
    }
}

/// Refuses an `x-match` that is none of the four words.
pub(crate) fn check(arguments: &FieldTable) -> Result<(), Refusal> {
    let Some(value) = arguments.lookup("x-match") else { return Ok(()) };
    match value.as_text().map(|text| &**text) {
        Some(b"all" | b"any" | b"all-with-x" | b"any-with-x") => Ok(()),
        _ => Err(Refusal::InvalidHeadersMatch { value: value.clone() }),
    }
}

/// The bindings of one headers exchange, in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Matchers(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    arguments: Arguments,
    target: Target,
    matcher: Matcher,
}

impl Matchers {
    pub(super) fn add(&mut self, arguments: &Arguments, target: Target) {
        let matcher = Matcher::new(arguments.table());
        self.0.push(Entry { arguments: arguments.clone(), target, matcher });
    }

    pub(super) fn remove(&mut self, arguments: &Arguments, target: Target) {
        let is_it = |entry: &Entry| entry.target == target && entry.arguments == *arguments;
        if let Some(place) = self.0.iter().position(is_it) {
            self.0.remove(place);
        }
    }

    pub(super) fn find(&self, headers: &Headers, found: &mut Found<'_>) {
        for entry in &self.0 {
            if entry.matcher.accepts(headers) {
                found.take_one(entry.target);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A message's headers, sorted for look-ups; of several with one name the first counts.
#[derive(Debug)]
pub(super) struct Headers(Vec<(ShortString, FieldValue)>);

impl Headers {
    /// A message without headers, or with some that cannot be read, has an empty table.
    pub(super) fn of(message: &Message) -> Self {
        let properties = message.shared_properties();
        let table = PropertyView::of(&properties)
            .ok()
            .and_then(|view| view.headers)
            .and_then(|pairs| FieldTable::decode(&properties.slice_ref(pairs.as_slice())).ok())
            .unwrap_or_default();
        let mut pairs: Vec<_> = table.into_iter().collect();
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        pairs.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(pairs)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn value(&self, name: &[u8]) -> Option<&FieldValue> {
        let place = self.0.binary_search_by(|(present, _)| (**present).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    fn meets(&self, (name, wanted): &(ShortString, FieldValue)) -> bool {
        let place = self.0.binary_search_by(|(present, _)| present.cmp(name));
        place.is_ok_and(|place| *wanted == FieldValue::Void || wanted.is_same(&self.0[place].1))
    }
}
