//! Who is let in, and what a connection may do while rights change.

use std::sync::Arc;

use super::*;
use crate::{
    broker::{
        Broker, Client, Destination, ExchangeDeclaration, Missing, Origins, PermissionView,
        QueueDeclaration, TopicPermissionView,
        routing::Binding,
        tests::{Nowhere, origins},
    },
    model::{
        ChannelCredit, ChannelNumber, ConnectionId, FieldTable, Limits, Message, Moment,
        Properties, Publication, Published, QueueName, Refusal, ResourceKind, RoutingKey,
        VirtualHostOptions,
    },
};

const HOME: VirtualHostName = VirtualHostName::from_static("/");
const ANNA: ShortString = ShortString::from_static("anna");
const CHANNEL: ChannelNumber = ChannelNumber(1);

fn now() -> Moment {
    Moment::from_unix(std::time::Duration::ZERO)
}

fn broker(configure: &str, write: &str, read: &str) -> Arc<Broker> {
    let broker = Broker::new(Arc::new(Nowhere), Directory::new(["guest"]), None);
    broker.establish(origins("guest"));
    let Origins { user, .. } = origins("anna");
    broker.put_user(ANNA, user);
    grant(&broker, configure, write, read);
    Arc::new(broker)
}

fn grant(broker: &Broker, configure: &str, write: &str, read: &str) {
    let permission = Permission::new(configure, write, read).unwrap();
    let held = PermissionView { user: ANNA, virtual_host: HOME, permission };
    broker.set_permission(held).unwrap();
}

fn client(broker: &Arc<Broker>, connection: u64) -> Result<Client, Refusal> {
    let id = ConnectionId(connection);
    let mut client = Broker::client(broker, id, Arc::new(Nowhere), false, 7);
    client.login(b"anna", Some(b"anna"))?;
    client.open(&HOME)?;
    Ok(client)
}

fn publish(client: &mut Client, exchange: &[u8], key: &[u8]) -> Option<Refusal> {
    let message = Message::new(exchange, key, &Properties::default().to_bytes(), "body".into());
    said(client, message)
}

fn said(client: &mut Client, message: Message) -> Option<Refusal> {
    let publication = Publication {
        channel: CHANNEL,
        message,
        mandatory: false,
        confirm: None,
        transactional: false,
    };
    match client.publish(vec![publication], now()).pop() {
        Some(Published::Refused { refusal, .. }) => Some(refusal),
        _ => None,
    }
}

fn denied(right: Right, kind: ResourceKind, name: &'static str) -> Refusal {
    let name = ShortString::from_static(name);
    let resource = Resource { kind, name, virtual_host: HOME };
    Refusal::AccessDenied { right, resource, user: ANNA }
}

fn queue(name: &'static str) -> QueueDeclaration {
    QueueDeclaration {
        name: QueueName::from_static(name),
        generated: false,
        durable: false,
        auto_delete: false,
        exclusive: None,
        arguments: FieldTable::default(),
    }
}

