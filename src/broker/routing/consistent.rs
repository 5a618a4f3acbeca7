//! `x-consistent-hash`: one destination by the hash of a key, each as often as its weight says.

use super::{
    binding::{Binding, Destination},
    circumstances::mixed,
    headers::Headers,
    plan::HashBy,
    stable::Stable,
    targets::{Basis, Found, Target},
};
use crate::model::{BindingFault, FieldValue, Message, PropertyView, Refusal, RoutingKey};

/// The greatest weight of a binding (RabbitMQ 4.3).
const GREATEST_WEIGHT: i64 = 10_000;

/// The destinations of one exchange with their weights.
///
/// Every destination draws a score for a key, and the best has it (rendezvous hashing): one that
/// comes takes from every other what is its own, one that goes leaves to every other alike, and no
/// other key moves. A choice costs by the number of destinations.
#[derive(Debug, Default)]
pub(super) struct Weights {
    by: HashBy,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    destination: Destination,
    target: Target,
    hash: u64,
    /// Of its bindings, the first made first; it alone counts.
    bindings: Vec<(RoutingKey, f64)>,
}

/// Refuses a binding key that is no weight.
pub(crate) fn check(key: &RoutingKey) -> Result<(), Refusal> {
    weight(key).map(drop).map_err(Refusal::UnfitBinding)
}

/// An integer as Erlang reads it: a sign and digits.
fn weight(key: &RoutingKey) -> Result<f64, BindingFault> {
    let no_integer = || BindingFault::WeightNotAnInteger((**key).clone());
    let digits = key.strip_prefix(b"-").or_else(|| key.strip_prefix(b"+")).unwrap_or(key);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(no_integer());
    }
    let magnitude = digits.iter().fold(0_i64, |number, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    if magnitude < 1 || key.starts_with(b"-") {
        return Err(BindingFault::WeightBelowOne);
    }
    if magnitude > GREATEST_WEIGHT {
        return Err(BindingFault::WeightAbove(GREATEST_WEIGHT));
    }
    Ok(magnitude as f64)
}

impl Weights {
    pub(super) fn new(by: HashBy) -> Self {
        Self { by, places: Vec::new() }
    }

    pub(super) fn add(&mut self, binding: &Binding, target: Target) {
        let entry = (binding.routing_key.clone(), weight(&binding.routing_key).unwrap_or(1.0));
        let is_it = |place: &&mut Place| place.destination == binding.destination;
        if let Some(place) = self.places.iter_mut().find(is_it) {
            place.bindings.push(entry);
            return;
        }
        self.places.push(Place {
            destination: binding.destination.clone(),
            target,
            hash: Stable::of_destination(&binding.destination),
            bindings: vec![entry],
        });
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let is_it = |place: &Place| place.destination == binding.destination;
        let Some(index) = self.places.iter().position(is_it) else { return };
        let bindings = &mut self.places[index].bindings;
        if let Some(index) = bindings.iter().position(|(key, _)| *key == binding.routing_key) {
            bindings.remove(index);
        }
        if bindings.is_empty() {
            self.places.swap_remove(index);
        }
    }

    pub(super) fn find(
        &self,
        message: &Message,
        headers: &mut Option<Headers>,
        found: &mut Found<'_>,
    ) {
        match &self.places[..] {
            [] => {}
            [only] => found.take_one(only.target),
            places => {
                if self.by != HashBy::RoutingKey {
                    found.depends_on(Basis::Headers);
                }
                let key = self.by.hash(message, headers);
                let score = |place: &Place| place.score(key);
                let best = places.iter().max_by(|one, other| {
                    // By name where two scores agree, whatever came first.
                    let scores = score(one).total_cmp(&score(other));
                    scores.then_with(|| one.destination.cmp(&other.destination))
                });
                best.into_iter().for_each(|place| found.take_one(place.target));
            }
        }
    }
}

impl Place {
    /// Of random numbers to the power of one through the weight, each place's is the greatest as
    /// often as its weight says; their logarithms compare alike.
    fn score(&self, key: u64) -> f64 {
        let weight = self.bindings.first().map_or(1.0, |(_, weight)| *weight);
        // 53 bits, never 0.
        let random = ((mixed(self.hash ^ key) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        random.ln() / weight
    }
}

impl HashBy {
    /// What is not there is hashed as nothing at all: such messages have one place.
    fn hash(&self, message: &Message, headers: &mut Option<Headers>) -> u64 {
        let start = Stable::new();
        let view = || PropertyView::of(message.properties()).unwrap_or_default();
        let of = |octets: Option<&[u8]>| octets.map_or(start, |octets| start.with(octets));
        let hash = match self {
            Self::RoutingKey => start.with(message.routing_key()),
            Self::CorrelationId => of(view().correlation_id),
            Self::MessageId => of(view().message_id),
            Self::Timestamp => {
                of(view().timestamp.map(u64::to_le_bytes).as_ref().map(|it| &it[..]))
            }
            Self::Header(name) => {
                let headers = headers.get_or_insert_with(|| Headers::of(message));
                headers.value(name).map_or(start, |value| of_value(start, value))
            }
        };
        hash.finish()
    }
}

/// Equal values have equal hashes, in whatever width a number was sent.
fn of_value(start: Stable, value: &FieldValue) -> Stable {
    match (value.as_integer(), value) {
        (Some(number), _) => start.with(b"i").with(&number.to_le_bytes()),
        (None, FieldValue::LongString(octets) | FieldValue::ByteArray(octets)) => {
            start.with(octets)
        }
        (None, other) => {
            start.with(other.type_name().as_bytes()).with(other.to_string().as_bytes())
        }
    }
}
