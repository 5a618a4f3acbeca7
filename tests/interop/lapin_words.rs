//! What the tests with lapin say again and again.

use crate::{broker::Broker, lasting::Lasting};
use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, Error, ErrorKind,
    ExchangeKind, PublisherConfirm,
    message::{BasicGetMessage, Delivery},
    options::*,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{fmt::Debug, future::Future, time::Duration};
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn connect(broker: &Broker) -> Connection {
    connect_to(&broker.url(), false).await
}

pub(crate) async fn connect_to(url: &str, recovers: bool) -> Connection {
    let properties = ConnectionProperties::default();
    let properties = if recovers { properties.enable_auto_recover() } else { properties };
    soon(Connection::connect(url, properties)).await
}

/// A channel on a connection of its own, which lives as long as the channel.
pub(crate) async fn open(broker: &Broker) -> Channel {
    soon(connect(broker).await.create_channel()).await
}

pub(crate) async fn declare(channel: &Channel) -> ShortString {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = unique();
    soon(channel.queue_declare(queue.clone(), options, table([]))).await;
    queue
}

pub(crate) async fn publish(
    channel: &Channel,
    queue: &ShortString,
    body: &[u8],
) -> PublisherConfirm {
    let properties = BasicProperties::default();
    let options = BasicPublishOptions::default();
    soon(channel.basic_publish("".into(), queue.clone(), options, body, properties)).await
}

pub(crate) async fn start_consumer(
    channel: &Channel,
    queue: &ShortString,
    exclusive: bool,
) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions { exclusive, ..Default::default() };
    channel.basic_consume(queue.clone(), "".into(), options, table([])).await
}

pub(crate) async fn consume(channel: &Channel, queue: &ShortString) -> Consumer {
    soon(start_consumer(channel, queue, false)).await
}

pub(crate) async fn next(deliveries: &mut Consumer) -> Delivery {
    let next = timeout(PATIENCE, deliveries.next()).await.expect("a delivery comes in time");
    next.expect("the consumer goes on").expect("the connection is up")
}

pub(crate) async fn ready_messages(channel: &Channel, queue: &ShortString) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    soon(channel.queue_declare(queue.clone(), options, table([]))).await.message_count()
}

pub(crate) async fn is_empty(connection: &Connection, queue: &ShortString) -> bool {
    let channel = soon(connection.create_channel()).await;
    soon(channel.basic_get(queue.clone(), BasicGetOptions::default())).await.is_none()
}

/// What the broker answers, which must come in time and be no error.
pub(crate) async fn soon<T>(answer: impl Future<Output = lapin::Result<T>>) -> T {
    timeout(PATIENCE, answer).await.expect("an answer comes in time").expect("it is no error")
}

/// Expects the answer to be a close with exactly this code and text.
pub(crate) async fn refused<T: Debug>(
    answer: impl Future<Output = lapin::Result<T>>,
    code: u16,
    text: &str,
) {
    let answer = timeout(PATIENCE, answer).await.expect("an answer comes in time");
    let error: Error = answer.expect_err("it is refused");
    let ErrorKind::ProtocolError(close) = error.kind() else {
        panic!("expected a close by the broker, found {error:?}");
    };
    assert_eq!((close.get_id(), close.get_message().as_str()), (code, text));
}

pub(crate) fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

/// A name no other run against the same broker uses, short enough for every reply text.
pub(crate) fn unique() -> ShortString {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
    format!("io-{}-{now}-{number}", std::process::id()).into()
}

pub(crate) async fn open_connection(broker: &Lasting) -> Connection {
    connect_to(&broker.url(), false).await
}

pub(crate) async fn open_channel(broker: &Lasting) -> Channel {
    soon(open_connection(broker).await.create_channel()).await
}

/// A channel whose publications are confirmed.
pub(crate) async fn confirming(broker: &Lasting) -> Channel {
    let channel = open_channel(broker).await;
    confirms(&channel).await;
    channel
}

