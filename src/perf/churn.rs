//! Connections, or channels, opened, used once and closed, over and over.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    address::Address,
    client::{Client, name},
    failure::Failure,
    process::{Processes, Usage},
    report::{Grouped, Percentiles},
    template::{Block, CHANNEL, Shape},
};
use crate::{
    model::ShortString,
    wire::method::{ChannelClose, Method, QueueDeclare, QueueDelete},
};

/// What is opened and closed in every cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    Connections,
    Channels,
}

/// Cycles to run.
#[derive(Clone, Debug)]
pub(super) struct Churn {
    pub address: Address,
    pub subject: Subject,
    pub threads: usize,
    pub measured: Duration,
    pub size: usize,
}

/// What the cycles have shown.
#[derive(Clone, Debug, Serialize)]
pub struct ChurnReport {
    pub cycles: u64,
    pub seconds: f64,
    pub cycles_per_second: f64,
    pub broker_microseconds_per_cycle: Option<f64>,
    pub client_microseconds_per_cycle: f64,
    pub broker_resident_megabytes: Option<f64>,
    pub cycle: Percentiles,
}

impl Churn {
    /// Runs cycles on every thread until the time is over.
    pub(super) fn run(&self, broker: &Processes) -> Result<ChurnReport, Failure> {
        let own = Processes::own();
        let before = (broker.usage(), own.usage());
        let started = Instant::now();
        let deadline = started + self.measured;
        let outcomes: Vec<Result<Histogram<u64>, Failure>> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| self.cycles(deadline))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or(Err(Failure::Thread))
            };
            threads.into_iter().map(join).collect()
        });
        let seconds = started.elapsed().as_secs_f64();
        let after = (broker.usage(), own.usage());
        let mut cycles_ns = super::report::histogram();
        for outcome in outcomes {
            cycles_ns.add(outcome?).expect("all histograms have the same bounds");
        }
        let cycles = cycles_ns.len();
        let per_cycle = |after: Usage, before: Usage| {
            after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / cycles.max(1) as f64
        };
        let knows_broker = !broker.is_empty();
        Ok(ChurnReport {
            cycles,
            seconds,
            cycles_per_second: cycles as f64 / seconds,
            broker_microseconds_per_cycle: knows_broker.then(|| per_cycle(after.0, before.0)),
            client_microseconds_per_cycle: per_cycle(after.1, before.1),
            broker_resident_megabytes: knows_broker.then_some(after.0.resident_octets as f64 / 1e6),
            cycle: Percentiles::of(&cycles_ns),
        })
    }

    fn cycles(&self, deadline: Instant) -> Result<Histogram<u64>, Failure> {
        let mut histogram_ns = super::report::histogram();
        match self.subject {
            Subject::Connections => {
                while Instant::now() < deadline {
                    let started = Instant::now();
                    let mut client = Client::connect(&self.address)?;
                    self.use_channel(&mut client)?;
                    client.close()?;
                    histogram_ns.saturating_record(started.elapsed().as_nanos() as u64);
                }
            }
            Subject::Channels => {
                let mut client = Client::connect(&self.address)?;
                while Instant::now() < deadline {
                    let started = Instant::now();
                    self.use_channel(&mut client)?;
                    histogram_ns.saturating_record(started.elapsed().as_nanos() as u64);
                }
                client.close()?;
            }
        }
        Ok(histogram_ns)
    }

    /// Opens a channel, declares a queue, publishes to it, and closes the channel again.
    fn use_channel(&self, client: &mut Client) -> Result<(), Failure> {
        client.open_channel(CHANNEL)?;
        let declare = QueueDeclare { exclusive: true, ..Default::default() };
        let Method::QueueDeclareOk(declared) = client.call(CHANNEL, declare)? else {
            return Err(Failure::Unexpected("no queue.declare-ok".to_owned()));
        };
        let queue = ShortString::from(declared.queue);
        let mut message = Block::new(&Shape {
            exchange: String::new(),
            routing_keys: vec![queue.text().into_owned()],
            size: self.size,
            persistent: false,
            mandatory: false,
            run: 0,
            publisher: 0,
            frame_max: client.frame_max(),
            batch: 1,
        });
        client.send(message.numbered(0, 1))?;
        if self.subject == Subject::Channels {
            client.call(CHANNEL, QueueDelete { queue: queue.into(), ..Default::default() })?;
        }
        let reply_text = name("OK");
        let close = ChannelClose { reply_code: 200, reply_text, ..Default::default() };
        client.call(CHANNEL, close).map(drop)
    }
}

impl fmt::Display for ChurnReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = Grouped(self.cycles_per_second);
        writeln!(to, "cycles        {rate} cycles/s ({} in {:.2} s)", self.cycles, self.seconds)?;
        if let Some(cpu) = self.broker_microseconds_per_cycle {
            let resident = self.broker_resident_megabytes.unwrap_or_default();
            writeln!(to, "broker        {cpu:.1} µs CPU per cycle, {resident:.0} MB resident")?;
        }
        writeln!(to, "client        {:.1} µs CPU per cycle", self.client_microseconds_per_cycle)?;
        write!(to, "cycle         {}", self.cycle)
    }
}
