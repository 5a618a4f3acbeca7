//! A connection to a broker: blocking, on one thread, and never stuck in a write.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    address::Address,
    failure::Failure,
    notice::{Mailbox, Notice, notice},
    scanner::{self, Receiver, Scanner},
    template::CHANNEL,
};
use crate::{
    model::{FieldTable, LongString, ShortString},
    wire::{
        frame,
        method::{
            ChannelOpen, ConnectionClose, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk,
            Method,
        },
    },
};

/// How long a read or a write may block before its thread looks around.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a broker may take to answer a method.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The most that one read takes: what stays in the processor's cache.
const READ_OCTETS: usize = 128 * 1024;
/// Left-over octets up to this many are moved to the front before a read.
const MOVED_OCTETS: usize = 4 * 1024;
const SMALLEST_BUFFER: usize = 512 * 1024;

pub(super) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The octets read and not scanned yet; they begin at a frame.
    filled: std::ops::Range<usize>,
    scanner: Scanner,
    frame_max: usize,
    heartbeat: Duration,
    sent_at: Instant,
    received_at: Instant,
    blocked: bool,
    abandon: Arc<AtomicBool>,
}

impl Client {
    /// Connects, logs in, and opens the one channel.
    pub(super) fn open(address: &Address) -> Result<Self, Failure> {
        let mut client = Self::connect(address)?;
        client.open_channel(CHANNEL)?;
        Ok(client)
    }

    /// Connects and logs in.
    pub(super) fn connect(address: &Address) -> Result<Self, Failure> {
        let place = (address.host.as_str(), address.port);
        let unreachable = |source| {
            let address = format!("{}:{}", address.host, address.port);
            Failure::Connect { address, source }
        };
        let stream = TcpStream::connect(place).map_err(unreachable)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let now = Instant::now();
        let mut client = Self {
            stream,
            buffer: vec![0; SMALLEST_BUFFER],
            filled: 0..0,
            scanner: Scanner::default(),
            frame_max: 4096,
            heartbeat: Duration::ZERO,
            sent_at: now,
            received_at: now,
            blocked: false,
            abandon: Arc::default(),
        };
        client.shake_hands(address).map_err(|failure| match failure {
            Failure::Dropped(_) | Failure::Broken(_) => Failure::Dropped(
                " during the login: are the user, the password and the virtual host right?",
            ),
            other => other,
        })?;
        Ok(client)
    }

    pub(super) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// Gives writes up that the broker does not take once `flag` is set.
    pub(super) fn abandon_when(&mut self, flag: Arc<AtomicBool>) {
        self.abandon = flag;
    }

