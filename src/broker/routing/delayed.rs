//! `x-delayed-message`: a message with a delay waits; any other goes the way of another type.

use std::time::Duration;

use super::headers::Headers;
use crate::model::{FieldTable, FieldValue, Message, Properties, PropertyView, ShortString};

const DELAY: &str = "x-delay";

/// The longest delay that counts, in milliseconds; a longer one is none (the plugin's rule).
const LONGEST_MS: i64 = 4_294_967_295;

/// How long a message is to wait, if it is.
pub(super) fn delay(headers: &Headers) -> Option<Duration> {
    wait(headers.value(DELAY.as_bytes())?)
}

/// The same of a message whose headers have not been read.
pub(crate) fn delay_of(message: &Message) -> Option<Duration> {
    let properties = message.shared_properties();
    let pairs = PropertyView::of(&properties).ok()?.headers?;
    let headers = FieldTable::decode(&properties.slice_ref(pairs.as_slice())).ok()?;
    wait(headers.lookup(DELAY)?)
}

/// A message whose delay is over: the header tells of it, negated, and delays no more.
pub(crate) fn released(message: &Message) -> Message {
    let mut properties = Properties::decode(&message.shared_properties()).unwrap_or_default();
    let headers = properties.headers.get_or_insert_default();
    let Some(waited) = headers.lookup(DELAY).and_then(milliseconds) else {
        return message.clone();
    };
    headers.insert(ShortString::from_static(DELAY), FieldValue::Int64(waited.saturating_neg()));
    message.with_properties(&properties.to_bytes())
}

fn wait(value: &FieldValue) -> Option<Duration> {
    let delay = milliseconds(value).filter(|delay| (1..=LONGEST_MS).contains(delay))?;
    Some(Duration::from_millis(delay.unsigned_abs()))
}

/// Integers, floats without their fraction, and integers in decimal text.
fn milliseconds(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::LongString(text) | FieldValue::ByteArray(text) => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        FieldValue::Float32(number) => Some(f64::from(*number) as i64),
        FieldValue::Float64(number) => Some(*number as i64),
        other => other.as_integer(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(value: FieldValue) -> Message {
        let headers = FieldTable::from_pairs([
            (ShortString::from_static("a"), "b".into()),
            (ShortString::from_static(DELAY), value),
        ]);
        let properties = Properties { headers: Some(headers), ..Properties::default() };
        Message::new(b"x", b"k", &properties.to_bytes(), Bytes::from_static(b"body"))
    }

    fn milliseconds_of(value: FieldValue) -> Option<u128> {
        delay_of(&message(value)).map(|delay| delay.as_millis())
    }

    #[test]
    fn a_delay_is_a_positive_number_however_it_is_sent() {
        for value in [
            FieldValue::UInt8(50),
            FieldValue::Int16(50),
            FieldValue::Int32(50),
            FieldValue::Int64(50),
            FieldValue::Float64(50.9),
            FieldValue::Float32(50.9),
            FieldValue::from("50"),
        ] {
            assert_eq!(milliseconds_of(value.clone()), Some(50), "{value:?}");
        }
        assert_eq!(milliseconds_of(FieldValue::Int64(LONGEST_MS)), Some(4_294_967_295));
    }

    #[test]
    fn anything_else_is_no_delay() {
        for value in [
            FieldValue::Int32(0),
            FieldValue::Int32(-50),
            FieldValue::Int64(LONGEST_MS + 1),
            FieldValue::Int64(i64::MIN),
            FieldValue::Float64(f64::NAN),
            FieldValue::Float64(0.5),
            FieldValue::from("soon"),
            FieldValue::Boolean(true),
            FieldValue::Void,
            FieldValue::Timestamp(50),
        ] {
            assert_eq!(milliseconds_of(value.clone()), None, "{value:?}");
        }
    }

    #[test]
    fn a_message_that_is_due_tells_its_delay_negated_and_waits_no_more() {
        let due = released(&message(FieldValue::from("50")));
        let properties = Properties::decode(&due.shared_properties()).unwrap();
        let expected = FieldTable::from_pairs([
            (ShortString::from_static("a"), "b".into()),
            (ShortString::from_static(DELAY), FieldValue::Int64(-50)),
        ]);
        assert_eq!(properties.headers, Some(expected));
        assert_eq!(delay_of(&due), None);
    }
}
