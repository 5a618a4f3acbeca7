//! What may be declared, bound and deleted, and the refusal of what may not.

use super::*;
use crate::model::{ArgumentFault, Difference};

#[test]
fn every_virtual_host_has_its_exchanges() {
    let bench = Bench::new();
    let exchanges: Vec<_> = bench
        .topology
        .exchanges()
        .map(|it| (it.name.to_string(), it.kind.as_str(), it.durable, it.internal))
        .collect();
    let expected = [
        ("amq.direct", "direct", false),
        ("amq.fanout", "fanout", false),
        ("amq.headers", "headers", false),
        ("amq.match", "headers", false),
        ("amq.rabbitmq.trace", "topic", true),
        ("amq.topic", "topic", false),
    ];
    let expected = expected.map(|(name, kind, internal)| (name.to_owned(), kind, true, internal));
    assert_eq!(exchanges, expected);
}

#[test]
fn an_exchange_is_declared_once_and_then_compared() {
    let mut bench = Bench::new();
    assert_eq!(bench.declare_exchange(exchange("x", "direct")), Ok(true));
    let version = bench.topology.version();
    assert_eq!(bench.declare_exchange(exchange("x", "direct")), Ok(false));
    assert_eq!(bench.topology.version(), version);
    let differs = |argument, received: &str, current: &str| {
        let (received, current) = (received.to_owned(), current.to_owned());
        Err(Refusal::Inequivalent {
            resource: named_exchange("x"),
            argument: ShortString::from_static(argument),
            difference: Difference::Values { received, current },
        })
    };
    let mut other = exchange("x", "fanout");
    (other.durable, other.auto_delete, other.internal) = (true, true, true);
    assert_eq!(bench.declare_exchange(other.clone()), differs("type", "fanout", "direct"));
    other.kind = ShortString::from_static("direct");
    assert_eq!(bench.declare_exchange(other.clone()), differs("durable", "true", "false"));
    other.durable = false;
    assert_eq!(bench.declare_exchange(other.clone()), differs("auto_delete", "true", "false"));
    other.auto_delete = false;
    assert_eq!(bench.declare_exchange(other.clone()), differs("internal", "true", "false"));
    other.internal = false;
    other.arguments = table([("x-foo", 1.into())]);
    assert_eq!(bench.declare_exchange(other), Ok(false));
}

#[test]
fn only_the_alternate_exchange_is_compared_among_an_exchanges_arguments() {
    let mut bench = Bench::new().with_exchange("plain", "direct");
    let with = |name, value: FieldValue| ExchangeDeclaration {
        arguments: table([("alternate-exchange", value)]),
        ..exchange(name, "direct")
    };
    bench.declare_exchange(with("x", "a".into())).unwrap();
    let refusal = |name, difference| {
        let argument = ShortString::from_static("alternate-exchange");
        Err(Refusal::Inequivalent { resource: named_exchange(name), argument, difference })
    };
    let values = Difference::Values { received: "b".to_owned(), current: "a".to_owned() };
    assert_eq!(bench.declare_exchange(with("x", "b".into())), refusal("x", values));
    let missing = Difference::Missing { current: "a".into() };
    assert_eq!(bench.declare_exchange(exchange("x", "direct")), refusal("x", missing));
    let unexpected = Difference::Unexpected { received: 5.into() };
    assert_eq!(bench.declare_exchange(with("plain", 5.into())), refusal("plain", unexpected));
    let mistyped = Refusal::InvalidArgumentType {
        resource: named_exchange("new"),
        argument: ShortString::from_static("alternate-exchange"),
        type_name: "signedint",
    };
    assert_eq!(bench.declare_exchange(with("new", 5.into())), Err(mistyped));
}

#[test]
fn the_type_is_checked_first_then_the_name() {
    let mut bench = Bench::new();
    let word = ShortString::from_static;
    for (name, kind, refusal) in [
        ("", "zz", Refusal::UnknownExchangeType(word("zz"))),
        ("x", "Direct", Refusal::UnknownExchangeType(word("Direct"))),
        ("x", "", Refusal::InvalidExchangeType(word(""))),
        ("", "direct", Refusal::DefaultExchange),
        ("amq.x", "direct", Refusal::ReservedName(named_exchange("amq.x"))),
    ] {
        assert_eq!(bench.declare_exchange(exchange(name, kind)), Err(refusal));
    }
    let standard = ExchangeDeclaration { durable: true, ..exchange("amq.direct", "direct") };
    assert_eq!(bench.declare_exchange(standard), Ok(false));
}

