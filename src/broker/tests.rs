//! The broker's face, where queues end while others use them.

mod annexes;

use std::time::Duration;

use bytes::Bytes;

use super::{client::REPLY_QUEUE, *};
use crate::model::{
    ChannelCredit, ChannelNumber, ConsumerTag, Decided, Delivery, ExchangeName, FieldTable,
    FieldValue, Properties, Publication, Published, RoutingKey, ShortString,
};

/// A world that nobody listens in.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Timer for Nowhere {
    fn wake_at(&self, _: Moment, _: QueueId) {}
    fn forget(&self, _: QueueId) {}
}

impl Outbox for Nowhere {
    fn decided(&self, decided: &mut Vec<Decided>) {
        decided.clear();
    }

    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        deliveries.clear();
    }
    fn consumer_cancelled(&self, _: ConsumerId) {}
    fn close(&self, _: String) {}
}

const BODY: Bytes = Bytes::from_static(b"body");

fn at(seconds: u64) -> Moment {
    Moment::from_unix(Duration::from_secs(seconds))
}

fn client() -> Client {
    let broker = Broker::new(Arc::new(Nowhere), Directory::default(), None);
    broker.establish(origins("guest"));
    client_of(&Arc::new(broker), 1)
}

/// A user of that name, who may do everything in the virtual host `/`.
pub(super) fn origins(user: &'static str) -> Origins {
    let password = PasswordHash::new(Hashing::default(), user.as_bytes(), [1, 2, 3, 4]);
    Origins {
        virtual_host: VirtualHostName::from_static("/"),
        user_name: ShortString::from_static(user),
        user: User { password: Some(password), ..User::default() },
        permission: Permission::full(),
    }
}

/// A connection of guest's in the virtual host `/`.
pub(super) fn client_of(broker: &Arc<Broker>, connection: u64) -> Client {
    let id = ConnectionId(connection);
    let mut client = Broker::client(broker, id, Arc::new(Nowhere), true, 7);
    client.login(b"guest", Some(b"guest")).unwrap();
    client.open(&VirtualHostName::from_static("/")).unwrap();
    client
}

fn declare(client: &mut Client, queue: &'static str, arguments: &[(&'static str, FieldValue)]) {
    let arguments = arguments.iter().cloned();
    let declaration = QueueDeclaration {
        name: QueueName::from_static(queue),
        generated: false,
        durable: false,
        exclusive: None,
        auto_delete: false,
        arguments: FieldTable::from_pairs(
            arguments.map(|(name, value)| (ShortString::from_static(name), value)),
        ),
    };
    client.declare_queue(&declaration, at(0)).unwrap();
}

fn publish(client: &mut Client, key: &[u8], properties: &[u8], body: Bytes) -> Vec<Published> {
    let publication = Publication {
        channel: ChannelNumber(1),
        message: Message::new(b"", key, properties, body),
        mandatory: true,
        confirm: None,
        transactional: false,
    };
    client.publish(vec![publication], at(0))
}

fn messages(client: &mut Client, queue: &'static str, now: Moment) -> Option<u64> {
    client.check_queue(&QueueName::from_static(queue), now).ok().map(|found| found.messages)
}

#[test]
fn what_dies_as_a_deletion_is_refused_is_dead_lettered_at_once() {
    let mut client = client();
    let letters =
        [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())];
    declare(&mut client, "dead", &[]);
    declare(&mut client, "work", &letters);
    let expiration = [&[1, 0, 4][..], b"1000"].concat();
    publish(&mut client, b"work", &expiration, BODY);
    publish(&mut client, b"work", &[0, 0], BODY);
    let refused = client.delete_queue(&QueueName::from_static("work"), false, true, at(2));
    assert!(matches!(refused, Err(Refusal::NotEmpty(_))), "{refused:?}");
    assert_eq!(messages(&mut client, "dead", at(2)), Some(1));
    assert_eq!(messages(&mut client, "work", at(2)), Some(1));
}

#[test]
fn a_queue_whose_lease_has_ended_is_gone_whatever_a_deletion_demands() {
    let mut client = client();
    declare(&mut client, "work", &[("x-expires", FieldValue::Int32(1000))]);
    publish(&mut client, b"work", &[0, 0], BODY);
    let work = QueueName::from_static("work");
    assert_eq!(client.delete_queue(&work, false, true, at(2)), Ok(0));
    assert_eq!(messages(&mut client, "work", at(2)), None);
}

#[test]
fn replies_to_a_requester_that_does_not_read_are_limited() {
    let mut client = client();
    declare(&mut client, "service", &[]);
    let consumer = ConsumerId { connection: ConnectionId(1), serial: 1 };
    let purpose = Purpose {
        queue: QueueName::from_static("amq.rabbitmq.reply-to"),
        consumer,
        tag: ConsumerTag::from_static("tag"),
        acknowledge: false,
        exclusive: false,
        prefetch: 0,
        window: 1,
        credit: ChannelCredit::default(),
        arguments: FieldTable::new(),
    };
    let (queue, _) = client.consume(ChannelNumber(1), purpose, at(0)).unwrap();
    assert_eq!(queue, REPLY_QUEUE);
    let reply_to = Some(ShortString::from_static("amq.rabbitmq.reply-to"));
    let asking = Properties { reply_to, ..Properties::default() };
    publish(&mut client, b"service", &asking.to_bytes(), BODY);
    let service = QueueName::from_static("service");
    let asked = client.take(&service, false, ChannelCredit::default(), at(0)).unwrap().unwrap();
    let asked = Properties::decode(&asked.message.shared_properties()).unwrap();
    let key = asked.reply_to.unwrap();

    let reply = Bytes::from(vec![0; 1024 * 1024]);
    let mut answer = || publish(&mut client, &key, &[0, 0], reply.clone()).is_empty();
    let taken = (0..20).filter(|_| answer()).count();
    assert_eq!(taken, 16);
    client.replenish(REPLY_QUEUE, consumer, 1024 * 1024, at(0));
    assert!(publish(&mut client, &key, &[0, 0], reply).is_empty());
}
