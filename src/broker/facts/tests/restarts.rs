//! What a restart keeps, what it lets go, and what it refuses to start from.

use super::*;
use crate::{
    broker::{Restoring, topology::Declared},
    model::{ChannelNumber, Message, Placement, Publication},
};

#[test]
fn only_what_is_durable_at_both_ends_stays_bound() {
    let node = Node::established();
    let mut client = node.client(1);
    client.declare_exchange(&exchange("kept")).unwrap();
    client.declare_exchange(&ExchangeDeclaration { durable: false, ..exchange("lost") }).unwrap();
    client.declare_queue(&queue("kept"), NOW).unwrap();
    client.declare_queue(&QueueDeclaration { durable: false, ..queue("lost") }, NOW).unwrap();
    for source in ["kept", "lost", "amq.fanout"] {
        for destination in ["kept", "lost"] {
            client.bind(binding(source, to_queue(destination), ""), Moment::default()).unwrap();
        }
    }
    client.bind(binding("kept", to_exchange("amq.topic"), ""), Moment::default()).unwrap();
    client.bind(binding("kept", to_exchange("lost"), ""), Moment::default()).unwrap();
    let restored = node.restarted().home();
    let bindings: Vec<_> =
        restored.topology().bindings().map(|binding| Binding::clone(binding)).collect();
    let expected = [
        binding("amq.fanout", to_queue("kept"), ""),
        binding("kept", to_queue("kept"), ""),
        binding("kept", to_exchange("amq.topic"), ""),
    ];
    assert_eq!(bindings, expected);
}

#[test]
fn a_reply_awaits_what_is_durable_and_nothing_else() {
    let node = Node::established();
    let mut client = node.client(1);
    let records = || LogPosition(node.ledger.pages().records);
    let transient = QueueDeclaration { durable: false, ..queue("t") };
    client.declare_queue(&transient, NOW).unwrap();
    assert_eq!(client.take_awaited(), LogPosition(0));
    client.declare_queue(&queue("q"), NOW).unwrap();
    assert_eq!(client.take_awaited(), records());
    client.bind(binding("amq.direct", to_queue("q"), "k"), Moment::default()).unwrap();
    assert_eq!(client.take_awaited(), records());
    client.bind(binding("amq.direct", to_queue("t"), "k"), Moment::default()).unwrap();
    assert_eq!(client.take_awaited(), LogPosition(0));
    client.delete_queue(&QueueName::from_static("q"), false, false, NOW).unwrap();
    assert_eq!(client.take_awaited(), records());
    client.delete_queue(&QueueName::from_static("t"), false, false, NOW).unwrap();
    assert_eq!(client.take_awaited(), LogPosition(0));
    assert_eq!(records(), LogPosition(4), "of a transient queue nothing was written");
}

#[test]
fn who_finds_a_queue_that_another_has_just_declared_awaits_it_too() {
    let node = Node::established();
    node.client(1).declare_queue(&queue("q"), NOW).unwrap();
    let mut other = node.client(2);
    other.declare_queue(&queue("q"), NOW).unwrap();
    assert_eq!(other.take_awaited(), LogPosition(node.ledger.pages().records));
}

#[test]
fn a_restored_queue_is_what_it_was_declared_to_be() {
    let node = Node::established();
    let declared = QueueDeclaration {
        auto_delete: true,
        arguments: table([("x-max-length", 5.into()), ("x-dead-letter-exchange", "dlx".into())]),
        ..queue("q")
    };
    node.client(1).declare_queue(&declared, NOW).unwrap();
    let original = node.home().topology().queue_named(b"q").cloned().unwrap();
    let heir = Node::new();
    let queues = heir.broker.restore_topology(&node.ledger.facts()).unwrap();
    assert_eq!(queues.len(), 1);
    assert_eq!((&*queues[0].record, &queues[0].home.name), (&*original, &HOME));
    let again = heir.home().topology().declare_queue(&declared, QueueId(99)).unwrap();
    assert_eq!(again, Declared::Present(Arc::clone(&original)));
    heir.client(1).declare_queue(&queue("new"), NOW).unwrap();
    let new = heir.home().topology().queue_named(b"new").cloned().unwrap();
    assert!(new.id > original.id);
}

