//! What a user can ask of the load generator, on the command line.

use std::{hash::BuildHasher, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand};

use super::{
    address::Address,
    churn::{Churn, Subject},
    failure::Failure,
    logins::Logins,
    plan::{Acknowledge, ExchangeKind, Length, Plan, QueueArgument, QueuePlan},
    process::Processes,
};

/// Puts an AMQP 0-9-1 broker under load and measures what it does.
///
/// Speaks to any broker. Give the broker's process (--pid or --pid-of) to learn what a message
/// costs it: on a machine that others use too, that is a steadier figure than messages per second.
#[derive(Clone, Debug, Parser)]
pub struct Perf {
    #[command(subcommand)]
    pub command: Command,
}

/// The kinds of measurement.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Messages per second, and processor time per message
    Throughput(Throughput),
    /// The time a message takes, at a fixed rate
    ///
    /// Every message has a moment at which it should be sent, and its latency counts from then: a
    /// stall of the broker counts for all the messages that it held up. Choose a rate well below
    /// what the broker can take.
    Latency(Latency),
    /// Connections, or channels, opened, declared on, published on and closed
    Churn(ChurnOptions),
    /// Many queues declared, looked for, or deleted
    Declare(DeclareOptions),
    /// Wrong logins at a fixed rate
    Logins(LoginsOptions),
    /// How long this machine takes to make a write durable; no broker takes part
    Sync(SyncOptions),
}

