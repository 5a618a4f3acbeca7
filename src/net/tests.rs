//! A connection's task beside a client that cannot be had over a real socket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Backend, Clock, Conversation, Outbox, connection::Connection};
use crate::{
    model::{ConnectionId, Moment},
    session::{
        Session, Settings,
        request::{Answer, Request},
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
