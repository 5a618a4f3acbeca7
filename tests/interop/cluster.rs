//! Three nodes as one broker: lapin on nodes that lead nothing, nodes that die, and
//! `leveret cluster start-local`.

mod load;
mod nodes;

use crate::{
    broker::{fresh_directory, program},
    lapin_words::*,
    lasting::wait_until,
    process::Process,
};
use lapin::{Channel, Confirmation, options::*, types::AMQPValue};
use load::Load;
use nodes::Nodes;
use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_while_leaders_die() {
    const QUEUE: &str = "mirrored";
    let mut nodes = Nodes::start();
    quorum(&nodes.channel(0).await, QUEUE, []).await;
    let load = Load::start(&nodes, QUEUE);
    for _ in 0..3 {
        load.confirms(100).await;
        let leader = nodes.leader(QUEUE);
        nodes.kill(leader);
        // The two that are left elect another one.
        load.confirms(100).await;
        nodes.begin(&[leader]);
    }
    load.confirms(100).await;
    let leader = nodes.leader(QUEUE);
    nodes.signal(leader, "STOP");
    wait_until(Instant::now() + Duration::from_secs(5)).await;
    nodes.signal(leader, "CONT");
    load.confirms(300).await;
    nodes.restart();
    load.confirms(300).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_declares_every_other_has_at_once() {
    let mut nodes = Nodes::start();
    let (one, two, three) =
        (nodes.channel(0).await, nodes.channel(1).await, nodes.channel(2).await);
    for channel in [&one, &two, &three] {
        confirms(channel).await;
    }

    durable(&one, "one").await;
    declare_exchange(&two, "to", lapin::ExchangeKind::Direct, true).await;
    bind(&three, "one", "to", "key", []).await;
    put(&two, "to", "key", b"across", persistent()).await;
    assert_eq!(bodies(&three, "one").await, ["across"]);

    // Whoever does not own an exclusive queue may publish to it, from any node.
    let own = declare(&one).await;
    put(&three, "", own.as_str(), b"mine", persistent()).await;
    assert_eq!(bodies(&one, own.as_str()).await, ["mine"]);
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{own}' in vhost '/'. It \
         could be originally declared on another connection or the exclusive property value does \
         not match that of the original declaration."
    );
    let stranger = nodes.channel(1).await;
    refused(stranger.queue_declare(own.clone(), options, table([])), 405, &text).await;

    // An auto-delete queue goes with its last consumer, wherever that was.
    let fleeting = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    soon(one.queue_declare("fleeting".into(), fleeting, table([]))).await;
    let consumer = consume(&three, &"fleeting".into()).await;
    soon(three.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await;
    let gone = async { while passive(&nodes, 1, "fleeting").await {} };
    timeout(PATIENCE, gone).await.expect("it goes in time");

    a_queue_whose_only_node_is_down(&mut nodes, &two).await;
}

/// `here` is a channel to another node, with confirms.
async fn a_queue_whose_only_node_is_down(nodes: &mut Nodes, here: &Channel) {
    let there = nodes.channel(2).await;
    durable(&there, "alone").await;
    put(here, "", "alone", b"kept", persistent()).await;
    nodes.kill(2);
    let text = format!(
        "NOT_FOUND - home node '{}' of durable queue 'alone' in vhost '/' is down or inaccessible",
        Nodes::name(2)
    );
    let asking = nodes.channel(1).await;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    refused(asking.queue_declare("alone".into(), options, table([])), 404, &text).await;
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    let sent = here.basic_publish("".into(), "alone".into(), mandatory, b"x", persistent());
    let Confirmation::Ack(Some(returned)) = soon(soon(sent).await).await else {
        panic!("it is not returned");
    };
    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    nodes.begin(&[2]);
    assert_eq!(bodies(&nodes.channel(0).await, "alone").await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_queue_is_the_same_through_every_node() {
    let nodes = Nodes::start();
    quorum(&nodes.channel(0).await, "q", []).await;
    let far = nodes.channel((nodes.leader("q") + 1) % 3).await;
    confirms(&far).await;

    // Its counts, basic.get, nack and reject, order.
    for body in ["a", "b", "c"] {
        put(&far, "", "q", body.as_bytes(), persistent()).await;
    }
    let first = take(&far, "q").await.expect("it holds three");
    assert_eq!((body(&first), first.redelivered, first.message_count), ("a".into(), false, 2));
    soon(first.nack(BasicNackOptions { requeue: true, ..Default::default() })).await;
    let again = take(&far, "q").await.expect("it is back");
    assert_eq!((body(&again), again.redelivered), ("a".into(), true));
    assert_eq!(delivery_count(&again.properties), Some(1));
    soon(again.reject(BasicRejectOptions { requeue: false })).await;
    assert_eq!(bodies(&far, "q").await, ["b", "c"]);

    limits(&far).await;
    consumers(&far, &nodes.channel(0).await).await;
    transaction(&nodes.channel((nodes.leader("q") + 2) % 3).await).await;
}

/// The delivery limit, length limits, the time to live, and where what dies goes to.
async fn limits(far: &Channel) {
    quorum(far, "dead", []).await;
    let to_dead = || ("x-dead-letter-routing-key", text("dead"));
    let arguments = [
        ("x-dead-letter-exchange", text("")),
        to_dead(),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-delivery-limit", AMQPValue::LongInt(1)),
        ("x-max-length", AMQPValue::LongInt(2)),
    ];
    quorum(far, "limited", arguments).await;
    put(far, "", "limited", b"often", persistent()).await;
    for _ in 0..2 {
        let message = take(far, "limited").await.expect("it is not yet too often");
        soon(message.nack(BasicNackOptions { requeue: true, ..Default::default() })).await;
    }
    arrival(far, "dead").await;
    let dead = take(far, "dead").await.expect("it has arrived");
    assert_eq!((body(&dead), death_count(&dead)), ("often".into(), 1));
    soon(dead.ack(BasicAckOptions::default())).await;
    for _ in 0..8 {
        send(far, "", "limited", b"full", persistent()).await;
    }
    let last = send(far, "", "limited", b"too much", persistent()).await;
    assert!(matches!(soon(last).await, Confirmation::Nack(_)), "it is full");

    let arguments =
        [("x-dead-letter-exchange", text("")), to_dead(), ("x-message-ttl", AMQPValue::LongInt(1))];
    quorum(far, "short", arguments).await;
    put(far, "", "short", b"late", persistent()).await;
    arrival(far, "dead").await;
    assert_eq!(bodies(far, "dead").await, ["late"]);
}

/// Prefetch, and the single active consumer, whose successor may be on another node.
async fn consumers(far: &Channel, other: &Channel) {
    let single = [("x-single-active-consumer", AMQPValue::Boolean(true))];
    quorum(far, "single", single).await;
    soon(far.basic_qos(1, BasicQosOptions::default())).await;
    let mut active = consume(far, &"single".into()).await;
    let mut successor = consume(other, &"single".into()).await;
    for body in ["1", "2"] {
        put(far, "", "single", body.as_bytes(), persistent()).await;
    }
    let held = next(&mut active).await;
    assert_eq!((held.data.as_slice(), held.redelivered), (b"1".as_slice(), false));
    assert_eq!(ready(other, "single").await, 1, "one unacknowledged message is the limit");
    soon(far.basic_cancel(active.tag(), BasicCancelOptions::default())).await;
    let taken = next(&mut successor).await;
    assert_eq!(taken.data, b"2");
    soon(taken.ack(BasicAckOptions::default())).await;
    soon(held.reject(BasicRejectOptions { requeue: true })).await;
    let back = next(&mut successor).await;
    assert_eq!((back.data.as_slice(), back.redelivered), (b"1".as_slice(), true));
    soon(back.ack(BasicAckOptions::default())).await;
}

async fn transaction(far: &Channel) {
    soon(far.tx_select()).await;
    for _ in 0..2 {
        send(far, "", "q", b"in one", persistent()).await;
    }
    assert_eq!(ready(far, "q").await, 0);
    soon(far.tx_commit()).await;
    assert_eq!(bodies(far, "q").await, ["in one", "in one"]);
}

#[test]
fn start_local_starts_a_cluster_and_stops_it() {
    let folder = fresh_directory();
    let run = |count: &str| {
        let mut command = Command::new(program());
        command.args(["cluster", "start-local", count]).arg(&folder).args(["--port", "0"]);
        Process::start(&mut command)
    };
    for _ in 0..2 {
        let mut process = run("3");
        process.line(PATIENCE, |line| line.starts_with("rabbit3@localhost"));
        process.line(PATIENCE, |line| line.contains("Ctrl-C stops all of them"));
        process.signal("INT");
        assert!(process.end(PATIENCE).success(), "{}", process.said);
    }
    let mode = fs::metadata(folder.join("secret")).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut other = run("5");
    assert_eq!(other.end(PATIENCE).code(), Some(1));
    assert!(other.said.contains("has 3 node(s), and not 5"), "{}", other.said);
}

async fn quorum<const N: usize>(channel: &Channel, queue: &str, more: [(&str, AMQPValue); N]) {
    let mut arguments = table(more);
    arguments.insert("x-queue-type".into(), text("quorum"));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    soon(channel.queue_declare(queue.into(), options, arguments)).await;
}

/// Whether a node has a queue.
async fn passive(nodes: &Nodes, node: usize, queue: &str) -> bool {
    let channel = nodes.channel(node).await;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = channel.queue_declare(queue.into(), options, table([]));
    timeout(PATIENCE, asked).await.expect("an answer comes in time").is_ok()
}
