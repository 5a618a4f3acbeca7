//! Logins that were tried: counted, and after several failures from one address, answered late.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::model::Moment;

/// Where clients log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Amqp,
    Http,
}

/// How many logins were tried, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

/// The attempts to log in since the start, or since they were last cleared.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    tallies: BTreeMap<Protocol, Tally>,
    suspects: BTreeMap<IpAddr, Suspect>,
}

/// An address from which logins have failed lately.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    failures: u32,
    last: Moment,
}

/// So many failures of one address are answered at once: people mistype.
const FORGIVEN: u32 = 5;

/// The delay of the first failure beyond; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// An address is forgiven when nothing has failed from it for so long.
const MEMORY: Duration = Duration::from_secs(60);

/// Addresses that are remembered at most; an attacker may have very many.
const CAPACITY: usize = 10_000;

impl Attempts {
    /// Notes a login that succeeded.
    pub(crate) fn succeeded(&self, protocol: Protocol) {
        self.lock().tallies.entry(protocol).or_default().succeeded += 1;
    }

    /// Notes one that failed; says for how long its answer is to be kept back.
    pub(crate) fn failed(&self, protocol: Protocol, from: IpAddr, now: Moment) -> Duration {
        let mut register = self.lock();
        register.tallies.entry(protocol).or_default().failed += 1;
        register.make_room(now);
        let suspect = register.suspects.entry(from.to_canonical());
        let suspect = suspect.or_insert(Suspect { failures: 0, last: now });
        if suspect.last + MEMORY <= now {
            suspect.failures = 0;
        }
        suspect.failures = suspect.failures.saturating_add(1);
        suspect.last = now;
        match suspect.failures.checked_sub(FORGIVEN + 1) {
            None => Duration::ZERO,
            Some(beyond) => FIRST_DELAY.saturating_mul(1 << beyond.min(16)).min(LONGEST_DELAY),
        }
    }

    /// What became of the logins of each protocol.
    pub(crate) fn tallies(&self) -> Vec<(Protocol, Tally)> {
        self.lock().tallies.iter().map(|(protocol, tally)| (*protocol, *tally)).collect()
    }

    /// Counts from nothing again.
    pub(crate) fn clear(&self) {
        self.lock().tallies.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    fn make_room(&mut self, now: Moment) {
        if self.suspects.len() >= CAPACITY {
            self.suspects.retain(|_, suspect| suspect.last + MEMORY > now);
        }
        if self.suspects.len() >= CAPACITY {
            self.suspects.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_unix(Duration::from_secs(seconds))
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn who_fails_again_and_again_waits_ever_longer() {
        let attempts = Attempts::default();
        let fail = |second| attempts.failed(Protocol::Amqp, address(1), at(second)).as_millis();
        let delays: Vec<_> = (0..12).map(fail).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(attempts.failed(Protocol::Amqp, address(2), at(12)), Duration::ZERO);
        assert_eq!(fail(12 + 60), 0, "a minute of peace is enough");
        attempts.succeeded(Protocol::Http);
        let amqp = Tally { succeeded: 0, failed: 14 };
        let http = Tally { succeeded: 1, failed: 0 };
        assert_eq!(attempts.tallies(), [(Protocol::Amqp, amqp), (Protocol::Http, http)]);
        attempts.clear();
        assert_eq!(attempts.tallies(), []);
    }

    #[test]
    fn an_attack_from_everywhere_takes_no_more_memory_than_that() {
        let attempts = Attempts::default();
        for number in 0..3 * CAPACITY as u32 {
            attempts.failed(Protocol::Amqp, address(number), at(1));
        }
        assert!(attempts.lock().suspects.len() <= CAPACITY);
    }
}
