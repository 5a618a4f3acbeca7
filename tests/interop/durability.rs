//! What survives the end of the broker, stopped or killed, and what does not.

use crate::{
    lapin_words::*,
    lasting::{Ending, Lasting, stopped_and_killed, wait_until},
};
use lapin::{
    BasicProperties, Connection, ExchangeKind,
    options::*,
    types::{AMQPValue, FieldTable},
};
use std::{fs, time::Duration};
use tokio::time::Instant;

stopped_and_killed! {
    durable_things_are_kept_and_routed
    transient_things_are_gone
    persistent_messages_keep_their_order
    a_body_in_several_queues_leaves_each_by_itself
    what_was_handed_out_comes_back_redelivered
    what_was_got_comes_back_redelivered
    what_was_purged_deleted_or_unbound_stays_away
    time_to_live_goes_on_while_it_is_down
    an_auto_delete_queue_waits_for_its_next_consumer
    a_dead_letter_is_in_one_place
    a_transaction_is_there_or_not
    priorities_are_kept
    arguments_are_kept
    a_large_body_is_kept
    failed_deliveries_stay_counted
    a_second_end_loses_nothing_either
}

async fn durable_things_are_kept_and_routed(mut broker: Lasting) {
    let channel = open_channel(&broker).await;
    let kinds = [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic];
    for (name, kind) in ["direct", "fanout", "topic"].into_iter().zip(kinds.clone()) {
        declare_exchange(&channel, name, kind, true).await;
        bind(&channel, durable(&channel, &format!("of {name}")).await, name, "a.b", []).await;
    }
    bind(&channel, "of topic", "topic", "*.c", []).await;
    declare_exchange(&channel, "inner", ExchangeKind::Fanout, true).await;
    bind(&channel, durable(&channel, "of inner").await, "inner", "", []).await;
    let nothing = FieldTable::default();
    let bound = channel.exchange_bind(
        "inner".into(),
        "topic".into(),
        "#.d".into(),
        ExchangeBindOptions::default(),
        nothing.clone(),
    );
    soon(bound).await;
    declare_exchange(&channel, "headers", ExchangeKind::Headers, true).await;
    let both = [("x-match", text("all")), ("a", AMQPValue::LongInt(1)), ("b", text("two"))];
    bind(&channel, durable(&channel, "of headers").await, "headers", "", both).await;

    broker.restart();
    let channel = confirming(&broker).await;
    for (name, kind) in ["direct", "fanout", "topic"].into_iter().zip(kinds) {
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        soon(channel.exchange_declare(name.into(), kind.clone(), passive, nothing.clone())).await;
        declare_exchange(&channel, name, kind, true).await;
    }
    for (exchange, key) in
        [("direct", "a.b"), ("direct", "c"), ("fanout", "c"), ("topic", "x.c"), ("topic", "a.b.d")]
    {
        put(&channel, exchange, key, b"routed", persistent()).await;
    }
    let whole = [("a", AMQPValue::LongInt(1)), ("b", text("two")), ("c", text("three"))];
    let half = [("a", AMQPValue::LongInt(1))];
    put(&channel, "headers", "", b"routed", persistent().with_headers(table(whole))).await;
    put(&channel, "headers", "", b"no", persistent().with_headers(table(half))).await;
    let queues = ["of direct", "of fanout", "of topic", "of inner", "of headers"];
    for queue in queues {
        assert_eq!(ready(&channel, queue).await, 1, "{queue}");
    }
}

