//! A connection's task beside a client that cannot be had over a real socket.

use std::{
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

use super::{Backend, Clock, Conversation, Outbox, connection::Connection};
use crate::{
    model::{ConnectionId, Moment},
    session::{
        Session, Settings,
        request::{Answer, Operation, Reply, Request},
    },
    wire::{
        frame,
        method::{self, Method},
    },
};

/// A client that always has something to say, and takes whatever it is told.
struct Chatterbox {
    has_greeted: bool,
}

impl AsyncRead for Chatterbox {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let header: &[u8] = b"AMQP\0\0\x09\x01";
        let heartbeat: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0xCE];
        let octets = if self.has_greeted { heartbeat } else { header };
        self.has_greeted = true;
        buffer.put_slice(octets);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chatterbox {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Nobody gets as far as to ask for anything.
struct Nobody;

impl Backend for Nobody {
    fn execute(&mut self, _: Request, _: Moment) -> Option<Answer> {
        None
    }
}

#[test]
fn a_deadline_holds_for_a_client_that_never_pauses() {
    let handshake_timeout = Duration::from_millis(20);
    let settings = Arc::new(Settings { handshake_timeout, ..Settings::default() });
    let clock = Clock::start();
    let session = Session::new(settings, ConnectionId(1), 1, clock.now());
    let talk = Conversation::new(session, Nobody, Arc::new(Outbox::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, session) = runtime.block_on(async {
        Connection::new(Chatterbox { has_greeted: false }, talk, clock).run().await
    });
    assert!(session.is_finished());
}

/// Holds its answers to operations back until the test releases them.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    answers: Vec<Answer>,
    is_released: bool,
    is_behind: bool,
    has_left: bool,
}

impl Backend for Slow {
    fn execute(&mut self, request: Request, _: Moment) -> Option<Answer> {
        let mut held = self.0.lock().unwrap();
        Some(match request {
            Request::Login(_) => Answer::Admitted(Ok(())),
            Request::OpenVirtualHost(_) => Answer::Opened(Ok(())),
            Request::Publish(_) => Answer::Published(Vec::new()),
            Request::Settle(_) => Answer::Settled,
            Request::Replenish(_) | Request::Resume(_) => return None,
            Request::Operate { channel, operation } => {
                let answer = Answer::Done { channel, result: Ok(Reply::Done) };
                if !held.is_released && operation != Operation::Open {
                    held.answers.push(answer);
                    return None;
                }
                answer
            }
            Request::Leave => {
                held.has_left = true;
                Answer::Left
            }
        })
    }

    fn next_late_answer(&mut self, _: Moment) -> Option<Answer> {
        let mut held = self.0.lock().unwrap();
        if held.is_released { held.answers.pop() } else { None }
    }

    fn is_behind(&mut self) -> bool {
        self.0.lock().unwrap().is_behind
    }

    fn hang_up(&mut self) {
        self.0.lock().unwrap().is_released = true;
    }
}

/// A client of a slow broker, its connection's task, and what the two share.
struct Bench {
    client: DuplexStream,
    received: BytesMut,
    slow: Slow,
    outbox: Arc<Outbox>,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// A client that has opened channel 1.
    async fn entered() -> Self {
        let (client, server) = duplex(64 * 1024);
        let (slow, outbox, clock) = (Slow::default(), Arc::new(Outbox::default()), Clock::start());
        let session = Session::new(Arc::default(), ConnectionId(1), 1, clock.now());
        let talk = Conversation::new(session, slow.clone(), Arc::clone(&outbox));
        let connection = Connection::new(server, talk, clock);
        let task = tokio::spawn(async move { drop(connection.run().await) });
        let mut bench = Self { client, received: BytesMut::new(), slow, outbox, task };
        bench.client.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        bench.expect("connection.start").await;
        let start = method::ConnectionStartOk {
            mechanism: "PLAIN".try_into().unwrap(),
            response: "\0guest\0guest".to_owned().into(),
            locale: "en_US".try_into().unwrap(),
            ..method::ConnectionStartOk::default()
        };
        bench.send(0, start).await;
        bench.expect("connection.tune").await;
        let tune = method::ConnectionTuneOk { channel_max: 9, frame_max: 4096, heartbeat: 0 };
        bench.send(0, tune).await;
        let virtual_host = "/".try_into().unwrap();
        bench.send(0, method::ConnectionOpen { virtual_host, ..Default::default() }).await;
        bench.expect("connection.open-ok").await;
        bench.send(1, method::ChannelOpen::default()).await;
        bench.expect("channel.open-ok").await;
        bench
    }

    async fn send(&mut self, channel: u16, method: impl Into<Method>) {
        let mut octets = BytesMut::new();
        frame::write_method(&mut octets, channel, &method.into());
        self.client.write_all(&octets).await.unwrap();
    }

    async fn delete_exchange(&mut self) {
        let exchange = "x".try_into().unwrap();
        self.send(1, method::ExchangeDelete { exchange, ..Default::default() }).await;
    }

    /// The next frame is a method of this name.
    async fn expect(&mut self, name: &str) {
        let found = loop {
            if let Some(found) = frame::split(&mut self.received, 0).unwrap() {
                break found;
            }
            assert_ne!(self.client.read_buf(&mut self.received).await.unwrap(), 0);
        };
        assert_eq!(Method::decode(&found.payload).unwrap().name(), name);
    }

    /// Waits until the connection has nothing left to do.
    async fn quiet(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_late_answer_wakes_its_connection() {
    let mut bench = Bench::entered().await;
    bench.delete_exchange().await;
    bench.quiet().await;
    assert_eq!(bench.slow.0.lock().unwrap().answers.len(), 1);
    bench.slow.0.lock().unwrap().is_released = true;
    bench.outbox.notify();
    bench.expect("exchange.delete-ok").await;
}

#[tokio::test]
async fn a_connection_that_breaks_waits_for_no_answer() {
    let mut bench = Bench::entered().await;
    bench.delete_exchange().await;
    bench.quiet().await;
    drop(mem::replace(&mut bench.client, duplex(1).0));
    bench.task.await.unwrap();
    assert!(bench.slow.0.lock().unwrap().has_left);
}

#[tokio::test]
async fn a_client_is_not_read_while_the_broker_is_behind() {
    let mut bench = Bench::entered().await;
    bench.slow.0.lock().unwrap().is_behind = true;
    bench.outbox.notify();
    bench.quiet().await;
    bench.send(2, method::ChannelOpen::default()).await;
    bench.quiet().await;
    let unread = futures_lite::future::poll_once(bench.client.read_u8()).await;
    assert!(unread.is_none(), "the client has been heard");
    bench.slow.0.lock().unwrap().is_behind = false;
    bench.outbox.notify();
    bench.expect("channel.open-ok").await;
}