    /// Whether the broker has said that it takes no publishes.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn open_channel(&mut self, channel: u16) -> Result<(), Failure> {
        self.call(channel, ChannelOpen::default()).map(drop)
    }

    /// Sends a method and waits for the answer.
    pub(super) fn call(
        &mut self,
        channel: u16,
        method: impl Into<Method>,
    ) -> Result<Method, Failure> {
        self.send_method(channel, method)?;
        self.answer()
    }

    pub(super) fn send_method(
        &mut self,
        channel: u16,
        method: impl Into<Method>,
    ) -> Result<(), Failure> {
        let mut octets = BytesMut::new();
        frame::write_method(&mut octets, channel, &method.into());
        self.send(&octets)
    }

    /// Writes all of `octets`. While the broker does not read, what it sends is read and kept: a
    /// broker that waits for its own writes cannot make both sides wait for ever.
    pub(super) fn send(&mut self, mut octets: &[u8]) -> Result<(), Failure> {
        while !octets.is_empty() {
            match self.stream.write(octets) {
                Ok(0) => return Err(Failure::Dropped("")),
                Ok(written) => octets = &octets[written..],
                Err(error) if is_pause(error.kind()) => self.listen_while_writing()?,
                Err(error) => return Err(self.last_words(error.into())),
            }
        }
        if !self.heartbeat.is_zero() {
            self.sent_at = Instant::now();
        }
        Ok(())
    }

    /// Reads, blocking up to [`PATIENCE`]; answers whether there was anything.
    pub(super) fn wait(&mut self) -> Result<bool, Failure> {
        let found = self.read()?;
        if !found {
            self.keep_alive()?;
        }
        Ok(found)
    }

    /// Reads what is there already.
    pub(super) fn poll(&mut self) -> Result<bool, Failure> {
        self.stream.set_nonblocking(true)?;
        let found = self.read();
        self.stream.set_nonblocking(false)?;
        found
    }

    /// Hands what has been read to `receiver`.
    pub(super) fn scan(&mut self, receiver: &mut impl Receiver) -> Result<(), Failure> {
        let taken = self.scanner.scan(&self.buffer[self.filled.clone()], receiver)?;
        self.filled.start += taken;
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
        Ok(())
    }

    /// Says goodbye and waits for the broker's.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        let text = ShortString::from_static("OK");
        let close = ConnectionClose { reply_code: 200, reply_text: text, ..Default::default() };
        self.call(0, close).map(drop)
    }

    fn shake_hands(&mut self, address: &Address) -> Result<(), Failure> {
        self.send(b"AMQP\x00\x00\x09\x01")?;
        self.answer()?;
        let start_ok = ConnectionStartOk {
            client_properties: client_properties(),
            mechanism: ShortString::from_static("PLAIN"),
            response: LongString(format!("\0{}\0{}", address.user, address.password).into()),
            locale: ShortString::from_static("en_US"),
        };
        let Method::ConnectionTune(tune) = self.call(0, start_ok)? else {
            return Err(Failure::Unexpected("no connection.tune after the login".to_owned()));
        };
        self.frame_max = match tune.frame_max {
            0 => 131_072,
            offered => offered as usize,
        };
        let tune_ok = ConnectionTuneOk {
            channel_max: tune.channel_max,
            frame_max: self.frame_max as u32,
            heartbeat: tune.heartbeat,
        };
        self.send_method(0, tune_ok)?;
        self.heartbeat = Duration::from_secs(tune.heartbeat.into());
        let virtual_host = name(&address.virtual_host);
        self.call(0, ConnectionOpen { virtual_host, ..Default::default() }).map(drop)
    }

    fn read(&mut self) -> Result<bool, Failure> {
        self.make_room();
        let end = self.buffer.len().min(self.filled.end + READ_OCTETS);
        match self.stream.read(&mut self.buffer[self.filled.end..end]) {
            Ok(0) => Err(Failure::Dropped("")),
            Ok(octets) => {
                self.filled.end += octets;
                if !self.heartbeat.is_zero() {
                    self.received_at = Instant::now();
                }
                Ok(true)
            }
            Err(error) if is_pause(error.kind()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The next method that is neither a notice nor a refusal.
    fn answer(&mut self) -> Result<Method, Failure> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut mailbox = Mailbox::default();
        loop {
            let scanned = self.scan(&mut mailbox);
            self.hear(mailbox.blocked);
            scanned?;
            if let Some(answer) = mailbox.answer {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                return Err(Failure::Silent(ANSWER_TIMEOUT.as_secs()));
            }
            self.wait()?;
        }
    }

    /// Makes room on the broker's side, and notices when it will not read on.
    fn listen_while_writing(&mut self) -> Result<(), Failure> {
        if self.abandon.load(Ordering::Relaxed) {
            return Err(Failure::Dropped(": it stopped reading"));
        }
        self.poll()?;
        self.glance()
    }

    /// Looks for a refusal or a notice in what has been read and not scanned yet.
    fn glance(&mut self) -> Result<(), Failure> {
        let mut blocked = self.blocked;
        for payload in scanner::methods(&self.buffer[self.filled.clone()]) {
            match notice(payload)? {
                Notice::Blocked(state) => blocked = state,
                Notice::Other => {}
            }
        }
        self.blocked = blocked;
        Ok(())
    }

    /// Why a write failed: the broker's own words, if it left any.
    fn last_words(&mut self, failure: Failure) -> Failure {
        while let Ok(true) = self.poll() {}
        self.glance().err().unwrap_or(failure)
    }

    /// Sends a heartbeat when one is due, and gives up on a broker that sends none.
    fn keep_alive(&mut self) -> Result<(), Failure> {
        if self.heartbeat.is_zero() {
            return Ok(());
        }
        let silence = self.received_at.elapsed();
        if silence > self.heartbeat * 2 && !self.blocked {
            return Err(Failure::Silent(silence.as_secs()));
        }
        if self.sent_at.elapsed() > self.heartbeat / 2 {
            self.sent_at = Instant::now();
            let mut octets = BytesMut::new();
            frame::write_heartbeat(&mut octets);
            // A partial or refused write means that octets of ours are under way, which say as
            // much; eight octets are never cut in two by a socket that has room for any.
            match self.stream.write(&octets) {
                Err(error) if !is_pause(error.kind()) => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn make_room(&mut self) {
        let left = self.filled.len();
        if self.filled.start > 0
            && (left <= MOVED_OCTETS || self.buffer.len() - self.filled.end < READ_OCTETS)
        {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..left;
        }
        if self.buffer.len() - self.filled.end < READ_OCTETS {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    /// Takes over what a receiver heard of [`Notice::Blocked`].
    pub(super) fn hear(&mut self, blocked: Option<bool>) {
        self.blocked = blocked.unwrap_or(self.blocked);
    }
}

fn client_properties() -> FieldTable {
    let capabilities = ["authentication_failure_close", "basic.nack", "connection.blocked"]
        .into_iter()
        .chain(["consumer_cancel_notify", "publisher_confirms"])
        .map(|capability| (ShortString::from_static(capability), true.into()));
    let pairs = [
        ("capabilities", FieldTable::from_pairs(capabilities).into()),
        ("connection_name", LongString::from_static("leveret perf").into()),
        ("product", LongString::from_static("leveret perf").into()),
        ("version", LongString::from_static(env!("CARGO_PKG_VERSION")).into()),
    ];
    FieldTable::from_pairs(
        pairs.into_iter().map(|(name, value)| (ShortString::from_static(name), value)),
    )
}

/// Any kind of name; what is longer than 255 octets is cut off.
pub(super) fn name<T: From<ShortString>>(text: &str) -> T {
    let octets = &text.as_bytes()[..text.len().min(255)];
    ShortString::new(Bytes::copy_from_slice(octets)).expect("cut to 255 octets").into()
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
