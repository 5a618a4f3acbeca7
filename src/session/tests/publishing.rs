//! Publications, confirms, returns and transactions.

use bytes::BytesMut;

use super::bench::{Bench, framed, published};
use crate::{
    session::request::Request,
    wire::{content, frame, method},
};

fn confirming() -> Bench {
    let mut bench = Bench::with_queue();
    bench.send(1, method::ConfirmSelect::default());
    bench.expect("1 confirm.select-ok");
    bench
}

fn joined(parts: &[BytesMut]) -> Vec<u8> {
    parts.concat()
}

fn mandatory(key: &str) -> BytesMut {
    let routing_key = key.try_into().unwrap();
    let default = method::BasicPublish::default();
    let mut octets = framed(1, method::BasicPublish { routing_key, mandatory: true, ..default });
    content::write_content(&mut octets, 1, &[0, 0], b"lost", 4096);
    octets
}

#[test]
fn what_is_published_in_a_row_is_one_request_across_channels() {
    let mut bench = Bench::with_queue();
    bench.open_channel(2);
    bench.asked.clear();
    let row: Vec<_> =
        (0..100_u8).map(|n| published(1 + u16::from(n % 2), "", "q", &[n; 3])).collect();
    bench.octets(&joined(&row));
    assert!(matches!(bench.asked.as_slice(), [Request::Publish(batch)] if batch.len() == 100));
    assert_eq!(bench.broker.ready("q"), 100);
}

#[test]
fn a_batch_has_a_limit() {
    let mut bench = Bench::with_queue();
    let row: Vec<_> = (0..2500).map(|_| published(1, "", "q", b"x")).collect();
    bench.octets(&joined(&row));
    assert_eq!(bench.asked.len(), 3);
    assert_eq!(bench.broker.ready("q"), 2500);
}

#[test]
fn bodies_of_all_sizes_arrive_whole_however_they_are_cut() {
    for size in [0, 1, 2048, 2049, 4088, 4089, 10_000] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let octets = published(1, "", "q", &body);
        for step in [octets.len(), 1, 1000] {
            let mut bench = Bench::with_queue();
            octets.chunks(step).for_each(|part| bench.octets(part));
            let message = &bench.broker.queues[&b"q"[..]].ready[0].1;
            assert_eq!(message.body(), &body, "{size} in steps of {step}");
            assert_eq!(message.routing_key(), b"q");
        }
    }
}

#[test]
fn a_body_that_waits_does_not_keep_what_was_read_beside_it() {
    let mut bench = Bench::with_queue();
    let octets = published(1, "", "q", &[7; 4000]);
    bench.session.input().extend_from_slice(&octets);
    let start = bench.session.input().as_ptr() as usize;
    bench.octets(&[]);
    let place = bench.broker.queues[&b"q"[..]].ready[0].1.body().as_ptr() as usize;
    assert!(!(start..start + octets.len()).contains(&place));
}

#[test]
fn confirms_of_one_batch_are_one_ack() {
    let mut bench = confirming();
    bench.publish(1, "q", b"one");
    bench.expect_all(&["1 basic.ack 1"]);
    let row: Vec<_> = (0..50).map(|_| published(1, "", "q", b"x")).collect();
    bench.octets(&joined(&row));
    bench.expect_all(&["1 basic.ack 51+"]);
}

#[test]
fn a_return_comes_before_its_confirm() {
    let mut bench = confirming();
    bench.octets(&joined(&[published(1, "", "q", b"x"), mandatory("nowhere")]));
    bench.expect_all(&["1 basic.return 312 NO_ROUTE", "1 b\"lost\"", "1 basic.ack 2+"]);
}

#[test]
fn a_refused_publication_is_nacked_in_its_place() {
    let mut bench = confirming();
    bench.declare(1, "full");
    bench.received();
    bench.broker.full = Some("full");
    let row = ["q", "q", "full", "q"].map(|key| published(1, "", key, b"x"));
    bench.octets(&joined(&row));
    bench.expect_all(&["1 basic.ack 2+", "1 basic.nack 3", "1 basic.ack 4"]);
}

/// A client in confirm mode on channels 1 and 2, and a broker that confirms late.
fn confirming_late() -> Bench {
    let mut bench = confirming();
    bench.open_channel(2);
    bench.send(2, method::ConfirmSelect::default());
    bench.expect("2 confirm.select-ok");
    bench.broker.has_disk = true;
    bench
}

fn written(bench: &mut Bench) {
    let event = bench.broker.write();
    bench.event(event);
}

