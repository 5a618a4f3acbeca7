//! Values in Erlang's notation, as RabbitMQ shows them in what is wrong with a policy.

use std::fmt;

use crate::model::{FieldTable, FieldValue, ShortString};

/// A value as Erlang writes what JSON became.
pub(super) struct Term<'a>(pub(super) &'a FieldValue);

/// A list of pairs; one that is long has a line for each.
pub(super) struct Terms<'a>(pub(super) &'a [(ShortString, FieldValue)]);

/// The length of a line that Erlang breaks.
const LINE: usize = 80;

impl fmt::Display for Term<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FieldValue::Void => write!(to, "null"),
            FieldValue::LongString(octets) | FieldValue::ByteArray(octets) => binary(octets, to),
            FieldValue::Float32(value) => float(f64::from(*value), to),
            FieldValue::Float64(value) => float(*value, to),
            FieldValue::Array(values) => list(values, to),
            FieldValue::Table(table) => map(table, to),
            FieldValue::Timestamp(value) => write!(to, "{value}"),
            plain => write!(to, "{plain}"),
        }
    }
}

impl fmt::Display for Terms<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |(key, value): &(ShortString, FieldValue)| {
            let key = FieldValue::LongString(key.clone().into());
            format!("{{{},{}}}", Term(&key), Term(value))
        };
        let pairs: Vec<_> = self.0.iter().map(pair).collect();
        let line = pairs.join(",");
        if line.len() + 2 < LINE {
            return write!(to, "[{line}]");
        }
        write!(to, "[{}]", pairs.join(",\n "))
    }
}

fn binary(octets: &[u8], to: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(to, "<<")?;
    if octets.iter().all(|octet| is_printable(*octet)) && !octets.is_empty() {
        quoted(octets.iter().copied(), to)?;
    } else {
        separated(octets, to, |octet, to| write!(to, "{octet}"))?;
    }
    write!(to, ">>")
}

/// A list of numbers that could be characters is one of characters.
fn list(values: &[FieldValue], to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let character = |value: &FieldValue| {
        value.as_integer().and_then(|code| u8::try_from(code).ok()).filter(|it| is_printable(*it))
    };
    let text: Option<Vec<u8>> = values.iter().map(character).collect();
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        return quoted(text.into_iter(), to);
    }
    write!(to, "[")?;
    separated(values, to, |value, to| write!(to, "{}", Term(value)))?;
    write!(to, "]")
}

fn map(table: &FieldTable, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    write!(to, "#{{")?;
    separated(&pairs, to, |(key, value), to| {
        binary(key, to)?;
        write!(to, " => {}", Term(value))
    })?;
    write!(to, "}}")
}

fn separated<T>(
    items: &[T],
    to: &mut fmt::Formatter<'_>,
    mut write_one: impl FnMut(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            write!(to, ",")?;
        }
        write_one(item, to)?;
    }
    Ok(())
}

/// Erlang always writes a point.
fn float(value: f64, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => {
            write!(to, "{digits}.0e{exponent}")
        }
        _ => write!(to, "{text}"),
    }
}

/// What Erlang shows as a character: Latin-1 without control characters, but for those with an
/// escape of their own.
fn is_printable(octet: u8) -> bool {
    matches!(octet, 32..=126 | 160..=255 | 8..=13 | 27)
}

fn quoted(octets: impl Iterator<Item = u8>, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(to, "\"")?;
    for octet in octets {
        match octet {
            8 => write!(to, "\\b")?,
            9 => write!(to, "\\t")?,
            10 => write!(to, "\\n")?,
            11 => write!(to, "\\v")?,
            12 => write!(to, "\\f")?,
            13 => write!(to, "\\r")?,
            27 => write!(to, "\\e")?,
            b'"' => write!(to, "\\\"")?,
            b'\\' => write!(to, "\\\\")?,
            other => write!(to, "{}", char::from(other))?,
        }
    }
    write!(to, "\"")
}
