//! A client, a session, a broker and a clock that a test turns by hand.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::broker::Broker;
use crate::{
    model::{ConnectionId, FieldTable, FieldValue, Moment, ShortString},
    session::{
        Disposition, Session, Settings,
        request::{Answer, Event, Request},
    },
    wire::{
        content,
        frame::{self, FrameKind},
        method::{self, Method},
    },
};

pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) broker: Broker,
    pub(super) now: Moment,
    /// Every request the session has made.
    pub(super) asked: Vec<Request>,
    /// The broker's answers to operations are kept until they are released.
    pub(super) is_slow: bool,
    late: VecDeque<Answer>,
    sent: BytesMut,
}

impl Bench {
    /// A client that has only connected.
    pub(super) fn connected(settings: Settings) -> Self {
        let now = Moment::from_unix(Duration::from_secs(1000));
        Self {
            session: Session::new(Arc::new(settings), ConnectionId(1), 7, now),
            broker: Broker::default(),
            now,
            asked: Vec::new(),
            is_slow: false,
            late: VecDeque::new(),
            sent: BytesMut::new(),
        }
    }

    /// A client that has entered the virtual host `/`, with all capabilities.
    pub(super) fn entered() -> Self {
        Self::entered_with(Settings::default(), 0)
    }

    pub(super) fn entered_with(settings: Settings, heartbeat: u16) -> Self {
        let mut bench = Self::connected(settings);
        bench.octets(b"AMQP\x00\x00\x09\x01");
        bench.expect("0 connection.start");
        bench.send(0, start_ok("guest", true));
        bench.expect("0 connection.tune");
        bench.send(0, method::ConnectionTuneOk { channel_max: 100, frame_max: 4096, heartbeat });
        bench.send(0, open("/"));
        bench.expect("0 connection.open-ok");
        bench.asked.clear();
        bench
    }

    /// A client with channel 1 open and the queue `q` declared.
    pub(super) fn with_queue() -> Self {
        let mut bench = Self::entered();
        bench.open_channel(1);
        bench.declare(1, "q");
        bench.expect("1 queue.declare-ok");
        bench.asked.clear();
        bench
    }

    pub(super) fn open_channel(&mut self, channel: u16) {
        self.send(channel, method::ChannelOpen::default());
        self.expect(&format!("{channel} channel.open-ok"));
    }

    pub(super) fn declare(&mut self, channel: u16, queue: &str) {
        let queue = queue.try_into().unwrap();
        self.send(channel, method::QueueDeclare { queue, ..method::QueueDeclare::default() });
    }

    pub(super) fn consume(&mut self, channel: u16, queue: &str, tag: &str, no_ack: bool) {
        let (queue, consumer_tag) = (queue.try_into().unwrap(), tag.try_into().unwrap());
        let default = method::BasicConsume::default();
        self.send(channel, method::BasicConsume { queue, consumer_tag, no_ack, ..default });
    }

    pub(super) fn publish(&mut self, channel: u16, key: &str, body: &[u8]) {
        let octets = published(channel, "", key, body);
        self.octets(&octets);
    }

