//! What is written is read back as it was.

use bytes::{Bytes, BytesMut};
use leveret::{
    model::{
        ConsumerTag, DEEPEST, ExchangeName, FieldTable, FieldValue, Malformed, Properties,
        RoutingKey, ShortString,
        octets::{Field, Reader, Writer},
    },
    wire::{
        basic::DeliverView,
        frame,
        method::{BasicDeliver, Method},
    },
};

use crate::{
    generate,
    random::{Random, seed},
};

#[test]
fn every_method_survives_a_round_trip() {
    let mut random = Random::seeded(seed());
    for row in Method::TABLE {
        for _ in 0..200 {
            let payload = generate::method(row, &mut random);
            let method = Method::decode(&payload).unwrap();
            assert_eq!((method.id(), method.name()), (row.id, row.name));
            assert_eq!(method.has_content(), row.has_content);
            let mut written = BytesMut::new();
            method.encode(&mut written);
            assert_eq!(written, payload, "{method:?}");
        }
    }
}

#[test]
fn every_table_survives_a_round_trip() {
    let mut random = Random::seeded(seed());
    for _ in 0..5000 {
        let table = generate::table(&mut random, 4);
        let octets = encoded(&table);
        let mut reader = Reader::new(&octets);
        let read = FieldTable::read(&mut reader).unwrap();
        reader.finish().unwrap();
        assert_eq!(encoded(&read), octets);
        assert_eq!(format!("{read:?}"), format!("{table:?}"));
    }
}

#[test]
fn all_properties_survive_a_round_trip() {
    let mut random = Random::seeded(seed());
    for _ in 0..5000 {
        let properties = generate::properties(&mut random);
        let octets = properties.to_bytes();
        let read = Properties::decode(&octets).unwrap();
        assert_eq!(read.to_bytes(), octets);
        assert_eq!(format!("{read:?}"), format!("{properties:?}"));
    }
}

#[test]
fn every_type_tag_of_rabbitmq_is_read_and_written() {
    let cases: &[(&[u8], FieldValue)] = &[
        (b"t\x01", FieldValue::Boolean(true)),
        (b"b\xff", FieldValue::Int8(-1)),
        (b"B\xff", FieldValue::UInt8(255)),
        (b"s\xff\xfe", FieldValue::Int16(-2)),
        (b"u\xff\xfe", FieldValue::UInt16(65534)),
        (b"I\xff\xff\xff\xfd", FieldValue::Int32(-3)),
        (b"i\xff\xff\xff\xfd", FieldValue::UInt32(4_294_967_293)),
        (b"l\xff\xff\xff\xff\xff\xff\xff\xfc", FieldValue::Int64(-4)),
        (b"f\x3f\xc0\0\0", FieldValue::Float32(1.5)),
        (b"d\x3f\xf8\0\0\0\0\0\0", FieldValue::Float64(1.5)),
        (b"D\x02\0\0\x01\x3a", FieldValue::Decimal { scale: 2, value: 314 }),
        (b"S\0\0\0\x02hi", FieldValue::from("hi")),
        (b"x\0\0\0\x02\0\xff", FieldValue::ByteArray(Bytes::from_static(b"\0\xff").into())),
        (b"A\0\0\0\x03Vt\0", FieldValue::from(vec![FieldValue::Void, FieldValue::from(false)])),
        (b"F\0\0\0\x03\x01kV", FieldValue::from(pair("k", FieldValue::Void))),
        (b"T\0\0\0\0\0\0\0\x09", FieldValue::Timestamp(9)),
        (b"V", FieldValue::Void),
    ];
    for (octets, value) in cases {
        let table = pair("", value.clone());
        let expected = Bytes::from([b"\0", *octets].concat());
        assert_eq!(encoded(&table).slice(4..), expected, "{value:?}");
        assert_eq!(FieldTable::decode(&expected).unwrap(), table);
    }
}

#[test]
fn tags_that_no_client_can_read_are_accepted_and_never_written() {
    for (octets, rewritten) in [
        (&b"\0L\xff\xff\xff\xff\xff\xff\xff\xfe"[..], &b"\0l\xff\xff\xff\xff\xff\xff\xff\xfe"[..]),
        (b"\0U\xff\xfe", b"\0s\xff\xfe"),
        (b"\0t\x07", b"\0t\x01"),
    ] {
        let table = FieldTable::decode(&Bytes::from_static(octets)).unwrap();
        assert_eq!(encoded(&table).slice(4..), rewritten);
    }
}

#[test]
fn an_unknown_type_tag_is_refused() {
    let table = Bytes::from_static(b"\0Z");
    assert_eq!(FieldTable::decode(&table), Err(Malformed::UnknownFieldType(b'Z')));
}