async fn transient_things_are_gone(mut broker: Lasting) {
    let connection = open_connection(&broker).await;
    let channel = soon(connection.create_channel()).await;
    confirms(&channel).await;
    let transient = QueueDeclareOptions::default();
    let exclusive = QueueDeclareOptions { exclusive: true, durable: true, ..Default::default() };
    let nothing = FieldTable::default();
    soon(channel.queue_declare("transient".into(), transient, nothing.clone())).await;
    soon(channel.queue_declare("exclusive".into(), exclusive, nothing.clone())).await;
    durable(&channel, "durable").await;
    declare_exchange(&channel, "transient", ExchangeKind::Fanout, false).await;
    declare_exchange(&channel, "durable", ExchangeKind::Fanout, true).await;
    bind(&channel, "durable", "transient", "", []).await;
    bind(&channel, "transient", "durable", "", []).await;
    bind(&channel, "exclusive", "durable", "", []).await;
    put(&channel, "", "transient", b"persistent, elsewhere", persistent()).await;
    put(&channel, "", "durable", b"transient", BasicProperties::default()).await;
    put(&channel, "", "durable", b"transient, said so", delivery_mode(1)).await;
    assert_eq!(ready(&channel, "durable").await, 2);

    broker.restart();
    let connection = open_connection(&broker).await;
    for queue in ["transient", "exclusive"] {
        let missing = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = soon(connection.create_channel()).await;
        let declared = channel.queue_declare(queue.into(), passive, nothing.clone());
        refused(declared, 404, &missing).await;
    }
    let missing = "NOT_FOUND - no exchange 'transient' in vhost '/'";
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let channel = soon(connection.create_channel()).await;
    let kind = ExchangeKind::Fanout;
    let declared = channel.exchange_declare("transient".into(), kind, passive, nothing.clone());
    refused(declared, 404, missing).await;
    let channel = soon(connection.create_channel()).await;
    confirms(&channel).await;
    assert_eq!(ready(&channel, "durable").await, 0);
    declare_exchange(&channel, "transient", ExchangeKind::Fanout, false).await;
    soon(channel.queue_declare("transient".into(), transient, nothing)).await;
    put(&channel, "transient", "", b"no binding", persistent()).await;
    put(&channel, "durable", "", b"no binding", persistent()).await;
    assert_eq!((ready(&channel, "durable").await, ready(&channel, "transient").await), (0, 0));
}

async fn persistent_messages_keep_their_order(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    durable(&channel, "order").await;
    let mut outstanding = Vec::new();
    for number in 0..1000 {
        let mode = if number % 3 == 0 { 1 } else { 2 };
        let body = format!("{number}");
        let properties = delivery_mode(mode);
        outstanding.push(send(&channel, "", "order", body.as_bytes(), properties).await);
    }
    for confirm in outstanding {
        assert!(soon(confirm).await.is_ack());
    }

    broker.restart();
    let channel = open_channel(&broker).await;
    let kept: Vec<_> = (0..1000).filter(|number| number % 3 != 0).collect();
    assert_eq!(ready(&channel, "order").await, kept.len() as u32);
    let mut deliveries = consume(&channel, &"order".into()).await;
    for number in kept {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.data, format!("{number}").into_bytes());
        assert_eq!(delivery.properties, persistent());
        assert_eq!((delivery.exchange, delivery.routing_key), ("".into(), "order".into()));
        // After a crash a broker may not know what it had handed out.
        assert!(!delivery.redelivered || broker.ending == Ending::Kill, "message {number}");
    }
}

async fn a_body_in_several_queues_leaves_each_by_itself(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    for queue in ["first", "second", "third"] {
        bind(&channel, durable(&channel, queue).await, "amq.fanout", "", []).await;
    }
    for body in [b"one", b"two"] {
        put(&channel, "amq.fanout", "key", body, persistent()).await;
    }
    assert_eq!(bodies(&channel, "second").await, ["one", "two"]);
    assert_eq!(bodies(&channel, "third").await, ["one", "two"]);
    sync(&broker, &channel).await;

    broker.restart();
    let channel = confirming(&broker).await;
    put(&channel, "amq.fanout", "key", b"three", persistent()).await;
    assert_eq!(bodies(&channel, "first").await, ["one", "two", "three"]);
    assert_eq!(bodies(&channel, "second").await, ["three"]);
    assert_eq!(bodies(&channel, "third").await, ["three"]);
}

