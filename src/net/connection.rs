//! One task per client: reads, lets the session think, carries out what it asks, writes.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::io::poll_read_buf;

use super::{Backend, Clock, Conversation, tls::Secured};
use crate::{
    model::{ConnectionId, Moment},
    session::{Disposition, Session},
};

/// The two ends of a client's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub connection: ConnectionId,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    /// Absent: the connection is in plain.
    pub tls: Option<Arc<Secured>>,
}

/// What is read at once from a client that sends little, and from one that sends much.
const SMALL_READ: usize = 4 * 1024;
const LARGE_READ: usize = 128 * 1024;

/// The input of a client that has come to send little is not kept beyond this many octets.
const KEPT_INPUT: usize = 4 * SMALL_READ;

/// A client that does not read what it is sent is not read from either beyond this many octets.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Pieces of output that go out in one system call.
const PIECES_AT_ONCE: usize = 32;

/// A client's socket, its session, and what connects the two with the broker.
pub(super) struct Connection<S, B> {
    stream: S,
    talk: Conversation<B>,
    clock: Clock,
    /// The session's deadline, kept as a timer.
    alarm: Pin<Box<Sleep>>,
    output: VecDeque<Bytes>,
    output_octets: usize,
    /// Nothing is left in the socket's own buffer, either (TLS has one).
    is_flushed: bool,
    read_size: usize,
    /// Whose turn it is to be tried first, of reading and writing.
    reads_first: bool,
}

/// Why a sleeping connection's task goes on.
enum Wake {
    Received,
    /// The client has closed its side, or the socket broke.
    Ended,
    /// The output is on its way.
    Flushed,
    /// Something waits in the outbox.
    Notified,
    /// The session's deadline has come.
    Due,
}

impl<S, B> Connection<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    pub(super) fn new(stream: S, talk: Conversation<B>, clock: Clock) -> Self {
        Self {
            stream,
            talk,
            clock,
            alarm: Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())),
            output: VecDeque::new(),
            output_octets: 0,
            is_flushed: true,
            read_size: SMALL_READ,
            reads_first: false,
        }
    }

    /// Serves the client until the conversation is over, then gives back what it held.
    ///
    /// Returns the socket, and the session that says how it is to be closed.
    pub(super) async fn run(mut self) -> (S, Session) {
        while !self.is_over() {
            let wake = self.wake().await;
            let (now, session) = (self.clock.now(), &mut self.talk.session);
            match wake {
                Wake::Received => session.received(now),
                Wake::Flushed => session.flushed(now),
                Wake::Notified | Wake::Due => {}
                Wake::Ended => break,
            }
            // A client that never pauses keeps the timer from being looked at.
            if session.deadline().is_some_and(|(deadline, _reason)| deadline <= now) {
                session.tick(now);
                // Deadlines are seldom: by now, a burst of input is over.
                self.read_size = SMALL_READ;
            }
            self.work(now);
            if self.read_size == LARGE_READ {
                // A client that sends without end must not keep this worker from the others.
                tokio::task::yield_now().await;
            }
        }
        self.talk.hang_up(self.clock.now());
        (self.stream, self.talk.session)
    }

    fn is_over(&self) -> bool {
        let session = &self.talk.session;
        let must_write = session.disposition() == Disposition::Close && !self.is_flushed;
        session.is_finished() && !must_write
    }

    fn work(&mut self, now: Moment) {
        self.talk.work(now);
        let before = self.output.len();
        self.talk.session.transmit(&mut self.output);
        self.is_flushed &= self.output.len() == before;
        self.output_octets += self.output.range(before..).map(Bytes::len).sum::<usize>();
    }

    async fn wake(&mut self) -> Wake {
        if let Some((moment, _reason)) = self.talk.session.deadline() {
            let deadline = self.clock.instant(moment);
            if self.alarm.deadline() != deadline {
                self.alarm.as_mut().reset(deadline);
            }
        }
        poll_fn(|context| self.poll_wake(context)).await
    }

    fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<Wake> {
        // In turn, so that a client that takes all it is sent is still heard.
        self.reads_first = !self.reads_first;
        if self.reads_first
            && let Poll::Ready(wake) = self.poll_input(context)
        {
            return Poll::Ready(wake);
        }
        if !self.is_flushed {
            match self.poll_write(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(Wake::Flushed),
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Ended),
                Poll::Pending => {}
            }
        }
        if !self.reads_first
            && let Poll::Ready(wake) = self.poll_input(context)
        {
            return Poll::Ready(wake);
        }
        if self.talk.outbox().poll(context).is_ready() {
            return Poll::Ready(Wake::Notified);
        }
        if self.talk.session.deadline().is_some() {
            ready!(self.alarm.as_mut().poll(context));
            return Poll::Ready(Wake::Due);
        }
        Poll::Pending
    }

    /// Reads, unless back-pressure forbids it.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Wake> {
        if !self.talk.session.wants_input() || self.output_octets >= OUTPUT_LIMIT {
            return Poll::Pending;
        }
        self.poll_read(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Wake> {
        let input = self.talk.session.input();
        if self.read_size == SMALL_READ && input.is_empty() && input.capacity() > KEPT_INPUT {
            *input = BytesMut::new();
        }
        input.reserve(self.read_size);
        match ready!(poll_read_buf(Pin::new(&mut self.stream), context, input)) {
            Ok(0) | Err(_) => Poll::Ready(Wake::Ended),
            Ok(read) => {
                self.read_size = if read >= self.read_size {
                    (self.read_size * 2).min(LARGE_READ)
                } else if read < self.read_size / 8 {
                    (self.read_size / 2).max(SMALL_READ)
                } else {
                    self.read_size
                };
                Poll::Ready(Wake::Received)
            }
        }
    }

    /// Ready when all the output has been written, and has left.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES_AT_ONCE];
            let mut used = 0;
            for (piece, octets) in pieces.iter_mut().zip(&self.output) {
                *piece = IoSlice::new(octets);
                used += 1;
            }
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(context, &pieces[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.consume(written);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn consume(&mut self, mut written: usize) {
        self.output_octets -= written;
        while let Some(front) = self.output.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.output.pop_front();
        }
    }
}
