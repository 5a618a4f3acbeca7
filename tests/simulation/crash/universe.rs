//! What there may be in a run: queues and exchanges by their names, and messages by their numbers.

use leveret::{
    broker::{Binding, Destination, ExchangeDeclaration, QueueDeclaration},
    model::{
        ExchangeName, FieldTable, FieldValue, Message, Properties, QueueName, RoutingKey,
        ShortString,
    },
};

use super::super::steps::Dice;

pub(super) const QUEUES: [&str; 7] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6"];

/// Name, kind, and whether it is durable.
pub(super) const EXCHANGES: [(&str, &str, bool); 5] = [
    ("straight", "direct", true),
    ("everywhere", "fanout", true),
    ("subjects", "topic", true),
    ("passing", "fanout", false),
    ("dead", "fanout", true),
];

/// The exchange that dead letters may go to; only queues without one of their own are bound to it.
pub(super) const DEAD: usize = 4;

pub(super) const KEYS: [&str; 4] = ["a", "a.b", "a.*", "#"];

/// What a queue of a run is whenever it is declared.
#[derive(Clone, Debug, Default)]
pub(super) struct Kind {
    pub(super) durable: bool,
    pub(super) quorum: bool,
    pub(super) ttl: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) max_priority: Option<u8>,
    pub(super) delivery_limit: Option<u32>,
    pub(super) dead_letter: Option<Grave>,
}

/// Where a queue's dead letters go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grave {
    /// Into another queue, by the default exchange.
    Queue(usize),
    /// To the exchange [`DEAD`].
    Exchange,
}

/// How much there is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Small,
    /// Bodies of many KiB.
    Wide,
    /// So many messages that most of them leave memory.
    Long,
}

/// All queues that a run may declare, and how large its messages are.
#[derive(Clone, Debug)]
pub(super) struct Universe {
    pub(super) kinds: Vec<Kind>,
    pub(super) scale: Scale,
}

impl Universe {
    pub(super) fn draw(dice: &mut Dice<'_>, scale: Scale) -> Self {
        let mut kinds: Vec<_> = (0..QUEUES.len()).map(|index| Kind::draw(dice, index)).collect();
        if scale == Scale::Long {
            // Of this one nothing is lost before there is much of it.
            kinds[0] = Kind { durable: true, ..Kind::default() };
        }
        Self { kinds, scale }
    }

    pub(super) fn body_length(&self, dice: &mut Dice<'_>) -> usize {
        let length = match (self.scale, dice.below(20)) {
            (Scale::Long, _) => 1900 + dice.below(100),
            (Scale::Wide, 0..=9) => dice.below(24_000),
            (Scale::Wide, _) => dice.below(3000),
            (Scale::Small, 0) => dice.below(9000),
            (Scale::Small, _) => dice.below(200),
        };
        8 + length as usize
    }

    pub(super) fn declaration(&self, index: usize) -> QueueDeclaration {
        let kind = &self.kinds[index];
        QueueDeclaration {
            name: QueueName::from_static(QUEUES[index]),
            generated: false,
            durable: kind.durable,
            auto_delete: false,
            exclusive: None,
            arguments: kind.arguments(),
        }
    }
}

