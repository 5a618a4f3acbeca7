//! One publishing connection on its thread: writes whole blocks, keeps to its window and its rate.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    client::Client,
    confirms::Confirms,
    failure::Failure,
    notice::{Notice, notice},
    plan::{Plan, Schedule},
    progress::Progress,
    scanner::{Confirm, Delivery, Receiver},
    template::{Block, CHANNEL, Shape},
};
use crate::wire::method::ConfirmSelect;

/// How often a publisher that awaits nothing looks for what the broker says.
const GLANCE: Duration = Duration::from_millis(100);
/// How long a publisher lets the consumers catch up before it looks again: at first, and at most.
const CATCH_UP: Duration = Duration::from_micros(50);
const LONGEST_CATCH_UP: Duration = Duration::from_millis(2);

pub(super) struct Publisher {
    client: Client,
    block: Block,
    inbox: Inbox,
    progress: Arc<Progress>,
    index: usize,
    window: Option<u64>,
    limit: u64,
    schedule: Option<Schedule>,
    shortest_pause: Duration,
    glanced_at: Instant,
    catch_up: Duration,
    measured_from_ns: u64,
    lateness_ns: Option<Histogram<u64>>,
    waits: Option<Waits>,
}

/// What a publisher has done.
#[derive(Debug)]
pub(super) struct Sent {
    pub refused: u64,
    pub returned: u64,
    /// How long after their moment messages were sent, in nanoseconds.
    pub lateness_ns: Option<Histogram<u64>>,
    /// How long after their write messages were confirmed, in nanoseconds.
    pub confirm_ns: Option<Histogram<u64>>,
}

/// What a publisher may do next.
enum Step {
    Publish(usize),
    /// The broker has to say something first.
    Listen,
    Pause(Duration),
    /// The consumers have to receive something first.
    CatchUp,
}

impl Publisher {
    pub(super) fn new(
        plan: &Plan,
        index: usize,
        mut client: Client,
        progress: Arc<Progress>,
    ) -> Result<Self, Failure> {
        if plan.window.is_some() {
            client.call(CHANNEL, ConfirmSelect::default())?;
        }
        client.abandon_when(Arc::clone(&progress.abandon));
        let shape = Shape {
            exchange: plan.exchange_name(),
            routing_keys: plan.routing_keys(index),
            size: plan.size,
            persistent: plan.persistent,
            mandatory: plan.mandatory,
            run: plan.run,
            publisher: index as u32,
            frame_max: client.frame_max(),
            batch: plan.batch,
        };
        Ok(Self {
            client,
            block: Block::new(&shape),
            inbox: Inbox::default(),
            index,
            window: plan.window,
            limit: plan.limit(index),
            schedule: plan.rate.map(|rate| Schedule::new(rate, plan.publishers)),
            shortest_pause: plan.shortest_pause,
            glanced_at: progress.started,
            catch_up: CATCH_UP,
            measured_from_ns: plan.measured_from_ns(),
            lateness_ns: plan.latency.then(super::report::histogram),
            waits: plan.window.map(|_| Waits::new(plan.measured_from_ns())),
            progress,
        })
    }

    /// Publishes until told to stop or at the limit, then awaits the confirms.
    pub(super) fn run(mut self) -> Result<Sent, Failure> {
        pause(self.progress.started.saturating_duration_since(Instant::now()));
        while !self.progress.stop_publishing.load(Relaxed) && self.inbox.published < self.limit {
            self.listen_in_passing()?;
            match self.next_step() {
                Step::Publish(count) => self.publish(count)?,
                Step::Listen => self.listen()?,
                Step::Pause(duration) => pause(duration),
                Step::CatchUp => self.catch_up(),
            }
        }
        while self.window.is_some() && self.inbox.outstanding() > 0 {
            if self.progress.abandon.load(Relaxed) {
                return Err(Failure::Verification(format!(
                    "{} messages were never confirmed",
                    self.inbox.outstanding()
                )));
            }
            self.listen()?;
        }
        self.client.close()?;
        if self.window.is_none() {
            self.progress.arrived();
        }
        Ok(Sent {
            refused: self.inbox.confirms.refused(),
            returned: self.inbox.returned,
            lateness_ns: self.lateness_ns,
            confirm_ns: self.waits.map(|waits| waits.histogram_ns),
        })
    }

    fn next_step(&self) -> Step {
        if self.client.is_blocked() {
            return Step::Listen;
        }
        let published = self.inbox.published;
        let mut count = (self.limit - published).min(self.block.batch() as u64);
        if let Some(window) = self.window {
            count = count.min(window.saturating_sub(self.inbox.outstanding()));
            if count == 0 {
                return Step::Listen;
            }
        }
        if self.progress.is_behind() {
            return Step::CatchUp;
        }
        if let Some(schedule) = self.schedule {
            let (index, now_ns) = (self.index as u64, self.progress.now_ns());
            count = count.min(schedule.due(index, now_ns).saturating_sub(published));
            if count == 0 {
                let next_ns = schedule.moment_ns(index, published).saturating_sub(now_ns);
                return Step::Pause(Duration::from_nanos(next_ns).max(self.shortest_pause));
            }
        }
        Step::Publish(count as usize)
    }