#[test]
fn confirms_that_come_late_are_one_ack_for_each_channel() {
    let mut bench = confirming_late();
    let row: Vec<_> = (0..100_u16).map(|n| published(1 + n / 10 % 2, "", "q", &[1; 3])).collect();
    bench.octets(&joined(&row));
    bench.expect_nothing();
    written(&mut bench);
    bench.expect_all(&["1 basic.ack 50+", "2 basic.ack 50+"]);
    bench.publish(2, "q", b"x");
    written(&mut bench);
    bench.expect_all(&["2 basic.ack 51"]);
}

#[test]
fn a_late_confirm_never_covers_what_was_nacked_or_still_waits() {
    let mut bench = confirming_late();
    bench.declare(1, "full");
    bench.received();
    bench.broker.full = Some("full");
    let row = ["q", "q", "full", "q"].map(|key| published(1, "", key, b"x"));
    bench.octets(&joined(&row));
    bench.expect_all(&["1 basic.nack 3"]);
    bench.broker.has_disk = false;
    bench.publish(1, "q", b"x");
    bench.expect_all(&["1 basic.ack 5"]);
    written(&mut bench);
    bench.expect_all(&["1 basic.ack 4+"]);
    bench.publish(1, "q", b"x");
    bench.expect_all(&["1 basic.ack 6"]);
}

#[test]
fn a_channel_never_hears_the_late_confirms_of_the_one_before_it() {
    let mut bench = confirming_late();
    let again = [
        framed(1, method::ChannelClose::default()),
        framed(1, method::ChannelOpen::default()),
        framed(1, method::ConfirmSelect::default()),
        published(1, "", "q", b"new"),
    ];
    bench.octets(&joined(&[1, 1, 2].map(|channel| published(channel, "", "q", b"old"))));
    bench.is_slow = true;
    bench.octets(&joined(&again));
    // The broker has been told of the end by now, and the number is not used before it agrees.
    written(&mut bench);
    bench.expect_all(&["2 basic.ack 1"]);
    bench.release();
    bench.expect_all(&["1 channel.close-ok", "1 channel.open-ok", "1 confirm.select-ok"]);
    written(&mut bench);
    bench.expect_all(&["1 basic.ack 1"]);
}

#[test]
fn a_failed_channel_hears_no_late_confirm() {
    let mut bench = confirming_late();
    bench.publish(1, "q", b"x");
    let late = bench.broker.write();
    bench.publish(1, "q", b"x");
    bench.publish(1, "missing", b"x");
    bench.octets(&published(1, "missing", "q", b"x"));
    bench.expect("1 channel.close 404 NOT_FOUND");
    bench.event(late);
    written(&mut bench);
    bench.expect_nothing();
    bench.send(1, method::ChannelCloseOk {});
    bench.open_channel(1);
    bench.send(1, method::ConfirmSelect::default());
    bench.expect("1 confirm.select-ok");
    written(&mut bench);
    bench.expect_nothing();
}

#[test]
fn a_broker_that_is_behind_is_not_read_for_and_the_silence_is_forgiven() {
    let mut bench = Bench::entered_with(crate::session::Settings::default(), 2);
    bench.session.set_behind(true, bench.now);
    assert!(!bench.session.wants_input());
    bench.advance(100);
    assert_eq!(bench.session.disposition(), crate::session::Disposition::Keep);
    bench.session.set_behind(false, bench.now);
    assert!(bench.session.wants_input());
    bench.advance(5);
    assert_eq!(bench.session.disposition(), crate::session::Disposition::Keep);
    bench.advance(1);
    assert_eq!(bench.session.disposition(), crate::session::Disposition::Reset);
}

#[test]
fn a_broken_rule_fails_the_channel_after_what_came_before() {
    let mut bench = confirming();
    let row = [
        published(1, "", "q", b"x"),
        published(1, "missing", "q", b"x"),
        published(1, "", "q", b"x"),
        framed(1, method::BasicAck { delivery_tag: 5, multiple: false }),
        framed(1, method::BasicGet { queue: "q".try_into().unwrap(), ..Default::default() }),
    ];
    bench.octets(&joined(&row));
    bench.expect_all(&[
        "1 basic.ack 1",
        "1 channel.close 404 NOT_FOUND - no exchange 'missing' in vhost '/' 60/40",
    ]);
    assert_eq!(bench.broker.ready("q"), 1);
}