#[test]
fn tables_may_be_nested_to_a_limit() {
    let nested = |depth: usize| {
        (1..depth).fold(FieldTable::new(), |inner, _| pair("deeper", FieldValue::from(inner)))
    };
    let octets = encoded(&nested(DEEPEST)).slice(4..);
    assert_eq!(FieldTable::decode(&octets), Ok(nested(DEEPEST)));
    let octets = encoded(&nested(DEEPEST + 1)).slice(4..);
    assert_eq!(FieldTable::decode(&octets), Err(Malformed::TooDeep));
}

#[test]
fn a_table_keeps_order_and_duplicates_and_finds_the_first() {
    let octets = Bytes::from_static(b"\x01bt\x01\x01at\x00\x01bV");
    let mut table = FieldTable::decode(&octets).unwrap();
    let names: Vec<String> = table.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["b", "a", "b"]);
    assert_eq!(table.lookup("b"), Some(&FieldValue::Boolean(true)));
    assert_eq!(table.remove("b"), Some(FieldValue::Boolean(true)));
    assert_eq!(table, pair("a", FieldValue::Boolean(false)));
    table.insert(ShortString::from_static("a"), FieldValue::Void);
    assert_eq!(table, pair("a", FieldValue::Void));
}

#[test]
fn an_absent_property_is_not_an_empty_one() {
    let empty = Properties { reply_to: Some(ShortString::default()), ..Properties::default() };
    assert_eq!(empty.to_bytes(), Bytes::from_static(b"\x02\0\0"));
    assert_eq!(Properties::default().to_bytes(), Bytes::from_static(b"\0\0"));
}

#[test]
fn property_flags_without_a_property_mean_nothing() {
    for flags in 1..=3 {
        let properties = Properties::decode(&Bytes::from(vec![0, flags]));
        assert_eq!(properties, Ok(Properties::default()));
    }
}

#[test]
fn properties_that_end_early_or_late_are_refused() {
    assert_eq!(Properties::decode(&Bytes::from_static(b"\x10\0")), Err(Malformed::Truncated));
    let surplus = Bytes::from_static(b"\x10\0\x02\x02");
    assert_eq!(Properties::decode(&surplus), Err(Malformed::TrailingOctets(1)));
    let second_word_of_flags = Bytes::from_static(b"\0\x01\0\0");
    assert_eq!(Properties::decode(&second_word_of_flags), Err(Malformed::TrailingOctets(2)));
}

#[test]
fn a_float_that_is_not_finite_is_refused() {
    for octets in [&b"\0f\x7f\x80\0\0"[..], b"\0d\x7f\xf8\0\0\0\0\0\0"] {
        let table = FieldTable::decode(&Bytes::from_static(octets));
        assert_eq!(table, Err(Malformed::NotFinite));
    }
}

#[test]
fn the_fast_writer_of_deliver_writes_what_the_table_writes() {
    let mut random = Random::seeded(seed());
    for _ in 0..1000 {
        let deliver = BasicDeliver {
            consumer_tag: ConsumerTag::from(generate::text(&mut random)),
            delivery_tag: random.next(),
            redelivered: random.chance(2),
            exchange: ExchangeName::from(generate::text(&mut random)),
            routing_key: RoutingKey::from(generate::text(&mut random)),
        };
        let view = DeliverView {
            consumer_tag: &deliver.consumer_tag,
            delivery_tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            exchange: &deliver.exchange,
            routing_key: &deliver.routing_key,
        };
        let (mut fast, mut slow) = (BytesMut::new(), BytesMut::new());
        view.write(&mut fast, 7);
        frame::write_method(&mut slow, 7, &deliver.clone().into());
        assert_eq!(fast, slow);
    }
}

#[test]
fn values_look_in_texts_as_rabbitmq_shows_them() {
    let list = vec![FieldValue::from(1), FieldValue::from("a")];
    for (value, text, type_name) in [
        (FieldValue::from(1000), "1000", "signedint"),
        (FieldValue::from("lazy"), "lazy", "longstr"),
        (FieldValue::from(true), "true", "bool"),
        (FieldValue::Void, "undefined", "void"),
        (FieldValue::Float64(2.0), "2.0", "double"),
        (FieldValue::Decimal { scale: 2, value: 314 }, "{2,314}", "decimal"),
        (FieldValue::from(list), "[{signedint,1},{longstr,<<\"a\">>}]", "array"),
        (FieldValue::from(pair("k", 1_i64.into())), "[{<<\"k\">>,long,1}]", "table"),
    ] {
        assert_eq!((value.to_string().as_str(), value.type_name()), (text, type_name));
    }
}

fn pair(name: &'static str, value: FieldValue) -> FieldTable {
    FieldTable::from_pairs([(ShortString::from_static(name), value)])
}

fn encoded(table: &FieldTable) -> Bytes {
    let mut out = BytesMut::new();
    table.write(&mut Writer::new(&mut out));
    out.freeze()
}
