//! Handshakes, heartbeats, alarms, and every order in which a connection can end.

use super::bench::{Bench, framed, open, published, start_ok};
use crate::{
    session::{
        Disposition, Settings,
        request::{Event, Request},
    },
    wire::method,
};

const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

fn started() -> Bench {
    let mut bench = Bench::connected(Settings::default());
    bench.octets(HEADER);
    bench.expect("0 connection.start");
    bench
}

fn tuned(channel_max: u16, frame_max: u32) -> Bench {
    let mut bench = started();
    bench.send(0, start_ok("guest", false));
    bench.expect("0 connection.tune");
    bench.send(0, method::ConnectionTuneOk { channel_max, frame_max, heartbeat: 0 });
    bench
}

fn is_left_in_silence(mut bench: Bench) {
    bench.expect_nothing();
    assert_eq!(bench.session.disposition(), Disposition::Keep);
    bench.advance(2);
    assert_eq!(bench.session.disposition(), Disposition::Keep);
    bench.advance(1);
    bench.expect_nothing();
    bench.expect_finished(Disposition::Reset);
}

#[test]
fn a_whole_handshake_may_come_in_one_piece_or_octet_by_octet() {
    let mut octets = HEADER.to_vec();
    octets.extend_from_slice(&framed(0, start_ok("guest", true)));
    let tune_ok = method::ConnectionTuneOk { channel_max: 9, frame_max: 4096, heartbeat: 0 };
    octets.extend_from_slice(&framed(0, tune_ok));
    octets.extend_from_slice(&framed(0, open("/")));
    octets.extend_from_slice(&framed(1, method::ChannelOpen::default()));
    let expected =
        ["0 connection.start", "0 connection.tune", "0 connection.open-ok", "1 channel.open-ok"];
    let mut at_once = Bench::connected(Settings::default());
    at_once.octets(&octets);
    at_once.expect_all(&expected);
    let mut in_pieces = Bench::connected(Settings::default());
    octets.iter().for_each(|octet| in_pieces.octets(&[*octet]));
    in_pieces.expect_all(&expected);
}

#[test]
fn another_protocol_is_answered_with_ours() {
    let mut bench = Bench::connected(Settings::default());
    bench.octets(b"GET / HT");
    assert_eq!(bench.received_octets(), HEADER);
    bench.expect_finished(Disposition::Close);
}

#[test]
fn a_draft_header_is_welcome() {
    let mut bench = Bench::connected(Settings::default());
    bench.octets(b"AMQP\x01\x01\x00\x09");
    bench.expect("0 connection.start");
}

#[test]
fn a_slow_handshake_is_dropped() {
    let mut bench = started();
    assert_eq!(bench.session.deadline().map(|(_, why)| why), Some("handshake"));
    bench.advance(9);
    assert_eq!(bench.session.disposition(), Disposition::Keep);
    bench.advance(1);
    bench.expect_nothing();
    bench.expect_finished(Disposition::Close);
}

#[test]
fn a_refused_login_is_told_only_to_clients_that_understand() {
    let mut bench = started();
    bench.send(0, start_ok("wrong", true));
    bench.expect_all(&["0 connection.close 403 ACCESS_REFUSED - Login was refused using \
                        authentication mechanism PLAIN. For details see the broker logfile. 0/0"]);
    bench.advance(2);
    assert_eq!(bench.session.disposition(), Disposition::Keep);
    bench.send(0, method::ConnectionCloseOk {});
    bench.expect_finished(Disposition::Close);
    assert!(!bench.asked.contains(&Request::Leave));

    let mut bench = started();
    bench.send(0, start_ok("wrong", false));
    is_left_in_silence(bench);
}

#[test]
fn a_broken_handshake_is_left_in_silence() {
    let mut bench = started();
    bench.send(
        0,
        method::ConnectionStartOk {
            mechanism: "EXTERNAL".try_into().unwrap(),
            ..start_ok("guest", true)
        },
    );
    is_left_in_silence(bench);
    let mut bench = started();
    bench.send(0, open("/"));
    is_left_in_silence(bench);
    let mut bench = started();
    bench.send(0, method::ConnectionClose::default());
    is_left_in_silence(bench);
    let mut bench = started();
    bench.send(1, method::ChannelOpen::default());
    is_left_in_silence(bench);
    is_left_in_silence(tuned(2048, 131_072));
    is_left_in_silence(tuned(1, 4095));
}

#[test]
fn heartbeats_before_the_login_are_ignored() {
    let mut bench = started();
    bench.octets(&[8, 0, 0, 0, 0, 0, 0, 0xCE]);
    bench.send(0, start_ok("guest", true));
    bench.expect("0 connection.tune");
}

