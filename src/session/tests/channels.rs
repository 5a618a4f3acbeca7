//! Channels: opened, held back, failed, closed, in every crossing order.

use super::bench::{Bench, framed};
use crate::{
    session::request::{Operation, Request},
    wire::method,
};

const NOT_FOUND: &str = "1 channel.close 404 NOT_FOUND - no queue 'other' in vhost '/' 50/10";

fn check(bench: &mut Bench, channel: u16, queue: &str) {
    let queue = queue.try_into().unwrap();
    bench.send(channel, method::QueueDeclare { queue, passive: true, ..Default::default() });
}

#[test]
fn a_channel_is_opened_and_closed_and_its_number_used_again() {
    let mut bench = Bench::with_queue();
    bench.send(1, method::ChannelClose::default());
    bench.expect("1 channel.close-ok");
    bench.open_channel(1);
    let mut both = framed(1, method::ChannelClose::default());
    both.extend_from_slice(&framed(1, method::ChannelOpen::default()));
    bench.octets(&both);
    bench.expect_all(&["1 channel.close-ok", "1 channel.open-ok"]);
}

#[test]
fn a_failed_channel_discards_all_until_the_client_agrees() {
    let mut bench = Bench::with_queue();
    check(&mut bench, 1, "other");
    bench.expect_all(&[NOT_FOUND]);
    bench.publish(1, "q", b"lost");
    bench.declare(1, "q");
    bench.expect_nothing();
    assert_eq!(bench.broker.ready("q"), 0);
    bench.send(1, method::ChannelCloseOk {});
    bench.expect_nothing();
    bench.open_channel(1);
}

#[test]
fn a_close_that_crosses_is_answered_and_the_agreement_is_still_awaited() {
    let mut bench = Bench::with_queue();
    check(&mut bench, 1, "other");
    bench.expect_all(&[NOT_FOUND]);
    bench.send(1, method::ChannelClose::default());
    bench.expect("1 channel.close-ok");
    bench.send(1, method::ChannelCloseOk {});
    bench.open_channel(1);
    check(&mut bench, 1, "other");
    bench.expect_all(&[NOT_FOUND]);
    bench.send(1, method::ChannelOpen::default());
    bench.expect("0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen 20/10");
}

#[test]
fn a_failed_channel_gives_back_what_it_held() {
    let mut bench = Bench::with_queue();
    bench.publish(1, "q", b"one");
    bench.consume(1, "q", "t", false);
    bench.expect_all(&["1 basic.consume-ok", "1 basic.deliver t 1", "1 b\"one\""]);
    bench.ack(1, 9, false);
    bench.expect_all(&["1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 9 60/80"]);
    assert_eq!(bench.broker.ready("q"), 1);
    bench.send(1, method::ChannelCloseOk {});
    bench.open_channel(1);
    bench.consume(1, "q", "t", false);
    bench.expect_all(&["1 basic.consume-ok", "1 basic.deliver t 1 again", "1 b\"one\""]);
}

#[test]
fn a_waiting_channel_holds_back_its_frames_and_no_other_channel_waits() {
    let mut bench = Bench::with_queue();
    bench.open_channel(2);
    bench.is_slow = true;
    bench.declare(1, "slow");
    bench.publish(1, "q", b"later");
    bench.ack(1, 7, false);
    bench.publish(2, "q", b"now");
    assert_eq!(bench.broker.ready("q"), 1);
    bench.expect_nothing();
    bench.release();
    bench.expect_all(&[
        "1 queue.declare-ok",
        "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 7 60/80",
    ]);
    assert_eq!(bench.broker.ready("q"), 2);
}

#[test]
fn what_was_held_back_keeps_its_order_with_what_follows() {
    let mut bench = Bench::with_queue();
    bench.is_slow = true;
    bench.declare(1, "slow");
    bench.publish(1, "q", b"held");
    check(&mut bench, 1, "q");
    bench.publish(1, "q", b"held too");
    bench.release();
    bench.expect_all(&["1 queue.declare-ok", "1 queue.declare-ok"]);
    assert_eq!(bench.broker.ready("q"), 2);
}

#[test]
fn too_much_held_back_stops_the_input() {
    let mut bench = Bench::with_queue();
    bench.is_slow = true;
    bench.declare(1, "slow");
    for _ in 0..400 {
        bench.publish(1, "q", &[0; 4000]);
    }
    assert!(!bench.session.wants_input());
    bench.release();
    assert!(bench.session.wants_input());
    assert_eq!(bench.broker.ready("q"), 400);
}

#[test]
fn the_connection_ends_only_after_operations_under_way() {
    let mut bench = Bench::with_queue();
    bench.is_slow = true;
    bench.consume(1, "q", "t", false);
    bench.disconnect();
    assert!(!bench.session.is_finished());
    assert!(!bench.asked.contains(&Request::Leave));
    bench.release();
    assert!(bench.session.is_finished());
    let closes = |request: &&Request| {
        matches!(request, Request::Operate { operation: Operation::Close { consumers }, .. }
            if consumers.len() == 1)
    };
    assert_eq!(bench.asked.iter().filter(closes).count(), 1);
    assert_eq!(bench.asked.last(), Some(&Request::Leave));
}

#[test]
fn an_empty_queue_name_means_the_last_one_declared() {
    let mut bench = Bench::entered();
    bench.open_channel(1);
    bench.send(1, method::QueuePurge::default());
    bench.expect("1 channel.close 404 NOT_FOUND - no previously declared queue 50/30");
    bench.open_channel(2);
    bench.declare(2, "");
    bench.expect("2 queue.declare-ok");
    bench.asked.clear();
    bench.send(2, method::QueueBind::default());
    bench.expect("2 queue.bind-ok");
    let Some(Request::Operate { operation: Operation::Bind(binding), .. }) = bench.asked.last()
    else {
        panic!("{:?}", bench.asked);
    };
    assert!(binding.routing_key.starts_with(b"amq.gen-"));
}

#[test]
fn line_breaks_in_names_are_dropped() {
    let mut bench = Bench::entered();
    bench.open_channel(1);
    bench.declare(1, "a\r\nb");
    bench.expect("1 queue.declare-ok");
    assert!(bench.broker.queues.contains_key(&b"ab"[..]));
}

#[test]
fn nobody_waits_who_does_not_want_to() {
    let mut bench = Bench::with_queue();
    let queue = || "q".try_into().unwrap();
    bench.send(1, method::QueueDeclare { queue: queue(), no_wait: true, ..Default::default() });
    bench.send(1, method::QueueBind { queue: queue(), no_wait: true, ..Default::default() });
    bench.send(1, method::QueuePurge { queue: queue(), no_wait: true, ..Default::default() });
    bench.send(1, method::ConfirmSelect { no_wait: true });
    bench.expect_nothing();
    bench.send(1, method::QueueDelete { queue: queue(), ..Default::default() });
    bench.expect("1 queue.delete-ok");
}

#[test]
fn flow_and_tickets_are_answered() {
    let mut bench = Bench::with_queue();
    bench.send(1, method::ChannelFlow { active: true });
    bench.send(1, method::AccessRequest::default());
    bench.expect_all(&["1 channel.flow-ok", "1 access.request-ok"]);
    bench.send(1, method::ChannelFlow { active: false });
    bench.expect("0 connection.close 540 NOT_IMPLEMENTED - active=false 20/20");
}
