//! Consumers, deliveries, their settlement, and how much may be out.

use std::{collections::VecDeque, time::Duration};

use super::bench::{Bench, framed, published};
use crate::{
    model::{Outcome, QueueId, Settlement},
    session::request::{Operation, Request},
    wire::method,
};

/// A client that consumes from `q` under the tag `t`, with so many messages delivered.
fn consuming(messages: u8) -> Bench {
    let mut bench = Bench::with_queue();
    bench.consume(1, "q", "t", false);
    (0..messages).for_each(|n| bench.publish(1, "q", &[b'a' + n]));
    bench.received();
    bench.asked.clear();
    bench
}

fn settled(bench: &mut Bench) -> Vec<(Vec<u64>, Outcome)> {
    let asked = std::mem::take(&mut bench.asked);
    let settlements = asked.into_iter().filter_map(|request| match request {
        Request::Settle(settlements) => Some(settlements),
        _ => None,
    });
    let words = |settled: Settlement| {
        (settled.positions.iter().map(|position| position.0).collect(), settled.outcome)
    };
    settlements.flatten().map(words).collect()
}

#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let mut bench = Bench::with_queue();
    bench.publish(1, "q", b"one");
    bench.consume(1, "q", "", false);
    let received = bench.received();
    assert_eq!(received[0], "1 basic.consume-ok");
    assert!(received[1].starts_with("1 basic.deliver amq.ctag-"));
}

#[test]
fn a_delivery_that_overtakes_the_answer_to_its_consume_waits_for_nothing() {
    let mut bench = Bench::with_queue();
    bench.publish(1, "q", b"one");
    bench.is_slow = true;
    bench.consume(1, "q", "t", false);
    bench.expect_all(&["1 basic.consume-ok", "1 basic.deliver t 1", "1 b\"one\""]);
    bench.release();
    bench.expect_nothing();
}

#[test]
fn a_tag_in_use_closes_the_connection() {
    let mut bench = consuming(0);
    bench.consume(1, "q", "t", false);
    bench.expect("0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 't' 60/20");
}

#[test]
fn acks_in_a_row_are_one_request() {
    let mut bench = consuming(5);
    let acks: Vec<_> = [1, 3, 2]
        .map(|delivery_tag| framed(1, method::BasicAck { delivery_tag, multiple: false }))
        .concat();
    bench.octets(&acks);
    assert_eq!(settled(&mut bench), [(vec![1, 3, 2], Outcome::Acknowledge)]);
    bench.ack(1, 0, true);
    assert_eq!(settled(&mut bench), [(vec![4, 5], Outcome::Acknowledge)]);
    bench.ack(1, 0, true);
    bench.expect_nothing();
    bench.ack(1, 0, false);
    bench.expect("1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 0 60/80");
}

#[test]
fn publications_go_before_the_acks_read_with_them() {
    let mut bench = consuming(1);
    let mut octets = published(1, "", "q", b"next");
    octets.extend_from_slice(&framed(1, method::BasicAck { delivery_tag: 1, multiple: false }));
    octets.extend_from_slice(&published(1, "", "q", b"last"));
    bench.octets(&octets);
    assert!(matches!(
        bench.asked.as_slice(),
        [Request::Publish(batch), Request::Settle(_)] if batch.len() == 2
    ));
}

#[test]
fn nacks_and_rejects_keep_their_order() {
    let mut bench = consuming(4);
    let mut octets = framed(1, method::BasicReject { delivery_tag: 2, requeue: false });
    let nack = method::BasicNack { delivery_tag: 3, multiple: true, requeue: true };
    octets.extend_from_slice(&framed(1, nack));
    octets.extend_from_slice(&framed(1, method::BasicReject { delivery_tag: 4, requeue: true }));
    bench.octets(&octets);
    let expected = [(vec![2], Outcome::Reject), (vec![1, 3, 4], Outcome::Requeue)];
    assert_eq!(settled(&mut bench), expected);
    let received = bench.received();
    assert_eq!(received[0], "1 basic.deliver t 5 again");
}

#[test]
fn without_acknowledgement_tags_count_and_cannot_be_settled() {
    let mut bench = Bench::with_queue();
    bench.consume(1, "q", "t", true);
    bench.publish(1, "q", b"one");
    bench.publish(1, "q", b"two");
    bench.expect_all(&[
        "1 basic.consume-ok",
        "1 basic.deliver t 1",
        "1 b\"one\"",
        "1 basic.deliver t 2",
        "1 b\"two\"",
    ]);
    bench.ack(1, 1, false);
    bench.expect("1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 60/80");
}

#[test]
fn recover_is_answered_before_what_comes_again() {
    let mut bench = consuming(2);
    bench.send(1, method::BasicRecover { requeue: true });
    let received = bench.received();
    assert_eq!(received[0], "1 basic.recover-ok");
    assert_eq!(received[1], "1 basic.deliver t 3 again");
    bench.send(1, method::BasicRecover { requeue: false });
    bench.expect("0 connection.close 540 NOT_IMPLEMENTED - requeue=false 60/110");
}