#[test]
fn an_unknown_virtual_host_closes_the_connection() {
    let mut bench = tuned(0, 0);
    bench.send(0, open("other"));
    bench.expect_all(&["0 connection.close 530 NOT_ALLOWED - vhost other not found 10/40"]);
    bench.send(0, method::ConnectionCloseOk {});
    bench.expect_finished(Disposition::Close);
    assert_eq!(bench.asked.last(), Some(&Request::Leave));
}

#[test]
fn the_broker_forgets_the_connection_before_its_close_is_answered() {
    let mut bench = Bench::with_queue();
    bench.publish(1, "q", b"one");
    bench.consume(1, "q", "t", false);
    bench.expect_all(&["1 basic.consume-ok", "1 basic.deliver t 1", "1 b\"one\""]);
    bench.asked.clear();
    bench.send(0, method::ConnectionClose::default());
    bench.expect("0 connection.close-ok");
    assert!(matches!(
        bench.asked.as_slice(),
        [Request::Operate { .. }, Request::Settle(_), Request::Leave]
    ));
    assert_eq!(bench.broker.ready("q"), 1);
    assert!(!bench.session.is_finished());
    bench.disconnect();
    bench.expect_finished(Disposition::Close);
}

#[test]
fn a_client_that_does_not_hang_up_after_its_close_is_dropped() {
    let mut bench = Bench::entered_with(Settings::default(), 5);
    bench.send(0, method::ConnectionClose::default());
    bench.expect("0 connection.close-ok");
    bench.advance(4);
    assert!(!bench.session.is_finished());
    bench.advance(1);
    bench.expect_finished(Disposition::Close);
}

#[test]
fn a_client_that_does_not_read_its_last_words_is_reset() {
    let mut bench = Bench::entered_with(Settings::default(), 5);
    bench.send(0, method::ConnectionClose::default());
    bench.expect("0 connection.close-ok");
    bench.advance(5);
    bench.expect_finished(Disposition::Close);
    bench.advance(3);
    bench.expect_finished(Disposition::Reset);
}

#[test]
fn a_fault_closes_the_connection_and_discards_what_follows() {
    let mut bench = Bench::with_queue();
    bench.send(1, method::BasicQos { prefetch_size: 10, ..method::BasicQos::default() });
    bench.expect_all(&["0 connection.close 540 NOT_IMPLEMENTED - prefetch_size!=0 (10) 60/10"]);
    bench.declare(1, "other");
    bench.expect_nothing();
    bench.send(0, method::ConnectionClose::default());
    bench.expect("0 connection.close-ok");
    assert!(!bench.session.is_finished());
    bench.send(0, method::ConnectionCloseOk {});
    bench.expect_finished(Disposition::Close);
    assert_eq!(bench.asked.last(), Some(&Request::Leave));
}

#[test]
fn a_client_that_does_not_agree_to_a_close_is_reset() {
    let mut bench = Bench::entered();
    bench.event(Event::Close("broker forced connection closure with reason 'shutdown'".into()));
    bench.expect_all(&["0 connection.close 320 CONNECTION_FORCED - broker forced connection \
                        closure with reason 'shutdown' 0/0"]);
    bench.advance(29);
    assert!(!bench.session.is_finished());
    bench.advance(1);
    bench.expect_finished(Disposition::Reset);
}

#[test]
fn frames_that_cannot_be_cut_close_the_connection_after_three_seconds() {
    let mut bench = Bench::entered();
    bench.octets(&[1, 0, 0, 0, 0, 0, 0, 0x00, 0, 51, 0xCE]);
    bench.expect(
        "0 connection.close 501 FRAME_ERROR - type 1, all octets = <<>>: \
                  {invalid_frame_end_marker,0} 0/0",
    );
    bench.send(0, method::ConnectionCloseOk {});
    assert_eq!(bench.session.disposition(), Disposition::Keep);
    bench.advance(3);
    bench.expect_finished(Disposition::Reset);
}

fn closes(octets: &[u8], expected: &str) {
    let mut bench = Bench::with_queue();
    bench.octets(octets);
    bench.expect(&format!("0 connection.close {expected}"));
}

