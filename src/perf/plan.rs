//! What a run does, worked out from what the user asked for.

use std::time::Duration;

use super::{address::Address, failure::Failure};

/// A run of publishers and consumers.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub address: Address,
    /// Tells this run's messages from another's.
    pub run: u32,
    /// Tells its exchange and queues from another's.
    pub name: String,
    pub publishers: usize,
    pub consumers: usize,
    pub queues: usize,
    pub queue: QueuePlan,
    pub exchange: Option<ExchangeKind>,
    pub size: usize,
    pub persistent: bool,
    pub mandatory: bool,
    /// Messages that a publisher may have unconfirmed; without it, it asks for no confirms.
    pub window: Option<u64>,
    pub acknowledge: Acknowledge,
    pub prefetch: u16,
    /// Messages per second, all publishers together.
    pub rate: Option<u64>,
    /// The shortest pause between two writes of a publisher that keeps to a rate.
    pub shortest_pause: Duration,
    pub batch: usize,
    pub length: Length,
    /// Published and not yet received copies above which publishers wait; zero for no limit.
    pub backlog: u64,
    /// How long nothing may arrive before what is missing is given up.
    pub stall: Duration,
    pub verify: bool,
    pub latency: bool,
    pub quiet: bool,
    /// Whether the queues, and what is in them, stay for a later run of the same name.
    pub keep: bool,
}

/// How queues are declared.
#[derive(Clone, Debug, Default)]
pub(super) struct QueuePlan {
    pub durable: bool,
    pub arguments: Vec<QueueArgument>,
}

/// A `key=value` for `queue.declare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueArgument {
    pub key: String,
    pub value: String,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// After a time; what happens in the warm-up does not count.
    Time { warm_up: Duration, measured: Duration },
    /// When this many messages have been published and everything has arrived.
    Messages(u64),
}

/// How a consumer acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Not at all: it consumes with `no-ack`.
    None,
    /// Each message with a method of its own.
    Each,
    /// This many messages with one method.
    Multiple(u64),
}

/// Where publishers publish to, if not to the default exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
}

impl Plan {
    pub(super) fn queue_name(&self, index: usize) -> String {
        format!("perf.{}.{index:04}", self.name)
    }

    /// The exchange's name; empty for the default exchange.
    pub(super) fn exchange_name(&self) -> String {
        self.exchange.map(|_| format!("perf.{}", self.name)).unwrap_or_default()
    }

    /// The queues that fall to participant `index` of `participants`: each queue to one at least,
    /// and to each one queue at least.
    pub(super) fn share(&self, index: usize, participants: usize) -> Vec<usize> {
        if participants >= self.queues {
            return vec![index % self.queues];
        }
        (index..self.queues).step_by(participants).collect()
    }

    /// The routing keys that publisher `index` uses in turn.
    pub(super) fn routing_keys(&self, index: usize) -> Vec<String> {
        if self.exchange == Some(ExchangeKind::Fanout) {
            return vec![String::new()];
        }
        let queues = self.share(index, self.publishers);
        queues.into_iter().map(|queue| self.queue_name(queue)).collect()
    }

    /// How many queues every message goes to.
    pub(super) fn copies(&self) -> u64 {
        match self.exchange {
            Some(ExchangeKind::Fanout) => self.queues as u64,
            Some(ExchangeKind::Direct | ExchangeKind::Topic) | None => 1,
        }
    }

    /// Messages that an earlier run has left to be received; none where this one publishes.
    pub(super) fn kept(&self) -> u64 {
        match self.length {
            Length::Messages(messages) if self.publishers == 0 => messages,
            Length::Messages(_) | Length::Time { .. } => 0,
        }
    }

    /// When the warm-up is over, in nanoseconds from the start.
    pub(super) fn measured_from_ns(&self) -> u64 {
        match self.length {
            Length::Time { warm_up, .. } => warm_up.as_nanos() as u64,
            Length::Messages(_) => 0,
        }
    }

    /// The messages that publisher `index` sends before it ends by itself.
    pub(super) fn limit(&self, index: usize) -> u64 {
        let Length::Messages(total) = self.length else { return u64::MAX };
        let (each, rest) = (total / self.publishers as u64, total % self.publishers as u64);
        each + u64::from((index as u64) < rest)
    }

    /// Refuses what cannot work, before anything is declared.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let refuse = |reason: &str| Err(Failure::Options(reason.to_owned()));
        if self.queues == 0 || (self.publishers == 0 && (self.kept() == 0 || self.consumers == 0)) {
            return refuse(
                "a run needs a queue, and a publisher or kept --messages and a consumer",
            );
        }
        if (self.verify || self.latency) && self.size < super::scanner::STAMP {
            return refuse("to verify messages or their latency takes a --size of 16 or more");
        }
        if (self.verify || self.latency) && self.consumers == 0 {
            return refuse("to verify messages or their latency takes a consumer");
        }
        if self.window == Some(0) || self.rate == Some(0) {
            return refuse("a window of confirms, or a rate, of zero lets nothing be published");
        }
        if self.queues > super::template::MOST_QUEUES {
            return refuse("more queues than a run can have, which is 4096");
        }
        if let Acknowledge::Multiple(every) = self.acknowledge
            && (every == 0 || (self.prefetch > 0 && every > u64::from(self.prefetch)))
        {
            return refuse("--ack must not be larger than --prefetch, or the consumer starves");
        }
        Ok(())
    }
}

/// The moments at which messages should be sent, in nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    interval_ns: f64,
    publishers: u64,
}

impl Schedule {
    pub(super) fn new(rate: u64, publishers: usize) -> Self {
        Self { interval_ns: 1e9 / rate as f64, publishers: publishers as u64 }
    }

    /// When `publisher` should send message `sequence`: publishers take turns.
    #[inline]
    pub(super) fn moment_ns(&self, publisher: u64, sequence: u64) -> u64 {
        ((sequence * self.publishers + publisher) as f64 * self.interval_ns) as u64
    }

    /// How many messages `publisher` should have sent by `now_ns`.
    pub(super) fn due(&self, publisher: u64, now_ns: u64) -> u64 {
        let turns = (now_ns as f64 / self.interval_ns) as u64 + 1;
        turns.saturating_sub(publisher).div_ceil(self.publishers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_kept_by_publishers_in_turn() {
        let schedule = Schedule::new(1000, 2);
        assert_eq!(schedule.moment_ns(1, 3), 7_000_000);
        assert_eq!(schedule.due(0, 0), 1);
        assert_eq!(schedule.due(1, 0), 0);
        for sequence in 0..50 {
            for publisher in [0, 1] {
                let moment = schedule.moment_ns(publisher, sequence);
                assert_eq!(schedule.due(publisher, moment), sequence + 1);
                assert_eq!(
                    schedule.due(publisher, moment.saturating_sub(1)),
                    match moment {
                        0 => 1,
                        _ => sequence,
                    }
                );
            }
        }
    }
}