#[test]
fn the_first_user_and_virtual_host_come_from_the_configuration_only_once() {
    let node = Node::established();
    let restarted = node.restarted();
    let virtual_host = VirtualHostName::from_static("other");
    let user = guest(b"changed");
    restarted.broker.establish(Origins { virtual_host, user, ..origins("guest") });
    assert!(admits(&restarted, b"guest", b"guest"));
    assert!(!admits(&restarted, b"guest", b"changed"));
    assert!(restarted.broker.virtual_host(&VirtualHostName::from_static("other")).is_none());
}

fn admits(node: &Node, user: &[u8], password: &[u8]) -> bool {
    node.broker.authority().admits(user, Some(password))
}

fn options() -> VirtualHostOptions {
    VirtualHostOptions {
        description: "More".to_owned(),
        tags: vec![ShortString::from_static("spare")],
        default_queue_type: Some(QueueKind::Quorum),
        tracing: true,
        limits: [(Limit::Queues, 7), (Limit::Connections, -1)].into_iter().collect(),
    }
}

#[test]
fn users_and_virtual_hosts_that_were_added_stay() {
    let node = Node::established();
    let anna = ShortString::from_static("anna");
    node.broker.put_user(anna.clone(), guest(b"first"));
    node.broker.put_user(anna, guest(b"second"));
    node.broker.put_virtual_host(VirtualHostName::from_static("more"), options());
    let same = node.broker.virtual_host_options(&HOME).unwrap();
    assert_eq!(node.broker.put_virtual_host(HOME, (*same).clone()), LogPosition(0));
    assert!(node.broker.delete_user(&GUEST) > Some(LogPosition(0)));
    assert_eq!(node.broker.delete_user(&GUEST), None);
    let restarted = node.restarted();
    assert!(admits(&restarted, b"anna", b"second"));
    assert!(!admits(&restarted, b"guest", b"guest"));
    assert_eq!(restarted.broker.permissions(), []);
    let more = VirtualHostName::from_static("more");
    assert_eq!(*restarted.broker.virtual_host_options(&more).unwrap(), options());
    assert!(restarted.broker.virtual_host(&VirtualHostName::from_static("more")).is_some());
}

#[test]
fn policies_hold_again_before_the_first_client_comes() {
    let node = Node::established();
    node.client(1).declare_queue(&queue("q"), NOW).unwrap();
    let user = || policy(PolicyKind::User, "^q", 5);
    let set = |kind, policy| node.broker.set_policy(&HOME, kind, policy, NOW).unwrap();
    assert!(set(PolicyKind::User, policy(PolicyKind::User, "^q", 100)) > LogPosition(0));
    set(PolicyKind::User, user());
    let written = node.ledger.pages().records;
    set(PolicyKind::User, user());
    assert_eq!(node.ledger.pages().records, written, "what is so already is not written");
    set(PolicyKind::Operator, policy(PolicyKind::Operator, "", 3));
    let restarted = node.restarted();
    let options = |node: &Node| {
        let home = node.home();
        let topology = home.topology();
        let queue = topology.queue_named(b"q").cloned().unwrap();
        assert_eq!(queue.options, QueueOptions { max_length: None, ..queue.options.clone() });
        topology.options_of(&queue).max_length
    };
    assert_eq!(options(&restarted), Some(3));
    let kept = restarted.broker.policies(&HOME, PolicyKind::User);
    assert_eq!(kept, [Arc::new(user())]);
}

#[test]
fn a_restored_queue_holds_as_much_as_its_policy_allows() {
    let node = Node::established();
    node.client(1).declare_queue(&queue("q"), NOW).unwrap();
    let limit = policy(PolicyKind::User, "^q", 3);
    node.broker.set_policy(&HOME, PolicyKind::User, limit, NOW).unwrap();
    let mut restoring = Restoring::new();
    node.ledger.facts().iter().for_each(|(key, value)| restoring.fact(key, value));
    let heir = Node::new();
    heir.broker.restore(restoring, 0, NOW).expect("well-formed facts");
    let mut client = heir.client(1);
    let publication = |number: u64| Publication {
        channel: ChannelNumber(1),
        message: Message::new(b"", b"q", &[0, 0], number.to_string().into()),
        mandatory: false,
        confirm: None,
        transactional: false,
    };
    client.publish((0..10).map(publication).collect(), NOW);
    let found = client.check_queue(&QueueName::from_static("q"), NOW).unwrap();
    assert_eq!(found.messages, 3);
}

