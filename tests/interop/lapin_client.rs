//! Rust's lapin: the cases of the interoperability suite, each against a fresh broker.

use crate::{broker::Broker, lapin_words::*, relay::Relay};
use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties, Event, ExchangeKind,
    options::*,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString},
};
use tokio::time::timeout;

#[tokio::test]
async fn publish_consume() {
    let broker = Broker::start();
    let channel = open(&broker).await;
    let (exchange, queue) = (unique(), unique());
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    let kind = ExchangeKind::Topic;
    soon(channel.exchange_declare(exchange.clone(), kind, options, table([]))).await;
    let options = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    soon(channel.queue_declare(queue.clone(), options, table([]))).await;
    let bind = QueueBindOptions::default();
    soon(channel.queue_bind(queue.clone(), exchange.clone(), "a.*.c".into(), bind, table([])))
        .await;
    let sent = every_property();
    for number in 0..100 {
        let body = format!("{number}");
        for key in ["a.b.c", "a.b"] {
            let options = BasicPublishOptions::default();
            let published = channel.basic_publish(
                exchange.clone(),
                key.into(),
                options,
                body.as_bytes(),
                sent.clone(),
            );
            soon(published).await;
        }
    }
    let mut deliveries = consume(&channel, &queue).await;
    for number in 0..100 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.data, format!("{number}").into_bytes());
        assert_eq!(delivery.exchange, exchange);
        assert_eq!(delivery.routing_key, ShortString::from("a.b.c"));
        assert_eq!((delivery.redelivered, delivery.delivery_tag), (false, number + 1));
        assert_eq!(delivery.properties, sent);
        soon(delivery.ack(BasicAckOptions::default())).await;
    }
}

fn every_property() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("60000".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("k".into())
}

#[tokio::test]
async fn publisher_confirms() {
    let broker = Broker::start();
    let channel = open(&broker).await;
    soon(channel.confirm_select(ConfirmSelectOptions::default())).await;
    let limits = table([
        ("x-max-length", AMQPValue::LongInt(50)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ]);
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = unique();
    soon(channel.queue_declare(queue.clone(), options, limits)).await;
    let mut confirms = Vec::new();
    for _ in 0..50 {
        confirms.push(publish(&channel, &queue, b"confirmed").await);
    }
    for confirm in confirms {
        assert_eq!(soon(confirm).await, Confirmation::Ack(None));
    }
    assert_eq!(ready_messages(&channel, &queue).await, 50);
    let refused = publish(&channel, &queue, b"one too many").await;
    assert!(soon(refused).await.is_nack(), "a full queue confirmed a message");
}

#[tokio::test]
async fn manual_ack() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = soon(connection.create_channel()).await;
    let queue = declare(&channel).await;
    for _ in 0..3 {
        publish(&channel, &queue, b"work").await;
    }
    let mut deliveries = consume(&channel, &queue).await;
    next(&mut deliveries).await;
    let second = next(&mut deliveries).await;
    assert_eq!(next(&mut deliveries).await.delivery_tag, 3);
    soon(second.ack(BasicAckOptions { multiple: true })).await;
    soon(channel.close(200, "done".into())).await;
    let channel = soon(connection.create_channel()).await;
    let left = soon(channel.basic_get(queue.clone(), BasicGetOptions::default()))
        .await
        .expect("the third was not acknowledged");
    assert_eq!((left.delivery.redelivered, left.message_count), (true, 0));
    soon(left.delivery.ack(BasicAckOptions::default())).await;
    soon(channel.close(200, "done".into())).await;
    assert!(is_empty(&connection, &queue).await);
}

#[tokio::test]
async fn redelivery_after_nack() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = soon(connection.create_channel()).await;
    let queue = declare(&channel).await;
    publish(&channel, &queue, b"again").await;
    let mut deliveries = consume(&channel, &queue).await;
    let delivery = next(&mut deliveries).await;
    assert!(!delivery.redelivered);
    soon(delivery.nack(BasicNackOptions { requeue: true, ..Default::default() })).await;
    let delivery = next(&mut deliveries).await;
    assert!(delivery.redelivered);
    soon(delivery.reject(BasicRejectOptions { requeue: true })).await;
    let delivery = next(&mut deliveries).await;
    assert_eq!((delivery.redelivered, delivery.data.as_slice()), (true, b"again".as_slice()));
    soon(delivery.nack(BasicNackOptions { requeue: false, ..Default::default() })).await;
    soon(channel.close(200, "done".into())).await;
    assert!(is_empty(&connection, &queue).await);
}

