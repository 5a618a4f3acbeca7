//! Which policy holds, and what policies and arguments come to.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    broker::random::Random,
    model::{ExchangeOptions, Overflow, QueueOptions, Resource, ResourceKind, VirtualHostName},
};
use FieldValue::Int64;

fn asked(arguments: &FieldTable) -> QueueOptions {
    let resource = Resource {
        kind: ResourceKind::Queue,
        name: ShortString::from_static("q"),
        virtual_host: VirtualHostName::from_static("/"),
    };
    QueueOptions::parse(&resource, arguments).expect("valid arguments")
}

fn rules(user: FieldTable, operator: FieldTable) -> Rules {
    let parse = |kind, definition: FieldTable| {
        let parse = |definition| Policy::parse(kind, draft(definition)).expect("a valid policy");
        (!definition.is_empty()).then(|| Arc::new(parse(definition)))
    };
    Rules {
        policy: parse(PolicyKind::User, user),
        operator_policy: parse(PolicyKind::Operator, operator),
    }
}

fn merged(user: FieldTable, arguments: FieldTable) -> QueueOptions {
    rules(user, FieldTable::new()).queue(&asked(&arguments), &arguments)
}

fn policies<const N: usize>(of: [(&'static str, &str, i64, FieldTable); N]) -> Policies {
    let mut policies = Policies::default();
    for (name, pattern, priority, definition) in of {
        let draft = PolicyDraft {
            name: ShortString::from_static(name),
            pattern: pattern.into(),
            priority: Int64(priority),
            ..draft(definition)
        };
        let policy = Policy::parse(PolicyKind::User, draft).expect("a valid policy");
        policies.set(PolicyKind::User, Arc::new(policy));
    }
    policies
}

fn holding(policies: &Policies, name: &str, kind: QueueKind) -> Option<String> {
    policies.for_queue(name.as_bytes(), kind).policy.map(|policy| policy.name.text().into_owned())
}

#[test]
fn the_policy_of_the_highest_priority_holds_and_no_other() {
    let length = || table([("max-length", Int64(1))]);
    let mut policies = policies([
        ("a", "^orders", 1, length()),
        ("b", "orders", 5, length()),
        ("c", ".*", 0, length()),
    ]);
    let of = |policies: &Policies, name| holding(policies, name, QueueKind::Classic);
    assert_eq!(of(&policies, "orders").as_deref(), Some("b"));
    assert_eq!(of(&policies, "more orders").as_deref(), Some("b"));
    assert_eq!(of(&policies, "Orders").as_deref(), Some("c"));
    policies.clear(PolicyKind::User, &ShortString::from_static("b"));
    assert_eq!(of(&policies, "orders").as_deref(), Some("a"));
    let lower = PolicyDraft { priority: Int64(-7), ..draft(length()) };
    let lower = PolicyDraft { name: ShortString::from_static("a"), ..lower };
    let lower = Policy::parse(PolicyKind::User, lower).unwrap();
    policies.set(PolicyKind::User, Arc::new(lower));
    assert_eq!(of(&policies, "orders").as_deref(), Some("c"));
    assert_eq!(policies.all(PolicyKind::User).count(), 2);
}

#[test]
fn a_policy_with_a_key_that_the_queue_s_type_does_not_have_is_passed_over() {
    let of_classic = table([("max-length", Int64(3)), ("queue-mode", "lazy".into())]);
    let of_quorum = table([("delivery-limit", Int64(3))]);
    let policies = policies([
        ("classic", "", 5, of_classic),
        ("quorum", "", 4, of_quorum),
        ("both", "", 1, table([("max-length", Int64(100))])),
    ]);
    assert_eq!(holding(&policies, "q", QueueKind::Classic).as_deref(), Some("classic"));
    assert_eq!(holding(&policies, "q", QueueKind::Quorum).as_deref(), Some("quorum"));
}

#[test]
fn a_policy_is_for_what_it_says() {
    let cases = [
        ("all", [true, true, true]),
        ("exchanges", [true, false, false]),
        ("queues", [false, true, true]),
        ("classic_queues", [false, true, false]),
        ("quorum_queues", [false, false, true]),
        ("streams", [false, false, false]),
    ];
    for (apply_to, expected) in cases {
        let draft = draft(table([("max-length", Int64(1))]));
        let draft = PolicyDraft { apply_to: apply_to.into(), ..draft };
        let policy = Policy::parse(PolicyKind::User, draft).unwrap();
        let found = [
            policy.is_for_exchange(b"x"),
            policy.is_for_queue(b"x", QueueKind::Classic),
            policy.is_for_queue(b"x", QueueKind::Quorum),
        ];
        assert_eq!(found, expected, "{apply_to}");
    }
}

#[test]
fn a_user_s_policy_never_loosens_what_the_operator_allows() {
    let user = table([
        ("max-length", Int64(100)),
        ("message-ttl", Int64(5)),
        ("overflow", "reject-publish".into()),
        ("delivery-limit", Int64(-1)),
        ("target-group-size", Int64(3)),
        ("dead-letter-exchange", "dlx".into()),
    ]);
    let operator = table([
        ("max-length", Int64(50)),
        ("message-ttl", Int64(10)),
        ("overflow", "drop-head".into()),
        ("delivery-limit", Int64(7)),
        ("target-group-size", Int64(5)),
        ("expires", Int64(1000)),
    ]);
    let expected = table([
        ("dead-letter-exchange", "dlx".into()),
        ("delivery-limit", Int64(7)),
        ("expires", Int64(1000)),
        ("max-length", Int64(50)),
        ("message-ttl", Int64(5)),
        ("overflow", "drop-head".into()),
        ("target-group-size", Int64(5)),
    ]);
    assert_eq!(rules(user, operator).definition(), expected);
}

#[test]
fn where_dead_letters_go_the_argument_says_first() {
    let user = || {
        table([("dead-letter-exchange", "policy".into()), ("dead-letter-routing-key", "p".into())])
    };
    let from_policy = merged(user(), FieldTable::new()).dead_letter.unwrap();
    assert_eq!(from_policy.exchange, "policy");
    assert_eq!(from_policy.routing_key.unwrap(), "p");
    let argument = table([("x-dead-letter-exchange", "argument".into())]);
    let mixed = merged(user(), argument).dead_letter.unwrap();
    assert_eq!(mixed.exchange, "argument");
    assert_eq!(mixed.routing_key.unwrap(), "p", "each by itself");
    let alone = merged(table([("dead-letter-routing-key", "p".into())]), FieldTable::new());
    assert_eq!(alone.dead_letter, None);
}

#[test]
fn overflow_is_the_argument_s_but_on_a_quorum_queue() {
    let user = || table([("overflow", "reject-publish".into())]);
    let argument = || table([("x-overflow", "drop-head".into())]);
    assert_eq!(merged(user(), FieldTable::new()).overflow, Overflow::RejectPublish);
    assert_eq!(merged(user(), argument()).overflow, Overflow::DropHead);
    let quorum = |mut arguments: FieldTable| {
        arguments.insert(ShortString::from_static("x-queue-type"), "quorum".into());
        arguments
    };
    assert_eq!(merged(user(), quorum(argument())).overflow, Overflow::RejectPublish);
    let dead_letters = table([("overflow", "reject-publish-dlx".into())]);
    assert_eq!(merged(dead_letters, quorum(FieldTable::new())).overflow, Overflow::DropHead);
}

#[test]
fn the_delivery_limit_of_a_quorum_queue_is_the_stricter_one() {
    let limit = |policy: Option<i64>, argument: Option<i64>| {
        let name = ShortString::from_static;
        let user = policy.map(|limit| (name("delivery-limit"), Int64(limit)));
        let mut arguments = table([("x-queue-type", "quorum".into())]);
        if let Some(limit) = argument {
            arguments.insert(name("x-delivery-limit"), Int64(limit));
        }
        merged(user.into_iter().collect(), arguments).delivery_limit
    };
    assert_eq!(limit(None, None), Some(20));
    assert_eq!(limit(Some(5), None), Some(5));
    assert_eq!(limit(Some(5), Some(9)), Some(5));
    assert_eq!(limit(Some(5), Some(2)), Some(2));
    assert_eq!(limit(Some(-1), None), None);
    assert_eq!(limit(Some(-1), Some(9)), Some(9));
}

#[test]
fn an_alternate_exchange_is_the_argument_s_or_the_policy_s() {
    let rules = rules(table([("alternate-exchange", "policy".into())]), FieldTable::new());
    let none = rules.exchange(&ExchangeOptions::default());
    assert_eq!(none.alternate.unwrap(), "policy");
    let own = ExchangeOptions { alternate: Some(crate::model::ExchangeName::from_static("own")) };
    assert_eq!(rules.exchange(&own), own);
}

const KEYS: [&str; 4] = ["message-ttl", "expires", "max-length", "max-length-bytes"];
const ARGUMENTS: [&str; 4] = ["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes"];

/// Arguments, a policy and an operator policy, each with some of the limits, and the least of each.
fn limits(random: &mut Random) -> ([FieldTable; 3], [Option<i64>; 4]) {
    let mut sources = [FieldTable::new(), FieldTable::new(), FieldTable::new()];
    let mut least = [None; 4];
    for _ in 0..random.below(13) {
        let (source, index) = (random.below(3), random.below(4));
        let name = if source == 0 { ARGUMENTS[index] } else { KEYS[index] };
        if sources[source].lookup(name).is_none() {
            let value = 1 + random.below(1000) as i64;
            sources[source].insert(ShortString::from_static(name), Int64(value));
            least[index] = Some(least[index].map_or(value, |known: i64| known.min(value)));
        }
    }
    (sources, least)
}

#[test]
fn of_limits_the_least_holds_wherever_it_comes_from() {
    let mut random = Random::new(4);
    for round in 0..2000 {
        let ([arguments, user, operator], least) = limits(&mut random);
        let options = rules(user, operator).queue(&asked(&arguments), &arguments);
        let time = |span: Option<Duration>| span.map(|span| span.as_millis() as i64);
        let found = [
            time(options.message_ttl),
            time(options.expires),
            options.max_length.map(u64::cast_signed),
            options.max_length_bytes.map(u64::cast_signed),
        ];
        assert_eq!(found, least, "round {round} of seed 4: {arguments:?}");
    }
}

#[test]
fn without_a_policy_the_arguments_hold() {
    let arguments = table([("x-max-length", Int64(5)), ("x-overflow", "reject-publish".into())]);
    let options = asked(&arguments);
    assert_eq!(Rules::default().queue(&options, &arguments), options);
    let other = rules(table([("queue-version", Int64(2))]), FieldTable::new());
    assert_eq!(other.queue(&options, &arguments), options);
    assert!(policy([("queue-version", Int64(2))]).is_for_queue(b"q", QueueKind::Quorum));
}