#[test]
fn a_passive_declaration_asks_only_whether_it_exists() {
    let mut bench = Bench::new();
    let check = |bench: &Bench, name| bench.topology.check_exchange(&exchange_name(name)).map(drop);
    assert_eq!(check(&bench, ""), Err(Refusal::DefaultExchange));
    assert_eq!(check(&bench, "x"), Err(Refusal::NotFound(named_exchange("x"))));
    bench.declare_exchange(exchange("x", "fanout")).unwrap();
    assert_eq!(check(&bench, "x"), Ok(()));
    let missing = bench.topology.check_queue(b"q", OURS).map(drop);
    assert_eq!(missing, Err(Refusal::NotFound(named_queue("q"))));
}

#[test]
fn exchanges_of_the_server_are_never_deleted() {
    let mut bench = Bench::new().with_exchange("x", "fanout").with_queue("q");
    assert_eq!(bench.delete_exchange("", false), Err(Refusal::DefaultExchange));
    for name in ["amq.direct", "amq.none"] {
        let refusal = Refusal::SystemExchange(named_exchange(name));
        assert_eq!(bench.delete_exchange(name, false), Err(refusal));
    }
    assert_eq!(bench.delete_exchange("missing", true), Ok(0));
    bench.bind(binding("x", to_queue("q"), "")).unwrap();
    let in_use = Refusal::InUse(named_exchange("x"));
    assert_eq!(bench.delete_exchange("x", true), Err(in_use));
    assert_eq!(bench.delete_exchange("x", false), Ok(1));
    assert_eq!(bench.topology.bindings().count(), 0);
}

#[test]
fn a_queue_is_declared_once_and_then_compared() {
    let mut bench = Bench::new();
    let with =
        |value| QueueDeclaration { arguments: table([("x-message-ttl", value)]), ..queue("q") };
    let refusal = |difference| {
        let argument = ShortString::from_static("x-message-ttl");
        Err(Refusal::Inequivalent { resource: named_queue("q"), argument, difference })
    };
    let values = |received: &str| Difference::Values {
        received: received.to_owned(),
        current: "1000".to_owned(),
    };
    assert_eq!(bench.declare_queue(with(1000.into())), Ok(true));
    assert_eq!(bench.declare_queue(with(1000_i64.into())), Ok(false));
    assert_eq!(bench.declare_queue(with(1001.into())), refusal(values("1001")));
    assert_eq!(bench.declare_queue(with("1000".into())), refusal(values("1000")));
    let missing = Difference::Missing { current: 1000.into() };
    assert_eq!(bench.declare_queue(queue("q")), refusal(missing));
    bench.declare_queue(queue("plain")).unwrap();
    let other = QueueDeclaration { name: QueueName::from_static("plain"), ..with("a".into()) };
    let Err(Refusal::Inequivalent { difference, .. }) = bench.declare_queue(other) else {
        panic!("a mistyped argument is another one")
    };
    assert_eq!(difference, Difference::Unexpected { received: "a".into() });
}

#[test]
fn flags_are_compared_before_arguments_and_foreign_arguments_not_at_all() {
    let mut bench = Bench::new().with_queue("q");
    let mut other = queue("q");
    (other.durable, other.auto_delete) = (true, true);
    let Err(Refusal::Inequivalent { argument, .. }) = bench.declare_queue(other.clone()) else {
        panic!("it is not durable")
    };
    assert_eq!(argument, "durable");
    other.durable = false;
    let Err(Refusal::Inequivalent { argument, .. }) = bench.declare_queue(other) else {
        panic!("it does not delete itself")
    };
    assert_eq!(argument, "auto_delete");
    let foreign = table([("x-delivery-limit", 3.into()), ("x-foo", 3.into())]);
    let foreign = QueueDeclaration { arguments: foreign, ..queue("q") };
    assert_eq!(bench.declare_queue(foreign), Ok(false));
}

#[test]
fn no_type_is_the_default_type() {
    let mut bench = Bench::new();
    let typed = |name, kind: &str, durable| QueueDeclaration {
        durable,
        arguments: table([("x-queue-type", kind.into())]),
        ..queue(name)
    };
    let plain = |name, durable| QueueDeclaration { durable, ..queue(name) };
    assert_eq!(bench.declare_queue(typed("a", "classic", false)), Ok(true));
    assert_eq!(bench.declare_queue(plain("a", false)), Ok(false));
    assert_eq!(bench.declare_queue(plain("b", true)), Ok(true));
    assert_eq!(bench.declare_queue(typed("b", "classic", true)), Ok(false));
    assert_eq!(bench.declare_queue(typed("b", "undefined", true)), Ok(false));
    assert_eq!(bench.declare_queue(typed("c", "quorum", true)), Ok(true));
    let refusal = Refusal::Inequivalent {
        resource: named_queue("c"),
        argument: ShortString::from_static("x-queue-type"),
        difference: Difference::Values {
            received: "classic".to_owned(),
            current: "quorum".to_owned(),
        },
    };
    assert_eq!(bench.declare_queue(plain("c", true)), Err(refusal));
}