#[derive(Clone, Debug, Args)]
pub struct Throughput {
    #[command(flatten)]
    pub load: Load,
    /// Messages per second, all publishers together [default: as many as go]
    #[arg(long)]
    pub rate: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub struct Latency {
    #[command(flatten)]
    pub load: Load,
    /// Messages per second, all publishers together
    #[arg(long, default_value_t = 5000)]
    pub rate: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ChurnOptions {
    #[command(flatten)]
    pub target: Target,
    /// What every cycle opens and closes
    #[arg(long, value_enum, default_value = "connections")]
    pub what: Subject,
    /// Cycles that run at the same time
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Octets in the body of each cycle's message
    #[arg(long, default_value_t = 16)]
    pub size: usize,
}

#[derive(Clone, Debug, Args)]
pub struct LoginsOptions {
    #[command(flatten)]
    pub target: Target,
    /// Logins per second
    #[arg(long, default_value_t = 1000)]
    pub rate: u64,
    /// How long to go on
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

#[derive(Clone, Debug, Args)]
pub struct DeclareOptions {
    #[command(flatten)]
    pub target: Target,
    /// Queues
    #[arg(long, default_value_t = 1000)]
    pub queues: usize,
    /// Name the queues after NAME
    #[arg(long, default_value = "idle")]
    pub name: String,
    /// Declare durable queues
    #[arg(long)]
    pub durable: bool,
    /// Only ask whether they are there; one that is not is an error
    #[arg(long, conflicts_with = "delete")]
    pub passive: bool,
    /// Delete them instead
    #[arg(long)]
    pub delete: bool,
    /// Requests to an answer: of those between the broker says nothing
    #[arg(long, default_value_t = 500)]
    pub batch: usize,
}

#[derive(Clone, Debug, Args)]
pub struct SyncOptions {
    /// Directory on the disk in question
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Octets of a write
    #[arg(long, default_value_t = 4096)]
    pub size: usize,
    /// How long to measure each of the two ways
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The broker under test.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Where the broker listens
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub uri: Address,
    /// A process of the broker, whose processor time and memory (and its children's) are reported
    #[arg(long)]
    pub pid: Vec<u32>,
    /// The same, by the name of the program, such as beam.smp
    #[arg(long, value_name = "NAME")]
    pub pid_of: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print no line per second
    #[arg(long)]
    pub quiet: bool,
}

/// Publishers and consumers.
#[derive(Clone, Debug, Args)]
pub struct Load {
    #[command(flatten)]
    pub target: Target,
    /// Publishing connections; with none, --messages are received that one has left by --keep
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Consuming connections; with none, the queues fill
    #[arg(long, default_value_t = 1)]
    pub consumers: usize,
    /// Queues, which publishers and consumers share out evenly
    #[arg(long, default_value_t = 1)]
    pub queues: usize,
    /// Octets in a body
    #[arg(long, default_value_t = 16)]
    pub size: usize,
    /// Publish persistent messages (and declare durable queues)
    #[arg(long)]
    pub persistent: bool,
    /// Ask for confirms, with at most WINDOW messages of a publisher unconfirmed
    #[arg(long, value_name = "WINDOW")]
    pub confirm: Option<u64>,
    /// Have unroutable messages returned
    #[arg(long)]
    pub mandatory: bool,
    /// How consumers acknowledge: none, each, or a number N for one multiple acknowledgement of N
    #[arg(long, default_value = "none", value_name = "none|each|N")]
    pub ack: Acknowledge,
    /// Unacknowledged messages that a consumer may hold; 0 for any number
    #[arg(long, default_value_t = 0)]
    pub prefetch: u16,
    /// Messages to a write; 1 gives every message a write of its own [default: 64 KiB of them]
    #[arg(long)]
    pub batch: Option<usize>,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// How long to run before measuring
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Publish this many messages instead, and measure until all have arrived
    #[arg(long)]
    pub messages: Option<u64>,
    /// Publishers wait while more messages than this are with the broker; 0 for no limit
    ///
    /// A publisher without confirms can outrun a broker and its consumers, and the run would
    /// measure how fast a queue grows. With this limit it measures a steady state. It does not
    /// apply when there is no consumer. [default: 100000, or fewer when that would be over 256 MiB]
    #[arg(long, value_name = "MESSAGES", verbatim_doc_comment)]
    pub max_backlog: Option<u64>,
    /// Name the queues after NAME [default: a new name for every run]
    #[arg(long)]
    pub name: Option<String>,
    /// Leave the queues, and what is in them, for a later run with the same --name
    #[arg(long, requires = "name")]
    pub keep: bool,
    /// Number every message, and check that each arrives once and in order
    #[arg(long)]
    pub verify: bool,
    /// Publish through an exchange of this kind; with fanout, every message goes to every queue
    #[arg(long, value_enum)]
    pub exchange: Option<ExchangeKind>,
    /// Declare durable queues
    #[arg(long)]
    pub durable: bool,
    /// Declare queues of this type, such as quorum
    #[arg(long, value_name = "TYPE")]
    pub queue_type: Option<String>,
    /// Further arguments of the queues
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',')]
    pub queue_args: Vec<QueueArgument>,
}

/// Bodies that publishers may leave with the broker when --max-backlog is not given.
const BACKLOG_MESSAGES: u64 = 100_000;
const BACKLOG_OCTETS: u64 = 256 * 1024 * 1024;
/// A broker that pauses for as long as this is taken for one that has lost what is missing.
const STALL: Duration = Duration::from_secs(10);

impl Target {
    pub(super) fn processes(&self) -> Result<Processes, Failure> {
        Processes::find(&self.pid, &self.pid_of)
    }
}

impl Throughput {
    pub(super) fn plan(&self) -> Plan {
        // Writes that are a millisecond apart carry batches, even at a high rate.
        Plan { shortest_pause: Duration::from_millis(1), ..self.load.plan(self.rate, false) }
    }
}

impl Latency {
    pub(super) fn plan(&self) -> Plan {
        self.load.plan(Some(self.rate), true)
    }
}

impl ChurnOptions {
    pub(super) fn plan(&self) -> Churn {
        Churn {
            address: self.target.uri.clone(),
            subject: self.what,
            threads: self.threads.max(1),
            measured: Duration::from_secs_f64(self.seconds.max(0.0)),
            size: self.size,
        }
    }
}

impl LoginsOptions {
    pub(super) fn plan(&self) -> Logins {
        Logins {
            address: self.target.uri.clone(),
            per_second: self.rate,
            measured: Duration::from_secs_f64(self.seconds.max(0.0)),
        }
    }
}

impl Load {
    fn plan(&self, rate: Option<u64>, latency: bool) -> Plan {
        let warm_up = Duration::from_secs_f64(self.warm_up.max(0.0));
        let measured = Duration::from_secs_f64(self.seconds.max(0.0));
        // A later run knows the messages of an earlier one by the name that they share.
        let number_of = |name: &String| crc32c::crc32c(name.as_bytes());
        let run = self.name.as_ref().map_or_else(random_number, number_of);
        let backlog = BACKLOG_MESSAGES.min(BACKLOG_OCTETS / self.size.max(1) as u64).max(1);
        Plan {
            address: self.target.uri.clone(),
            run,
            name: self.name.clone().unwrap_or_else(|| format!("{:06x}", run & 0x00FF_FFFF)),
            publishers: self.publishers,
            consumers: self.consumers,
            queues: self.queues,
            queue: self.queue_plan(),
            exchange: self.exchange,
            size: self.size,
            persistent: self.persistent,
            mandatory: self.mandatory,
            window: self.confirm,
            acknowledge: self.ack,
            prefetch: self.prefetch,
            rate,
            shortest_pause: Duration::ZERO,
            batch: self.batch.unwrap_or(0),
            length: match self.messages {
                Some(messages) => Length::Messages(messages),
                None => Length::Time { warm_up, measured },
            },
            backlog: self.max_backlog.unwrap_or(backlog),
            stall: STALL,
            verify: self.verify,
            latency,
            quiet: self.target.quiet,
            keep: self.keep,
        }
    }