pub(crate) async fn confirms(channel: &Channel) {
    soon(channel.confirm_select(ConfirmSelectOptions::default())).await;
}

/// Declares a durable queue and gives its name.
pub(crate) async fn durable<'a>(channel: &Channel, queue: &'a str) -> &'a str {
    durable_with(channel, queue, []).await;
    queue
}

pub(crate) async fn durable_with<const N: usize>(
    channel: &Channel,
    queue: &str,
    arguments: [(&str, AMQPValue); N],
) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    soon(channel.queue_declare(queue.into(), options, table(arguments))).await;
}

pub(crate) async fn declare_exchange(
    channel: &Channel,
    exchange: &str,
    kind: ExchangeKind,
    durable: bool,
) {
    let options = ExchangeDeclareOptions { durable, ..Default::default() };
    soon(channel.exchange_declare(exchange.into(), kind, options, table([]))).await;
}

pub(crate) async fn bind<const N: usize>(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
    arguments: [(&str, AMQPValue); N],
) {
    let (options, arguments) = (QueueBindOptions::default(), table(arguments));
    soon(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments)).await;
}

/// Publishes, and leaves the confirm to the caller.
pub(crate) async fn send(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> PublisherConfirm {
    let options = BasicPublishOptions::default();
    soon(channel.basic_publish(exchange.into(), key.into(), options, body, properties)).await
}

/// Publishes, and waits until it is confirmed.
pub(crate) async fn put(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) {
    let confirm = send(channel, exchange, key, body, properties).await;
    assert!(soon(confirm).await.is_ack(), "not confirmed: {key}");
}

pub(crate) fn persistent() -> BasicProperties {
    delivery_mode(2)
}

pub(crate) fn delivery_mode(mode: u8) -> BasicProperties {
    BasicProperties::default().with_delivery_mode(mode)
}

/// The next message, to be settled by the caller.
pub(crate) async fn take(channel: &Channel, queue: &str) -> Option<BasicGetMessage> {
    soon(channel.basic_get(queue.into(), BasicGetOptions::default())).await
}

/// Empties the queue.
pub(crate) async fn bodies(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = soon(channel.basic_get(queue.into(), options)).await {
        bodies.push(body(&message));
    }
    bodies
}

pub(crate) fn body(message: &BasicGetMessage) -> String {
    String::from_utf8(message.delivery.data.clone()).expect("it is text")
}

pub(crate) async fn ready(channel: &Channel, queue: &str) -> u32 {
    ready_messages(channel, &queue.into()).await
}

/// Waits until there is a message, which another queue gives away.
pub(crate) async fn arrival(channel: &Channel, queue: &str) {
    let arrival = async { while ready(channel, queue).await == 0 {} };
    timeout(PATIENCE, arrival).await.expect("it arrives in time");
}

/// Waits until what `channel` has settled is done, and as safe as a confirmed message.
pub(crate) async fn sync(broker: &Lasting, channel: &Channel) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    soon(channel.queue_declare("sync".into(), options, table([]))).await;
    put(&confirming(broker).await, "", "sync", b"sync", persistent()).await;
}

/// How often the message has died, as the first entry of its history says.
pub(crate) fn death_count(message: &BasicGetMessage) -> i64 {
    let headers = message.delivery.properties.headers().as_ref().expect("it has died");
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else {
        panic!("no history: {headers:?}");
    };
    let Some(AMQPValue::FieldTable(death)) = deaths.as_slice().first() else {
        panic!("an empty history: {headers:?}");
    };
    match death.inner().get("count") {
        Some(AMQPValue::LongLongInt(count)) => *count,
        other => panic!("no count: {other:?}"),
    }
}

/// How often a quorum queue has had the message back.
pub(crate) fn delivery_count(properties: &BasicProperties) -> Option<i64> {
    match properties.headers().as_ref()?.inner().get("x-delivery-count")? {
        AMQPValue::LongLongInt(count) => Some(*count),
        other => panic!("a count of another type: {other:?}"),
    }
}

pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
