//! A server at the other end of TCP connections, in real time.

use super::{Arrival, Peer, Server};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

/// How long an answer may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(6);
/// What messages inside the server may need to reach a socket once a round trip has been made.
const SETTLING: Duration = Duration::from_millis(25);

pub struct TcpPeer {
    address: SocketAddr,
    server: Server,
    streams: BTreeMap<String, Stream>,
}

struct Stream {
    socket: TcpStream,
    arrivals: Receiver<Arrival>,
    early: VecDeque<Arrival>,
    has_ended: bool,
}

impl TcpPeer {
    pub fn new(address: SocketAddr, server: Server) -> Self {
        Self { address, server, streams: BTreeMap::new() }
    }

    fn stream(&mut self, connection: &str) -> Option<&mut Stream> {
        self.streams.get_mut(connection)
    }
}

impl Peer for TcpPeer {
    fn server(&self) -> Server {
        self.server
    }

    fn connect(&mut self, connection: &str) -> Result<(), String> {
        let failed = |why: std::io::Error| format!("no connection to {}: {why}", self.address);
        let socket = TcpStream::connect(self.address).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let (sender, arrivals) = channel();
        let reader = socket.try_clone().map_err(failed)?;
        std::thread::spawn(move || read_on(reader, &sender));
        let stream = Stream { socket, arrivals, early: VecDeque::new(), has_ended: false };
        self.streams.insert(connection.to_owned(), stream);
        Ok(())
    }

    fn send(&mut self, connection: &str, octets: &[u8]) {
        if let Some(stream) = self.stream(connection) {
            // A server that has closed is seen when its end of the stream is read.
            let _ = stream.socket.write_all(octets);
        }
    }

    fn receive(&mut self, connection: &str) -> Arrival {
        let Some(stream) = self.stream(connection) else { return Arrival::Closed };
        if let Some(arrival) = stream.early.pop_front() {
            return arrival;
        }
        if stream.has_ended {
            return Arrival::Closed;
        }
        match stream.arrivals.recv_timeout(PATIENCE) {
            Ok(arrival) => stream.seen(arrival),
            Err(_) => Arrival::Silence,
        }
    }

    fn has_arrived(&mut self, connection: &str) -> bool {
        let Some(stream) = self.stream(connection) else { return false };
        if let Ok(arrival) = stream.arrivals.try_recv() {
            let arrival = stream.seen(arrival);
            stream.early.push_back(arrival);
        }
        !stream.early.is_empty()
    }

    fn disconnect(&mut self, connection: &str) {
        if let Some(stream) = self.streams.remove(connection) {
            let _ = stream.socket.shutdown(Shutdown::Both);
        }
    }

    fn wait(&mut self, duration: Duration) {
        let (_open, never) = channel::<()>();
        let _ = never.recv_timeout(duration);
    }

    fn settle(&mut self) {
        self.wait(SETTLING);
    }
}

impl Stream {
    fn seen(&mut self, arrival: Arrival) -> Arrival {
        self.has_ended |= matches!(arrival, Arrival::Closed);
        arrival
    }
}

fn read_on(mut socket: TcpStream, sender: &Sender<Arrival>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let arrival = match socket.read(&mut buffer) {
            Ok(0) | Err(_) => Arrival::Closed,
            Ok(length) => Arrival::Octets(buffer[..length].to_vec()),
        };
        let is_last = matches!(arrival, Arrival::Closed);
        if sender.send(arrival).is_err() || is_last {
            return;
        }
    }
}