    fn queue_plan(&self) -> QueuePlan {
        let kind = self
            .queue_type
            .iter()
            .map(|kind| QueueArgument { key: "x-queue-type".to_owned(), value: kind.clone() });
        // Queues of the other types exist only as durable ones.
        let durable = self.durable
            || self.persistent
            || self.queue_type.as_deref().is_some_and(|kind| kind != "classic");
        QueuePlan { durable, arguments: kind.chain(self.queue_args.iter().cloned()).collect() }
    }
}

/// A number that no other run has: the standard library seeds its hashers at random.
fn random_number() -> u32 {
    std::hash::RandomState::new().hash_one(std::process::id()) as u32
}

impl FromStr for Acknowledge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" | "auto" => Ok(Self::None),
            "each" | "1" => Ok(Self::Each),
            number => match number.trim_start_matches("multiple=").parse() {
                Ok(every) if every > 0 => Ok(Self::Multiple(every)),
                _ => Err("neither `none` nor `each` nor a number".to_owned()),
            },
        }
    }
}

impl FromStr for QueueArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("not of the form key=value")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Plan {
        let words = std::iter::once("perf").chain(line.split_ascii_whitespace());
        match Perf::try_parse_from(words).unwrap().command {
            Command::Throughput(options) => options.plan(),
            Command::Latency(options) => options.plan(),
            Command::Churn(_) | Command::Declare(_) | Command::Logins(_) | Command::Sync(_) => {
                unreachable!("not planned for")
            }
        }
    }

    #[test]
    fn options_become_a_plan() {
        let plan = plan(
            "throughput --persistent --confirm 1000 --ack 100 --prefetch 1000 --queues 4 \
             --queue-type quorum --queue-args x-max-length=5,x-overflow=drop-head --messages 9",
        );
        assert_eq!((plan.window, plan.prefetch, plan.queues), (Some(1000), 1000, 4));
        assert_eq!(plan.acknowledge, Acknowledge::Multiple(100));
        assert!(plan.queue.durable && plan.persistent && !plan.latency);
        assert!(matches!(plan.length, Length::Messages(9)));
        let arguments: Vec<_> =
            plan.queue.arguments.iter().map(|pair| (&*pair.key, &*pair.value)).collect();
        let expected =
            [("x-queue-type", "quorum"), ("x-max-length", "5"), ("x-overflow", "drop-head")];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn a_backlog_of_large_messages_is_limited_in_octets() {
        assert_eq!(plan("throughput").backlog, 100_000);
        assert_eq!(plan("throughput --size 65536").backlog, 4096);
        assert_eq!(plan("throughput --max-backlog 0").backlog, 0);
    }

    #[test]
    fn latency_is_measured_at_a_rate() {
        let plan = plan("latency --size 1024 --ack each");
        assert_eq!((plan.rate, plan.latency), (Some(5000), true));
        assert_eq!(plan.acknowledge, Acknowledge::Each);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for line in [
            "throughput --publishers 0",
            "throughput --publishers 0 --messages 5 --consumers 0",
            "throughput --size 15 --verify",
            "throughput --confirm 0",
            "throughput --ack 20 --prefetch 10",
            "latency --consumers 0",
            "latency --rate 0",
        ] {
            assert!(plan(line).check().is_err(), "{line}");
        }
        for line in ["throughput --ack some", "churn --what queues", "throughput --uri http://x"] {
            let words = std::iter::once("perf").chain(line.split_ascii_whitespace());
            assert!(Perf::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn runs_of_one_name_share_queues_and_messages() {
        let (filling, draining) = (
            plan("throughput --name backlog --keep --messages 9 --consumers 0"),
            plan("throughput --name backlog --publishers 0 --messages 9"),
        );
        assert_eq!(filling.queue_name(0), "perf.backlog.0000");
        assert_eq!(filling.queue_name(0), draining.queue_name(0));
        assert_eq!((filling.run, filling.kept()), (draining.run, 0));
        assert_eq!((draining.kept(), draining.check().is_ok()), (9, true));
        assert_ne!(plan("throughput").name, plan("throughput").name);
    }

    #[test]
    fn queues_are_shared_out_so_that_each_has_someone() {
        let plan = plan("throughput --queues 3 --publishers 2 --consumers 5");
        let share = |participants| {
            (0..participants).map(|index| plan.share(index, participants)).collect::<Vec<_>>()
        };
        assert_eq!(share(2), [vec![0, 2], vec![1]]);
        assert_eq!(share(5), [[0], [1], [2], [0], [1]]);
        assert_eq!(plan.limit(0), u64::MAX);
    }
}
