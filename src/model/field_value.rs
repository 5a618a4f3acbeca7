//! The values a field table holds.

use std::fmt;

use super::{FieldTable, LongString};

/// One value of a field table or of an array; the variants are RabbitMQ's wire types.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    Boolean(bool),
    Int8(i8),
    UInt8(u8),
    Int16(i16),
    UInt16(u16),
    Int32(i32),
    UInt32(u32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    /// `value` divided by ten to the power of `scale`.
    Decimal {
        scale: u8,
        value: u32,
    },
    LongString(LongString),
    ByteArray(LongString),
    Array(Vec<Self>),
    Table(FieldTable),
    /// Seconds since 1970.
    Timestamp(u64),
    Void,
}

impl FieldValue {
    /// The number, whatever width it was sent in.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int8(value) => Some(i64::from(*value)),
            Self::UInt8(value) => Some(i64::from(*value)),
            Self::Int16(value) => Some(i64::from(*value)),
            Self::UInt16(value) => Some(i64::from(*value)),
            Self::Int32(value) => Some(i64::from(*value)),
            Self::UInt32(value) => Some(i64::from(*value)),
            Self::Int64(value) => Some(*value),
            Self::Boolean(_) | Self::Float32(_) | Self::Float64(_) | Self::Decimal { .. } => None,
            Self::LongString(_) | Self::ByteArray(_) | Self::Array(_) | Self::Table(_) => None,
            Self::Timestamp(_) | Self::Void => None,
        }
    }

    pub fn as_text(&self) -> Option<&LongString> {
        match self {
            Self::LongString(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_table(&self) -> Option<&FieldTable> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// Whether RabbitMQ 4.x calls the two equal, in a binding's headers or a declaration's
    /// arguments: integers of any width are equal, floats of any, and so are strings and byte
    /// arrays, but no number equals a number of another kind.
    pub fn is_same(&self, other: &Self) -> bool {
        if let (Some(left), Some(right)) = (self.as_integer(), other.as_integer()) {
            return left == right;
        }
        match (self, other) {
            (
                Self::LongString(left) | Self::ByteArray(left),
                Self::LongString(right) | Self::ByteArray(right),
            ) => left == right,
            (Self::Float32(left), Self::Float64(right))
            | (Self::Float64(right), Self::Float32(left)) => f64::from(*left) == *right,
            (Self::Array(left), Self::Array(right)) => {
                left.len() == right.len()
                    && left.iter().zip(right).all(|(left, right)| left.is_same(right))
            }
            (Self::Table(left), Self::Table(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|((name, left), (other, right))| name == other && left.is_same(right))
            }
            (left, right) => left == right,
        }
    }

    /// The octet that announces a value of this type.
    pub fn tag(&self) -> u8 {
        match self {
            Self::Boolean(_) => b't',
            Self::Int8(_) => b'b',
            Self::UInt8(_) => b'B',
            Self::Int16(_) => b's',
            Self::UInt16(_) => b'u',
            Self::Int32(_) => b'I',
            Self::UInt32(_) => b'i',
            Self::Int64(_) => b'l',
            Self::Float32(_) => b'f',
            Self::Float64(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::LongString(_) => b'S',
            Self::ByteArray(_) => b'x',
            Self::Array(_) => b'A',
            Self::Table(_) => b'F',
            Self::Timestamp(_) => b'T',
            Self::Void => b'V',
        }
    }

    /// RabbitMQ's word for the type, as its reply texts have it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "bool",
            Self::Int8(_) => "byte",
            Self::UInt8(_) => "unsignedbyte",
            Self::Int16(_) => "short",
            Self::UInt16(_) => "unsignedshort",
            Self::Int32(_) => "signedint",
            Self::UInt32(_) => "unsignedint",
            Self::Int64(_) => "long",
            Self::Float32(_) => "float",
            Self::Float64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongString(_) => "longstr",
            Self::ByteArray(_) => "binary",
            Self::Array(_) => "array",
            Self::Table(_) => "table",
            Self::Timestamp(_) => "timestamp",
            Self::Void => "void",
        }
    }

    /// A copy with memory of its own, for a value that outlives its frame.
    pub fn detached(&self) -> Self {
        match self {
            Self::LongString(string) => Self::LongString(string.detached()),
            Self::ByteArray(octets) => Self::ByteArray(octets.detached()),
            Self::Array(values) => Self::Array(values.iter().map(Self::detached).collect()),
            Self::Table(table) => Self::Table(table.detached()),
            plain => plain.clone(),
        }
    }

    /// The value as it looks inside another: strings in quotes, so that they end somewhere.
    fn nested(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongString(octets) | Self::ByteArray(octets) => write!(to, "<<{octets:?}>>"),
            value => write!(to, "{value}"),
        }
    }
}

/// As RabbitMQ 3.10 shows a value in a reply text: text bare, the rest in Erlang's notation.
impl fmt::Display for FieldValue {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(to, "{value}"),
            Self::Int8(value) => write!(to, "{value}"),
            Self::UInt8(value) => write!(to, "{value}"),
            Self::Int16(value) => write!(to, "{value}"),
            Self::UInt16(value) => write!(to, "{value}"),
            Self::Int32(value) => write!(to, "{value}"),
            Self::UInt32(value) => write!(to, "{value}"),
            Self::Int64(value) => write!(to, "{value}"),
            Self::Float32(value) => write!(to, "{:?}", f64::from(*value)),
            Self::Float64(value) => write!(to, "{value:?}"),
            Self::Decimal { scale, value } => write!(to, "{{{scale},{value}}}"),
            Self::LongString(octets) | Self::ByteArray(octets) => write!(to, "{octets}"),
            Self::Array(values) => list(to, values, |value, to| {
                write!(to, "{{{},", value.type_name())?;
                value.nested(to)?;
                to.write_str("}")
            }),
            Self::Table(table) => list(to, table, |(name, value), to| {
                write!(to, "{{<<{name:?}>>,{},", value.type_name())?;
                value.nested(to)?;
                to.write_str("}")
            }),
            Self::Timestamp(value) => write!(to, "{value}"),
            Self::Void => to.write_str("undefined"),
        }
    }
}

fn list<T>(
    to: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    show: impl Fn(T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    to.write_str("[")?;
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            to.write_str(",")?;
        }
        show(item, to)?;
    }
    to.write_str("]")
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for FieldValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
from! {
    bool => Boolean,
    i32 => Int32,
    i64 => Int64,
    &str => LongString,
    String => LongString,
    LongString => LongString,
    super::name::ShortString => LongString,
    Vec<FieldValue> => Array,
    FieldTable => Table,
}
