//! Rate limits: how long a publisher must pause, so that what comes is no more than what may.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::model::{Moment, RateAlgorithm};

/// What was let through one or several connections together, as the moment at which it would all
/// have come at the rate (the generic cell rate algorithm of ATM Forum traffic management).
#[derive(Debug, Default)]
pub(super) struct Meter(AtomicU64);

/// What a token bucket holds.
const BURST: Duration = Duration::from_secs(1);

const NANOSECONDS: u128 = 1_000_000_000;

/// How much may have been saved up.
fn tolerance(algorithm: RateAlgorithm) -> Duration {
    match algorithm {
        RateAlgorithm::TokenBucket => BURST,
        RateAlgorithm::LeakyBucket => Duration::ZERO,
    }
}

impl Meter {
    pub(super) fn is_unused(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Counts what has just come; says when more may come. A rate of 0 lets nothing more through
    /// for an hour: the limit may be lifted meanwhile.
    pub(super) fn count(
        &self,
        amount: u64,
        rate: u64,
        algorithm: RateAlgorithm,
        now: Moment,
    ) -> Moment {
        const STANDSTILL: Duration = Duration::from_secs(3600);
        if rate == 0 {
            return now + STANDSTILL;
        }
        let cost = u128::from(amount) * NANOSECONDS / u128::from(rate);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let now = nanoseconds(now);
        let (Ok(before) | Err(before)) =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
                Some(until.max(now).saturating_add(cost))
            });
        let until = Duration::from_nanos(before.max(now).saturating_add(cost));
        Moment::from_unix(until.saturating_sub(tolerance(algorithm)))
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.since_epoch().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the last of so many messages is through, if each comes as soon as it may.
    fn time_of(messages: u64, rate: u64, algorithm: RateAlgorithm) -> Duration {
        let (meter, start) = (Meter::default(), Moment::from_unix(Duration::from_secs(1000)));
        let mut now = start;
        for _ in 0..messages {
            now = now.max(meter.count(1, rate, algorithm, now));
        }
        now.since(start)
    }

    #[test]
    fn a_token_bucket_lets_a_second_s_worth_through_at_once() {
        assert_eq!(time_of(100, 100, RateAlgorithm::TokenBucket), Duration::ZERO);
        assert_eq!(time_of(300, 100, RateAlgorithm::TokenBucket), Duration::from_secs(2));
    }

    #[test]
    fn a_leaky_bucket_spreads_what_comes() {
        assert_eq!(time_of(100, 100, RateAlgorithm::LeakyBucket), Duration::from_secs(1));
        assert_eq!(time_of(300, 100, RateAlgorithm::LeakyBucket), Duration::from_secs(3));
    }

    #[test]
    fn who_is_below_the_rate_never_waits() {
        for algorithm in [RateAlgorithm::TokenBucket, RateAlgorithm::LeakyBucket] {
            let meter = Meter::default();
            for tenth in 0..100 {
                let now = Moment::from_unix(Duration::from_millis(1_000_000 + 100 * tenth));
                let next = now + Duration::from_millis(100);
                assert!(meter.count(10, 101, algorithm, now) <= next);
            }
        }
    }

    #[test]
    fn nothing_is_too_much_to_be_counted() {
        let now = Moment::from_unix(Duration::from_secs(1));
        let meter = Meter::default();
        assert!(meter.count(u64::MAX, 1, RateAlgorithm::LeakyBucket, now) > now);
        assert!(meter.count(1, 0, RateAlgorithm::TokenBucket, now) > now);
    }
}
