//! One consuming connection on its thread: counts, checks and acknowledges what it receives.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::BytesMut;
use hdrhistogram::Histogram;

use super::{
    client::{Client, name},
    failure::Failure,
    ledger::Ledger,
    notice::{Notice, notice},
    plan::{Acknowledge, Plan, Schedule},
    progress::Progress,
    scanner::{Confirm, Delivery, Receiver},
    template::{CHANNEL, Stamp, consumer_tag},
};
use crate::wire::{
    frame,
    method::{BasicAck, BasicConsume, BasicQos},
};

pub(super) struct Consumer {
    client: Client,
    inbox: Inbox,
    progress: Arc<Progress>,
    index: usize,
    queues: Vec<usize>,
}

/// What a consumer has seen.
#[derive(Debug)]
pub(super) struct Received {
    pub queues: Vec<usize>,
    pub ledger: Option<Ledger>,
    pub latency_ns: Option<Histogram<u64>>,
}

impl Consumer {
    pub(super) fn new(
        plan: &Plan,
        index: usize,
        mut client: Client,
        progress: Arc<Progress>,
    ) -> Result<Self, Failure> {
        let queues = plan.share(index, plan.consumers);
        if plan.prefetch > 0 {
            client
                .call(CHANNEL, BasicQos { prefetch_count: plan.prefetch, ..Default::default() })?;
        }
        for (place, queue) in queues.iter().enumerate() {
            let consume = BasicConsume {
                queue: name(&plan.queue_name(*queue)),
                consumer_tag: name(&consumer_tag(place)),
                no_ack: plan.acknowledge == Acknowledge::None,
                // Where messages are waiting, they would come together with the answer.
                no_wait: plan.kept() > 0,
                ..Default::default()
            };
            if consume.no_wait {
                client.send_method(CHANNEL, consume)?;
            } else {
                client.call(CHANNEL, consume)?;
            }
        }
        client.abandon_when(Arc::clone(&progress.abandon));
        // What an earlier run has kept is of one publisher.
        let publishers = plan.publishers.max(1);
        let inbox = Inbox {
            acknowledge: plan.acknowledge,
            acks: Acks::new(),
            unacked: 0,
            last_tag: 0,
            count: 0,
            ledger: plan.verify.then(|| Ledger::new(plan.run, queues.len(), publishers)),
            latency: Latency::of(plan),
            fault: None,
        };
        Ok(Self { client, inbox, progress, index, queues })
    }

    /// Consumes until told to stop.
    pub(super) fn run(mut self) -> Result<Received, Failure> {
        while !self.progress.stop_consuming.load(Relaxed) {
            if self.client.wait()? {
                self.take()?;
            }
        }
        self.inbox.acknowledge_rest();
        self.client.send(self.inbox.acks.octets())?;
        self.client.close()?;
        Ok(Received {
            queues: self.queues,
            ledger: self.inbox.ledger,
            latency_ns: self.inbox.latency.map(|latency| latency.histogram_ns),
        })
    }

    fn take(&mut self) -> Result<(), Failure> {
        if let Some(latency) = &mut self.inbox.latency {
            latency.now_ns = self.progress.now_ns();
        }
        self.client.scan(&mut self.inbox)?;
        if let Some(fault) = self.inbox.fault.take() {
            return Err(Failure::Unexpected(fault));
        }
        self.progress.received[self.index].set(self.inbox.count);
        self.progress.arrived();
        if !self.inbox.acks.octets().is_empty() {
            self.client.send(self.inbox.acks.octets())?;
            self.inbox.acks.clear();
        }
        Ok(())
    }
}

/// Acknowledgements on their way out: copies of one frame, with other tags.
struct Acks {
    single: Vec<u8>,
    out: Vec<u8>,
}

/// Where an acknowledgement's frame has its delivery tag: behind the head, class and method.
const TAG_AT: usize = frame::HEAD + 4;
const MULTIPLE_AT: usize = TAG_AT + 8;

impl Acks {
    fn new() -> Self {
        let mut single = BytesMut::new();
        frame::write_method(&mut single, CHANNEL, &BasicAck::default().into());
        Self { single: single.to_vec(), out: Vec::new() }
    }