fn topic(name: &'static str) -> ExchangeDeclaration {
    ExchangeDeclaration {
        name: ExchangeName::from_static(name),
        kind: ShortString::from_static("topic"),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

#[test]
fn a_user_comes_in_with_the_right_password_or_with_none_that_is_needed() {
    let broker = broker(".*", ".*", ".*");
    let login = |user: &[u8], password: Option<&[u8]>, from_here| {
        let id = ConnectionId(1);
        let mut client = Broker::client(&broker, id, Arc::new(Nowhere), from_here, 7);
        client.login(user, password).is_ok()
    };
    assert!(login(b"anna", Some(b"anna"), false) && login(b"anna", None, false));
    assert!(!login(b"anna", Some(b"Anna"), true) && !login(b"anna", Some(b""), true));
    assert!(!login(b"nobody", Some(b""), true) && !login(b"nobody", None, true));
    assert!(login(b"guest", Some(b"guest"), true) && !login(b"guest", Some(b"guest"), false));
    broker.put_user(ANNA, User::default());
    assert!(!login(b"anna", Some(b"anna"), true) && !login(b"anna", Some(b""), true));
    broker.delete_user(&ANNA);
    assert!(!login(b"anna", None, true));
}

#[test]
fn a_virtual_host_is_open_to_those_who_have_a_permission_there() {
    let broker = broker("", "", "");
    assert!(client(&broker, 1).is_ok());
    broker.clear_permission(&ANNA, &HOME).unwrap();
    let refused = Refusal::VirtualHostDenied { virtual_host: HOME, user: ANNA };
    assert_eq!(client(&broker, 2).unwrap_err(), refused);
    let elsewhere = VirtualHostName::from_static("elsewhere");
    let permission = Permission::full();
    let held = PermissionView { user: ANNA, virtual_host: elsewhere.clone(), permission };
    assert_eq!(broker.set_permission(held.clone()), Err(Missing::VirtualHost(elsewhere)));
    let nobody = ShortString::from_static("nobody");
    let held = PermissionView { user: nobody.clone(), virtual_host: HOME, ..held };
    assert_eq!(broker.set_permission(held), Err(Missing::User(nobody)));
}

#[test]
fn what_is_granted_and_what_is_taken_holds_at_once() {
    let broker = broker("^q$", "", "");
    let mut client = client(&broker, 1).unwrap();
    client.declare_queue(&queue("q"), now()).unwrap();
    let default = || Some(denied(Right::Write, ResourceKind::Exchange, "amq.default"));
    assert_eq!(publish(&mut client, b"", b"q"), default());
    grant(&broker, "", "^amq.default$", "^q$");
    assert_eq!(publish(&mut client, b"", b"q"), None);
    assert_eq!(publish(&mut client, b"", b"q"), None);
    let name = QueueName::from_static("q");
    let taken = client.take(&name, false, ChannelCredit::default(), now()).unwrap();
    assert_eq!(taken.unwrap().remaining, 1);
    grant(&broker, "", "", "");
    assert_eq!(publish(&mut client, b"", b"q"), default());
    let refused = client.take(&name, false, ChannelCredit::default(), now()).unwrap_err();
    assert_eq!(refused, denied(Right::Read, ResourceKind::Queue, "q"));
    let refused = client.delete_queue(&name, false, false, now()).unwrap_err();
    assert_eq!(refused, denied(Right::Configure, ResourceKind::Queue, "q"));
}

#[test]
fn what_a_new_queue_or_exchange_leads_to_must_be_granted_too() {
    let broker = broker(".*", "^allowed$", "^(q|x)$");
    let mut client = client(&broker, 1).unwrap();
    let leading = |argument, to: &'static str| {
        FieldTable::from_pairs([(ShortString::from_static(argument), to.into())])
    };
    let with = |name, to| QueueDeclaration {
        arguments: leading("x-dead-letter-exchange", to),
        ..queue(name)
    };
    let refused = client.declare_queue(&with("q", "other"), now()).unwrap_err();
    assert_eq!(refused, denied(Right::Write, ResourceKind::Exchange, "other"));
    let refused = client.declare_queue(&with("r", "allowed"), now()).unwrap_err();
    assert_eq!(refused, denied(Right::Read, ResourceKind::Queue, "r"));
    client.declare_queue(&with("q", "allowed"), now()).unwrap();
    let with = |name, to| ExchangeDeclaration {
        arguments: leading("alternate-exchange", to),
        ..topic(name)
    };
    let refused = client.declare_exchange(&with("x", "other")).unwrap_err();
    assert_eq!(refused, denied(Right::Write, ResourceKind::Exchange, "other"));
    client.declare_exchange(&with("x", "allowed")).unwrap();
    grant(&broker, ".*", "", "");
    client.declare_exchange(&with("x", "allowed")).unwrap();
}

#[test]
fn topic_permissions_speak_of_routing_keys() {
    let broker = broker(".*", ".*", ".*");
    let mut client = client(&broker, 1).unwrap();
    for name in ["x", "free"] {
        client.declare_exchange(&topic(name)).unwrap();
    }
    client.declare_queue(&queue("q"), now()).unwrap();
    assert_eq!(publish(&mut client, b"x", b"other.1"), None);
    let permission = TopicPermission::new(&ANNA, &HOME, "^{username}\\.", "^all\\.").unwrap();
    let exchange = ExchangeName::from_static("x");
    let held = TopicPermissionView { user: ANNA, virtual_host: HOME, exchange, permission };
    broker.set_topic_permission(held).unwrap();
    let denied = |right, key| Refusal::TopicDenied {
        right,
        key: RoutingKey::from_static(key),
        exchange: Resource {
            kind: ResourceKind::Exchange,
            name: ShortString::from_static("x"),
            virtual_host: HOME,
        },
        user: ANNA,
    };
    assert_eq!(publish(&mut client, b"x", b"anna.1"), None);
    assert_eq!(publish(&mut client, b"x", b"other.1"), Some(denied(Right::Write, "other.1")));
    assert_eq!(publish(&mut client, b"free", b"other.1"), None);
    let bind = |client: &mut Client, key| {
        let (source, to) = (ExchangeName::from_static("x"), QueueName::from_static("q"));
        let to = Destination::Queue(to);
        let key = RoutingKey::from_static(key);
        client.bind(Binding::new(&source, &to, &key, &FieldTable::default()), Moment::default())
    };
    assert_eq!(bind(&mut client, "all.#"), Ok(()));
    assert_eq!(bind(&mut client, "#"), Err(denied(Right::Read, "#")));
}

#[test]
fn only_an_impersonator_may_publish_as_somebody_else() {
    let broker = broker(".*", ".*", ".*");
    let mut client = client(&broker, 1).unwrap();
    let message = || {
        let user_id = Some(ShortString::from_static("bea"));
        let properties = Properties { user_id, ..Properties::default() }.to_bytes();
        Message::new(b"", b"q", &properties, "body".into())
    };
    let claimed = ShortString::from_static("bea");
    assert_eq!(said(&mut client, message()), Some(Refusal::WrongUserId { claimed, user: ANNA }));
    let tags = vec![ShortString::from_static("impersonator")];
    broker.put_user(ANNA, User { tags, ..User::default() });
    assert_eq!(said(&mut client, message()), None);
}

#[test]
fn connections_are_counted_for_users_and_virtual_hosts() {
    let broker = broker(".*", ".*", ".*");
    let limits = |most| -> Limits { [(Limit::Connections, most)].into_iter().collect() };
    let Origins { user, .. } = origins("anna");
    broker.put_user(ANNA, User { limits: limits(2), ..user.clone() });
    let mut first = client(&broker, 1).unwrap();
    let _second = client(&broker, 2).unwrap();
    let full = Refusal::TooManyConnections { user: ANNA, limit: 2 };
    assert_eq!(client(&broker, 3).unwrap_err(), full);
    first.leave(now());
    let _third = client(&broker, 4).unwrap();
    broker.put_user(ANNA, User { limits: limits(-1), ..user });
    let _fourth = client(&broker, 5).unwrap();
    let options = VirtualHostOptions { limits: limits(3), ..VirtualHostOptions::default() };
    broker.put_virtual_host(HOME, options);
    let full = Refusal::VirtualHostFull { virtual_host: HOME, user: ANNA, limit: 3 };
    assert_eq!(client(&broker, 6).unwrap_err(), full);
}

#[test]
fn connections_share_the_rates_of_their_user_and_virtual_host() {
    let broker = broker(".*", ".*", ".*");
    let rates = |limit, most| -> Limits { [(limit, most)].into_iter().collect() };
    let Origins { user, .. } = origins("anna");
    let (mut first, mut second) = (client(&broker, 1).unwrap(), client(&broker, 2).unwrap());
    assert_eq!(first.ration(), None);
    let at = |milliseconds| Moment::from_unix(std::time::Duration::from_millis(milliseconds));

    broker.put_user(ANNA, User { limits: rates(Limit::MessageRate, 100), ..user.clone() });
    assert_eq!((first.ration(), second.ration()), (Some(5), Some(5)));
    assert_eq!(first.pause_after(60, 0, at(10_000)), None);
    assert_eq!(second.pause_after(40, 0, at(10_000)), None);
    assert_eq!(second.pause_after(10, 0, at(10_000)), Some(at(10_100)));
    // Who leaves and comes back finds the meter as it was.
    first.leave(now());
    second.leave(now());
    let mut first = client(&broker, 3).unwrap();
    assert_eq!(first.ration(), Some(5));
    assert_eq!(first.pause_after(10, 0, at(10_000)), Some(at(10_200)));

    broker.put_user(ANNA, user);
    let limits = rates(Limit::OctetRate, 1000);
    broker.put_virtual_host(HOME, VirtualHostOptions { limits, ..Default::default() });
    assert!(first.ration().is_some());
    assert_eq!(first.pause_after(1, 1000, at(20_000)), None);
    assert_eq!(first.pause_after(1, 500, at(20_000)), Some(at(20_500)));
}

#[test]
fn queues_of_a_virtual_host_are_limited_and_those_that_are_there_stay() {
    let broker = broker(".*", ".*", ".*");
    let limits = [(Limit::Queues, 2)].into_iter().collect();
    let options = VirtualHostOptions { limits, ..VirtualHostOptions::default() };
    broker.put_virtual_host(HOME, options);
    let mut client = client(&broker, 1).unwrap();
    for name in ["a", "b", "a"] {
        client.declare_queue(&queue(name), now()).unwrap();
    }
    let refused = client.declare_queue(&queue("c"), now()).unwrap_err();
    assert!(matches!(refused, Refusal::TooManyQueues { limit: 2, .. }), "{refused:?}");
}

#[test]
fn a_virtual_host_that_is_deleted_takes_everything_with_it() {
    let broker = broker(".*", ".*", ".*");
    let mut client = client(&broker, 1).unwrap();
    client.declare_queue(&queue("q"), now()).unwrap();
    broker.delete_virtual_host(&HOME, now()).unwrap();
    assert_eq!(broker.delete_virtual_host(&HOME, now()), None);
    assert_eq!(broker.permissions(), []);
    assert!(client.declare_queue(&queue("q"), now()).is_err());
    client.leave(now());
    broker.put_virtual_host(HOME, VirtualHostOptions::default());
    assert_eq!(broker.queue_records(&HOME).unwrap(), []);
}
