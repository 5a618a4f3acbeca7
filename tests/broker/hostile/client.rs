//! A client that sends what it is told to, and reads only when it is told to.

use super::subject::PATIENCE;
use bytes::{BufMut, BytesMut};
use leveret::{
    model::{LongString, QueueName, ShortString},
    wire::{
        content,
        frame::{self, Frame, FrameKind},
        method::{
            BasicPublish, ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method,
            QueueDeclare,
        },
    },
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

pub const HEADER: &[u8] = b"AMQP\0\0\x09\x01";
pub const FRAME_MAX: usize = 131_072;

pub struct Client {
    pub stream: TcpStream,
    input: BytesMut,
}

/// What the broker says next.
#[derive(Debug)]
pub enum Said {
    Method(u16, Method),
    /// A header or a body.
    Content(Frame),
    /// Nothing any more.
    Closed,
}

impl Client {
    /// Only connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Connects with the smallest buffer for what it does not read.
    pub fn connect_narrowly(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(socket.connect(address)).unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        Self::over(stream)
    }

    /// Connects, shakes hands and opens channel 1.
    pub fn open(address: SocketAddr) -> Self {
        Self::connect(address).greet(0)
    }

    pub fn greet(mut self, heartbeat: u16) -> Self {
        self.write(&opening(heartbeat));
        let _start_and_tune = (self.method(), self.method());
        assert!(matches!(self.method(), Method::ConnectionOpenOk(_)));
        self.call(1, ChannelOpen::default());
        self
    }

    pub fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    pub fn send(&mut self, channel: u16, method: impl Into<Method>) {
        self.write(&method_frame(channel, method));
    }

    /// Asks, and returns the next method, whatever it is.
    pub fn call(&mut self, channel: u16, method: impl Into<Method>) -> Method {
        self.send(channel, method);
        self.method()
    }

    /// Declares passively: messages and consumers.
    pub fn count(&mut self, queue: &str) -> (u32, u32) {
        match self.call(1, QueueDeclare { passive: true, ..declaration(queue) }) {
            Method::QueueDeclareOk(ok) => (ok.message_count, ok.consumer_count),
            other => panic!("{other:?}"),
        }
    }

    /// The next method; content is passed over.
    pub fn method(&mut self) -> Method {
        loop {
            match self.next() {
                Said::Method(_, method) => return method,
                Said::Content(_) => {}
                Said::Closed => panic!("the broker has hung up"),
            }
        }
    }

    pub fn next(&mut self) -> Said {
        loop {
            let frame = frame::split(&mut self.input, FRAME_MAX).expect("a frame of the broker");
            match frame {
                Some(Frame { kind: FrameKind::Method, channel, payload }) => {
                    let method = Method::decode(&payload).expect("a method of the broker");
                    return Said::Method(channel, method);
                }
                Some(Frame { kind: FrameKind::Heartbeat, .. }) => {}
                Some(frame) => return Said::Content(frame),
                None if self.read() == 0 => return Said::Closed,
                None => {}
            }
        }
    }

    /// Reads until the broker has hung up; none of it is looked at.
    pub fn is_dropped(&mut self) -> bool {
        while self.read() > 0 {
            self.input.clear();
        }
        true
    }

    /// Octets that came; none at the end of the stream, which a reset is as well.
    fn read(&mut self) -> usize {
        let mut part = [0; 1 << 16];
        let read = match self.stream.read(&mut part) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("the broker neither answers nor hangs up: {error}"),
        };
        self.input.extend_from_slice(&part[..read]);
        read
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: BytesMut::new() }
    }
}

/// The protocol header and the client's whole side of the handshake.
pub fn opening(heartbeat: u16) -> Vec<u8> {
    let start_ok = ConnectionStartOk {
        mechanism: ShortString::from_static("PLAIN"),
        response: LongString::from_static("\0guest\0guest"),
        ..ConnectionStartOk::default()
    };
    let frame_max = FRAME_MAX as u32;
    let tune_ok = ConnectionTuneOk { channel_max: 2047, frame_max, heartbeat };
    let open = ConnectionOpen {
        virtual_host: "/".to_owned().try_into().unwrap(),
        ..ConnectionOpen::default()
    };
    let frames = [method_frame(0, start_ok), method_frame(0, tune_ok), method_frame(0, open)];
    [HEADER, &frames.concat()].concat()
}

pub fn method_frame(channel: u16, method: impl Into<Method>) -> Vec<u8> {
    let mut octets = BytesMut::new();
    frame::write_method(&mut octets, channel, &method.into());
    octets.to_vec()
}

/// One frame with nothing wrong in it, whatever its payload.
pub fn raw_frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = BytesMut::new();
    frame::write_frame(&mut octets, kind, channel, |out| out.put_slice(payload));
    octets.to_vec()
}

/// A header that announces a body of that size.
pub fn header_frame(channel: u16, size: u64) -> Vec<u8> {
    let mut octets = BytesMut::new();
    content::write_header(&mut octets, channel, &[0, 0], size);
    octets.to_vec()
}

/// A whole publication.
pub fn publication(publish: BasicPublish, body: &[u8]) -> Vec<u8> {
    let mut octets = BytesMut::new();
    frame::write_method(&mut octets, 1, &publish.into());
    content::write_content(&mut octets, 1, &[0, 0], body, FRAME_MAX);
    octets.to_vec()
}

/// To a queue, through the default exchange.
pub fn publish_to(queue: &str) -> BasicPublish {
    BasicPublish { routing_key: queue.to_owned().try_into().unwrap(), ..BasicPublish::default() }
}

pub fn name(queue: &str) -> QueueName {
    queue.to_owned().try_into().unwrap()
}

pub fn declaration(queue: &str) -> QueueDeclare {
    QueueDeclare { queue: name(queue), ..QueueDeclare::default() }
}
