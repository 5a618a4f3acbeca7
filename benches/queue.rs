//! What a queue costs for each message, in nanoseconds: `cargo bench --bench queue`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark shows its figures")]

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use leveret::{
    broker::queue::{Arrival, Command, Effect, Queue, Subscription},
    model::{
        ChannelCredit, ConnectionId, ConsumerId, DELIVERY_OVERHEAD, Message, Moment, Outcome,
        Position, QueueOptions,
    },
};

/// Messages of one round, and rounds; the best round counts, since others share the machine.
const MESSAGES: u64 = 100_000;
const ROUNDS: usize = 15;

fn main() {
    report("clone and drop a message, which each case includes", clone_and_drop);
    report("enqueue, deliver without acknowledgement", pass_through);
    report("enqueue, deliver, acknowledge one by one", acknowledge_one_by_one);
    report("enqueue, deliver, acknowledge by 100", acknowledge_by_hundred);
    report("enqueue, deliver in turn to 100 consumers", many_consumers);
    report("enqueue only", enqueue_only);
    report("deliver from ready, window by window", replenish);
    report("get from ready, acknowledge", get);
    report("requeue and deliver again", requeue);
    report("settle 100000 that are out, newest first", settle_backwards);
    report("enqueue into 1000, drop the head", drop_head);
    report("enqueue with time to live and priority, get", deadlines);
}

/// Prints the time for each message of the best round of `case`, which times itself. An argument of
/// the program chooses the cases whose name contains it.
fn report(name: &str, case: fn(&Message) -> Duration) {
    if env::args().nth(1).is_some_and(|wanted| !wanted.starts_with('-') && !name.contains(&wanted))
    {
        return;
    }
    let mut arena = BytesMut::new();
    let body = Bytes::from_static(&[7; 100]);
    let message = Message::pack(&mut arena, b"exchange", b"routing.key", &[0, 0], body);
    let best = (0..ROUNDS).map(|_| case(&message)).min().unwrap_or_default();
    println!("{:7.1} ns  {name}", best.as_nanos() as f64 / MESSAGES as f64);
}

fn clone_and_drop(message: &Message) -> Duration {
    timed(|| {
        for _ in 0..MESSAGES {
            black_box(message.clone());
        }
    })
}

fn pass_through(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    bench.subscribe(1, 0, false, usize::MAX);
    timed(|| {
        for _ in 0..MESSAGES {
            bench.enqueue(message);
        }
    })
}

fn acknowledge_one_by_one(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    bench.subscribe(1, 100, true, usize::MAX);
    timed(|| {
        for position in 0..MESSAGES {
            bench.enqueue(message);
            bench.settle(position..position + 1, Outcome::Acknowledge);
        }
    })
}

fn acknowledge_by_hundred(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    bench.subscribe(1, 200, true, usize::MAX);
    timed(|| {
        for position in 0..MESSAGES {
            bench.enqueue(message);
            if position % 100 == 99 {
                bench.settle(position - 99..position + 1, Outcome::Acknowledge);
            }
        }
    })
}

fn many_consumers(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    (0..100).for_each(|serial| bench.subscribe(serial, 1, true, usize::MAX));
    timed(|| {
        for position in 0..MESSAGES {
            bench.enqueue(message);
            if position >= 50 {
                bench.settle(position - 50..position - 49, Outcome::Acknowledge);
            }
        }
    })
}

fn enqueue_only(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    timed(|| bench.fill(message))
}

fn replenish(message: &Message) -> Duration {
    const WINDOW_MESSAGES: usize = 64;
    let mut bench = Bench::new(QueueOptions::default());
    bench.fill(message);
    let window = WINDOW_MESSAGES * (message.size() + DELIVERY_OVERHEAD);
    bench.subscribe(1, 0, false, window);
    timed(|| {
        for _ in 0..MESSAGES / WINDOW_MESSAGES as u64 {
            bench.apply(Command::Replenish { consumer: consumer(1), octets: window });
        }
    })
}

fn get(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    bench.fill(message);
    let credit = ChannelCredit::default();
    timed(|| {
        for position in 0..MESSAGES {
            bench.apply(Command::Get { acknowledge: true, credit: credit.clone() });
            bench.settle(position..position + 1, Outcome::Acknowledge);
        }
    })
}

fn requeue(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    bench.subscribe(1, 100, true, usize::MAX);
    (0..100).for_each(|_| bench.enqueue(message));
    timed(|| {
        for _ in 0..MESSAGES / 100 {
            bench.settle(0..100, Outcome::Requeue);
        }
    })
}

fn settle_backwards(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions::default());
    bench.subscribe(1, 0, true, usize::MAX);
    bench.fill(message);
    timed(|| {
        for position in (0..MESSAGES).rev() {
            bench.settle(position..position + 1, Outcome::Acknowledge);
        }
    })
}

fn drop_head(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions { max_length: Some(1000), ..QueueOptions::default() });
    bench.fill(message);
    timed(|| bench.fill(message))
}

fn deadlines(message: &Message) -> Duration {
    let mut bench = Bench::new(QueueOptions {
        message_ttl: Some(Duration::from_secs(60)),
        max_priority: Some(9),
        ..QueueOptions::default()
    });
    bench.fill(message);
    let credit = ChannelCredit::default();
    timed(|| {
        for count in 0..MESSAGES {
            bench.enqueue_with(message, (count % 10) as u8);
            bench.apply(Command::Get { acknowledge: false, credit: credit.clone() });
        }
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn consumer(serial: u64) -> ConsumerId {
    ConsumerId { connection: ConnectionId(1), serial }
}

/// A queue whose effects are looked at and dropped.
struct Bench {
    queue: Queue,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(options: QueueOptions) -> Self {
        let queue = Queue::new(options, false, Moment::default());
        Self { queue, effects: Vec::with_capacity(128) }
    }

    fn apply(&mut self, command: Command) {
        self.queue.apply(command, Moment::default(), &mut self.effects);
        black_box(&self.effects);
        self.effects.clear();
    }

    fn enqueue(&mut self, message: &Message) {
        self.enqueue_with(message, 0);
    }

    fn enqueue_with(&mut self, message: &Message, priority: u8) {
        self.apply(Command::Enqueue(Arrival {
            message: message.clone(),
            priority,
            time_to_live: None,
            persistent: false,
        }));
    }

    fn fill(&mut self, message: &Message) {
        (0..MESSAGES).for_each(|_| self.enqueue(message));
    }

    fn subscribe(&mut self, serial: u64, prefetch: u16, acknowledge: bool, window: usize) {
        self.apply(Command::Subscribe(Subscription {
            consumer: consumer(serial),
            prefetch,
            acknowledge,
            priority: 0,
            exclusive: false,
            window,
            credit: ChannelCredit::default(),
        }));
    }

    fn settle(&mut self, positions: std::ops::Range<u64>, outcome: Outcome) {
        let positions = positions.map(Position).collect();
        self.apply(Command::Settle { positions, outcome });
    }
}