async fn what_was_handed_out_comes_back_redelivered(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    durable(&channel, "work").await;
    for number in 0..10 {
        put(&channel, "", "work", format!("{number}").as_bytes(), persistent()).await;
    }
    soon(channel.basic_qos(6, BasicQosOptions::default())).await;
    let mut deliveries = consume(&channel, &"work".into()).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(next(&mut deliveries).await);
    }
    // Settled: the first two with one word, and the fifth. Handed out: two more, and with the room
    // that the three left, the next three. Left alone: the last.
    soon(held[1].ack(BasicAckOptions { multiple: true })).await;
    soon(held[4].ack(BasicAckOptions::default())).await;
    for _ in 0..3 {
        next(&mut deliveries).await;
    }
    sync(&broker, &channel).await;

    broker.restart();
    let channel = open_channel(&broker).await;
    let mut found = Vec::new();
    while let Some(message) = take(&channel, "work").await {
        found.push((body(&message), message.delivery.redelivered));
    }
    let handed_out = ["2", "3", "5", "6", "7", "8"].map(|body| (body.to_owned(), true));
    let last = found.pop();
    assert_eq!(found, handed_out);
    let (last, redelivered) = last.expect("one was never handed out");
    assert_eq!(last, "9");
    assert!(!redelivered || broker.ending == Ending::Kill, "it was never handed out");
}

async fn what_was_got_comes_back_redelivered(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    durable(&channel, "got").await;
    for body in ["held", "acknowledged", "requeued", "rejected", "forgotten", "left"] {
        put(&channel, "", "got", body.as_bytes(), persistent()).await;
    }
    let _held = take(&channel, "got").await;
    let get = async || take(&channel, "got").await.expect("there is another").delivery;
    soon(get().await.ack(BasicAckOptions::default())).await;
    let requeued = get().await;
    soon(get().await.reject(BasicRejectOptions { requeue: false })).await;
    let without_acks = BasicGetOptions { no_ack: true };
    let forgotten = soon(channel.basic_get("got".into(), without_acks)).await;
    assert_eq!(body(&forgotten.expect("there is another")), "forgotten");
    soon(requeued.nack(BasicNackOptions { requeue: true, ..Default::default() })).await;
    sync(&broker, &channel).await;

    broker.restart();
    let channel = open_channel(&broker).await;
    for expected in ["held", "requeued"] {
        let message = take(&channel, "got").await.expect("it was not settled");
        assert_eq!((body(&message).as_str(), message.delivery.redelivered), (expected, true));
    }
    assert_eq!(bodies(&channel, "got").await, ["left"]);
}

async fn what_was_purged_deleted_or_unbound_stays_away(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    for queue in ["purged", "deleted", "new", "unbound"] {
        bind(&channel, durable(&channel, queue).await, "amq.direct", queue, []).await;
        for body in ["one", "two"] {
            put(&channel, "amq.direct", queue, body.as_bytes(), persistent()).await;
        }
    }
    declare_exchange(&channel, "gone", ExchangeKind::Fanout, true).await;
    soon(channel.exchange_delete("gone".into(), ExchangeDeleteOptions::default())).await;
    soon(channel.queue_purge("purged".into(), QueuePurgeOptions::default())).await;
    put(&channel, "", "purged", b"after", persistent()).await;
    for queue in ["deleted", "new"] {
        soon(channel.queue_delete(queue.into(), QueueDeleteOptions::default())).await;
    }
    durable(&channel, "new").await;
    put(&channel, "", "new", b"after", persistent()).await;
    let key = "unbound".into();
    let unbound =
        channel.queue_unbind("unbound".into(), "amq.direct".into(), key, FieldTable::default());
    soon(unbound).await;
    sync(&broker, &channel).await;

    broker.restart();
    let connection = open_connection(&broker).await;
    let channel = soon(connection.create_channel()).await;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare("deleted".into(), passive, FieldTable::default());
    refused(declared, 404, "NOT_FOUND - no queue 'deleted' in vhost '/'").await;
    let channel = soon(connection.create_channel()).await;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let kind = ExchangeKind::Fanout;
    let declared = channel.exchange_declare("gone".into(), kind, passive, FieldTable::default());
    refused(declared, 404, "NOT_FOUND - no exchange 'gone' in vhost '/'").await;
    let channel = soon(connection.create_channel()).await;
    confirms(&channel).await;
    for key in ["new", "unbound"] {
        put(&channel, "amq.direct", key, b"no binding", persistent()).await;
    }
    assert_eq!(bodies(&channel, "purged").await, ["after"]);
    assert_eq!(bodies(&channel, "new").await, ["after"]);
    assert_eq!(bodies(&channel, "unbound").await, ["one", "two"]);
}