#[test]
fn a_policy_that_was_cleared_does_not_come_back() {
    let node = Node::established();
    let name = ShortString::from_static("p");
    for kind in [PolicyKind::User, PolicyKind::Operator] {
        node.broker.set_policy(&HOME, kind, policy(kind, "", 5), NOW).unwrap();
        node.broker.clear_policy(&HOME, kind, &name, NOW).unwrap();
        assert!(node.restarted().broker.policies(&HOME, kind).is_empty());
    }
}

/// The complaint about the facts of a small topology after `change` was done to them.
fn complaint(change: impl FnOnce(&mut BTreeMap<Bytes, Bytes>)) -> String {
    let node = Node::established();
    let mut client = node.client(1);
    client.declare_exchange(&exchange("x")).unwrap();
    client.declare_queue(&queue("q"), NOW).unwrap();
    client.bind(binding("x", to_queue("q"), "k"), Moment::default()).unwrap();
    let mut facts = node.ledger.facts();
    change(&mut facts);
    let heir = Node::new();
    let refused = heir.broker.restore_topology(&facts).expect_err("nothing is restored");
    assert!(heir.broker.is_blank());
    refused.to_string()
}

fn without(key: &Key) -> String {
    complaint(|facts| drop(facts.remove(&key.octets()[..]).expect("the fact was there")))
}

fn with(fact: &Fact) -> String {
    complaint(|facts| drop(facts.insert(fact.key().octets().into(), fact.value().into())))
}

#[test]
fn what_a_fact_stands_on_must_be_there() {
    assert_eq!(
        without(&Key::Queue(HOME, QueueName::from_static("q"))),
        "the stored binding from exchange 'x' to queue 'q' with routing key 'k' in vhost '/' \
         cannot be restored: there is no queue 'q' in vhost '/'"
    );
    assert_eq!(
        without(&Key::Exchange(HOME, ExchangeName::from_static("x"))),
        "the stored binding from exchange 'x' to queue 'q' with routing key 'k' in vhost '/' \
         cannot be restored: there is no exchange 'x' in vhost '/'"
    );
    assert_eq!(
        without(&Key::VirtualHost(HOME)),
        "the stored exchange 'x' in vhost '/' cannot be restored: there is no vhost '/'"
    );
}

#[test]
fn a_fact_that_contradicts_others_is_refused() {
    let record = |id, arguments| QueueRecord {
        id: QueueId(id),
        name: QueueName::from_static("z"),
        durable: true,
        auto_delete: false,
        owner: None,
        arguments,
        options: QueueOptions::default(),
        annex: None,
        placement: Placement::default(),
    };
    let with_queue = |id, arguments| with(&Fact::Queue(HOME, Arc::new(record(id, arguments))));
    let refused =
        |why: &str| format!("the stored queue 'z' in vhost '/' cannot be restored: {why}");
    let none = FieldTable::new;
    assert_eq!(with_queue(1, none()), refused("another queue has the number 1"));
    assert_eq!(with_queue(0, none()), refused("no queue has the number 0"));
    let spilled = QueueId(7).spilled().0;
    assert_eq!(with_queue(spilled, none()), refused(&format!("no queue has the number {spilled}")));
    let negative = with_queue(9, table([("x-max-length", (-1).into())]));
    assert!(negative.starts_with(&refused("its arguments are refused: ")), "{negative}");
    let predeclared = ExchangeRecord {
        name: ExchangeName::from_static("amq.topic"),
        kind: ExchangeKind::Fanout,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: none(),
        options: ExchangeOptions::default(),
        plan: Plan::Fanout,
        annexes: Vec::new(),
    };
    assert_eq!(
        with(&Fact::Exchange(HOME, Arc::new(predeclared))),
        "the stored exchange 'amq.topic' in vhost '/' cannot be restored: every vhost has an \
         exchange of that name"
    );
}