    #[inline]
    fn push(&mut self, tag: u64, multiple: bool) {
        let start = self.out.len();
        self.out.extend_from_slice(&self.single);
        let frame = &mut self.out[start..];
        frame[TAG_AT..TAG_AT + 8].copy_from_slice(&tag.to_be_bytes());
        frame[MULTIPLE_AT] = multiple.into();
    }

    fn octets(&self) -> &[u8] {
        &self.out
    }

    fn clear(&mut self) {
        self.out.clear();
    }
}

struct Inbox {
    acknowledge: Acknowledge,
    acks: Acks,
    unacked: u64,
    last_tag: u64,
    count: u64,
    ledger: Option<Ledger>,
    latency: Option<Latency>,
    fault: Option<String>,
}

impl Inbox {
    fn acknowledge_rest(&mut self) {
        if self.unacked > 0 {
            self.acks.push(self.last_tag, true);
            self.unacked = 0;
        }
    }
}

impl Receiver for Inbox {
    #[inline]
    fn delivery(&mut self, delivery: &Delivery) {
        self.count += 1;
        if delivery.tag != self.count {
            self.fault.get_or_insert_with(|| {
                format!("delivery tag {} where {} is due", delivery.tag, self.count)
            });
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.note(delivery);
        }
        if let Some(latency) = &mut self.latency {
            latency.note(&Stamp::read(&delivery.stamp));
        }
        match self.acknowledge {
            Acknowledge::None => {}
            Acknowledge::Each => self.acks.push(delivery.tag, false),
            Acknowledge::Multiple(every) => {
                self.last_tag = delivery.tag;
                self.unacked += 1;
                if self.unacked >= every {
                    self.acknowledge_rest();
                }
            }
        }
    }

    fn confirm(&mut self, _: Confirm) {}

    fn returned(&mut self) {}

    fn method(&mut self, _: u16, payload: &[u8]) -> Result<(), Failure> {
        match notice(payload)? {
            Notice::Blocked(_) | Notice::Other => Ok(()),
        }
    }
}

/// How long messages were under way, counted from the moment at which each should have been sent: a
/// stall of the broker then counts for every message that it held up.
struct Latency {
    histogram_ns: Histogram<u64>,
    schedule: Schedule,
    /// Messages that should have been sent earlier are of the warm-up.
    from_ns: u64,
    now_ns: u64,
}

impl Latency {
    fn of(plan: &Plan) -> Option<Self> {
        let rate = plan.rate.filter(|_| plan.latency)?;
        Some(Self {
            histogram_ns: super::report::histogram(),
            schedule: Schedule::new(rate, plan.publishers),
            from_ns: plan.measured_from_ns(),
            now_ns: 0,
        })
    }

    fn note(&mut self, stamp: &Stamp) {
        let moment_ns = self.schedule.moment_ns(stamp.publisher.into(), stamp.sequence);
        if moment_ns >= self.from_ns {
            self.histogram_ns.saturating_record(self.now_ns.saturating_sub(moment_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(acknowledge: Acknowledge) -> Inbox {
        Inbox {
            acknowledge,
            acks: Acks::new(),
            unacked: 0,
            last_tag: 0,
            count: 0,
            ledger: None,
            latency: None,
            fault: None,
        }
    }

    fn check(acknowledge: Acknowledge, deliveries: u64, expected: &[(u64, bool)]) {
        let mut inbox = inbox(acknowledge);
        for tag in 1..=deliveries {
            inbox.delivery(&Delivery { tag, ..Delivery::default() });
        }
        inbox.acknowledge_rest();
        let mut wanted = BytesMut::new();
        for &(delivery_tag, multiple) in expected {
            frame::write_method(&mut wanted, CHANNEL, &BasicAck { delivery_tag, multiple }.into());
        }
        assert_eq!(inbox.acks.octets(), wanted);
        assert_eq!(inbox.fault, None);
    }

    #[test]
    fn messages_are_acknowledged_as_asked() {
        check(Acknowledge::None, 3, &[]);
        check(Acknowledge::Each, 2, &[(1, false), (2, false)]);
        check(Acknowledge::Multiple(2), 5, &[(2, true), (4, true), (5, true)]);
    }

    #[test]
    fn a_delivery_tag_out_of_turn_is_a_fault() {
        let mut inbox = inbox(Acknowledge::None);
        inbox.delivery(&Delivery { tag: 2, ..Delivery::default() });
        assert!(inbox.fault.is_some());
    }
}