#[tokio::test]
async fn redelivery_after_connection_loss() {
    let broker = Broker::start();
    let relay = Relay::open(broker.host.clone(), broker.port).await;
    let channel = open(&broker).await;
    let queue = unique();
    soon(channel.queue_declare(queue.clone(), QueueDeclareOptions::default(), table([]))).await;
    publish(&channel, &queue, b"survives").await;
    let lost = connect_to(&broker.url_at(relay.port, "guest"), false).await;
    let lost_channel = soon(lost.create_channel()).await;
    let held = next(&mut consume(&lost_channel, &queue).await).await;
    assert!(!held.redelivered);
    relay.cut();
    let delivery = next(&mut consume(&channel, &queue).await).await;
    assert_eq!((delivery.redelivered, delivery.data.as_slice()), (true, b"survives".as_slice()));
    soon(delivery.ack(BasicAckOptions::default())).await;
    soon(channel.queue_delete(queue, QueueDeleteOptions::default())).await;
}

#[tokio::test]
async fn prefetch() {
    let broker = Broker::start();
    let channel = open(&broker).await;
    let queue = declare(&channel).await;
    for number in 0..5 {
        publish(&channel, &queue, format!("{number}").as_bytes()).await;
    }
    soon(channel.basic_qos(2, BasicQosOptions::default())).await;
    let mut deliveries = consume(&channel, &queue).await;
    let first = next(&mut deliveries).await;
    next(&mut deliveries).await;
    assert_eq!(ready_messages(&channel, &queue).await, 3);
    soon(first.ack(BasicAckOptions::default())).await;
    assert_eq!(next(&mut deliveries).await.data, b"2");
    assert_eq!(ready_messages(&channel, &queue).await, 2);
}

#[tokio::test]
async fn mandatory_return() {
    let broker = Broker::start();
    let channel = open(&broker).await;
    soon(channel.confirm_select(ConfirmSelectOptions::default())).await;
    let nowhere = unique();
    let sent = BasicProperties::default()
        .with_message_id("m".into())
        .with_headers(table([("h", AMQPValue::LongInt(1))]));
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let published =
        channel.basic_publish("".into(), nowhere.clone(), options, b"back", sent.clone());
    let confirm = soon(soon(published).await).await;
    assert!(confirm.is_ack());
    let returned = confirm.take_message().expect("it went nowhere");
    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!(returned.delivery.exchange, ShortString::from(""));
    assert_eq!(returned.delivery.routing_key, nowhere);
    assert_eq!(returned.delivery.properties, sent);
    assert_eq!(returned.delivery.data, b"back");
}

#[tokio::test]
async fn headers_round_trip() {
    let broker = Broker::start();
    let channel = open(&broker).await;
    let queue = declare(&channel).await;
    let sent = BasicProperties::default().with_headers(headers());
    let options = BasicPublishOptions::default();
    soon(channel.basic_publish("".into(), queue.clone(), options, b"", sent.clone())).await;
    assert_eq!(next(&mut consume(&channel, &queue).await).await.properties, sent);
}

fn headers() -> FieldTable {
    let array = FieldArray::from(vec![
        AMQPValue::ShortShortInt(-1),
        AMQPValue::Void,
        AMQPValue::FieldArray(FieldArray::default()),
    ]);
    let longest = "k".repeat(255);
    table([
        ("boolean", AMQPValue::Boolean(true)),
        ("int8", AMQPValue::ShortShortInt(i8::MIN)),
        ("uint8", AMQPValue::ShortShortUInt(u8::MAX)),
        ("int16", AMQPValue::ShortInt(i16::MIN)),
        ("uint16", AMQPValue::ShortUInt(u16::MAX)),
        ("int32", AMQPValue::LongInt(i32::MIN)),
        ("uint32", AMQPValue::LongUInt(u32::MAX)),
        ("int64", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(2.5)),
        ("double", AMQPValue::Double(2.25)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("text", AMQPValue::LongString("Grüße".into())),
        ("octets", AMQPValue::ByteArray((0..=255).collect::<Vec<u8>>().into())),
        ("timestamp", AMQPValue::Timestamp(1_700_000_000)),
        ("nothing", AMQPValue::Void),
        ("array", AMQPValue::FieldArray(array)),
        ("table", AMQPValue::FieldTable(table([("deep", AMQPValue::Boolean(false))]))),
        ("", AMQPValue::LongString("an empty key".into())),
        (&longest, AMQPValue::LongString("the longest key".into())),
    ])
}

#[tokio::test]
async fn empty_body() {
    body_round_trip(&[]).await;
}

#[tokio::test]
async fn large_body() {
    let body: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    body_round_trip(&body).await;
}

async fn body_round_trip(body: &[u8]) {
    let broker = Broker::start();
    let channel = open(&broker).await;
    let queue = declare(&channel).await;
    publish(&channel, &queue, body).await;
    let delivery = next(&mut consume(&channel, &queue).await).await;
    assert!(delivery.data == body, "{} octets went out, others came back", body.len());
}

#[tokio::test]
async fn error_404() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let missing = unique();
    let no_queue = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let channel = soon(connection.create_channel()).await;
    let declared = channel.queue_declare(missing.clone(), options, table([]));
    refused(declared, 404, &no_queue).await;
    let channel = soon(connection.create_channel()).await;
    refused(start_consumer(&channel, &missing, false), 404, &no_queue).await;
    let no_exchange = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let channel = soon(connection.create_channel()).await;
    let declared = channel.exchange_declare(missing, ExchangeKind::Direct, options, table([]));
    refused(declared, 404, &no_exchange).await;
    soon(connection.create_channel()).await;
}

