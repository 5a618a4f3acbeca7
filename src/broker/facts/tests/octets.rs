//! Facts whose octets are not what was written.

use super::{random::a_table, *};
use crate::broker::{random::Random, topology::Declared};
use crate::model::NodeRecord;

/// One fact of each kind, and some more.
fn samples() -> Vec<Fact> {
    let mut random = Random::new(11);
    let node = Node::established();
    let mut client = node.client(1);
    for (name, kind) in [("a", "direct"), ("b", "headers"), ("c", "topic")] {
        let kind = ShortString::from_static(kind);
        let arguments = a_table(&mut random, 2);
        client
            .declare_exchange(&ExchangeDeclaration { kind, arguments, ..exchange(name) })
            .unwrap();
    }
    for name in ["p", "q"] {
        let arguments = a_table(&mut random, 3);
        client.declare_queue(&QueueDeclaration { arguments, ..queue(name) }, NOW).unwrap();
        client.bind(binding("a", to_queue(name), "key"), Moment::default()).unwrap();
    }
    let plain = binding("b", to_exchange("c"), "");
    let arguments = table([("x-match", "any".into()), ("h", 7.into())]);
    let with_arguments =
        Binding::new(&plain.source, &plain.destination, &plain.routing_key, &arguments);
    client.bind(with_arguments, Moment::default()).unwrap();
    let permission = TopicPermission::new(&GUEST, &HOME, "^{username}", "a|b").unwrap();
    let exchange = ExchangeName::from_static("c");
    let held = TopicPermissionView { user: GUEST, virtual_host: HOME, exchange, permission };
    node.broker.set_topic_permission(held).unwrap();
    let value = FieldValue::Table(table([("a", 1.into()), ("b", FieldValue::Void)]));
    node.broker.set_global_parameter(ShortString::from_static("p"), value);
    for kind in [PolicyKind::User, PolicyKind::Operator] {
        node.broker.set_policy(&HOME, kind, policy(kind, "^q", 5), NOW).unwrap();
    }
    let facts = node.ledger.facts();
    let mut facts: Vec<_> =
        facts.iter().map(|(key, value)| Fact::read(key, value).unwrap()).collect();
    facts.extend(of_a_cluster());
    facts
}

/// What only the nodes of a cluster write.
fn of_a_cluster() -> Vec<Fact> {
    let node = NodeNumber(3);
    let topology = Topology::new(HOME);
    let declared = |declaration: QueueDeclaration, placement: Placement| {
        let id = QueueId(node.base() + 7);
        let Ok(Declared::New(record)) = topology.declare_queue(&declaration, id) else {
            panic!("it is new")
        };
        Fact::Queue(HOME, Arc::new(QueueRecord { placement, ..(*record).clone() }))
    };
    let owner = Some(ConnectionId(node.base() + 9));
    let replicas = [1, 2, 3].map(|node| Placement::first_replica(NodeNumber(node))).to_vec();
    vec![
        declared(QueueDeclaration { exclusive: owner, ..queue("z") }, Placement::on(node)),
        declared(QueueDeclaration { durable: false, ..queue("zz") }, Placement::on(node)),
        declared(queue("zzz"), Placement { replicas: replicas.clone(), ..Placement::on(node) }),
        declared(queue("zzzz"), Placement { replicas, generation: 300, ..moving(node) }),
        Fact::Mark(Mark::Index, u64::MAX),
        Fact::Mark(Mark::Registry, 0),
        Fact::Mark(Mark::Home(HOME), 12),
        Fact::Mark(Mark::Numbers(node), node.base() + 8),
        Fact::Node(node, member()),
    ]
}

fn moving(node: NodeNumber) -> Placement {
    Placement { moving: true, ..Placement::on(node) }
}

fn member() -> NodeRecord {
    let (name, address) = ("rabbit@one".to_owned(), "one:25672".to_owned());
    NodeRecord { name, address, store: u128::MAX, is_gone: true }
}

#[test]
fn a_fact_comes_back_as_it_was() {
    for fact in samples() {
        let (key, value) = (fact.key().octets(), fact.value());
        assert_eq!(Fact::read(&key, &value.into()), Ok(fact));
    }
}

#[test]
fn everything_comes_after_what_it_stands_on() {
    let kinds: Vec<_> = samples()
        .iter()
        .map(|fact| match fact {
            Fact::VirtualHost(..) => 'v',
            Fact::Exchange(..) => 'x',
            Fact::Queue(..) => 'q',
            Fact::Binding(..) => 'b',
            Fact::User(..) => 'u',
            Fact::Permission(..) => 'p',
            Fact::TopicPermission(..) => 't',
            Fact::GlobalParameter(..) => 'g',
            Fact::Policy(..) => 'r',
            Fact::Mark(..) => 'm',
            Fact::Node(..) => 'n',
        })
        .collect();
    assert_eq!(kinds.iter().collect::<String>(), "vxxxqqbbbuptgrrqqqqmmmmn");
}

#[test]
fn a_cut_fact_is_an_error_or_a_fact() {
    for fact in samples() {
        let (key, value) = (fact.key().octets(), Bytes::from(fact.value()));
        for cut in 0..value.len() {
            check(&key, &value.slice(..cut), &fact);
        }
        for cut in 0..key.len() {
            check(&key[..cut], &value, &fact);
        }
    }
}

#[test]
fn a_fact_with_any_octet_changed_is_an_error_or_a_fact() {
    let mut random = Random::new(3);
    for fact in samples() {
        let (key, value) = (fact.key().octets(), fact.value());
        let change = |octets: &[u8], place: usize, random: &mut Random| {
            let mut octets = octets.to_vec();
            octets[place] ^= random.below(255) as u8 + 1;
            octets
        };
        for _ in 0..50 {
            for place in 0..value.len() {
                check(&key, &change(&value, place, &mut random).into(), &fact);
            }
            for place in 0..key.len() {
                check(&change(&key, place, &mut random), &value.clone().into(), &fact);
            }
        }
    }
}

/// Reads octets that are nearly those of `original`.
fn check(key: &[u8], value: &Bytes, original: &Fact) {
    let facts = BTreeMap::from([(key::own(key), value.clone())]);
    let _whether_it_can_be_built_alone = Rebuilt::from_facts(&facts);
    match Fact::read(key, value) {
        Ok(fact) => assert_eq!(fact.key().octets(), key),
        Err(error) if *key == *original.key().octets() => {
            let text = error.to_string();
            assert!(text.contains(&original.key().to_string()), "{text}");
        }
        Err(error) => assert!(error.to_string().starts_with("the stored "), "{error}"),
    }
}

#[test]
fn a_fact_of_another_version_is_refused() {
    let key = Key::VirtualHost(HOME);
    let refused = Fact::read(&key.octets(), &Bytes::from_static(&[2])).unwrap_err();
    let expected = "the stored vhost '/' cannot be restored: it is of version 2, which is unknown";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn a_key_that_means_nothing_is_shown() {
    let refused = Fact::read(b"\x09what\xff", &Bytes::new()).unwrap_err().to_string();
    assert_eq!(
        refused,
        r#"the stored fact under the key "\twhat\xff" cannot be restored: its octets mean nothing"#
    );
}
