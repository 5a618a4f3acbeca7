//! Where messages go.

use super::*;
use crate::broker::routing::Basis;

#[test]
fn every_queue_is_bound_to_the_default_exchange_by_its_name() {
    let mut bench = Bench::new().with_queue("a").with_queue("b");
    assert_eq!(bench.route("", "a", none()), ["a"]);
    assert_eq!(bench.route("", "c", none()), [""; 0]);
    bench.delete_queue("a");
    assert_eq!(bench.route("", "a", none()), [""; 0]);
}

#[test]
fn each_type_has_its_rule() {
    let bench = Bench::new()
        .with_queue("a")
        .with_queue("b")
        .with_binding("amq.direct", to_queue("a"), "k")
        .with_binding("amq.fanout", to_queue("a"), "k")
        .with_binding("amq.fanout", to_queue("b"), "other")
        .with_binding("amq.topic", to_queue("b"), "k.#");
    assert_eq!(bench.route("amq.direct", "k", none()), ["a"]);
    assert_eq!(bench.route("amq.direct", "K", none()), [""; 0]);
    assert_eq!(bench.route("amq.fanout", "", none()), ["a", "b"]);
    assert_eq!(bench.route("amq.topic", "k.x", none()), ["b"]);
}

#[test]
fn a_queue_reached_in_several_ways_gets_a_message_once() {
    let bench = Bench::new()
        .with_queue("q")
        .with_exchange("x", "topic")
        .with_exchange("y", "fanout")
        .with_binding("x", to_queue("q"), "a.*")
        .with_binding("x", to_queue("q"), "#.b")
        .with_binding("x", to_exchange("y"), "#")
        .with_binding("y", to_exchange("x"), "")
        .with_binding("x", to_exchange("x"), "#")
        .with_binding("y", to_queue("q"), "");
    assert_eq!(bench.route("x", "a.b", none()), ["q"]);
    assert_eq!(bench.route("y", "c", none()), ["q"]);
}

#[test]
fn an_alternate_exchange_takes_what_its_exchange_routes_nowhere() {
    let mut bench = Bench::new().with_queue("q").with_queue("rest").with_exchange("in", "fanout");
    for (name, alternate) in [("x", "y"), ("y", "z"), ("z", "x"), ("lost", "none"), ("names", "")] {
        let arguments = table([("alternate-exchange", alternate.into())]);
        let declaration = ExchangeDeclaration { arguments, ..exchange(name, "direct") };
        bench.declare_exchange(declaration).unwrap();
    }
    bench = bench
        .with_binding("x", to_queue("q"), "k")
        .with_binding("z", to_queue("rest"), "other")
        .with_binding("in", to_exchange("x"), "")
        .with_binding("in", to_queue("q"), "");
    assert_eq!(bench.route("x", "k", none()), ["q"]);
    assert_eq!(bench.route("x", "other", none()), ["rest"]);
    assert_eq!(bench.route("in", "other", none()), ["q", "rest"]);
    assert_eq!(bench.route("x", "nowhere", none()), [""; 0]);
    assert_eq!(bench.route("lost", "k", none()), [""; 0]);
    assert_eq!(bench.route("names", "q", none()), ["q"]);
}

#[test]
fn a_headers_exchange_compares_headers() {
    let exists = FieldValue::Void;
    let long = FieldValue::Int64;
    for (arguments, headers, matches) in [
        (table([]), table([]), true),
        (table([]), table([("a", 1.into())]), true),
        (table([("a", 1.into())]), table([("a", long(1))]), true),
        (table([("a", 1.into())]), table([("a", 2.into())]), false),
        (table([("a", 1.into())]), table([("a", FieldValue::Float64(1.0))]), false),
        (table([("a", 1.into())]), table([("a", "1".into())]), false),
        (table([("a", 1.into())]), table([]), false),
        (table([("a", exists.clone())]), table([("a", "x".into())]), true),
        (table([("a", exists)]), table([("b", "x".into())]), false),
        (table([("a", true.into())]), table([("a", true.into())]), true),
        (table([("a", true.into())]), table([("a", 1.into())]), false),
        (table([("a", "x".into())]), table([("a", FieldValue::ByteArray("x".into()))]), true),
        (
            table([("a", vec![1.into(), "b".into()].into())]),
            table([("a", vec![long(1), "b".into()].into())]),
            true,
        ),
        (table([("a", 1.into()), ("b", 2.into())]), table([("a", 1.into())]), false),
        (
            table([("x-match", "any".into()), ("a", 1.into()), ("b", 2.into())]),
            table([("b", 2.into())]),
            true,
        ),
        (table([("x-match", "any".into())]), table([("a", 1.into())]), false),
        (table([("x-match", "all".into())]), table([]), true),
        (table([("x-a", 1.into())]), table([]), true),
        (table([("x-match", "any".into()), ("x-a", 1.into())]), table([("x-a", 1.into())]), false),
        (
            table([("x-match", "any-with-x".into()), ("x-a", 1.into())]),
            table([("x-a", 1.into())]),
            true,
        ),
        (table([("x-match", "all-with-x".into()), ("x-a", 1.into())]), table([]), false),
        (table([("x-match", "all-with-x".into())]), table([]), true),
    ] {
        let mut bench = Bench::new().with_queue("q");
        bench.bind(binding_with("amq.headers", to_queue("q"), "", &arguments)).unwrap();
        let routed = bench.route("amq.headers", "", headers.clone());
        assert_eq!(routed.len(), usize::from(matches), "{arguments:?} {headers:?}");
    }
}