#[tokio::test]
async fn error_405() {
    let broker = Broker::start();
    let owner = open(&broker).await;
    let queue = declare(&owner).await;
    let locked = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. \
         It could be originally declared on another connection or the exclusive property value \
         does not match that of the original declaration."
    );
    let connection = connect(&broker).await;
    let channel = soon(connection.create_channel()).await;
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    refused(channel.queue_declare(queue.clone(), options, table([])), 405, &locked).await;
    let channel = soon(connection.create_channel()).await;
    refused(start_consumer(&channel, &queue, false), 405, &locked).await;
}

#[tokio::test]
async fn error_406() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = unique();
    let channel = soon(connection.create_channel()).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    soon(channel.queue_declare(queue.clone(), durable, table([]))).await;
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': \
         received 'false' but current is 'true'"
    );
    let transient = QueueDeclareOptions::default();
    refused(channel.queue_declare(queue.clone(), transient, table([])), 406, &text).await;
    let channel = soon(connection.create_channel()).await;
    soon(channel.basic_ack(42, BasicAckOptions::default())).await;
    let text = "PRECONDITION_FAILED - unknown delivery tag 42";
    refused(channel.queue_declare(unique(), transient, table([])), 406, text).await;
    let channel = soon(connection.create_channel()).await;
    soon(channel.queue_delete(queue, QueueDeleteOptions::default())).await;
}

#[tokio::test]
async fn error_403() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let reserved = ShortString::from(format!("amq.{}", unique()));
    let text = format!("ACCESS_REFUSED - queue name '{reserved}' contains reserved prefix 'amq.*'");
    let channel = soon(connection.create_channel()).await;
    let options = QueueDeclareOptions::default();
    refused(channel.queue_declare(reserved, options, table([])), 403, &text).await;
    let channel = soon(connection.create_channel()).await;
    let queue = declare(&channel).await;
    let _exclusive = soon(start_consumer(&channel, &queue, true)).await;
    let other = soon(connection.create_channel()).await;
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    refused(start_consumer(&other, &queue, false), 403, &text).await;
}

#[tokio::test]
async fn login_refused() {
    let broker = Broker::start();
    let url = broker.url_at(broker.port, "wrong");
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                For details see the broker logfile.";
    refused(Connection::connect(&url, ConnectionProperties::default()), 403, text).await;
}

#[tokio::test]
async fn consumer_cancel_notification() {
    let broker = Broker::start();
    let channel = open(&broker).await;
    let queue = unique();
    soon(channel.queue_declare(queue.clone(), QueueDeclareOptions::default(), table([]))).await;
    let mut deliveries = consume(&channel, &queue).await;
    let other = open(&broker).await;
    soon(other.queue_delete(queue, QueueDeleteOptions::default())).await;
    let end = timeout(PATIENCE, deliveries.next()).await.expect("a cancelled consumer ends");
    assert!(end.is_none(), "instead of ending it gave {end:?}");
    declare(&channel).await;
}

#[tokio::test]
async fn reconnect() {
    let broker = Broker::start();
    let relay = Relay::open(broker.host.clone(), broker.port).await;
    let connection = connect_to(&broker.url_at(relay.port, "guest"), true).await;
    let mut events = connection.events_listener();
    let channel = soon(connection.create_channel()).await;
    let queue = unique();
    soon(channel.queue_declare(queue.clone(), QueueDeclareOptions::default(), table([]))).await;
    let mut deliveries = consume(&channel, &queue).await;
    relay.cut();
    let recovered = timeout(PATIENCE, events.find(|event| matches!(event, Event::Connected))).await;
    assert!(recovered.expect("recovery takes no longer").is_some(), "the events ended");
    let publisher = open(&broker).await;
    publish(&publisher, &queue, b"after").await;
    let received = async {
        // The loss may be reported to the consumer, which goes on.
        let received = deliveries.find_map(Result::ok).await;
        received.expect("recovery keeps the consumer").data
    };
    assert_eq!(timeout(PATIENCE, received).await.expect("it comes in time"), b"after");
    soon(publisher.queue_delete(queue, QueueDeleteOptions::default())).await;
}