async fn time_to_live_goes_on_while_it_is_down(mut broker: Lasting) {
    const SHORT: Duration = Duration::from_secs(3);
    let channel = confirming(&broker).await;
    durable(&channel, "dead").await;
    let short = SHORT.as_millis() as i32;
    let dying = [
        ("x-message-ttl", AMQPValue::LongInt(short)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    durable_with(&channel, "by queue", dying.clone()).await;
    durable_with(&channel, "by message", [dying[1].clone(), dying[2].clone()]).await;
    put(&channel, "", "by queue", b"by queue", persistent()).await;
    let expiring = persistent().with_expiration(format!("{short}").into());
    put(&channel, "", "by message", b"by message", expiring).await;
    let long = persistent().with_expiration("600000".into());
    put(&channel, "", "by message", b"long", long).await;
    let deadline = Instant::now() + SHORT;

    broker.end();
    wait_until(deadline).await;
    broker.begin(&[]);
    let begun = Instant::now();
    let channel = open_channel(&broker).await;
    assert_eq!(bodies(&channel, "by queue").await.len(), 0);
    assert_eq!(bodies(&channel, "by message").await, ["long"]);
    let mut deliveries = consume(&channel, &"dead".into()).await;
    let mut dead = Vec::new();
    for _ in 0..2 {
        dead.push(String::from_utf8(next(&mut deliveries).await.data).expect("it is text"));
    }
    dead.sort();
    assert_eq!(dead, ["by message", "by queue"]);
    assert!(begun.elapsed() < SHORT, "the time began afresh");
}

async fn an_auto_delete_queue_waits_for_its_next_consumer(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    let options = QueueDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    for queue in ["never consumed from", "consumed from"] {
        soon(channel.queue_declare(queue.into(), options, FieldTable::default())).await;
        put(&channel, "", queue, b"kept", persistent()).await;
    }
    let _consumer = consume(&channel, &"consumed from".into()).await;

    broker.restart();
    let connection = open_connection(&broker).await;
    let channel = soon(connection.create_channel()).await;
    let mut deliveries = consume(&channel, &"never consumed from".into()).await;
    assert_eq!(next(&mut deliveries).await.data, b"kept");
    soon(channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default())).await;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let name = "never consumed from";
    let declared = channel.queue_declare(name.into(), passive, FieldTable::default());
    refused(declared, 404, &format!("NOT_FOUND - no queue '{name}' in vhost '/'")).await;
    if broker.ending == Ending::Stop {
        // To stop is to close the clients' connections first: the last consumer has left.
        return;
    }
    let channel = soon(connection.create_channel()).await;
    assert_eq!(ready(&channel, "consumed from").await, 1);
}

async fn a_dead_letter_is_in_one_place(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    for (queue, next) in [("work", "dead"), ("dead", "work")] {
        let to = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(next))];
        durable_with(&channel, queue, to).await;
    }
    for body in ["rejected", "acknowledged", "left"] {
        put(&channel, "", "work", body.as_bytes(), persistent()).await;
    }
    let rejected = take(&channel, "work").await.expect("it was published").delivery;
    let acknowledged = take(&channel, "work").await.expect("it was published").delivery;
    soon(rejected.reject(BasicRejectOptions { requeue: false })).await;
    soon(acknowledged.ack(BasicAckOptions::default())).await;
    // Carried over, before the end: what is under test is where it is afterwards.
    arrival(&channel, "dead").await;
    put(&channel, "", "work", b"later", persistent()).await;

    broker.restart();
    let channel = confirming(&broker).await;
    assert_eq!(bodies(&channel, "work").await, ["left", "later"]);
    let dead = take(&channel, "dead").await.expect("it was rejected");
    assert_eq!(body(&dead), "rejected");
    assert_eq!((death_count(&dead), ready(&channel, "dead").await), (1, 0));
    // It goes round once more, with its history.
    soon(dead.delivery.reject(BasicRejectOptions { requeue: false })).await;
    arrival(&channel, "work").await;
    let again = take(&channel, "work").await.expect("it has arrived").delivery;
    soon(again.reject(BasicRejectOptions { requeue: false })).await;
    arrival(&channel, "dead").await;
    let dead = take(&channel, "dead").await.expect("it has arrived");
    assert_eq!(death_count(&dead), 2);
}

