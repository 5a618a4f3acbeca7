//! What one connection's thinking costs, without a broker: publications read, deliveries written,
//! acknowledgements read. Prints nanoseconds per message, the best of several rounds.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock")]

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use leveret::{
    model::{
        AcknowledgementTimeout, ConnectionId, ConsumerId, ConsumerTag, Delivery, ExchangeName,
        Message, Moment, Position, Published, QueueId, QueueName, RoutingKey, ShortString,
    },
    session::{
        Session, Settings,
        request::{Answer, Event, Operation, Reply, Request},
    },
    wire::{
        content, frame,
        method::{
            BasicAck, BasicConsume, BasicPublish, ChannelOpen, ConfirmSelect, ConnectionOpen,
            ConnectionStartOk, ConnectionTuneOk, Method,
        },
    },
};

const ROUNDS: usize = 15;
const MESSAGES: usize = 200_000;
/// Deliveries and acknowledgements between two writes.
const RUN: usize = 500;
/// What a busy socket gives at once.
const READ: usize = 64 * 1024;

fn main() {
    for (name, bench) in [
        ("publish 16 B", publish as fn() -> Duration),
        ("publish 16 B, confirmed", publish_confirmed),
        ("publish 4 KiB", publish_large),
        ("deliver 16 B, no ack", deliver_unacknowledged),
        ("deliver 16 B, acked by 500", deliver),
        ("deliver 4 KiB", deliver_large),
        ("ack, one by one", acknowledge),
    ] {
        let best = (0..ROUNDS).map(|_| bench()).min().unwrap_or_default();
        println!("{name:28} {:7.1} ns", best.as_nanos() as f64 / MESSAGES as f64);
    }
}

fn publish() -> Duration {
    published(&[7; 16], false)
}

fn publish_confirmed() -> Duration {
    published(&[7; 16], true)
}

fn publish_large() -> Duration {
    published(&[7; 4096], false)
}

fn deliver() -> Duration {
    delivered(&[7; 16], false)
}

fn deliver_unacknowledged() -> Duration {
    delivered(&[7; 16], true)
}

fn deliver_large() -> Duration {
    delivered(&[7; 4096], true)
}

fn acknowledge() -> Duration {
    let mut client = Client::consuming(false);
    let mut spent = Duration::ZERO;
    for run in 0..(MESSAGES / RUN) as u64 {
        let mut octets = BytesMut::new();
        for tag in 1..=RUN as u64 {
            client.deliver(&Message::new(b"", b"queue", &[0, 0], Bytes::new()), tag);
            let ack = BasicAck { delivery_tag: run * RUN as u64 + tag, multiple: false };
            frame::write_method(&mut octets, 1, &ack.into());
        }
        client.run();
        let started = Instant::now();
        client.octets(&octets);
        spent += started.elapsed();
    }
    assert_eq!(client.settled, MESSAGES);
    spent
}

/// The copying of octets into the input stands for the kernel's, and is counted.
fn published(body: &[u8], confirms: bool) -> Duration {
    let mut client = Client::new();
    if confirms {
        client.send(ConfirmSelect::default());
    }
    let method = BasicPublish {
        routing_key: RoutingKey::from_static("queue"),
        exchange: ExchangeName::from_static("amq.direct"),
        ..BasicPublish::default()
    };
    let mut octets = BytesMut::new();
    while octets.len() < 2 * READ * body.len().max(64) / 64 {
        frame::write_method(&mut octets, 1, &method.clone().into());
        content::write_content(&mut octets, 1, &[0x10, 0, 2], body, 131_072);
    }
    let started = Instant::now();
    while client.published < MESSAGES {
        for part in octets.chunks(READ) {
            client.octets(part);
        }
    }
    started.elapsed() * MESSAGES as u32 / client.published as u32
}