#[test]
fn names_of_the_server_are_refused_even_for_a_queue_that_has_one() {
    let mut bench = Bench::new();
    let generated = QueueDeclaration { generated: true, ..queue("amq.gen-1") };
    assert_eq!(bench.declare_queue(generated), Ok(true));
    let reserved = Refusal::ReservedName(named_queue("amq.gen-1"));
    assert_eq!(bench.declare_queue(queue("amq.gen-1")), Err(reserved));
    assert!(bench.topology.check_queue(b"amq.gen-1", THEIRS).is_ok());
}

#[test]
fn an_exclusive_queue_belongs_to_its_connection() {
    let mut bench = Bench::new();
    let exclusive = QueueDeclaration { exclusive: Some(OURS), durable: true, ..queue("q") };
    assert_eq!(bench.declare_queue(exclusive.clone()), Ok(true));
    assert!(!bench.topology.queue_named(b"q").unwrap().durable);
    assert_eq!(bench.declare_queue(exclusive.clone()), Ok(false));
    assert_eq!(
        bench.declare_queue(QueueDeclaration { durable: false, ..exclusive.clone() }),
        Ok(false)
    );
    let locked = Refusal::Locked(named_queue("q"));
    assert_eq!(bench.declare_queue(queue("q")), Err(locked.clone()));
    let theirs = QueueDeclaration { exclusive: Some(THEIRS), ..exclusive };
    assert_eq!(bench.declare_queue(theirs), Err(locked.clone()));
    assert!(bench.topology.check_queue(b"q", OURS).is_ok());
    assert_eq!(bench.topology.check_queue(b"q", THEIRS).map(drop), Err(locked));
    let owned: Vec<_> = bench.topology.queues_of(OURS).map(|it| it.name.to_string()).collect();
    assert_eq!(owned, ["q"]);
    bench.delete_queue("q");
    assert_eq!(bench.topology.queues_of(OURS).count(), 0);
}