#[test]
fn a_binding_with_no_number_is_unbound_like_any_other() {
    let mut bench = Bench::new().with_queue("q");
    let arguments = table([("x-match", "any".into()), ("a", FieldValue::Float64(f64::NAN))]);
    let bound = binding_with("amq.headers", to_queue("q"), "", &arguments);
    assert_eq!(bench.bind(bound.clone()), Ok(true));
    assert_eq!(bench.unbind(&bound), Ok(1));
}

#[test]
fn copies_go_by_further_keys_to_the_same_exchange() {
    let bench = Bench::new().with_queue("a").with_queue("b").with_queue("c");
    let keys =
        |keys: &[&str]| FieldValue::Array(keys.iter().map(|key| FieldValue::from(*key)).collect());
    let headers = table([("CC", keys(&["b", "b", "none"])), ("BCC", keys(&["c", "a"]))]);
    assert_eq!(bench.route("", "a", headers), ["a", "b", "c"]);
    let mixed = FieldValue::Array(vec![1.into(), "c".into(), FieldValue::Void]);
    assert_eq!(bench.route("", "none", table([("CC", mixed)])), ["c"]);
}

#[test]
fn blind_copies_are_nobodys_business() {
    let headers = table([
        ("keep", 1.into()),
        ("CC", vec!["b".into()].into()),
        ("BCC", vec!["c".into()].into()),
    ]);
    let properties = Properties { headers: Some(headers), ..Properties::default() }.to_bytes();
    let message = Message::new(b"x", b"k", &properties, bytes::Bytes::from_static(b"body"));
    let (message, recipients) = Recipients::separate(message).unwrap();
    let stripped = Properties::decode(&message.shared_properties()).unwrap().headers.unwrap();
    assert_eq!(stripped, table([("keep", 1.into()), ("CC", vec!["b".into()].into())]));
    assert_eq!(recipients.into_keys(), ["b", "c"].map(LongString::from));
    assert_eq!((message.exchange(), message.routing_key()), (&b"x"[..], &b"k"[..]));
    assert_eq!(message.body().as_ref(), b"body");
}

#[test]
fn recipients_that_are_no_array_are_refused_the_open_ones_first() {
    for (headers, header, type_name) in [
        (table([("CC", "a".into())]), "CC", "longstr"),
        (table([("BCC", FieldValue::Void)]), "BCC", "void"),
        (table([("BCC", "a".into()), ("CC", 5.into())]), "CC", "signedint"),
    ] {
        let properties = Properties { headers: Some(headers), ..Properties::default() }.to_bytes();
        let message = Message::new(b"", b"k", &properties, bytes::Bytes::new());
        let refusal = Refusal::InvalidRecipients { header, type_name };
        assert_eq!(Recipients::separate(message).map(drop), Err(refusal));
    }
}

#[test]
fn a_route_says_whether_it_depends_on_headers() {
    let mut bench = Bench::new().with_queue("q").with_exchange("in", "fanout");
    let basis = |bench: &Bench, exchange: &[u8], keys: &[LongString]| {
        let message = Message::new(exchange, b"q", &[0, 0], bytes::Bytes::new());
        let routing = bench.topology.route(&message, keys, &mut Draws::new(1), &mut Vec::new());
        routing.map(|routing| routing.basis)
    };
    assert_eq!(basis(&bench, b"", &[]), Some(Basis::Address));
    assert_eq!(basis(&bench, b"", &["k".into()]), Some(Basis::Headers));
    assert_eq!(basis(&bench, b"none", &[]), None);
    assert_eq!(basis(&bench, b"amq.headers", &[]), Some(Basis::Address));
    bench.bind(binding("in", to_exchange("amq.headers"), "")).unwrap();
    bench.bind(binding("amq.headers", to_queue("q"), "")).unwrap();
    assert_eq!(basis(&bench, b"in", &[]), Some(Basis::Headers));
}

#[test]
fn clients_publish_to_exchanges_that_exist_and_are_not_internal() {
    let bench = Bench::new();
    let admit = |name: &str| bench.topology.admit(name.as_bytes());
    assert_eq!(admit(""), Ok(()));
    assert_eq!(admit("amq.topic"), Ok(()));
    assert_eq!(admit("none"), Err(Refusal::NotFound(named_exchange("none"))));
    let internal = Refusal::InternalExchange(named_exchange("amq.rabbitmq.trace"));
    assert_eq!(admit("amq.rabbitmq.trace"), Err(internal));
}
