//! A run from declaration to deletion: starts the threads, watches them, and draws the sum.

use std::{
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    client::Client,
    consumer::{Consumer, Received},
    failure::Failure,
    ledger,
    plan::{Length, Plan},
    process::{Processes, Usage},
    progress::{Progress, total},
    publisher::{Publisher, Sent},
    report::{Grouped, Measured, Percentiles, Report, Verification, Whole},
    topology,
};

/// How often the end of a run is looked for.
const GLANCE: Duration = Duration::from_millis(5);
const TICK: Duration = Duration::from_secs(1);

/// Runs `plan` against its broker, whose processes are `broker`, and cleans up behind it.
pub(super) fn run(plan: &Plan, broker: &Processes) -> Result<Report, Failure> {
    plan.check()?;
    topology::declare(plan)?;
    let outcome = Run::start(plan, broker).and_then(Run::finish);
    let left = if plan.keep { Ok(0) } else { topology::delete(plan) };
    let mut report = outcome?;
    report.whole.left = left?;
    Ok(report)
}

enum Ending {
    Publisher(Result<Sent, Failure>),
    Consumer(Result<Received, Failure>),
}

struct Run<'a> {
    plan: &'a Plan,
    broker: &'a Processes,
    progress: Arc<Progress>,
    endings: Receiver<Ending>,
    sent: Vec<Sent>,
    received: Vec<Received>,
    /// Before the first publish.
    started: Sample,
    ticked: Sample,
}

impl<'a> Run<'a> {
    fn start(plan: &'a Plan, broker: &'a Processes) -> Result<Self, Failure> {
        let clients =
            |count| (0..count).map(|_| Client::open(&plan.address)).collect::<Result<Vec<_>, _>>();
        let (consuming, publishing) = (clients(plan.consumers)?, clients(plan.publishers)?);
        let (endings, receiver) = mpsc::channel();
        let progress = Arc::new(Progress::new(plan));
        let mut consumers = Vec::new();
        for (index, client) in consuming.into_iter().enumerate() {
            consumers.push(Consumer::new(plan, index, client, Arc::clone(&progress))?);
        }
        let mut publishers = Vec::new();
        for (index, client) in publishing.into_iter().enumerate() {
            publishers.push(Publisher::new(plan, index, client, Arc::clone(&progress))?);
        }
        let started = Sample::take(&progress, broker).at(progress.started);
        for consumer in consumers {
            spawn(&endings, move || Ending::Consumer(consumer.run()))?;
        }
        for publisher in publishers {
            spawn(&endings, move || Ending::Publisher(publisher.run()))?;
        }
        Ok(Self {
            plan,
            broker,
            ticked: Sample::of_counts(&progress),
            progress,
            endings: receiver,
            sent: Vec::new(),
            received: Vec::new(),
            started,
        })
    }

    fn finish(mut self) -> Result<Report, Failure> {
        let outcome = self.watch();
        if outcome.is_err() {
            self.progress.give_up();
        }
        outcome
    }

    fn watch(&mut self) -> Result<Report, Failure> {
        let (first, last) = match self.plan.length {
            Length::Time { warm_up, measured } => {
                self.watch_for(warm_up)?;
                let first = self.sample();
                self.watch_for(measured)?;
                (first, Some(self.sample()))
            }
            Length::Messages(_) => (self.started, None),
        };
        if last.is_some() {
            self.progress.stop_publishing.store(true, Relaxed);
        }
        self.watch_publishers()?;
        let drained =
            self.watch_until(|run| run.plan.consumers == 0 || run.progress.outstanding() == 0)?;
        let ended_ns = self.progress.last_arrival_ns.load(Relaxed);
        let last = last.unwrap_or_else(|| {
            self.sample().at(self.progress.started + Duration::from_nanos(ended_ns))
        });
        self.progress.stop_consuming.store(true, Relaxed);
        self.watch_until(|run| run.received.len() == run.plan.consumers)?;
        Ok(self.report(&first, &last, drained, ended_ns))
    }

    /// Until every publisher has ended, or has said why it cannot.
    fn watch_publishers(&mut self) -> Result<(), Failure> {
        let have_ended = |run: &Self| run.sent.len() == run.plan.publishers;
        if self.watch_until(have_ended)? || self.watch_until(have_ended)? {
            return Ok(());
        }
        Err(Failure::Thread)
    }