#[test]
fn frames_out_of_place_close_the_connection() {
    closes(&[5, 0, 0, 0, 0, 0, 1, 7, 0xCE], "501 FRAME_ERROR - type 5, all octets = <<7>>: unk");
    closes(&[8, 0, 0, 0, 0, 0, 1, 7, 0xCE], "501 FRAME_ERROR - type 8");
    closes(&[8, 0, 1, 0, 0, 0, 0, 0xCE], "505 UNEXPECTED_FRAME - type 8, all octets = <<>> 0/0");
    closes(&[2, 0, 0, 0, 0, 0, 0, 0xCE], "505 UNEXPECTED_FRAME - type 2");
    closes(&[3, 0, 1, 0, 0, 0, 0, 0xCE], "505 UNEXPECTED_FRAME - expected method frame, got non");
    closes(&[3, 0, 9, 0, 0, 0, 0, 0xCE], "505 UNEXPECTED_FRAME - expected method frame, got non");
    closes(&[1, 0, 1, 0, 0, 0, 2, 0, 60, 0xCE], "501 FRAME_ERROR - type 1");
    closes(&[1, 0, 1, 0, 0, 0, 4, 0, 99, 0, 1, 0xCE], "503 COMMAND_INVALID - unimpl");
    closes(
        &[1, 0, 1, 0, 0, 0, 5, 0, 60, 0, 10, 1, 0xCE],
        "501 FRAME_ERROR - cannot decode <<1>> 60/10",
    );
    closes(
        &framed(1, method::ConnectionTuneOk::default()),
        "503 COMMAND_INVALID - unimplemented method 10/31",
    );
    closes(
        &framed(0, method::ConnectionTuneOk::default()),
        "504 CHANNEL_ERROR - unexpected method in connection state running 10/31",
    );
    closes(
        &framed(0, method::QueueDeclare::default()),
        "504 CHANNEL_ERROR - unexpected method in connection state running 50/10",
    );
    closes(
        &framed(2, method::QueueDeclare::default()),
        "504 CHANNEL_ERROR - expected 'channel.open' 50/10",
    );
    closes(
        &framed(1, method::ChannelOpen::default()),
        "504 CHANNEL_ERROR - second 'channel.open' seen 20/10",
    );
    closes(
        &framed(1, method::ChannelCloseOk {}),
        "503 COMMAND_INVALID - unimplemented method 20/41",
    );
    let mut immediate = method::BasicPublish { immediate: true, ..Default::default() };
    immediate.routing_key = "q".try_into().unwrap();
    let mut octets = framed(1, immediate);
    crate::wire::content::write_content(&mut octets, 1, &[0, 0], b"x", 4096);
    closes(&octets, "540 NOT_IMPLEMENTED - immediate=true 60/40");
}

#[test]
fn only_so_many_channels_may_be_open_whatever_their_numbers() {
    let settings = Settings { channel_max: 2, ..Settings::default() };
    let mut bench = Bench::connected(settings);
    bench.octets(HEADER);
    bench.send(0, start_ok("guest", true));
    bench.send(0, method::ConnectionTuneOk::default());
    bench.send(0, open("/"));
    bench.received();
    bench.open_channel(65_535);
    bench.open_channel(1);
    bench.send(2, method::ChannelOpen::default());
    bench.expect_all(&["0 connection.close 530 NOT_ALLOWED - number of channels opened (2) has \
                        reached the negotiated channel_max (2) 0/0"]);
}

#[test]
fn a_silent_client_is_dropped_and_a_busy_one_is_not() {
    let mut bench = Bench::entered_with(Settings::default(), 2);
    bench.advance(1);
    bench.expect_nothing();
    for _ in 0..3 {
        bench.advance(1);
        bench.octets(&[8]);
        bench.octets(&[0, 0, 0, 0, 0, 0, 0xCE]);
        bench.expect("heartbeat");
        bench.advance(1);
        bench.expect_nothing();
    }
    bench.advance(4);
    assert_eq!(bench.session.disposition(), Disposition::Keep);
    bench.advance(1);
    assert_eq!(bench.session.disposition(), Disposition::Reset);
    bench.disconnect();
    assert!(bench.session.is_finished());
    assert_eq!(bench.asked.last(), Some(&Request::Leave));
}

#[test]
fn an_alarm_blocks_a_client_when_it_publishes() {
    let mut bench = Bench::with_queue();
    bench.event(Event::Blocked("low on memory"));
    bench.expect_nothing();
    bench.declare(1, "q");
    bench.expect("1 queue.declare-ok");
    assert!(bench.session.wants_input());
    bench.octets(&published(1, "", "q", b"one"));
    bench.expect_all(&["0 connection.blocked low on memory"]);
    assert!(!bench.session.wants_input());
    bench.declare(1, "q");
    bench.event(Event::Blocked("low on disk & memory"));
    bench.expect_nothing();
    assert_eq!(bench.broker.ready("q"), 0);
    bench.event(Event::Unblocked);
    bench.expect_all(&["0 connection.unblocked", "1 queue.declare-ok"]);
    assert_eq!(bench.broker.ready("q"), 1);
    assert!(bench.session.wants_input());
}

#[test]
fn a_new_secret_is_accepted() {
    let mut bench = Bench::entered();
    bench.send(0, method::ConnectionUpdateSecret::default());
    bench.expect("0 connection.update-secret-ok");
}

#[test]
fn a_client_for_whom_there_is_no_time_is_cut_at_once() {
    let mut bench = started();
    bench.send(0, start_ok("many", true));
    bench.expect_nothing();
    bench.expect_finished(Disposition::Reset);
}
