//! Random tables, properties and methods, well formed.

use bytes::{BufMut, Bytes, BytesMut};
use leveret::{
    model::{
        FieldTable, FieldValue, LongString, Properties, ShortString,
        octets::{Field, Writer},
    },
    wire::method::Row,
};

use crate::random::Random;

/// The payload of a method frame with the row's method and random arguments, reserved ones empty.
pub(crate) fn method(row: &Row, random: &mut Random) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u16(row.id.0);
    out.put_u16(row.id.1);
    let mut writer = Writer::new(&mut out);
    for (_, rust) in row.arguments {
        let rust: String = rust.split_whitespace().collect();
        match rust.strip_prefix("Reserved<").and_then(|inner| inner.strip_suffix('>')) {
            Some(inner) => argument(inner, &mut Random::seeded(0), true, &mut writer),
            None => argument(&rust, random, false, &mut writer),
        }
    }
    out.freeze()
}

fn argument(rust: &str, random: &mut Random, empty: bool, to: &mut Writer<'_>) {
    let number = if empty { 0 } else { integer(random) };
    match rust {
        "bool" => (number & 1 == 1).write(to),
        "u8" => (number as u8).write(to),
        "u16" => (number as u16).write(to),
        "u32" => (number as u32).write(to),
        "u64" => number.write(to),
        "ShortString" if empty => ShortString::default().write(to),
        "LongString" if empty => LongString::default().write(to),
        "LongString" => long(random).write(to),
        "FieldTable" => table(random, 3).write(to),
        _ => text(random).write(to),
    }
}

/// Numbers near the edges more often than chance has it.
fn integer(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.below(3) as u64,
        1 => u64::MAX >> random.below(64),
        2 => 1 << random.below(64),
        _ => random.next(),
    }
}

/// Valid UTF-8, of up to 255 octets.
pub(crate) fn text(random: &mut Random) -> ShortString {
    let alphabet: Vec<char> = "amq.x-1 #*é兎🐇\0\n".chars().collect();
    let length = if random.chance(8) { 63 } else { random.below(12) };
    let text: String = (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect();
    ShortString::try_from(text).unwrap()
}

/// Any octets, up to 255.
fn short(random: &mut Random) -> ShortString {
    let length = if random.chance(8) { 255 } else { random.below(8) };
    ShortString::new(random.octets(length).into()).unwrap()
}

fn long(random: &mut Random) -> LongString {
    let length = if random.chance(16) { 4000 } else { random.below(20) };
    LongString(random.octets(length).into())
}

pub(crate) fn table(random: &mut Random, depth: usize) -> FieldTable {
    let size = random.below(6);
    (0..size).map(|_| (short(random), value(random, depth))).collect()
}

fn value(random: &mut Random, depth: usize) -> FieldValue {
    let bits = integer(random);
    match random.below(if depth == 0 { 15 } else { 17 }) {
        0 => FieldValue::Boolean(bits & 1 == 1),
        1 => FieldValue::Int8(bits as i8),
        2 => FieldValue::UInt8(bits as u8),
        3 => FieldValue::Int16(bits as i16),
        4 => FieldValue::UInt16(bits as u16),
        5 => FieldValue::Int32(bits as i32),
        6 => FieldValue::UInt32(bits as u32),
        7 => FieldValue::Int64(bits as i64),
        8 => FieldValue::Float32(
            Some(f32::from_bits(bits as u32)).filter(|f| f.is_finite()).unwrap_or(-0.0),
        ),
        9 => FieldValue::Float64(
            Some(f64::from_bits(bits)).filter(|f| f.is_finite()).unwrap_or(-0.0),
        ),
        10 => FieldValue::Decimal { scale: bits as u8, value: (bits >> 8) as u32 },
        11 => FieldValue::LongString(long(random)),
        12 => FieldValue::ByteArray(long(random)),
        13 => FieldValue::Timestamp(bits),
        14 => FieldValue::Void,
        15 => {
            let size = random.below(5);
            FieldValue::Array((0..size).map(|_| value(random, depth - 1)).collect())
        }
        _ => FieldValue::Table(table(random, depth - 1)),
    }
}

pub(crate) fn properties(random: &mut Random) -> Properties {
    let rarity = 1 + random.below(4);
    let mut present = || random.chance(rarity);
    let flags: Vec<bool> = (0..14).map(|_| present()).collect();
    let mut string = |index: usize| flags[index].then(|| short(random));
    Properties {
        content_type: string(0),
        content_encoding: string(1),
        correlation_id: string(5),
        reply_to: string(6),
        expiration: string(7),
        message_id: string(8),
        kind: string(10),
        user_id: string(11),
        app_id: string(12),
        cluster_id: string(13),
        headers: flags[2].then(|| table(random, 3)),
        delivery_mode: flags[3].then(|| random.next() as u8),
        priority: flags[4].then(|| random.next() as u8),
        timestamp: flags[9].then(|| random.next()),
    }
}