    fn watch_for(&mut self, duration: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + duration;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            self.take_ending(left.min(TICK / 4))?;
        }
        Ok(())
    }

    /// Answers whether `is_done` came true before everything stood still.
    fn watch_until(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<bool, Failure> {
        let mut moved = (Instant::now(), 0);
        while !is_done(self) {
            let count = self.progress.movements();
            if count != moved.1 {
                moved = (Instant::now(), count);
            } else if moved.0.elapsed() > self.plan.stall {
                self.progress.give_up();
                return Ok(false);
            }
            self.take_ending(GLANCE)?;
        }
        Ok(true)
    }

    fn take_ending(&mut self, patience: Duration) -> Result<(), Failure> {
        self.tick();
        match self.endings.recv_timeout(patience) {
            Ok(Ending::Publisher(sent)) => self.sent.push(sent?),
            Ok(Ending::Consumer(received)) => self.received.push(received?),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if self.has_ended() => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::Thread),
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.sent.len() == self.plan.publishers && self.received.len() == self.plan.consumers
    }

    /// A line a second for who watches.
    fn tick(&mut self) {
        let seconds = self.ticked.at.elapsed().as_secs_f64();
        if self.plan.quiet || seconds < TICK.as_secs_f64() {
            return;
        }
        let sample = Sample::of_counts(&self.progress);
        let published = Grouped((sample.published - self.ticked.published) as f64 / seconds);
        let received = Grouped((sample.received - self.ticked.received) as f64 / seconds);
        let waiting = self.progress.outstanding();
        let blocked = match total(&self.progress.blocked) {
            0 => "",
            _ => "; the broker has blocked publishers",
        };
        eprintln!("{published}/s published, {received}/s received, {waiting} under way{blocked}");
        self.ticked = sample;
    }

    fn sample(&self) -> Sample {
        Sample::take(&self.progress, self.broker)
    }

    fn report(&mut self, first: &Sample, last: &Sample, drained: bool, ended_ns: u64) -> Report {
        let total_of = |count: fn(&Sent) -> u64| self.sent.iter().map(count).sum::<u64>();
        let whole = Whole {
            seconds: ended_ns as f64 / 1e9,
            published: total(&self.progress.published),
            confirmed: total(&self.progress.answered) - total_of(|sent| sent.refused),
            refused: total_of(|sent| sent.refused),
            returned: total_of(|sent| sent.returned),
            received: total(&self.progress.received),
            drained,
            left: 0,
        };
        let verification = self.verification(&whole);
        let latencies = self.received.iter().filter_map(|received| received.latency_ns.as_ref());
        let lateness = self.sent.iter().filter_map(|sent| sent.lateness_ns.as_ref());
        Report {
            measured: self.measured(first, last),
            whole,
            latency: percentiles(latencies),
            lateness: percentiles(lateness),
            confirm: percentiles(self.sent.iter().filter_map(|sent| sent.confirm_ns.as_ref())),
            verification: self.plan.verify.then_some(verification),
        }
    }

    fn verification(&mut self, whole: &Whole) -> Verification {
        let ledgers: Vec<_> = self
            .received
            .iter_mut()
            .filter_map(|received| Some((received.queues.clone(), received.ledger.take()?)))
            .collect();
        let tally = ledger::tally(&ledgers);
        let wanted = whole.published + self.plan.kept() - whole.refused - whole.returned;
        Verification {
            lost: (wanted * self.plan.copies()).saturating_sub(tally.distinct),
            duplicated: tally.duplicated,
            out_of_order: tally.disordered,
            foreign: tally.foreign,
            redelivered: tally.redelivered,
        }
    }

    fn measured(&self, first: &Sample, last: &Sample) -> Measured {
        let seconds = (last.at - first.at).as_secs_f64().max(1e-9);
        let (published, received) =
            (last.published - first.published, last.received - first.received);
        let counted = if self.plan.consumers == 0 { published } else { received };
        let per_message = |cpu: Duration| cpu.as_secs_f64() * 1e6 / counted.max(1) as f64;
        let knows_broker = !self.broker.is_empty();
        Measured {
            seconds,
            published,
            received,
            published_per_second: published as f64 / seconds,
            received_per_second: received as f64 / seconds,
            megabytes_per_second: counted as f64 * self.plan.size as f64 / seconds / 1e6,
            broker_microseconds_per_message: knows_broker
                .then(|| per_message(last.broker.cpu.saturating_sub(first.broker.cpu))),
            client_microseconds_per_message: per_message(last.own.cpu - first.own.cpu),
            broker_resident_megabytes: knows_broker
                .then_some(last.broker.resident_octets as f64 / 1e6),
        }
    }
}

/// Counters and costs at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    published: u64,
    received: u64,
    broker: Usage,
    own: Usage,
}

impl Sample {
    fn take(progress: &Progress, broker: &Processes) -> Self {
        let (broker, own) = (broker.usage(), Processes::own().usage());
        Self { broker, own, ..Self::of_counts(progress) }
    }

    fn of_counts(progress: &Progress) -> Self {
        Self {
            at: Instant::now(),
            published: total(&progress.published),
            received: total(&progress.received),
            broker: Usage::default(),
            own: Usage::default(),
        }
    }

    fn at(self, at: Instant) -> Self {
        Self { at, ..self }
    }
}

fn percentiles<'a>(
    mut histograms: impl Iterator<Item = &'a Histogram<u64>>,
) -> Option<Percentiles> {
    let mut sum = histograms.next()?.clone();
    for histogram in histograms {
        sum.add(histogram).expect("all histograms have the same bounds");
    }
    Some(Percentiles::of(&sum))
}

fn spawn(
    endings: &Sender<Ending>,
    work: impl FnOnce() -> Ending + Send + 'static,
) -> Result<(), Failure> {
    let endings = endings.clone();
    let run = move || {
        // Nobody listens any more when the run has failed elsewhere.
        endings.send(work()).unwrap_or_default();
    };
    thread::Builder::new().spawn(run)?;
    Ok(())
}
