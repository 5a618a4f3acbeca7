//! A broker of a few lines for the tests of the load generator, honest or not.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use bytes::{Bytes, BytesMut};

use super::{address::Address, client::name};
use crate::wire::{
    content,
    frame::{self, Frame, FrameKind},
    method::*,
};

/// What the broker does wrong, or otherwise than others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Character {
    pub loses_every: Option<u64>,
    pub repeats_every: Option<u64>,
    /// Closes the channel when it has had so many messages.
    pub refuses_after: Option<u64>,
    pub hangs_up_on_login: bool,
    /// Confirms nothing.
    pub is_silent: bool,
}

struct Subscription {
    stream: TcpStream,
    tag: ConsumerTagOctets,
    /// Deliveries of one channel share their numbers.
    delivered: Arc<Mutex<u64>>,
}

type ConsumerTagOctets = Bytes;
type Subscriptions = Arc<Mutex<BTreeMap<Bytes, Subscription>>>;

/// Starts the broker; it ends with the test's process.
pub(super) fn start(character: Character) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("amqp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let subscriptions = Subscriptions::default();
        for stream in listener.incoming() {
            let connection = Connection {
                stream: stream.unwrap(),
                subscriptions: Arc::clone(&subscriptions),
                character,
                published: 0,
                confirms: false,
                routing_key: Bytes::new(),
                delivered: Arc::default(),
            };
            thread::spawn(move || connection.serve());
        }
    });
    address.parse().unwrap()
}

struct Connection {
    stream: TcpStream,
    subscriptions: Subscriptions,
    character: Character,
    published: u64,
    confirms: bool,
    routing_key: Bytes,
    delivered: Arc<Mutex<u64>>,
}

impl Connection {
    /// Serves until the client has gone, however it went.
    fn serve(mut self) -> Option<()> {
        self.stream.set_nodelay(true).ok()?;
        self.stream.read_exact(&mut [0; 8]).ok()?;
        self.reply(0, ConnectionStart { version_minor: 9, ..Default::default() })?;
        let mut buffer = BytesMut::new();
        loop {
            while let Some(frame) = frame::split(&mut buffer, 0).unwrap() {
                self.take(frame)?;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).ok()? {
                0 => return None,
                octets => buffer.extend_from_slice(&chunk[..octets]),
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Option<()> {
        match frame.kind {
            FrameKind::Method => self.handle(Method::decode(&frame.payload).unwrap()),
            FrameKind::Body => self.publish(&frame.payload),
            _ => Some(()),
        }
    }

    fn handle(&mut self, method: Method) -> Option<()> {
        match method {
            Method::ConnectionStartOk(_) if self.character.hangs_up_on_login => None,
            Method::ConnectionStartOk(_) => {
                let tune = ConnectionTune { channel_max: 9, frame_max: 4096, heartbeat: 60 };
                self.reply(0, tune)
            }
            Method::ConnectionOpen(_) => self.reply(0, ConnectionOpenOk::default()),
            Method::ConnectionClose(_) => self.reply(0, ConnectionCloseOk {}),
            Method::ChannelOpen(_) => self.reply(1, ChannelOpenOk::default()),
            Method::ChannelClose(_) => self.reply(1, ChannelCloseOk {}),
            Method::QueueDeclare(declare) => {
                self.reply(1, QueueDeclareOk { queue: declare.queue, ..Default::default() })
            }
            Method::QueueDelete(_) => self.reply(1, QueueDeleteOk::default()),
            Method::BasicQos(_) => self.reply(1, BasicQosOk {}),
            Method::ConfirmSelect(_) => {
                self.confirms = true;
                self.reply(1, ConfirmSelectOk {})
            }
            Method::BasicConsume(consume) => {
                let subscription = Subscription {
                    stream: self.stream.try_clone().unwrap(),
                    tag: consume.consumer_tag.as_bytes().clone(),
                    delivered: Arc::clone(&self.delivered),
                };
                let queue = consume.queue.as_bytes().clone();
                self.subscriptions.lock().unwrap().insert(queue, subscription);
                self.reply(1, BasicConsumeOk { consumer_tag: consume.consumer_tag })
            }
            Method::BasicPublish(publish) => {
                self.routing_key = publish.routing_key.as_bytes().clone();
                Some(())
            }
            _ => Some(()),
        }
    }

    /// Takes a body of one frame.
    fn publish(&mut self, body: &[u8]) -> Option<()> {
        self.published += 1;
        let is_nth = |every: Option<u64>| every.is_some_and(|n| self.published.is_multiple_of(n));
        let copies = match () {
            () if is_nth(self.character.loses_every) => 0,
            () if is_nth(self.character.repeats_every) => 2,
            () => 1,
        };
        if let Some(subscription) = self.subscriptions.lock().unwrap().get_mut(&self.routing_key) {
            for _ in 0..copies {
                subscription.deliver(body)?;
            }
        }
        if self.character.refuses_after == Some(self.published) {
            self.reply(0, ConnectionBlocked { reason: name("low on memory") })?;
            let reply_text = name("NOT_FOUND - no exchange 'x' in vhost '/'");
            return self
                .reply(1, ChannelClose { reply_code: 404, reply_text, ..Default::default() });
        }
        if self.confirms && !self.character.is_silent {
            self.reply(0, ConnectionBlocked::default())?;
            self.reply(0, ConnectionUnblocked {})?;
            self.reply(1, BasicAck { delivery_tag: self.published, multiple: false })?;
        }
        Some(())
    }

    fn reply(&mut self, channel: u16, method: impl Into<Method>) -> Option<()> {
        let mut octets = BytesMut::new();
        frame::write_method(&mut octets, channel, &method.into());
        self.stream.write_all(&octets).ok()
    }
}

impl Subscription {
    fn deliver(&mut self, body: &[u8]) -> Option<()> {
        let mut delivered = self.delivered.lock().unwrap();
        *delivered += 1;
        let deliver = BasicDeliver {
            consumer_tag: name(std::str::from_utf8(&self.tag).unwrap()),
            delivery_tag: *delivered,
            ..Default::default()
        };
        let mut octets = BytesMut::new();
        frame::write_method(&mut octets, 1, &deliver.into());
        content::write_content(&mut octets, 1, &[0, 0], body, 4096);
        self.stream.write_all(&octets).ok()
    }
}
