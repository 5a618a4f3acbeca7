//! Field tables: ordered names with values of many types, and how each type is encoded.

use bytes::{BufMut, Bytes};

use super::{
    field_value::FieldValue,
    malformed::Malformed,
    name::ShortString,
    octets::{Field, Octets, Reader, Writer},
};

/// How deep tables and arrays may lie in one another. RabbitMQ has no limit but the frame's size;
/// here reading, printing and dropping a value recurse, and the stack must bear the worst.
pub const DEEPEST: usize = 64;

/// Names with values, in the order they came, duplicates included (RabbitMQ 3.10).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldTable(Vec<(ShortString, FieldValue)>);

impl FieldTable {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn from_pairs(pairs: impl IntoIterator<Item = (ShortString, FieldValue)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Reads a whole table without the length that precedes it among arguments.
    pub fn decode(pairs: &Bytes) -> Result<Self, Malformed> {
        read_pairs(Reader::new(pairs), DEEPEST)
    }

    /// Finds out, without building it, whether `pairs` is a table that can be read.
    pub fn check(pairs: &[u8]) -> Result<(), Malformed> {
        check_pairs(pairs, DEEPEST)
    }

    /// Replaces the first value of that name, or adds one at the end.
    pub fn insert(&mut self, name: ShortString, value: FieldValue) {
        match self.0.iter_mut().find(|(present, _)| *present == name) {
            Some((_, present)) => *present = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes out every value of that name and gives the first.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> Option<FieldValue> {
        let mut removed = self.0.extract_if(.., |(present, _)| **present == *name.as_ref());
        let first = removed.next();
        removed.for_each(drop);
        first.map(|(_, value)| value)
    }

    /// The first value of that name.
    pub fn lookup(&self, name: impl AsRef<[u8]>) -> Option<&FieldValue> {
        let name = name.as_ref();
        self.0.iter().find(|(present, _)| **present == *name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, (ShortString, FieldValue)> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with memory of its own, for a table that outlives its frame.
    pub fn detached(&self) -> Self {
        Self(self.iter().map(|(name, value)| (name.detached(), value.detached())).collect())
    }
}

impl<'a> IntoIterator for &'a FieldTable {
    type Item = &'a (ShortString, FieldValue);
    type IntoIter = std::slice::Iter<'a, (ShortString, FieldValue)>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for FieldTable {
    type Item = (ShortString, FieldValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(ShortString, FieldValue)> for FieldTable {
    fn from_iter<T: IntoIterator<Item = (ShortString, FieldValue)>>(pairs: T) -> Self {
        Self::from_pairs(pairs)
    }
}

impl Field for FieldTable {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        read_table(from, DEEPEST)
    }
    fn write(&self, to: &mut Writer<'_>) {
        to.counted(|to| {
            for (name, value) in self {
                to.short(name);
                write_value(value, to);
            }
        });
    }
}

fn read_table(from: &mut Reader<'_>, depth: usize) -> Result<FieldTable, Malformed> {
    let pairs = from.octets().long()?;
    read_pairs(from.within(pairs), depth)
}

fn read_pairs(mut pairs: Reader<'_>, depth: usize) -> Result<FieldTable, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
    let mut table = Vec::new();
    while !pairs.is_empty() {
        let name = pairs.short_octets()?;
        table.push((name, read_value(&mut pairs, depth)?));
    }
    Ok(FieldTable(table))
}

fn read_array(from: &mut Reader<'_>, depth: usize) -> Result<Vec<FieldValue>, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
    let values = from.octets().long()?;
    let mut values = from.within(values);
    let mut array = Vec::new();
    while !values.is_empty() {
        array.push(read_value(&mut values, depth)?);
    }
    Ok(array)
}

/// Type tags are RabbitMQ's, which differ from the published specification: `s` is an integer,
/// `L` another `l`, and a table holds no short string. Clients send `U` for `s` too.
fn read_value(from: &mut Reader<'_>, depth: usize) -> Result<FieldValue, Malformed> {
    let tag = from.octets().u8()?;
    Ok(match tag {
        b't' => FieldValue::Boolean(from.octets().u8()? != 0),
        b'b' => FieldValue::Int8(from.octets().u8()?.cast_signed()),
        b'B' => FieldValue::UInt8(from.octets().u8()?),
        b's' | b'U' => FieldValue::Int16(from.octets().u16()?.cast_signed()),
        b'u' => FieldValue::UInt16(from.octets().u16()?),
        b'I' => FieldValue::Int32(from.octets().u32()?.cast_signed()),
        b'i' => FieldValue::UInt32(from.octets().u32()?),
        b'l' | b'L' => FieldValue::Int64(from.octets().u64()?.cast_signed()),
        b'f' => FieldValue::Float32(float32(from.octets())?),
        b'd' => FieldValue::Float64(float64(from.octets())?),
        b'D' => FieldValue::Decimal { scale: from.octets().u8()?, value: from.octets().u32()? },
        b'S' => FieldValue::LongString(Field::read(from)?),
        b'x' => FieldValue::ByteArray(Field::read(from)?),
        b'A' => FieldValue::Array(read_array(from, depth)?),
        b'F' => FieldValue::Table(read_table(from, depth)?),
        b'T' => FieldValue::Timestamp(from.octets().u64()?),
        b'V' => FieldValue::Void,
        unknown => return Err(Malformed::UnknownFieldType(unknown)),
    })
}

/// Infinities and what is not a number are refused, for RabbitMQ cannot hold them.
fn float32(from: &mut Octets<'_>) -> Result<f32, Malformed> {
    Some(f32::from_bits(from.u32()?)).filter(|float| float.is_finite()).ok_or(Malformed::NotFinite)
}

fn float64(from: &mut Octets<'_>) -> Result<f64, Malformed> {
    Some(f64::from_bits(from.u64()?)).filter(|float| float.is_finite()).ok_or(Malformed::NotFinite)
}

fn write_value(value: &FieldValue, to: &mut Writer<'_>) {
    to.octets().put_u8(value.tag());
    match value {
        FieldValue::Boolean(value) => to.octets().put_u8(u8::from(*value)),
        FieldValue::Int8(value) => to.octets().put_i8(*value),
        FieldValue::UInt8(value) => to.octets().put_u8(*value),
        FieldValue::Int16(value) => to.octets().put_i16(*value),
        FieldValue::UInt16(value) => to.octets().put_u16(*value),
        FieldValue::Int32(value) => to.octets().put_i32(*value),
        FieldValue::UInt32(value) => to.octets().put_u32(*value),
        FieldValue::Int64(value) => to.octets().put_i64(*value),
        FieldValue::Float32(value) => to.octets().put_u32(value.to_bits()),
        FieldValue::Float64(value) => to.octets().put_u64(value.to_bits()),
        FieldValue::Decimal { scale, value } => {
            to.octets().put_u8(*scale);
            to.octets().put_u32(*value);
        }
        FieldValue::LongString(string) | FieldValue::ByteArray(string) => to.long(string),
        FieldValue::Array(values) => {
            to.counted(|to| values.iter().for_each(|value| write_value(value, to)));
        }
        FieldValue::Table(table) => table.write(to),
        FieldValue::Timestamp(value) => to.octets().put_u64(*value),
        FieldValue::Void => {}
    }
}

fn check_pairs(pairs: &[u8], depth: usize) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
    let mut pairs = Octets::new(pairs);
    while !pairs.is_empty() {
        pairs.short()?;
        check_value(&mut pairs, depth)?;
    }
    Ok(())
}

fn check_array(values: &[u8], depth: usize) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
    let mut values = Octets::new(values);
    while !values.is_empty() {
        check_value(&mut values, depth)?;
    }
    Ok(())
}

fn check_value(from: &mut Octets<'_>, depth: usize) -> Result<(), Malformed> {
    let size = match from.u8()? {
        b'S' | b'x' => return from.long().map(drop),
        b'A' => return check_array(from.long()?, depth),
        b'F' => return check_pairs(from.long()?, depth),
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'f' => return float32(from).map(drop),
        b'd' => return float64(from).map(drop),
        b'I' | b'i' => 4,
        b'D' => 5,
        b'l' | b'L' | b'T' => 8,
        b'V' => 0,
        unknown => return Err(Malformed::UnknownFieldType(unknown)),
    };
    from.take(size).map(drop)
}
