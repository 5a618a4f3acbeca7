//! A message's history through its deaths, as its headers tell it.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{broker::routing::Recipients, model::RoutingKey};

fn dlx(routing_key: Option<&'static str>) -> DeadLetterOptions {
    DeadLetterOptions {
        exchange: ExchangeName::from_static("dlx"),
        routing_key: routing_key.map(RoutingKey::from_static),
        at_least_once: false,
    }
}

fn published(headers: FieldTable, expiration: Option<&'static str>) -> Message {
    let properties = Properties {
        headers: Some(headers).filter(|headers| !headers.is_empty()),
        expiration: expiration.map(name),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let message = Message::new(b"in", b"key", &properties.to_bytes(), Bytes::from_static(b"body"));
    Recipients::separate(message).unwrap().0
}

fn die(message: &Message, queue: &'static str, reason: DeathReason, seconds: u64) -> Buried {
    bury_with(message, queue, reason, seconds, &dlx(Some("dead")))
}

fn bury_with(
    message: &Message,
    queue: &'static str,
    reason: DeathReason,
    seconds: u64,
    options: &DeadLetterOptions,
) -> Buried {
    let now = Moment::from_unix(Duration::from_secs(seconds));
    bury(message, reason, &QueueName::from_static(queue), options, now)
}

fn properties(message: &Message) -> Properties {
    Properties::decode(&message.shared_properties()).unwrap()
}

fn headers(message: &Message) -> FieldTable {
    properties(message).headers.unwrap()
}

fn table<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> FieldTable {
    pairs.into_iter().map(|(text, value)| (name(text), value)).collect()
}

fn strings<const N: usize>(strings: [&'static str; N]) -> FieldValue {
    FieldValue::Array(strings.map(FieldValue::from).into())
}

/// Queue, reason and count of each entry of `x-death`.
fn deaths(message: &Message) -> Vec<(String, String, i64)> {
    let headers = headers(message);
    let entries = headers.lookup("x-death").unwrap().as_array().unwrap();
    let field = |entry: &FieldValue, name| entry.as_table().unwrap().lookup(name).unwrap().clone();
    let shown = |entry| {
        let count = field(entry, "count").as_integer().unwrap();
        (field(entry, "queue").to_string(), field(entry, "reason").to_string(), count)
    };
    entries.iter().map(shown).collect()
}

#[test]
fn the_first_death_is_told_field_by_field() {
    let message = published(table([("b", 1.into()), ("a", 2.into())]), Some("+0500"));
    let buried = die(&message, "work", DeathReason::Expired, 1234);
    let entry = table([
        ("original-expiration", "500".into()),
        ("count", FieldValue::Int64(1)),
        ("reason", "expired".into()),
        ("queue", "work".into()),
        ("time", FieldValue::Timestamp(1234)),
        ("exchange", "in".into()),
        ("routing-keys", strings(["key"])),
    ]);
    let expected = table([
        ("a", 2.into()),
        ("b", 1.into()),
        ("x-death", FieldValue::Array(vec![FieldValue::Table(entry)])),
        ("x-first-death-exchange", "in".into()),
        ("x-first-death-queue", "work".into()),
        ("x-first-death-reason", "expired".into()),
        ("x-last-death-exchange", "in".into()),
        ("x-last-death-queue", "work".into()),
        ("x-last-death-reason", "expired".into()),
    ]);
    assert_eq!(headers(&buried.message), expected);
    let properties = properties(&buried.message);
    assert_eq!((properties.expiration, properties.delivery_mode), (None, Some(2)));
    assert_eq!(buried.message.exchange(), b"dlx");
    assert_eq!(buried.message.routing_key(), b"dead");
    assert_eq!(buried.message.body().as_ref(), b"body");
}

#[test]
fn equal_deaths_are_counted_and_come_to_the_front() {
    let mut message = published(FieldTable::default(), None);
    for (second, (queue, reason)) in [
        ("work", DeathReason::Rejected),
        ("wait", DeathReason::Expired),
        ("work", DeathReason::Rejected),
        ("work", DeathReason::MaxLength),
    ]
    .into_iter()
    .enumerate()
    {
        message = die(&message, queue, reason, second as u64).message;
    }
    let entry = |queue: &str, reason: &str, count| (queue.to_owned(), reason.to_owned(), count);
    assert_eq!(
        deaths(&message),
        [entry("work", "maxlen", 1), entry("work", "rejected", 2), entry("wait", "expired", 1)]
    );
    let headers = headers(&message);
    let entries = headers.lookup("x-death").unwrap().as_array().unwrap();
    let repeated = entries[1].as_table().unwrap();
    assert_eq!(repeated.lookup("time"), Some(&FieldValue::Timestamp(0)));
    assert_eq!(repeated.lookup("exchange"), Some(&"in".into()));
    assert_eq!(headers.lookup("x-first-death-reason"), Some(&"rejected".into()));
    assert_eq!(headers.lookup("x-last-death-reason"), Some(&"maxlen".into()));
    assert_eq!(headers.lookup("x-last-death-exchange"), Some(&"dlx".into()));
}

#[test]
fn without_a_key_of_its_own_a_dead_letter_goes_by_all_its_keys() {
    let recipients = table([("CC", strings(["copy"])), ("BCC", strings(["blind"]))]);
    let message = published(recipients, None);
    let first = bury_with(&message, "work", DeathReason::Rejected, 1, &dlx(None));
    assert_eq!(first.message.routing_key(), b"key");
    assert_eq!(first.further_keys, ["copy", "blind"].map(LongString::from));
    let told = headers(&first.message);
    let entry = told.lookup("x-death").unwrap().as_array().unwrap()[0].as_table().unwrap();
    assert_eq!(entry.lookup("routing-keys"), Some(&strings(["key", "copy"])));
    assert_eq!(told.lookup("CC"), Some(&strings(["copy"])));
    assert_eq!(told.lookup("BCC"), None);

    let second = bury_with(&first.message, "dead", DeathReason::Rejected, 2, &dlx(Some("other")));
    assert!(second.further_keys.is_empty());
    let third = bury_with(&second.message, "far", DeathReason::Rejected, 3, &dlx(None));
    assert!(third.further_keys.is_empty());
    let told = headers(&third.message);
    let entry = told.lookup("x-death").unwrap().as_array().unwrap()[0].as_table().unwrap();
    assert_eq!(entry.lookup("routing-keys"), Some(&strings(["other"])));
}

#[test]
fn what_a_client_claims_of_deaths_is_overwritten() {
    let claimed = table([("x-death", "often".into()), ("x-first-death-queue", "other".into())]);
    let message = published(claimed, None);
    assert!(!is_cycle(&message, b"other"));
    let told = die(&message, "work", DeathReason::Rejected, 1).message;
    assert_eq!(deaths(&told).len(), 1);
    assert_eq!(headers(&told).lookup("x-first-death-queue"), Some(&"work".into()));
}

#[test]
fn a_way_back_without_a_rejection_is_a_cycle() {
    let message = published(FieldTable::default(), None);
    assert!(!is_cycle(&message, b"a"));
    let expired = die(&message, "a", DeathReason::Expired, 1).message;
    assert!(is_cycle(&expired, b"a"));
    assert!(!is_cycle(&expired, b"b"));
    let through_b = die(&expired, "b", DeathReason::MaxLength, 2).message;
    assert!(is_cycle(&through_b, b"a"));
    let rejected = die(&expired, "b", DeathReason::Rejected, 2).message;
    assert!(!is_cycle(&rejected, b"a"));
    assert!(!is_cycle(&rejected, b"b"));
    let after = die(&rejected, "c", DeathReason::Expired, 3).message;
    assert!(is_cycle(&after, b"c"));
    assert!(!is_cycle(&after, b"a"));
}

#[test]
fn a_header_is_set_without_losing_anything() {
    let message = published(table([("a", 1.into())]), None);
    let dead = die(&message, "work", DeathReason::Rejected, 1).message;
    let counted = with_header(&dead, name("x-delivery-count"), FieldValue::Int64(3));
    assert_eq!(counted.history(), dead.history());
    assert_eq!(headers(&counted).lookup("x-delivery-count"), Some(&FieldValue::Int64(3)));
    assert_eq!(headers(&counted).len(), headers(&dead).len() + 1);
    let plain = Message::new(b"", b"q", &[0, 0], Bytes::new());
    let counted = with_header(&plain, name("x-delivery-count"), FieldValue::Int64(1));
    assert_eq!(headers(&counted), table([("x-delivery-count", FieldValue::Int64(1))]));
}
