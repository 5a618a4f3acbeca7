//! Each argument's values, and the exact facts with which a wrong one is refused.

use super::*;
use crate::model::{ResourceKind, VirtualHostName};

fn queue() -> Resource {
    let virtual_host = VirtualHostName::from_static("/");
    Resource { kind: ResourceKind::Queue, name: ShortString::from_static("q"), virtual_host }
}

fn table<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> FieldTable {
    pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)).collect()
}

fn parse<const N: usize>(pairs: [(&'static str, FieldValue); N]) -> Result<QueueOptions, Refusal> {
    QueueOptions::parse(&queue(), &table(pairs))
}

fn quorum() -> (&'static str, FieldValue) {
    ("x-queue-type", "quorum".into())
}

#[test]
fn a_queue_without_arguments_is_a_plain_classic_one() {
    assert_eq!(parse([]), Ok(QueueOptions::default()));
}

#[test]
fn every_argument_finds_its_option() {
    let options = parse([
        ("x-message-ttl", 1000.into()),
        ("x-expires", FieldValue::UInt8(200)),
        ("x-max-length", 0.into()),
        ("x-max-length-bytes", 5_000_000_000_i64.into()),
        ("x-overflow", "reject-publish-dlx".into()),
        ("x-dead-letter-exchange", "dlx".into()),
        ("x-dead-letter-routing-key", "key".into()),
        ("x-max-priority", 10.into()),
        ("x-single-active-consumer", true.into()),
        ("x-queue-mode", "lazy".into()),
        ("x-queue-version", 2.into()),
        ("x-queue-master-locator", "min-masters".into()),
        ("x-queue-leader-locator", "balanced".into()),
        ("x-message-deduplication", true.into()),
        ("x-consumer-selection", "least-loaded".into()),
        ("x-consumer-timeout", 60_000.into()),
        ("x-nobody-knows", FieldValue::Void),
    ]);
    let expected = QueueOptions {
        kind: QueueKind::Classic,
        message_ttl: Some(Duration::from_secs(1)),
        expires: Some(Duration::from_millis(200)),
        max_length: Some(0),
        max_length_bytes: Some(5_000_000_000),
        overflow: Overflow::RejectPublishDeadLetter,
        dead_letter: Some(DeadLetterOptions {
            exchange: ExchangeName::from_static("dlx"),
            routing_key: Some(RoutingKey::from_static("key")),
            at_least_once: false,
        }),
        max_priority: Some(10),
        single_active_consumer: true,
        deduplicates: true,
        selection: Selection::LeastLoaded,
        delivery_limit: None,
        consumer_timeout: Some(Duration::from_secs(60)),
    };
    assert_eq!(options, Ok(expected));
}

#[test]
fn wrong_values_are_refused_with_their_fault() {
    use ArgumentFault::{
        AboveMaximum, Negative, NotAllowed, NotAnInteger, TooLarge, UnacceptableType, Zero,
    };
    let ten_years: i64 = 315_360_000_000;
    for (name, value, fault) in [
        ("x-message-ttl", "a".into(), NotAnInteger("longstr")),
        ("x-message-ttl", FieldValue::Void, NotAnInteger("void")),
        ("x-message-ttl", FieldValue::Float64(1.0), NotAnInteger("double")),
        ("x-message-ttl", true.into(), NotAnInteger("bool")),
        ("x-message-ttl", FieldValue::Timestamp(1), NotAnInteger("timestamp")),
        ("x-message-ttl", FieldValue::Decimal { scale: 1, value: 15 }, NotAnInteger("decimal")),
        ("x-message-ttl", (-1).into(), Negative(-1)),
        ("x-message-ttl", (ten_years + 1).into(), TooLarge(ten_years + 1)),
        ("x-expires", 0.into(), Zero),
        ("x-expires", (-5).into(), Negative(-5)),
        ("x-expires", (ten_years + 1).into(), TooLarge(ten_years + 1)),
        ("x-max-length", (-1).into(), Negative(-1)),
        ("x-max-length-bytes", "1".into(), NotAnInteger("longstr")),
        ("x-max-priority", 256.into(), AboveMaximum(256)),
        ("x-max-priority", (-1).into(), Negative(-1)),
        ("x-overflow", "foo".into(), NotAllowed("invalid_overflow")),
        ("x-overflow", 5.into(), UnacceptableType("signedint")),
        ("x-queue-mode", "foo".into(), unsupported("queue mode", b"foo")),
        ("x-queue-mode", FieldValue::Void, UnacceptableType("void")),
        ("x-queue-version", 3.into(), unsupported("queue version", b"3")),
        ("x-queue-version", (-5).into(), Negative(-5)),
        ("x-queue-type", "foo".into(), unsupported("queue type", b"foo")),
        ("x-queue-type", "stream".into(), unsupported("queue type", b"stream")),
        ("x-queue-type", 5.into(), UnacceptableType("signedint")),
        ("x-single-active-consumer", "true".into(), UnacceptableType("longstr")),
        ("x-dead-letter-routing-key", 5.into(), UnacceptableType("signedint")),
        ("x-dead-letter-routing-key", "k".into(), ArgumentFault::RoutingKeyWithoutExchange),
        ("x-queue-master-locator", "foo".into(), NotAllowed("invalid_queue_locator_arg")),
    ] {
        let refusal = parse([(name, value)]).unwrap_err();
        assert_eq!(refusal, invalid(&queue(), name, fault));
    }
    for (name, value, fault) in [
        ("x-dead-letter-strategy", "foo".into(), NotAllowed("invalid_dlx_strategy")),
        ("x-queue-leader-locator", "foo".into(), NotAllowed("invalid_queue_locator_arg")),
        ("x-quorum-initial-group-size", 0.into(), Zero),
        ("x-max-in-memory-length", (-1).into(), Negative(-1)),
    ] {
        let refusal = parse([quorum(), (name, value)]).unwrap_err();
        assert_eq!(refusal, invalid(&queue(), name, fault));
    }
}

#[test]
fn limits_may_be_reached() {
    for (name, value) in [
        ("x-message-ttl", 0.into()),
        ("x-message-ttl", LONGEST_MS.into()),
        ("x-expires", LONGEST_MS.into()),
        ("x-max-length", i64::MAX.into()),
        ("x-max-priority", 255.into()),
        ("x-queue-type", "".into()),
        ("x-queue-type", "undefined".into()),
    ] {
        assert!(parse([(name, value)]).is_ok(), "{name}");
    }
}

#[test]
fn the_dead_letter_exchange_has_a_refusal_of_its_own_and_comes_first() {
    let refusal = parse([("x-queue-type", "foo".into()), ("x-dead-letter-exchange", 5.into())]);
    let expected = Refusal::InvalidArgumentType {
        resource: queue(),
        argument: ShortString::from_static("x-dead-letter-exchange"),
        type_name: "signedint",
    };
    assert_eq!(refusal, Err(expected));
}

#[test]
fn values_are_checked_in_a_fixed_order_and_before_what_the_type_does_not_have() {
    let mut all = table([
        ("x-max-age", "1D".into()),
        ("x-single-active-consumer", 1.into()),
        ("x-overflow", 1.into()),
        ("x-max-length", "a".into()),
        ("x-message-ttl", "a".into()),
        ("x-expires", "a".into()),
        ("x-queue-type", 1.into()),
    ]);
    for expected in ["x-queue-type", "x-expires", "x-message-ttl", "x-max-length", "x-overflow"] {
        match QueueOptions::parse(&queue(), &all) {
            Err(Refusal::InvalidArgument { argument, .. }) => assert_eq!(argument, expected),
            other => panic!("{expected}: {other:?}"),
        }
        all.remove(expected);
    }
    all.remove("x-single-active-consumer");
    let refusal = QueueOptions::parse(&queue(), &all);
    assert_eq!(refusal, Err(not_for_type(&queue(), "x-max-age", QueueKind::Classic)));
}

#[test]
fn an_argument_of_another_type_is_refused_whatever_its_value() {
    for name in ["x-delivery-limit", "x-max-age", "x-dead-letter-strategy", "x-max-in-memory-bytes"]
    {
        let refusal = parse([(name, "zz".into())]);
        assert_eq!(refusal, Err(not_for_type(&queue(), name, QueueKind::Classic)));
    }
    for name in ["x-max-priority", "x-queue-mode", "x-queue-version", "x-initial-cluster-size"] {
        let refusal = parse([quorum(), (name, "zz".into())]);
        assert_eq!(refusal, Err(not_for_type(&queue(), name, QueueKind::Quorum)));
    }
}

#[test]
fn the_first_foreign_argument_of_the_client_is_named() {
    let refusal = parse([("x-max-age", "1D".into()), ("x-delivery-limit", 1.into())]);
    assert_eq!(refusal, Err(not_for_type(&queue(), "x-max-age", QueueKind::Classic)));
    let refusal = parse([("x-delivery-limit", 1.into()), ("x-max-age", "1D".into())]);
    assert_eq!(refusal, Err(not_for_type(&queue(), "x-delivery-limit", QueueKind::Classic)));
}

#[test]
fn a_quorum_queue_limits_deliveries_unless_told_otherwise() {
    for (value, limit) in [
        (FieldValue::from(3), Some(3)),
        (0.into(), Some(0)),
        ((-1).into(), None),
        ("zz".into(), Some(20)),
        (i64::MAX.into(), Some(u32::MAX)),
    ] {
        let options = parse([quorum(), ("x-delivery-limit", value)]).unwrap();
        assert_eq!(options.delivery_limit, limit);
    }
    assert_eq!(parse([quorum()]).unwrap().delivery_limit, Some(20));
}

#[test]
fn at_least_once_needs_a_quorum_queue_that_refuses_what_it_cannot_hold() {
    let all = [
        quorum(),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
        ("x-overflow", "reject-publish".into()),
    ];
    let at_least_once = |arguments: &FieldTable| {
        let options = QueueOptions::parse(&queue(), arguments).unwrap();
        options.dead_letter.unwrap().at_least_once
    };
    let mut arguments = table(all);
    assert!(at_least_once(&arguments));
    arguments.remove("x-overflow");
    assert!(!at_least_once(&arguments));
}

#[test]
fn an_exchange_no_name_could_have_is_none() {
    let options = parse([("x-dead-letter-exchange", "x".repeat(256).into())]).unwrap();
    assert_eq!(options.dead_letter, None);
}

#[test]
fn a_consumers_priority_is_any_integer() {
    let parse = |value| {
        ConsumerOptions::parse(&queue(), QueueKind::Classic, &table([("x-priority", value)]))
    };
    assert_eq!(parse((-5).into()), Ok(ConsumerOptions { priority: -5 }));
    let fault = ArgumentFault::NotAnInteger("longstr");
    assert_eq!(parse("a".into()), Err(invalid(&queue(), "x-priority", fault)));
}

#[test]
fn a_consumer_of_a_queue_has_no_offset_and_may_cancel_on_failover() {
    let parse =
        |name, value| ConsumerOptions::parse(&queue(), QueueKind::Quorum, &table([(name, value)]));
    let refusal = not_for_type(&queue(), "x-stream-offset", QueueKind::Quorum);
    assert_eq!(parse("x-stream-offset", "first".into()), Err(refusal));
    assert!(parse("x-cancel-on-ha-failover", true.into()).is_ok());
    assert!(parse("nobody-knows", true.into()).is_ok());
}