fn delivered(body: &[u8], no_ack: bool) -> Duration {
    let mut client = Client::consuming(no_ack);
    let message =
        Message::new(b"amq.direct", b"queue", &[0x10, 0, 2], Bytes::copy_from_slice(body));
    let mut all = BytesMut::new();
    frame::write_method(&mut all, 1, &BasicAck { delivery_tag: 0, multiple: true }.into());
    let started = Instant::now();
    for _ in 0..MESSAGES / RUN {
        (0..RUN as u64).for_each(|position| client.deliver(&message, position));
        client.octets(&all);
        client.session.flushed(client.now);
    }
    started.elapsed()
}

/// A session with channel 1 open, and a broker that says yes to everything.
struct Client {
    session: Session,
    now: Moment,
    consumer: ConsumerId,
    published: usize,
    settled: usize,
    out: VecDeque<Bytes>,
}

impl Client {
    fn new() -> Self {
        let now = Moment::from_unix(Duration::from_secs(1));
        let settings = Arc::new(Settings::default());
        let mut client = Self {
            session: Session::new(settings, ConnectionId(1), 1, now),
            now,
            consumer: ConsumerId::default(),
            published: 0,
            settled: 0,
            out: VecDeque::new(),
        };
        client.octets(b"AMQP\0\0\x09\x01");
        client.on(
            0,
            ConnectionStartOk {
                mechanism: ShortString::from_static("ANONYMOUS"),
                ..ConnectionStartOk::default()
            },
        );
        client.on(0, ConnectionTuneOk::default());
        client.on(0, ConnectionOpen::default());
        client.send(ChannelOpen::default());
        client
    }

    fn consuming(no_ack: bool) -> Self {
        let mut client = Self::new();
        client.send(BasicConsume {
            queue: QueueName::from_static("queue"),
            consumer_tag: ConsumerTag::from_static("consumer"),
            no_ack,
            ..BasicConsume::default()
        });
        client
    }

    fn deliver(&mut self, message: &Message, position: u64) {
        let delivery = Delivery {
            consumer: self.consumer,
            queue: QueueId(1),
            position: Position(position),
            redelivered: false,
            message: message.clone(),
        };
        self.session.notify(Event::Deliver(delivery), self.now);
    }

    fn send(&mut self, method: impl Into<Method>) {
        self.on(1, method);
    }

    fn on(&mut self, channel: u16, method: impl Into<Method>) {
        let mut octets = BytesMut::new();
        frame::write_method(&mut octets, channel, &method.into());
        self.octets(&octets);
    }

    fn octets(&mut self, octets: &[u8]) {
        let input = self.session.input();
        input.reserve(READ);
        input.extend_from_slice(octets);
        self.session.received(self.now);
        self.run();
    }

    fn run(&mut self) {
        while let Some(request) = self.session.next_request(self.now) {
            if let Some(answer) = self.execute(request) {
                self.session.answer(answer, self.now);
            }
        }
        self.session.transmit(&mut self.out);
        self.out.clear();
    }

    fn execute(&mut self, request: Request) -> Option<Answer> {
        Some(match request {
            Request::Login(_) => Answer::Admitted(Ok(())),
            Request::OpenVirtualHost(_) => Answer::Opened(Ok(())),
            Request::Publish(batch) => {
                self.published += batch.len();
                let confirmed = batch.iter().filter_map(|publication| {
                    let channel = publication.channel;
                    publication.confirm.map(|number| Published::Confirmed { channel, number })
                });
                Answer::Published(confirmed.collect())
            }
            Request::Settle(settlements) => {
                self.settled += settlements.iter().map(|part| part.positions.len()).sum::<usize>();
                Answer::Settled
            }
            Request::Replenish(_) | Request::Resume(_) => return None,
            Request::Operate { channel, operation } => {
                let reply = match operation {
                    Operation::Consume(consume) => {
                        self.consumer = consume.consumer;
                        Reply::Consuming(QueueId(1), AcknowledgementTimeout::default())
                    }
                    _ => Reply::Done,
                };
                Answer::Done { channel, result: Ok(reply) }
            }
            Request::Leave => Answer::Left,
        })
    }
}
