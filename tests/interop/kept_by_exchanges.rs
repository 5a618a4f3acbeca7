//! What exchanges keep, and whether it survives the end of the broker, stopped or killed.

use crate::{
    lapin_words::*,
    lasting::{Lasting, stopped_and_killed, wait_until},
};
use lapin::{
    BasicProperties, Channel, ExchangeKind,
    options::*,
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;
use tokio::time::Instant;

stopped_and_killed! {
    delays_go_on_while_it_is_down
    many_delayed_messages_are_kept_and_each_comes_once
    a_deleted_exchange_leaves_no_delayed_message_behind
    a_history_is_kept
    keys_are_kept_if_they_were_to_be
    a_queue_knows_its_duplicates_again
}

async fn declare_with<const N: usize>(
    channel: &Channel,
    exchange: &str,
    kind: &str,
    arguments: [(&str, AMQPValue); N],
) {
    let kind = ExchangeKind::Custom(kind.to_owned());
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    soon(channel.exchange_declare(exchange.into(), kind, options, table(arguments))).await;
}

/// A durable exchange that delays, and a durable queue that is bound to it.
async fn declare_delayed(channel: &Channel) {
    declare_with(channel, "later", "x-delayed-message", [("x-delayed-type", text("fanout"))]).await;
    bind(channel, durable(channel, "q").await, "later", "", []).await;
}

fn with_header(mode: u8, name: &str, value: AMQPValue) -> BasicProperties {
    delivery_mode(mode).with_headers(table([(name, value)]))
}

async fn put_delayed(channel: &Channel, body: &str, delay: Duration) {
    let delay = AMQPValue::LongInt(delay.as_millis() as i32);
    put(channel, "later", "k", body.as_bytes(), with_header(2, "x-delay", delay)).await;
}

async fn delays_go_on_while_it_is_down(mut broker: Lasting) {
    const SHORT: Duration = Duration::from_secs(2);
    const LONG: Duration = Duration::from_secs(9);
    let channel = confirming(&broker).await;
    declare_delayed(&channel).await;
    let begun = Instant::now();
    put_delayed(&channel, "long", LONG).await;
    put_delayed(&channel, "second", SHORT).await;
    put_delayed(&channel, "first", SHORT / 2).await;
    let transient = with_header(1, "x-delay", AMQPValue::LongInt(2000));
    put(&channel, "later", "", b"third, transient", transient).await;
    assert_eq!(ready(&channel, "q").await, 0);
    let overdue = Instant::now() + SHORT;

    broker.end();
    wait_until(overdue).await;
    broker.begin(&[]);
    let channel = open_channel(&broker).await;
    let mut deliveries = consume(&channel, &"q".into()).await;
    for expected in ["first", "second", "third, transient", "long"] {
        let delivery = next(&mut deliveries).await;
        assert_eq!(String::from_utf8_lossy(&delivery.data), expected);
        let headers: FieldTable = delivery.properties.headers().clone().expect("it has a header");
        let Some(AMQPValue::LongLongInt(delay)) = headers.inner().get("x-delay") else {
            panic!("no delay in {headers:?}");
        };
        assert!(*delay < 0, "{expected}: {delay}");
    }
    assert!(begun.elapsed() >= LONG, "the last one was early: {:?}", begun.elapsed());
    assert!(begun.elapsed() < LONG + SHORT, "its delay began afresh: {:?}", begun.elapsed());
}

async fn many_delayed_messages_are_kept_and_each_comes_once(mut broker: Lasting) {
    const MESSAGES: usize = 2000;
    let channel = confirming(&broker).await;
    declare_delayed(&channel).await;
    let mut confirms = Vec::new();
    for number in 0..MESSAGES {
        // Some are due before the end, some after it.
        let delay = AMQPValue::LongInt(1 + (number as i32 * 7919) % 3000);
        let properties = with_header(2, "x-delay", delay);
        confirms.push(send(&channel, "later", "", number.to_string().as_bytes(), properties).await);
    }
    for confirm in confirms {
        assert!(soon(confirm).await.is_ack());
    }
    broker.restart();
    broker.restart();
    let channel = open_channel(&broker).await;
    let mut deliveries = consume(&channel, &"q".into()).await;
    let mut found: Vec<usize> = Vec::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut deliveries).await;
        found.push(String::from_utf8_lossy(&delivery.data).parse().expect("a number"));
    }
    found.sort_unstable();
    assert_eq!(found, (0..MESSAGES).collect::<Vec<_>>());
}

async fn a_deleted_exchange_leaves_no_delayed_message_behind(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    declare_delayed(&channel).await;
    put_delayed(&channel, "gone", Duration::from_secs(1)).await;
    soon(channel.exchange_delete("later".into(), ExchangeDeleteOptions::default())).await;
    declare_delayed(&channel).await;
    put_delayed(&channel, "here", Duration::from_secs(2)).await;
    broker.restart();
    let channel = open_channel(&broker).await;
    arrival(&channel, "q").await;
    assert_eq!(bodies(&channel, "q").await, ["here"]);
}

async fn a_history_is_kept(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    let length = [("x-recent-history-length", AMQPValue::LongInt(3))];
    declare_with(&channel, "history", "x-recent-history", length).await;
    for body in ["1", "2", "3", "4", "5"] {
        put(&channel, "history", "", body.as_bytes(), BasicProperties::default()).await;
    }
    broker.restart();
    let channel = confirming(&broker).await;
    put(&channel, "history", "", b"6", persistent()).await;
    bind(&channel, durable(&channel, "q").await, "history", "", []).await;
    assert_eq!(bodies(&channel, "q").await, ["4", "5", "6"]);
}

async fn keys_are_kept_if_they_were_to_be(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    let size = ("x-cache-size", AMQPValue::LongInt(2));
    let on_disk = ("x-cache-persistence", text("disk"));
    declare_with(&channel, "disk", "x-message-deduplication", [size.clone(), on_disk]).await;
    declare_with(&channel, "memory", "x-message-deduplication", [size]).await;
    for exchange in ["disk", "memory"] {
        bind(&channel, durable(&channel, exchange).await, exchange, "", []).await;
    }
    let keyed = |key| with_header(2, "x-deduplication-header", text(key));
    for exchange in ["disk", "memory"] {
        for key in ["a", "b", "c"] {
            put(&channel, exchange, "", key.as_bytes(), keyed(key)).await;
        }
    }
    broker.restart();
    let channel = confirming(&broker).await;
    for exchange in ["disk", "memory"] {
        for key in ["c", "b", "a"] {
            put(&channel, exchange, "", b"again", keyed(key)).await;
        }
    }
    assert_eq!(bodies(&channel, "disk").await, ["a", "b", "c", "again"]);
    assert_eq!(bodies(&channel, "memory").await, ["a", "b", "c", "again", "again", "again"]);
}

async fn a_queue_knows_its_duplicates_again(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    let unique = [("x-message-deduplication", AMQPValue::Boolean(true))];
    durable_with(&channel, "q", unique).await;
    let keyed = |key| with_header(2, "x-deduplication-header", text(key));
    put(&channel, "", "q", b"a", keyed("a")).await;
    put(&channel, "", "q", b"b", keyed("b")).await;
    let taken = take(&channel, "q").await.expect("the first message");
    soon(taken.delivery.acker.ack(BasicAckOptions::default())).await;
    sync(&broker, &channel).await;
    broker.restart();
    let channel = confirming(&broker).await;
    put(&channel, "", "q", b"a again", keyed("a")).await;
    put(&channel, "", "q", b"b again", keyed("b")).await;
    assert_eq!(bodies(&channel, "q").await, ["b", "a again"]);
}