#[test]
fn a_message_above_the_limit_fails_the_channel_when_it_is_whole() {
    let settings = crate::session::Settings { max_message_size: 5000, ..Default::default() };
    let mut bench = Bench::entered_with(settings, 0);
    bench.open_channel(1);
    let octets = published(1, "", "q", &[0; 5001]);
    bench.octets(&octets[..octets.len() - 1]);
    bench.expect_nothing();
    bench.octets(&octets[octets.len() - 1..]);
    bench.expect_all(&["1 channel.close 406 PRECONDITION_FAILED - message size 5001 is larger \
                        than configured max size 5000 60/40"]);
}

#[test]
fn confirms_and_transactions_exclude_each_other() {
    let mut bench = confirming();
    bench.send(1, method::TxSelect {});
    bench.expect("1 channel.close 406 PRECONDITION_FAILED - cannot switch from confirm to tx mode");
    bench.open_channel(2);
    bench.send(2, method::TxCommit {});
    bench.expect("2 channel.close 406 PRECONDITION_FAILED - channel is not transactional 90/20");
    bench.open_channel(3);
    bench.send(3, method::TxSelect {});
    bench.send(3, method::TxSelect {});
    bench.expect_all(&["3 tx.select-ok", "3 tx.select-ok"]);
    bench.send(3, method::ConfirmSelect::default());
    bench.expect("3 channel.close 406 PRECONDITION_FAILED - cannot switch from tx to confirm mode");
}

fn transactional() -> Bench {
    let mut bench = Bench::with_queue();
    bench.send(1, method::TxSelect {});
    bench.publish(1, "q", b"one");
    bench.expect("1 tx.select-ok");
    bench
}

#[test]
fn a_transaction_takes_effect_when_it_is_committed() {
    let mut bench = transactional();
    assert_eq!(bench.broker.ready("q"), 0);
    bench.octets(&joined(&[mandatory("nowhere"), framed(1, method::TxCommit {})]));
    bench.expect_all(&["1 basic.return 312 NO_ROUTE", "1 b\"lost\"", "1 tx.commit-ok"]);
    assert_eq!(bench.broker.ready("q"), 1);
}

#[test]
fn acks_of_a_transaction_that_is_rolled_back_never_were() {
    let mut bench = transactional();
    bench.send(1, method::TxCommit {});
    bench.consume(1, "q", "t", false);
    bench.received();
    bench.ack(1, 1, false);
    bench.ack(1, 0, true);
    assert_eq!(bench.broker.queues[&b"q"[..]].out.len(), 1);
    bench.send(1, method::TxRollback {});
    bench.expect("1 tx.rollback-ok");
    bench.ack(1, 1, false);
    bench.send(1, method::TxCommit {});
    bench.expect("1 tx.commit-ok");
    assert!(bench.broker.queues[&b"q"[..]].out.is_empty());
    bench.ack(1, 1, false);
    bench.expect("1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1");
}

#[test]
fn nothing_may_follow_a_commit_before_its_answer() {
    let mut bench = transactional();
    bench.is_slow = true;
    bench.send(1, method::TxCommit {});
    bench.send(1, method::TxRollback {});
    bench.expect(
        "0 connection.close 504 CHANNEL_ERROR - unexpected command while processing \
                  'tx.commit' 90/30",
    );
}

#[test]
fn a_heartbeat_may_come_between_the_frames_of_a_message() {
    let mut bench = Bench::with_queue();
    let octets = published(1, "", "q", b"hello");
    let header = frame::view(&octets, 0).unwrap().unwrap().size();
    bench.octets(&octets[..header]);
    bench.octets(&[8, 0, 0, 0, 0, 0, 0, 0xCE]);
    bench.octets(&octets[header..]);
    assert_eq!(bench.broker.ready("q"), 1);
}

#[test]
fn content_out_of_order_closes_the_connection() {
    let octets = published(1, "", "q", b"hello");
    let method = frame::view(&octets, 0).unwrap().unwrap().size();
    let mut bench = Bench::with_queue();
    bench.octets(&octets[..method]);
    bench.ack(1, 1, false);
    bench.expect(
        "0 connection.close 505 UNEXPECTED_FRAME - expected content header for class 60, \
                  got non content header frame instead 60/40",
    );
    let mut bench = Bench::with_queue();
    bench.octets(&octets[..octets.len() - 13]);
    bench.octets(&octets);
    bench.expect(
        "0 connection.close 505 UNEXPECTED_FRAME - expected content body, got non \
                  content body frame instead 60/40",
    );
}