impl Kind {
    fn draw(dice: &mut Dice<'_>, index: usize) -> Self {
        let durable = dice.below(5) > 0;
        let quorum = durable && dice.below(4) == 0;
        let is_last = index + 1 == QUEUES.len();
        let some = |dice: &mut Dice<'_>, one_in| dice.below(one_in) == 0;
        let later = |dice: &mut Dice<'_>| {
            let first = index as u64 + 1;
            Grave::Queue((first + dice.below(QUEUES.len() as u64 - first)) as usize)
        };
        let dead_letter = match dice.below(4) {
            _ if is_last => None,
            0 | 1 => None,
            2 => Some(later(dice)),
            _ => Some(Grave::Exchange),
        };
        Self {
            durable,
            quorum,
            ttl: some(dice, 4).then(|| 1 + dice.below(4000)),
            max_length: some(dice, 5).then(|| 1 + dice.below(8)),
            max_priority: (!quorum && some(dice, 5)).then(|| 1 + dice.below(4) as u8),
            delivery_limit: quorum.then(|| dice.below(4) as u32),
            dead_letter,
        }
    }

    /// What the broker does with a restart's messages of this queue at once.
    pub(super) fn is_timed(&self) -> bool {
        self.ttl.is_some() || self.dead_letter.is_some()
    }

    /// Whether a message survives here.
    pub(super) fn keeps(&self, persistent: bool) -> bool {
        self.durable && (persistent || self.quorum)
    }

    fn arguments(&self) -> FieldTable {
        let mut pairs = Vec::new();
        let mut add = |name: &'static str, value: Option<u64>| {
            let value = value.map(|value| FieldValue::Int64(value as i64));
            pairs.extend(value.map(|value| (ShortString::from_static(name), value)));
        };
        add("x-message-ttl", self.ttl);
        add("x-max-length", self.max_length);
        add("x-max-priority", self.max_priority.map(u64::from));
        add("x-delivery-limit", self.delivery_limit.map(u64::from));
        let mut text = |name: &'static str, value: &'static str| {
            pairs.push((ShortString::from_static(name), value.into()));
        };
        if self.quorum {
            text("x-queue-type", "quorum");
        }
        match self.dead_letter {
            None => {}
            Some(Grave::Exchange) => text("x-dead-letter-exchange", EXCHANGES[DEAD].0),
            Some(Grave::Queue(target)) => {
                text("x-dead-letter-exchange", "");
                text("x-dead-letter-routing-key", QUEUES[target]);
            }
        }
        FieldTable::from_pairs(pairs)
    }
}

pub(super) fn exchange(index: usize) -> ExchangeDeclaration {
    let (name, kind, durable) = EXCHANGES[index];
    ExchangeDeclaration {
        name: ExchangeName::from_static(name),
        kind: ShortString::from_static(kind),
        durable,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

pub(super) fn binding((source, queue, key): (usize, usize, &'static str)) -> Binding {
    Binding::new(
        &ExchangeName::from_static(EXCHANGES[source].0),
        &Destination::Queue(QueueName::from_static(QUEUES[queue])),
        &RoutingKey::from_static(key),
        &FieldTable::default(),
    )
}

/// Whether a binding of an exchange takes a message.
pub(super) fn takes(exchange: usize, pattern: &str, key: &str) -> bool {
    match EXCHANGES[exchange].1 {
        "fanout" => true,
        "direct" => pattern == key,
        _ => {
            let words = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
            matches(&words(pattern), &words(key))
        }
    }
}

fn matches(pattern: &[String], key: &[String]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((word, rest)), _) if word == "#" => {
            (0..=key.len()).any(|skipped| matches(rest, &key[skipped..]))
        }
        (Some((word, rest)), Some((first, later))) => {
            (word == "*" || word == first) && matches(rest, later)
        }
        _ => false,
    }
}

/// A message as it is published; its octets follow from its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) length: usize,
    pub(super) priority: u8,
    pub(super) persistent: bool,
    /// In milliseconds.
    pub(super) expiration: Option<u64>,
    /// None is the default exchange.
    pub(super) exchange: Option<usize>,
    pub(super) key: &'static str,
}

impl Sent {
    /// The number stands at the end, where it is found whatever stands before the body.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body: Vec<u8> =
            (8..self.length).map(|at| (self.number as usize * 31 + at * at) as u8).collect();
        body.extend_from_slice(&self.number.to_be_bytes());
        body
    }

    pub(super) fn message(&self) -> Message {
        let exchange = self.exchange.map_or("", |index| EXCHANGES[index].0);
        let properties = Properties {
            delivery_mode: Some(if self.persistent { 2 } else { 1 }),
            priority: (self.priority > 0).then_some(self.priority),
            expiration: self.expiration.map(|span| span.to_string().try_into().unwrap()),
            ..Properties::default()
        };
        let (exchange, key) = (exchange.as_bytes(), self.key.as_bytes());
        Message::new(exchange, key, &properties.to_bytes(), self.body().into())
    }
}

/// The number of a message, from octets that end with its body.
pub(super) fn number(octets: &[u8]) -> u64 {
    u64::from_be_bytes(*octets.last_chunk().expect("every body has a number"))
}
