//! How fast one connection may publish: its own rates, its user's and its virtual host's.

use std::sync::Arc;

use super::{Client, routes::RouteVersion};
use crate::{
    broker::pace::Meter,
    model::{Limit, Moment, RateLimits},
};

/// What is shared by all connections of a user, or of a virtual host.
#[derive(Debug, Default)]
pub(in crate::broker) struct Meters {
    messages: Meter,
    octets: Meter,
}

impl Meters {
    /// Whether nothing was ever counted.
    pub(in crate::broker) fn are_unused(&self) -> bool {
        self.messages.is_unused() && self.octets.is_unused()
    }
}

/// The rates that hold for one connection.
#[derive(Debug)]
pub(super) struct Pacing {
    /// Of which version the rates are.
    version: RouteVersion,
    rates: Vec<Rated>,
    own: Arc<Meters>,
    of_user: Arc<Meters>,
    of_home: Arc<Meters>,
}

#[derive(Debug)]
struct Rated {
    meters: Arc<Meters>,
    messages: Option<u64>,
    octets: Option<u64>,
}

/// So many parts of a second's worth go to the broker at once.
const PARTS: u64 = 20;

impl Pacing {
    pub(super) fn new(of_user: Arc<Meters>, of_home: Arc<Meters>) -> Self {
        let (version, own) = (RouteVersion::UNKNOWN, Arc::default());
        Self { version, rates: Vec::new(), own, of_user, of_home }
    }
}

impl Client {
    /// How many messages may be published at once; `None` is any number.
    pub fn ration(&mut self) -> Option<usize> {
        self.learn_rates();
        let rates = &self.pacing.as_ref()?.rates;
        let most = rates.iter().filter_map(|rated| Some((rated.messages? / PARTS).max(1)));
        // Of octets nobody knows how many messages they are.
        let by_octets = rates.iter().any(|rated| rated.octets.is_some()).then_some(PARTS);
        most.chain(by_octets).min().map(|ration| usize::try_from(ration).unwrap_or(usize::MAX))
    }

    /// Counts what is published, by the rates of the last [`Self::ration`], and says until when
    /// nothing more may be.
    pub fn pause_after(&mut self, messages: u64, octets: u64, now: Moment) -> Option<Moment> {
        let algorithm = self.broker.rate_limits.algorithm;
        let rates = &self.pacing.as_ref()?.rates;
        let until = rates.iter().flat_map(|rated| {
            let Meters { messages: message_meter, octets: octet_meter } = &*rated.meters;
            let by_messages =
                rated.messages.map(|rate| message_meter.count(messages, rate, algorithm, now));
            let by_octets =
                rated.octets.map(|rate| octet_meter.count(octets, rate, algorithm, now));
            [by_messages, by_octets]
        });
        until.flatten().max().filter(|until| *until > now)
    }

    /// Takes up the rates as they are now. Mostly there are none.
    #[inline]
    fn learn_rates(&mut self) {
        let (Some(home), Some(pacing)) = (&self.home, &mut self.pacing) else { return };
        let version = RouteVersion::now(home, &self.broker);
        if pacing.version == version {
            return;
        }
        pacing.version = version;
        let of_user = |limit| self.broker.authority.limit(&self.user, limit);
        let options = Arc::clone(home.topology().options());
        let RateLimits { messages, octets, .. } = self.broker.rate_limits;
        let rated = |meters: &Arc<Meters>, messages, octets| Rated {
            meters: Arc::clone(meters),
            messages,
            octets,
        };
        pacing.rates = vec![
            rated(&pacing.own, messages, octets),
            rated(&pacing.of_user, of_user(Limit::MessageRate), of_user(Limit::OctetRate)),
            rated(
                &pacing.of_home,
                options.limits.most(Limit::MessageRate),
                options.limits.most(Limit::OctetRate),
            ),
        ];
        pacing.rates.retain(|rated| rated.messages.is_some() || rated.octets.is_some());
    }
}