    fn publish(&mut self, count: usize) -> Result<(), Failure> {
        let first = self.inbox.published;
        self.catch_up = CATCH_UP;
        self.note_lateness(first..first + count as u64);
        // Counted before they are written, for the broker may confirm the first of them at once.
        self.inbox.published += count as u64;
        self.progress.published[self.index].set(self.inbox.published);
        if let Some(waits) = &mut self.waits {
            waits.begin(self.inbox.published, self.progress.now_ns());
        }
        self.client.send(self.block.numbered(first, count))?;
        self.progress.blocked[self.index].set(self.client.is_blocked().into());
        Ok(())
    }

    /// Pauses, and longer each time: looking often would cost more than the messages do.
    fn catch_up(&mut self) {
        pause(self.catch_up);
        self.catch_up = (self.catch_up * 2).min(LONGEST_CATCH_UP);
    }

    fn note_lateness(&mut self, sequences: Range<u64>) {
        let (Some(lateness), Some(schedule)) = (&mut self.lateness_ns, self.schedule) else {
            return;
        };
        let (index, now_ns) = (self.index as u64, self.progress.now_ns());
        let moments = sequences.map(|sequence| schedule.moment_ns(index, sequence));
        for moment_ns in moments.filter(|moment_ns| *moment_ns >= self.measured_from_ns) {
            lateness.saturating_record(now_ns.saturating_sub(moment_ns));
        }
    }

    /// Hears what the broker says without waiting, where [`Self::listen`] may not come up for long.
    fn listen_in_passing(&mut self) -> Result<(), Failure> {
        let is_frequent = self.window.is_some() && self.schedule.is_some();
        if !is_frequent && self.glanced_at.elapsed() < GLANCE {
            return Ok(());
        }
        self.glanced_at = Instant::now();
        if self.client.poll()? {
            self.hear()?;
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Failure> {
        if self.client.wait()? {
            self.hear()?;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), Failure> {
        self.client.scan(&mut self.inbox)?;
        if let Some(fault) = self.inbox.fault.take() {
            return Err(Failure::Unexpected(fault));
        }
        self.client.hear(self.inbox.blocked.take());
        if let Some(waits) = &mut self.waits {
            waits.end(self.inbox.confirms.floor(), self.progress.now_ns());
        }
        let progress = &self.progress;
        progress.blocked[self.index].set(self.client.is_blocked().into());
        progress.answered[self.index].set(self.inbox.confirms.answered());
        progress.unwanted[self.index].set(self.inbox.confirms.refused() + self.inbox.returned);
        progress.arrived();
        Ok(())
    }
}

/// Writes whose messages are not all confirmed, and how long others took to be.
struct Waits {
    /// The number of the last message of each write, and when it was written.
    writes: VecDeque<(u64, u64)>,
    histogram_ns: Histogram<u64>,
    /// What was written earlier is of the warm-up.
    from_ns: u64,
    confirmed: u64,
}

impl Waits {
    fn new(from_ns: u64) -> Self {
        let histogram_ns = super::report::histogram();
        Self { writes: VecDeque::new(), histogram_ns, from_ns, confirmed: 0 }
    }

    fn begin(&mut self, last: u64, now_ns: u64) {
        self.writes.push_back((last, now_ns));
    }

    /// Everything up to message `floor` is confirmed.
    fn end(&mut self, floor: u64, now_ns: u64) {
        while let Some(&(last, written_ns)) = self.writes.front()
            && self.confirmed < floor
        {
            let reached = last.min(floor);
            if written_ns >= self.from_ns {
                let waited_ns = now_ns.saturating_sub(written_ns);
                self.histogram_ns.saturating_record_n(waited_ns, reached - self.confirmed);
            }
            self.confirmed = reached;
            if reached == last {
                self.writes.pop_front();
            }
        }
    }
}

/// What a publisher is told.
#[derive(Debug, Default)]
struct Inbox {
    published: u64,
    confirms: Confirms,
    returned: u64,
    blocked: Option<bool>,
    fault: Option<String>,
}

impl Inbox {
    fn outstanding(&self) -> u64 {
        self.published - self.confirms.answered()
    }
}

impl Receiver for Inbox {
    fn delivery(&mut self, _: &Delivery) {}

    fn confirm(&mut self, confirm: Confirm) {
        if !self.confirms.settle(confirm, self.published) {
            self.fault.get_or_insert_with(|| format!("a confirm of message {}", confirm.tag));
        }
    }

    fn returned(&mut self) {
        self.returned += 1;
    }

    fn method(&mut self, _: u16, payload: &[u8]) -> Result<(), Failure> {
        match notice(payload)? {
            Notice::Blocked(state) => self.blocked = Some(state),
            Notice::Other => {}
        }
        Ok(())
    }
}

/// The generator keeps a schedule: its moments are what it waits for.
fn pause(duration: Duration) {
    if !duration.is_zero() {
        std::thread::sleep(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_from_their_write_to_their_confirm() {
        let mut waits = Waits::new(100);
        for (last, written_ns) in [(2, 50), (5, 1000), (6, 2000)] {
            waits.begin(last, written_ns);
        }
        waits.end(1, 3000);
        waits.end(4, 4000);
        waits.end(6, 5000);
        // The first two belong to the warm-up.
        assert_eq!(waits.histogram_ns.len(), 4);
        assert_eq!(waits.histogram_ns.count_between(2990, 3010), 3);
        assert_eq!(waits.histogram_ns.count_between(3990, 4010), 1);
        assert!(waits.writes.is_empty());
    }
}
