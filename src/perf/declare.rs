//! Many queues, declared, looked for or deleted as fast as the broker takes it.

use std::{fmt, time::Instant};

use bytes::BytesMut;
use serde::Serialize;

use super::{
    client::{Client, name},
    failure::Failure,
    options::DeclareOptions,
    process::Processes,
    report::Grouped,
    template::CHANNEL,
};
use crate::wire::{
    frame,
    method::{Method, QueueDeclare, QueueDelete},
};

/// What it took.
#[derive(Clone, Debug, Serialize)]
pub struct DeclareReport {
    pub queues: usize,
    pub seconds: f64,
    pub queues_per_second: f64,
    pub broker_microseconds_per_queue: Option<f64>,
    pub broker_resident_megabytes: Option<f64>,
}

/// Asks for batches without an answer, but for the last request of each.
pub(super) fn run(options: &DeclareOptions, broker: &Processes) -> Result<DeclareReport, Failure> {
    let mut client = Client::open(&options.target.uri)?;
    let before = broker.usage();
    let started = Instant::now();
    let batch = options.batch.max(1);
    for first in (0..options.queues).step_by(batch) {
        let last = options.queues.min(first + batch) - 1;
        let mut octets = BytesMut::new();
        for index in first..last {
            frame::write_method(&mut octets, CHANNEL, &request(options, index, true));
        }
        client.send(&octets)?;
        client.call(CHANNEL, request(options, last, false))?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = broker.usage();
    client.close()?;
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
    let knows_broker = !broker.is_empty();
    Ok(DeclareReport {
        queues: options.queues,
        seconds,
        queues_per_second: options.queues as f64 / seconds,
        broker_microseconds_per_queue: knows_broker.then(|| cpu / options.queues.max(1) as f64),
        broker_resident_megabytes: knows_broker.then_some(after.resident_octets as f64 / 1e6),
    })
}

fn request(options: &DeclareOptions, index: usize, no_wait: bool) -> Method {
    let queue = name(&format!("perf.{}.{index:06}", options.name));
    if options.delete {
        return QueueDelete { queue, no_wait, ..Default::default() }.into();
    }
    let &DeclareOptions { durable, passive, .. } = options;
    QueueDeclare { queue, durable, passive, no_wait, ..Default::default() }.into()
}

impl fmt::Display for DeclareReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = Grouped(self.queues_per_second);
        write!(to, "queues        {rate} queues/s ({} in {:.2} s)", self.queues, self.seconds)?;
        if let Some(cpu) = self.broker_microseconds_per_queue {
            let resident = self.broker_resident_megabytes.unwrap_or_default();
            write!(to, "\nbroker        {cpu:.1} µs CPU per queue, {resident:.0} MB resident")?;
        }
        Ok(())
    }
}
