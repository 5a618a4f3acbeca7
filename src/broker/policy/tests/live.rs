//! Each key, changed on a queue of 100,000 messages that somebody uses.

mod kept;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::{
    broker::{
        Binding, Broker, Client, Destination, Directory, QueueDeclaration, Schedule, Timer,
        hosted::Aftermath,
        tests::{client_of, origins},
    },
    model::{
        ChannelCredit, ChannelNumber, ConnectionId, ExchangeName, Message, Moment, Outcome,
        Properties, Publication, Published, QueueId, QueueName, QueueOptions, RoutingKey,
        Settlement, VirtualHostName,
    },
};
use FieldValue::Int64;

const HOME: VirtualHostName = VirtualHostName::from_static("/");
const MANY: u64 = 100_000;

/// A world with a clock, in which nobody is told anything.
#[derive(Debug, Default)]
struct Quiet(Mutex<Schedule>);

impl Timer for Quiet {
    fn wake_at(&self, moment: Moment, queue: QueueId) {
        self.0.lock().unwrap().set(queue, moment);
    }
    fn forget(&self, queue: QueueId) {
        self.0.lock().unwrap().forget(queue);
    }
}

struct World {
    quiet: Arc<Quiet>,
    broker: Arc<Broker>,
    client: Client,
    now: Moment,
}

impl World {
    fn new() -> Self {
        let quiet = Arc::new(Quiet::default());
        let timer: Arc<dyn Timer> = Arc::<Quiet>::clone(&quiet);
        let broker = Arc::new(Broker::new(timer, Directory::default(), None));
        broker.establish(origins("guest"));
        let client = client_of(&broker, 1);
        Self { quiet, broker, client, now: Moment::from_unix(Duration::from_secs(1)) }
    }