async fn a_transaction_is_there_or_not(mut broker: Lasting) {
    let channel = open_channel(&broker).await;
    for queue in ["first", "second"] {
        bind(&channel, durable(&channel, queue).await, "amq.fanout", "", []).await;
    }
    for body in ["one", "two", "three"] {
        soon(send(&channel, "", "first", body.as_bytes(), persistent()).await).await;
    }
    soon(channel.tx_select()).await;
    for body in ["four", "five"] {
        soon(send(&channel, "amq.fanout", "", body.as_bytes(), persistent()).await).await;
    }
    let one = take(&channel, "first").await.expect("it was published").delivery;
    soon(one.ack(BasicAckOptions::default())).await;
    soon(channel.tx_commit()).await;
    soon(send(&channel, "amq.fanout", "", b"six", persistent()).await).await;
    let two = take(&channel, "first").await.expect("it was published").delivery;
    soon(two.ack(BasicAckOptions::default())).await;
    sync(&broker, &channel).await;

    broker.restart();
    let channel = open_channel(&broker).await;
    assert_eq!(bodies(&channel, "first").await, ["two", "three", "four", "five"]);
    assert_eq!(bodies(&channel, "second").await, ["four", "five"]);
}

async fn priorities_are_kept(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    durable_with(&channel, "ranked", [("x-max-priority", AMQPValue::LongInt(5))]).await;
    for (number, priority) in [0, 5, 2, 9, 5, 0].into_iter().enumerate() {
        let body = format!("{number} of {priority}");
        let properties = persistent().with_priority(priority);
        put(&channel, "", "ranked", body.as_bytes(), properties).await;
    }

    broker.restart();
    let channel = confirming(&broker).await;
    put(&channel, "", "ranked", b"6 of 3", persistent().with_priority(3)).await;
    let order = ["1 of 5", "3 of 9", "4 of 5", "6 of 3", "2 of 2", "0 of 0", "5 of 0"];
    assert_eq!(bodies(&channel, "ranked").await, order);
}

async fn arguments_are_kept(mut broker: Lasting) {
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", text("reject-publish")),
        ("x-expires", AMQPValue::LongInt(3_600_000)),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
    ];
    let channel = confirming(&broker).await;
    durable_with(&channel, "limited", arguments.clone()).await;
    put(&channel, "", "limited", b"one", persistent()).await;

    broker.restart();
    let connection = open_connection(&broker).await;
    let channel = soon(connection.create_channel()).await;
    confirms(&channel).await;
    durable_with(&channel, "limited", arguments.clone()).await;
    put(&channel, "", "limited", b"two", persistent()).await;
    let third = send(&channel, "", "limited", b"three", persistent()).await;
    assert!(soon(third).await.is_nack(), "the limit is forgotten");
    let mut other = arguments;
    other[0].1 = AMQPValue::LongInt(3);
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'limited' in \
                vhost '/': received '3' but current is '2'";
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    refused(channel.queue_declare("limited".into(), options, table(other)), 406, text).await;
    let channel = soon(connection.create_channel()).await;
    let text = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'limited' in vhost '/': \
                received 'false' but current is 'true'";
    let options = QueueDeclareOptions::default();
    let declared = channel.queue_declare("limited".into(), options, FieldTable::default());
    refused(declared, 406, text).await;
}