#[test]
fn a_quorum_queue_is_named_durable_shared_and_stays() {
    let mut bench = Bench::new();
    let quorum = |pairs: &[(&'static str, FieldValue)]| {
        let kind = (ShortString::from_static("x-queue-type"), FieldValue::from("quorum"));
        let more =
            pairs.iter().map(|(name, value)| (ShortString::from_static(name), value.clone()));
        let arguments = std::iter::once(kind).chain(more).collect();
        QueueDeclaration { durable: true, arguments, ..queue("q") }
    };
    let unfit = |property| Err(Refusal::InvalidProperty { resource: named_queue("q"), property });
    let mut wrong = quorum(&[]);
    (wrong.durable, wrong.auto_delete, wrong.exclusive) = (false, true, Some(OURS));
    assert_eq!(bench.declare_queue(wrong.clone()), unfit("auto-delete"));
    wrong.auto_delete = false;
    assert_eq!(bench.declare_queue(wrong.clone()), unfit("exclusive-owner"));
    wrong.exclusive = None;
    assert_eq!(bench.declare_queue(wrong), unfit("non-durable"));
    let generated = quorum(&[("x-max-length", (-1).into())]);
    let generated = QueueDeclaration { generated: true, ..generated };
    let server_named = Refusal::ServerNamedQueue { kind: "rabbit_quorum_queue" };
    assert_eq!(bench.declare_queue(generated), Err(server_named));
    let mut negative = quorum(&[("x-max-length", (-1).into())]);
    negative.auto_delete = true;
    let invalid = Refusal::InvalidArgument {
        resource: named_queue("q"),
        argument: ShortString::from_static("x-max-length"),
        fault: ArgumentFault::Negative(-1),
    };
    assert_eq!(bench.declare_queue(negative), Err(invalid));
    assert_eq!(bench.declare_queue(quorum(&[])), Ok(true));
}

#[test]
fn a_binding_is_checked_in_order() {
    let mut bench = Bench::new().with_exchange("h", "headers").with_exchange("d", "direct");
    bench.declare_queue(queue("q")).unwrap();
    let theirs = QueueDeclaration { exclusive: Some(THEIRS), ..queue("theirs") };
    bench.declare_queue(theirs).unwrap();
    let missing = |name| Refusal::NotFound(named_exchange(name));
    let no_queue = Refusal::NotFound(named_queue("none"));
    let locked = Refusal::Locked(named_queue("theirs"));
    let mismatch = Refusal::InvalidHeadersMatch { value: "foo".into() };
    let wrong = table([("x-match", "foo".into())]);
    for (source, destination, arguments, refusal) in [
        ("", to_queue("none"), &none(), Refusal::DefaultExchange),
        ("none", to_queue("none"), &none(), missing("none")),
        ("none", to_queue("theirs"), &none(), missing("none")),
        ("h", to_queue("none"), &wrong, no_queue),
        ("h", to_queue("theirs"), &wrong, mismatch.clone()),
        ("d", to_queue("theirs"), &wrong, locked),
        ("h", to_exchange("d"), &wrong, mismatch),
        ("none", to_exchange(""), &none(), Refusal::DefaultExchange),
        ("other", to_exchange("none"), &none(), missing("other")),
        ("d", to_exchange("none"), &none(), missing("none")),
    ] {
        let binding = binding_with(source, destination, "k", arguments);
        assert_eq!(bench.bind(binding.clone()), Err(refusal), "{binding:?}");
    }
    assert_eq!(bench.bind(binding_with("d", to_queue("q"), "k", &wrong)), Ok(true));
}

#[test]
fn unbinding_what_is_not_bound_is_no_mistake() {
    let mut bench = Bench::new().with_exchange("d", "direct");
    let theirs = QueueDeclaration { exclusive: Some(THEIRS), ..queue("theirs") };
    bench.declare_queue(theirs).unwrap();
    for (source, destination) in [
        ("none", to_queue("none")),
        ("d", to_queue("none")),
        ("d", to_queue("theirs")),
        ("d", to_exchange("none")),
    ] {
        assert_eq!(bench.unbind(&binding(source, destination, "k")), Ok(0));
    }
    let default = Refusal::DefaultExchange;
    assert_eq!(bench.unbind(&binding("", to_queue("none"), "k")), Err(default));
    let bound = binding("d", to_queue("theirs"), "k");
    let change = bench.topology.bind(bound.clone(), THEIRS).unwrap().unwrap();
    bench.topology.apply(&change);
    assert_eq!(bench.unbind(&bound), Err(Refusal::Locked(named_queue("theirs"))));
}

#[test]
fn a_binding_is_itself_by_all_its_parts_and_their_wire_types() {
    let mut bench = Bench::new().with_exchange("d", "direct").with_queue("q");
    let bound = |arguments: &FieldTable| binding_with("d", to_queue("q"), "k", arguments);
    let one_way = table([("a", 1.into()), ("b", 2.into())]);
    let other_way = table([("b", 2.into()), ("a", 1.into())]);
    let wider = table([("a", 1.into()), ("b", 2_i64.into())]);
    assert_eq!(bench.bind(bound(&one_way)), Ok(true));
    assert_eq!(bench.bind(bound(&other_way)), Ok(false));
    assert_eq!(bench.bind(bound(&wider)), Ok(true));
    assert_eq!(bench.unbind(&bound(&none())), Ok(0));
    assert_eq!(bench.unbind(&bound(&other_way)), Ok(1));
    assert_eq!(bench.route("d", "k", none()), ["q"]);
    assert_eq!(bench.unbind(&bound(&wider)), Ok(1));
    assert_eq!(bench.route("d", "k", none()), [""; 0]);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_takes_others_along() {
    let mut bench = Bench::new().with_queue("q").with_exchange("sink", "fanout");
    for name in ["a", "b", "c"] {
        let declaration = ExchangeDeclaration { auto_delete: true, ..exchange(name, "fanout") };
        bench.declare_exchange(declaration).unwrap();
    }
    bench = bench
        .with_binding("a", to_exchange("b"), "")
        .with_binding("b", to_exchange("c"), "")
        .with_binding("sink", to_exchange("a"), "")
        .with_binding("c", to_queue("q"), "");
    bench.delete_queue("q");
    assert_eq!(["a", "b", "c", "sink"].map(|name| bench.has(name)), [false, false, false, true]);
    assert_eq!(bench.topology.bindings().count(), 0);
}

#[test]
fn an_auto_delete_exchange_that_was_never_bound_stays() {
    let mut bench = Bench::new().with_queue("q").with_exchange("source", "fanout");
    let declaration = ExchangeDeclaration { auto_delete: true, ..exchange("a", "fanout") };
    bench.declare_exchange(declaration).unwrap();
    let into = binding("source", to_exchange("a"), "");
    bench.bind(into.clone()).unwrap();
    bench.unbind(&into).unwrap();
    bench.delete_queue("q");
    assert!(bench.has("a"));
}