    /// With the queues `q`, which holds so many messages, and `dead`.
    fn with<const N: usize>(arguments: [(&'static str, FieldValue); N], messages: u64) -> Self {
        let mut world = Self::new();
        world.declare("dead", FieldTable::new());
        world.declare("q", table(arguments));
        world.publish("q", messages);
        world
    }

    fn declare(&mut self, name: &'static str, arguments: FieldTable) {
        let declaration = QueueDeclaration {
            name: QueueName::from_static(name),
            generated: false,
            durable: true,
            exclusive: None,
            auto_delete: false,
            arguments,
        };
        self.client.declare_queue(&declaration, self.now).unwrap();
    }

    /// Publishes to the default exchange, and says how many of the messages were refused.
    fn publish(&mut self, key: &str, messages: u64) -> usize {
        self.publish_to("", key, messages)
    }

    fn publish_to(&mut self, exchange: &str, key: &str, messages: u64) -> usize {
        let publication = |number| Publication {
            channel: ChannelNumber(1),
            message: Message::new(
                exchange.as_bytes(),
                key.as_bytes(),
                &[0, 0],
                Bytes::from_static(b"body"),
            ),
            mandatory: false,
            confirm: Some(number),
            transactional: false,
        };
        let said = self.client.publish((1..=messages).map(publication).collect(), self.now);
        said.iter().filter(|said| matches!(said, Published::Rejected { .. })).count()
    }

    fn set<const N: usize>(&mut self, definition: [(&'static str, FieldValue); N]) {
        self.apply("^q$", table(definition));
    }

    /// Sets the policy, for all whose names match.
    fn apply(&mut self, pattern: &str, definition: FieldTable) {
        let draft = PolicyDraft { pattern: pattern.into(), ..draft(definition) };
        let policy = Policy::parse(PolicyKind::User, draft).unwrap();
        self.broker.set_policy(&HOME, PolicyKind::User, policy, self.now).unwrap();
    }

    fn clear(&mut self) {
        let name = ShortString::from_static("p");
        self.broker.clear_policy(&HOME, PolicyKind::User, &name, self.now).unwrap();
    }

    /// The effective definition of a queue.
    fn shown(&self, name: &'static str) -> FieldTable {
        self.broker.queue_policy(&HOME, &QueueName::from_static(name)).unwrap().definition
    }

    /// Ready messages, without renewing a lease.
    fn count(&self, name: &str) -> Option<u64> {
        let home = self.broker.virtual_host(&HOME).unwrap();
        let id = home.topology().queue_named(name.as_bytes())?.id;
        let hosted = self.broker.queue(id)?;
        self.broker.counts(&hosted, false, self.now).map(|counts| counts.ready)
    }

    /// Lets time pass; queues are woken at the moments they asked for.
    fn advance(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        loop {
            let due = self.quiet.0.lock().unwrap().take_due(end);
            let Some(queue) = due else { break };
            self.broker.wake(queue, end);
        }
        self.now = end;
    }

    /// Takes the next message of a queue.
    fn take(&mut self, name: &'static str) -> Option<crate::broker::TakenMessage> {
        let name = QueueName::from_static(name);
        self.client.take(&name, true, ChannelCredit::default(), self.now).unwrap()
    }

    fn settle(&mut self, taken: &crate::broker::TakenMessage, outcome: Outcome) {
        let settlement =
            Settlement { queue: taken.queue, positions: vec![taken.position], outcome };
        self.client.settle(vec![settlement], self.now);
    }

    fn reason_of_death(&mut self) -> Option<String> {
        let taken = self.take("dead")?;
        let headers = Properties::decode(&taken.message.shared_properties()).unwrap().headers?;
        headers.lookup("x-first-death-reason").map(ToString::to_string)
    }
}

fn to_dead() -> [(&'static str, FieldValue); 2] {
    [("dead-letter-exchange", "".into()), ("dead-letter-routing-key", "dead".into())]
}

#[test]
fn a_shorter_max_length_holds_at_once_and_what_is_dropped_is_dead_lettered() {
    let mut world = World::with([], MANY);
    let [exchange, key] = to_dead();
    world.set([("max-length", Int64(10)), exchange, key]);
    assert_eq!((world.count("q"), world.count("dead")), (Some(10), Some(MANY - 10)));
    assert_eq!(world.reason_of_death().as_deref(), Some("maxlen"));
    world.publish("q", 5);
    assert_eq!(world.count("q"), Some(10));
    world.clear();
    world.publish("q", 5);
    assert_eq!(world.count("q"), Some(15), "without the policy there is no limit");
}

#[test]
fn fewer_octets_hold_at_once() {
    let mut world = World::with([], MANY);
    world.set([("max-length-bytes", Int64(40))]);
    assert_eq!(world.count("q"), Some(10));
    world.set([("max-length-bytes", Int64(80))]);
    world.publish("q", 100);
    assert_eq!(world.count("q"), Some(20));
}

#[test]
fn a_time_to_live_is_for_messages_that_arrive_later() {
    for kind in ["classic", "quorum"] {
        let mut world = World::with([("x-queue-type", kind.into())], MANY);
        world.set([("message-ttl", Int64(1000))]);
        world.publish("q", 5);
        world.advance(5000);
        assert_eq!(world.count("q"), Some(MANY + 5), "{kind}: behind what lives, they wait");
        let id = QueueName::from_static("q");
        world.client.purge_queue(&id, world.now).unwrap();
        world.publish("q", 5);
        world.clear();
        world.publish("q", 5);
        world.advance(1000);
        assert_eq!(world.count("q"), Some(5), "{kind}: a deadline stays when the policy goes");
    }
}

#[test]
fn an_unused_queue_expires_when_a_policy_says_so() {
    let mut world = World::with([], MANY);
    world.set([("expires", Int64(1000))]);
    world.advance(600);
    world.set([("expires", Int64(2000))]);
    world.advance(1999);
    assert_eq!(world.count("q"), Some(MANY), "its lease began again");
    world.advance(1);
    assert_eq!(world.count("q"), None);
    let mut world = World::with([], 1);
    world.set([("expires", Int64(1000))]);
    world.clear();
    world.advance(10_000);
    assert_eq!(world.count("q"), Some(1));
}

#[test]
fn what_changes_nothing_for_a_queue_does_not_renew_its_lease() {
    let mut world = World::with([("x-expires", Int64(1000))], 1);
    world.advance(900);
    world.set([("expires", Int64(5000))]);
    world.set([("queue-version", Int64(2))]);
    world.clear();
    world.advance(100);
    assert_eq!(world.count("q"), None);
}

#[test]
fn overflow_is_what_the_policy_says_at_this_moment() {
    let mut world = World::with([], MANY);
    world.set([("max-length", Int64(10)), ("overflow", "reject-publish".into())]);
    assert_eq!(world.count("q"), Some(MANY), "a queue that refuses drops nothing");
    assert_eq!(world.publish("q", 3), 3);
    let [exchange, key] = to_dead();
    let overflow = ("overflow", "reject-publish-dlx".into());
    world.set([("max-length", Int64(10)), overflow, exchange, key]);
    assert_eq!(world.publish("q", 3), 3);
    assert_eq!((world.count("q"), world.count("dead")), (Some(MANY), Some(3)));
    world.set([("max-length", Int64(10)), ("overflow", "drop-head".into())]);
    assert_eq!((world.count("q"), world.count("dead")), (Some(10), Some(3)));
}

#[test]
fn dead_letters_go_where_the_policy_says_when_they_die() {
    let mut world = World::with([], MANY);
    world.declare("other", FieldTable::new());
    let reject = |world: &mut World| {
        let taken = world.take("q").unwrap();
        world.settle(&taken, Outcome::Reject);
    };
    reject(&mut world);
    let [exchange, key] = to_dead();
    world.set([exchange.clone(), key]);
    assert_eq!(world.count("dead"), Some(0), "who died before stays dead");
    reject(&mut world);
    world.set([exchange, ("dead-letter-routing-key", "other".into())]);
    reject(&mut world);
    reject(&mut world);
    world.clear();
    reject(&mut world);
    let counts = ["q", "dead", "other"].map(|name| world.count(name));
    assert_eq!(counts, [Some(MANY - 5), Some(1), Some(2)]);
    assert_eq!(world.reason_of_death().as_deref(), Some("rejected"));
}

#[test]
fn what_had_expired_before_a_change_went_its_old_way() {
    let mut world = World::with([("x-message-ttl", Int64(1000))], 0);
    world.set(to_dead());
    world.publish("q", 3);
    world.now = world.now + Duration::from_secs(2);
    world.clear();
    assert_eq!((world.count("q"), world.count("dead")), (Some(0), Some(3)));
}

#[test]
fn a_delivery_limit_counts_what_came_back_before() {
    let mut world = World::with([("x-queue-type", "quorum".into())], MANY);
    let come_back = |world: &mut World, times| {
        for _ in 0..times {
            let taken = world.take("q").unwrap();
            world.settle(&taken, Outcome::Requeue);
        }
    };
    come_back(&mut world, 3);
    let [exchange, key] = to_dead();
    world.set([("delivery-limit", Int64(3)), exchange.clone(), key.clone()]);
    assert_eq!(world.count("q"), Some(MANY));
    come_back(&mut world, 1);
    assert_eq!((world.count("q"), world.count("dead")), (Some(MANY - 1), Some(1)));
    assert_eq!(world.reason_of_death().as_deref(), Some("delivery_limit"));
    world.set([("delivery-limit", Int64(-1)), exchange, key]);
    come_back(&mut world, 50);
    assert_eq!(world.count("q"), Some(MANY - 1));
    world.clear();
    come_back(&mut world, 1);
    assert_eq!(world.count("q"), Some(MANY - 2), "without a policy there is a limit of 20");
}

#[test]
fn a_consumer_timeout_is_what_the_policy_says_at_this_moment() {
    let mut world = World::with([("x-consumer-timeout", Int64(5000))], MANY);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let timeout = world.take("q").unwrap().timeout;
    assert_eq!(timeout.value(), seconds(5));
    world.set([("consumer-timeout", Int64(1000))]);
    assert_eq!(timeout.value(), seconds(1));
    assert_eq!(world.take("q").unwrap().timeout, timeout);
    world.set([("consumer-timeout", Int64(9000))]);
    assert_eq!(timeout.value(), seconds(5), "the lower counts");
    world.set([("consumer-timeout", Int64(0))]);
    assert_eq!(timeout.value(), seconds(0));
    world.clear();
    assert_eq!((timeout.value(), world.count("q")), (seconds(5), Some(MANY - 2)));
    world.client.delete_queue(&QueueName::from_static("q"), false, false, world.now).unwrap();
    assert_eq!(timeout.value(), None, "nobody says anything of a queue that is gone");
}

#[test]
fn dead_letters_arrive_under_either_strategy() {
    let mut world = World::with([("x-queue-type", "quorum".into())], MANY);
    let share = MANY / 4;
    let strategies = [None, Some("at-most-once"), Some("at-least-once"), Some("at-most-once")];
    for (turn, strategy) in (1..).zip(strategies) {
        let strategy = strategy.map(|word| ("dead-letter-strategy", word.into()));
        let overflow = ("overflow", "reject-publish".into());
        let pairs = to_dead().into_iter().chain(strategy).chain([overflow]);
        let definition: FieldTable =
            pairs.map(|(key, value)| (ShortString::from_static(key), value)).collect();
        world.apply("^q$", definition.clone());
        assert_eq!(world.shown("q"), definition);
        for _ in 0..share {
            let taken = world.take("q").unwrap();
            world.settle(&taken, Outcome::Reject);
        }
        assert_eq!(world.publish("q", share), 0);
        let counts = (world.count("q"), world.count("dead"));
        assert_eq!(counts, (Some(MANY), Some(turn * share)), "{definition:?}");
    }
    assert_eq!(world.reason_of_death().as_deref(), Some("rejected"));
}

#[test]
fn an_alternate_exchange_comes_and_goes_with_its_policy() {
    let mut world = World::with([], MANY);
    let fanout = ExchangeName::from_static("amq.fanout");
    let to = Destination::Queue(QueueName::from_static("q"));
    let binding = Binding::new(&fanout, &to, &RoutingKey::default(), &FieldTable::new());
    world.client.bind(binding, world.now).unwrap();
    let publish = |world: &mut World| {
        world.publish_to("amq.direct", "nobody", MANY);
        world.count("q").unwrap()
    };
    assert_eq!(publish(&mut world), MANY);
    let definition = table([("alternate-exchange", "amq.fanout".into())]);
    world.apply("^amq\\.d", definition.clone());
    assert_eq!(publish(&mut world), 2 * MANY, "a route that was known is found again");
    let direct = ExchangeName::from_static("amq.direct");
    let view = world.broker.exchange_policy(&HOME, &direct).unwrap();
    assert_eq!(view.definition, definition);
    world.clear();
    assert_eq!(publish(&mut world), 2 * MANY);
}

#[test]
fn queues_that_are_declared_later_and_exclusive_ones_are_governed_too() {
    let mut world = World::new();
    world.set([("max-length", Int64(10))]);
    let declaration = QueueDeclaration {
        name: QueueName::from_static("q"),
        generated: false,
        durable: false,
        exclusive: Some(ConnectionId(1)),
        auto_delete: false,
        arguments: FieldTable::new(),
    };
    world.client.declare_queue(&declaration, world.now).unwrap();
    world.publish("q", 100);
    assert_eq!(world.count("q"), Some(10));
    world.client.declare_queue(&declaration, world.now).expect("a policy is no argument");
    world.set([("max-length", Int64(3))]);
    assert_eq!(world.count("q"), Some(3));
    let operators = Policy::parse(PolicyKind::Operator, draft(table([("max-length", Int64(2))])));
    world.broker.set_policy(&HOME, PolicyKind::Operator, operators.unwrap(), world.now).unwrap();
    assert_eq!(world.count("q"), Some(2));
    let view = world.broker.queue_policy(&HOME, &QueueName::from_static("q")).unwrap();
    assert_eq!(view.operator_policy, Some(ShortString::from_static("p")));
    assert_eq!(view.definition, table([("max-length", Int64(2))]));
}

#[test]
fn of_two_changes_at_once_the_later_one_counts_whichever_arrives_last() {
    let mut world = World::with([], 10);
    let home = world.broker.virtual_host(&HOME).unwrap();
    let id = home.topology().queue_named(b"q").unwrap().id;
    let hosted = world.broker.queue(id).unwrap();
    let before = home.topology().version();
    world.set([("max-length", Int64(5))]);
    let stale = QueueOptions { max_length: Some(1), ..hosted.record.options.clone() };
    let aftermath = hosted.configure(&stale, before + 1, world.broker.around(world.now));
    assert_eq!(aftermath, Aftermath::default());
    assert_eq!(world.count("q"), Some(5));
}

#[test]
fn what_is_not_there_is_told() {
    let world = World::new();
    let elsewhere = VirtualHostName::from_static("elsewhere");
    let p = policy([("max-length", Int64(1))]);
    let set = world.broker.set_policy(&elsewhere, PolicyKind::User, p, world.now);
    assert_eq!(set, Err(MissingPolicy::VirtualHost(elsewhere.clone())));
    let name = ShortString::from_static("p");
    let cleared = world.broker.clear_policy(&HOME, PolicyKind::Operator, &name, world.now);
    assert_eq!(cleared, Err(MissingPolicy::Policy(name)));
    assert!(world.broker.policies(&elsewhere, PolicyKind::User).is_empty());
}

#[test]
fn one_change_of_policy_reaches_100_000_queues() {
    let mut world = World::new();
    for number in 0..MANY {
        let declaration = QueueDeclaration {
            name: QueueName::try_from(format!("q{number}")).unwrap(),
            generated: false,
            durable: false,
            exclusive: None,
            auto_delete: false,
            arguments: FieldTable::new(),
        };
        world.client.declare_queue(&declaration, world.now).unwrap();
    }
    world.apply("^q.*9$", table([("max-length", Int64(1))]));
    world.publish("q99", 2);
    world.publish("q98", 2);
    assert_eq!((world.count("q99"), world.count("q98")), (Some(1), Some(2)));
}
