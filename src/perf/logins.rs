//! Wrong logins at a fixed rate, as somebody sends them who guesses passwords.

use std::{
    collections::VecDeque,
    fmt,
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::{
    address::Address, client::name, failure::Failure, process::Processes, report::Grouped,
};
use crate::{
    model::{FieldTable, FieldValue, LongString},
    wire::{frame, method::ConnectionStartOk},
};

/// Logins to try.
#[derive(Clone, Debug)]
pub(super) struct Logins {
    pub address: Address,
    pub per_second: u64,
    pub measured: Duration,
}

/// What was tried.
#[derive(Clone, Debug, Serialize)]
pub struct LoginsReport {
    pub tried: u64,
    pub seconds: f64,
    pub tried_per_second: f64,
    pub broker_microseconds_per_login: Option<f64>,
    pub client_microseconds_per_login: f64,
}

/// How long a connection is kept for its answer, which nobody reads.
const KEPT: Duration = Duration::from_secs(1);

impl Logins {
    /// Connects, says the wrong password without waiting to be asked, and goes on to the next.
    pub(super) fn run(&self, broker: &Processes) -> Result<LoginsReport, Failure> {
        let own = Processes::own();
        let before = (broker.usage(), own.usage());
        let (started, words) = (Instant::now(), wrong_words());
        let interval = Duration::from_secs(1) / u32::try_from(self.per_second.max(1)).unwrap_or(1);
        let place = (self.address.host.as_str(), self.address.port);
        let mut open: VecDeque<(Instant, TcpStream)> = VecDeque::new();
        let mut tried = 0;
        while started.elapsed() < self.measured {
            let due = started + interval * u32::try_from(tried).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut stream = TcpStream::connect(place).map_err(|source| Failure::Connect {
                address: format!("{}:{}", place.0, place.1),
                source,
            })?;
            stream.write_all(&words)?;
            let now = Instant::now();
            open.push_back((now, stream));
            while open.front().is_some_and(|(opened, _)| *opened + KEPT <= now) {
                open.pop_front();
            }
            tried += 1;
        }
        let seconds = started.elapsed().as_secs_f64();
        let after = (broker.usage(), own.usage());
        let cost = |after: Duration, before: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1e6 / tried.max(1) as f64
        };
        let by_broker = cost(after.0.cpu, before.0.cpu);
        Ok(LoginsReport {
            tried,
            seconds,
            tried_per_second: tried as f64 / seconds,
            broker_microseconds_per_login: (!broker.is_empty()).then_some(by_broker),
            client_microseconds_per_login: cost(after.1.cpu, before.1.cpu),
        })
    }
}

/// The protocol header, and a login that nobody has.
fn wrong_words() -> BytesMut {
    let told = (name("authentication_failure_close"), FieldValue::Boolean(true));
    let capabilities = FieldValue::Table(FieldTable::from_pairs([told]));
    let start_ok = ConnectionStartOk {
        client_properties: FieldTable::from_pairs([(name("capabilities"), capabilities)]),
        mechanism: name("PLAIN"),
        response: LongString::from("\0guest\0wrong"),
        locale: name("en_US"),
    };
    let mut words = BytesMut::new();
    words.put_slice(b"AMQP\x00\x00\x09\x01");
    frame::write_method(&mut words, 0, &start_ok.into());
    words
}

impl fmt::Display for LoginsReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = Grouped(self.tried_per_second);
        writeln!(to, "logins        {rate} logins/s ({} in {:.2} s)", self.tried, self.seconds)?;
        if let Some(cpu) = self.broker_microseconds_per_login {
            writeln!(to, "broker        {cpu:.1} µs CPU per login")?;
        }
        write!(to, "client        {:.1} µs CPU per login", self.client_microseconds_per_login)
    }
}