async fn a_large_body_is_kept(mut broker: Lasting) {
    let content: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    let channel = confirming(&broker).await;
    durable(&channel, "large").await;
    for number in 0..3 {
        put(&channel, "", "large", &content[number..], persistent()).await;
    }

    broker.restart();
    let channel = open_channel(&broker).await;
    for number in 0..3 {
        let message = take(&channel, "large").await.expect("it was confirmed");
        assert!(message.delivery.data == content[number..], "other octets came back");
    }
}

async fn failed_deliveries_stay_counted(mut broker: Lasting) {
    let channel = confirming(&broker).await;
    durable(&channel, "poison").await;
    let limited = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(2)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("poison")),
    ];
    durable_with(&channel, "limited", limited).await;
    put(&channel, "", "limited", b"poison", persistent()).await;
    let mut deliveries = consume(&channel, &"limited".into()).await;
    let first = next(&mut deliveries).await;
    soon(first.reject(BasicRejectOptions { requeue: true })).await;
    let second = next(&mut deliveries).await;
    assert_eq!(delivery_count(&second.properties), Some(1));
    sync(&broker, &channel).await;

    broker.restart();
    let channel = open_channel(&broker).await;
    let mut deliveries = consume(&channel, &"limited".into()).await;
    let third = next(&mut deliveries).await;
    let count = delivery_count(&third.properties).expect("it starts afresh");
    // The second delivery was lost with its consumer, which counts; a broker that was killed may
    // not know of it.
    assert!(count == 2 || (count == 1 && broker.ending == Ending::Kill), "counted {count}");
    assert!(third.redelivered);
    soon(third.reject(BasicRejectOptions { requeue: true })).await;
    if count == 1 {
        let fourth = next(&mut deliveries).await;
        soon(fourth.reject(BasicRejectOptions { requeue: true })).await;
    }
    let mut poison = consume(&channel, &"poison".into()).await;
    assert_eq!(next(&mut poison).await.data, b"poison");
    assert_eq!(ready(&channel, "limited").await, 0);
}

async fn a_second_end_loses_nothing_either(mut broker: Lasting) {
    let mut expected = Vec::new();
    for round in 0..4 {
        let channel = confirming(&broker).await;
        durable(&channel, "rounds").await;
        for number in 0..20 {
            let body = format!("{round}.{number}");
            put(&channel, "", "rounds", body.as_bytes(), persistent()).await;
            expected.push(body);
        }
        let first = take(&channel, "rounds").await.expect("messages are there");
        assert_eq!(body(&first), expected.remove(0));
        soon(first.delivery.ack(BasicAckOptions::default())).await;
        sync(&broker, &channel).await;
        broker.restart();
    }
    let channel = open_channel(&broker).await;
    assert_eq!(bodies(&channel, "rounds").await, expected);
}

/// The first start takes users and virtual host from the settings; later ones from the directory.
#[tokio::test]
async fn user_and_virtual_host_survive() {
    for ending in [Ending::Stop, Ending::Kill] {
        let mut broker = Lasting::on_empty_directory(ending);
        let file = broker.directory().join("first.conf");
        let settings = "default_user = ada\ndefault_pass = engine\ndefault_vhost = analytical\n";
        fs::write(&file, settings).expect("the directory is ours");
        broker.begin(&["--config", file.to_str().expect("the path is text")]);
        let url = broker.url_as("ada:engine", "analytical");
        let channel = soon(connect_to(&url, false).await.create_channel()).await;
        confirms(&channel).await;
        durable(&channel, "notes").await;
        put(&channel, "", "notes", b"note g", persistent()).await;

        broker.restart();
        let url = broker.url_as("ada:engine", "analytical");
        let channel = soon(connect_to(&url, false).await.create_channel()).await;
        assert_eq!(bodies(&channel, "notes").await, ["note g"]);
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                    For details see the broker logfile.";
        let properties = lapin::ConnectionProperties::default();
        refused(Connection::connect(&broker.url(), properties), 403, text).await;
    }
}