#[test]
fn after_cancel_ok_nothing_is_delivered_and_what_is_out_can_be_settled() {
    let mut bench = consuming(1);
    bench.send(1, method::BasicCancel { consumer_tag: "t".try_into().unwrap(), no_wait: false });
    bench.expect("1 basic.cancel-ok");
    bench.publish(1, "q", b"more");
    bench.expect_nothing();
    bench.ack(1, 1, false);
    bench.expect_nothing();
    bench.send(1, method::BasicCancel { consumer_tag: "t".try_into().unwrap(), no_wait: false });
    bench.expect("1 basic.cancel-ok");
}

#[test]
fn a_client_learns_that_its_queue_is_gone() {
    let mut bench = consuming(0);
    bench.send(1, method::QueueDelete { queue: "q".try_into().unwrap(), ..Default::default() });
    bench.expect_all(&["1 queue.delete-ok", "1 basic.cancel t"]);
}

#[test]
fn get_takes_one_message_or_says_that_there_is_none() {
    let mut bench = Bench::with_queue();
    bench.publish(1, "q", b"one");
    bench.publish(1, "q", b"two");
    let get = |no_ack| method::BasicGet { no_ack, ..Default::default() };
    bench.send(1, get(false));
    bench.send(1, get(true));
    bench.send(1, get(false));
    bench.expect_all(&[
        "1 basic.get-ok 1 1",
        "1 b\"one\"",
        "1 basic.get-ok 2 0",
        "1 b\"two\"",
        "1 basic.get-empty",
    ]);
    bench.ack(1, 1, false);
    bench.expect_nothing();
}

#[test]
fn a_queue_s_timeout_counts_however_many_others_its_channel_takes_from() {
    let mut bench = Bench::with_queue();
    let take = |bench: &mut Bench, queue: &str| {
        bench.publish(1, queue, b"body");
        let queue = queue.try_into().unwrap();
        bench.send(1, method::BasicGet { queue, ..Default::default() });
    };
    let timeout = bench.broker.queues[&b"q"[..]].timeout.clone();
    take(&mut bench, "q");
    for number in 2..500 {
        let queue = number.to_string();
        bench.declare(1, &queue);
        take(&mut bench, &queue);
        bench.ack(1, number, false);
    }
    bench.received();
    timeout.set(Some(Duration::from_secs(5)));
    bench.advance(60);
    bench.advance(4);
    bench.expect_nothing();
    bench.advance(1);
    bench.expect(
        "1 channel.close 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed \
         out. Timeout value used: 5000 ms. This timeout value can be configured, see consumers doc \
         guide to learn more 0/0",
    );
}

#[test]
fn a_limit_is_for_consumers_started_later_and_a_global_one_for_all() {
    let mut bench = Bench::with_queue();
    let qos =
        |prefetch_count, global| method::BasicQos { prefetch_size: 0, prefetch_count, global };
    bench.send(1, qos(5, false));
    bench.consume(1, "q", "a", false);
    bench.send(1, qos(1, true));
    bench.received();
    let consume = bench.asked.iter().find_map(|request| match request {
        Request::Operate { operation: Operation::Consume(consume), .. } => Some(consume),
        _ => None,
    });
    let consume = consume.unwrap();
    assert_eq!(consume.prefetch, 5);
    let credit = consume.credit.clone();
    assert!(credit.take() && !credit.take());
    bench.publish(1, "q", b"one");
    bench.asked.clear();
    bench.ack(1, 1, false);
    let resumed = Request::Resume(vec![QueueId(1)]);
    assert_eq!(bench.asked.last(), Some(&resumed));
    assert!(credit.is_open());
    bench.send(1, qos(9, false));
    assert!(!credit.is_limited());
    assert_eq!(bench.asked.last(), Some(&resumed));
}

#[test]
fn a_window_is_replenished_when_enough_has_been_written() {
    let mut bench = Bench::with_queue();
    bench.consume(1, "q", "t", true);
    let replenished = |bench: &mut Bench| {
        bench.session.transmit(&mut VecDeque::new());
        bench.session.flushed(bench.now);
        match bench.session.next_request(bench.now) {
            Some(Request::Replenish(written)) => written.iter().map(|part| part.octets).sum(),
            None => 0,
            other => panic!("{other:?}"),
        }
    };
    bench.publish(1, "q", &[0; 1000]);
    assert_eq!(replenished(&mut bench), 0);
    (0..100).for_each(|_| bench.publish(1, "q", &[0; 1000]));
    let message = 1 + 2 + 1000 + 128;
    assert!(replenished(&mut bench) >= 58 * message);
}