    pub(super) fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.send(channel, method::BasicAck { delivery_tag, multiple });
    }

    pub(super) fn send(&mut self, channel: u16, method: impl Into<Method>) {
        let octets = framed(channel, method);
        self.octets(&octets);
    }

    /// The client writes octets, and everything is done that follows from it.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.session.input().extend_from_slice(octets);
        self.session.received(self.now);
        self.run();
    }

    pub(super) fn event(&mut self, event: Event) {
        self.session.notify(event, self.now);
        self.run();
    }

    pub(super) fn disconnect(&mut self) {
        self.session.disconnected(self.now);
        self.run();
    }

    pub(super) fn advance(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.session.tick(self.now);
        self.run();
    }

    /// The broker gives the answers that it was slow to give.
    pub(super) fn release(&mut self) {
        self.is_slow = false;
        while let Some(answer) = self.late.pop_front() {
            self.session.answer(answer, self.now);
            self.run();
        }
    }

    /// The frames that the client has received since the last look, in words.
    pub(super) fn received(&mut self) -> Vec<String> {
        let mut sent = std::mem::take(&mut self.sent);
        std::iter::from_fn(|| frame::split(&mut sent, 0).unwrap())
            .map(|found| match found.kind {
                FrameKind::Method => {
                    let method = Method::decode(&found.payload).unwrap();
                    format!("{} {}", found.channel, words(&method))
                }
                FrameKind::Body => format!("{} {:?}", found.channel, found.payload),
                FrameKind::Header => format!("{} header", found.channel),
                FrameKind::Heartbeat => "heartbeat".to_owned(),
                FrameKind::Unknown(_) => panic!("{found:?}"),
            })
            .filter(|words| !words.ends_with(" header"))
            .collect()
    }

    /// What the client has received that is no frame.
    pub(super) fn received_octets(&mut self) -> Bytes {
        std::mem::take(&mut self.sent).freeze()
    }

    /// The next frame, and nothing else, begins with these words.
    #[track_caller]
    pub(super) fn expect(&mut self, start: &str) {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        assert!(received[0].starts_with(start), "{} is not {start}", received[0]);
    }

    #[track_caller]
    pub(super) fn expect_all(&mut self, expected: &[&str]) {
        assert_eq!(self.received(), expected);
    }

    #[track_caller]
    pub(super) fn expect_nothing(&mut self) {
        assert_eq!(self.received(), [""; 0]);
    }

    #[track_caller]
    pub(super) fn expect_finished(&self, disposition: Disposition) {
        assert_eq!(self.session.disposition(), disposition);
        assert!(self.session.is_finished());
    }

    fn answer(&mut self, request: Request) {
        let is_operation = matches!(request, Request::Operate { .. });
        let answer = self.broker.execute(&request);
        self.asked.push(request);
        // What the broker did before it answered is told before the answer.
        for event in std::mem::take(&mut self.broker.events) {
            self.session.notify(event, self.now);
        }
        match answer {
            Some(answer) if self.is_slow && is_operation => self.late.push_back(answer),
            Some(answer) => self.session.answer(answer, self.now),
            None => {}
        }
    }

    fn run(&mut self) {
        while let Some(request) = self.session.next_request(self.now) {
            self.answer(request);
        }
        let mut out = VecDeque::new();
        self.session.transmit(&mut out);
        out.iter().for_each(|run| self.sent.put_slice(run));
    }
}

pub(super) fn framed(channel: u16, method: impl Into<Method>) -> BytesMut {
    let mut octets = BytesMut::new();
    frame::write_method(&mut octets, channel, &method.into());
    octets
}

pub(super) fn published(channel: u16, exchange: &str, key: &str, body: &[u8]) -> BytesMut {
    let (exchange, routing_key) = (exchange.try_into().unwrap(), key.try_into().unwrap());
    let default = method::BasicPublish::default();
    let mut octets = framed(channel, method::BasicPublish { exchange, routing_key, ..default });
    content::write_content(&mut octets, channel, &[0, 0], body, 4096);
    octets
}

pub(super) fn start_ok(password: &str, is_capable: bool) -> method::ConnectionStartOk {
    let names = ["consumer_cancel_notify", "connection.blocked", "authentication_failure_close"];
    let pairs = names.map(|name| (ShortString::from_static(name), is_capable.into()));
    let capabilities = FieldValue::Table(FieldTable::from_pairs(pairs));
    let name = ShortString::from_static("capabilities");
    method::ConnectionStartOk {
        client_properties: FieldTable::from_pairs([(name, capabilities)]),
        mechanism: ShortString::from_static("PLAIN"),
        response: format!("\0guest\0{password}").into(),
        locale: ShortString::from_static("en_US"),
    }
}

pub(super) fn open(virtual_host: &str) -> method::ConnectionOpen {
    let virtual_host = virtual_host.try_into().unwrap();
    method::ConnectionOpen { virtual_host, ..method::ConnectionOpen::default() }
}

/// The name of a method, and of its arguments what tests look at.
fn words(method: &Method) -> String {
    let name = method.name();
    match method {
        Method::ConnectionClose(close) => {
            let (class, id) = (close.class_id, close.method_id);
            format!("{name} {} {} {class}/{id}", close.reply_code, close.reply_text)
        }
        Method::ChannelClose(close) => {
            let (class, id) = (close.class_id, close.method_id);
            format!("{name} {} {} {class}/{id}", close.reply_code, close.reply_text)
        }
        Method::ConnectionBlocked(blocked) => format!("{name} {}", blocked.reason),
        Method::BasicAck(ack) => {
            format!("{name} {}{}", ack.delivery_tag, if ack.multiple { "+" } else { "" })
        }
        Method::BasicNack(nack) => format!("{name} {}", nack.delivery_tag),
        Method::BasicDeliver(deliver) => {
            let again = if deliver.redelivered { " again" } else { "" };
            format!("{name} {} {}{again}", deliver.consumer_tag, deliver.delivery_tag)
        }
        Method::BasicGetOk(got) => format!("{name} {} {}", got.delivery_tag, got.message_count),
        Method::BasicCancel(cancel) => {
            assert!(cancel.no_wait);
            format!("{name} {}", cancel.consumer_tag)
        }
        Method::BasicReturn(returned) => {
            format!("{name} {} {}", returned.reply_code, returned.reply_text)
        }
        _ => name.to_owned(),
    }
}
