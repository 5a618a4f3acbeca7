//! Logins that were tried: counted, and after several failures from one address, answered late.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
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
pub(crate) struct Attempts {
    register: Mutex<Register>,
    held: AtomicUsize,
}

/// What is to be done about a login that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// For how long its answer is to be kept back.
    pub(crate) delay: Duration,
    /// Whether the log is to have it: the first ones of an address, then ever fewer.
    pub(crate) is_logged: bool,
}

/// A connection that is kept although its login has failed.
#[derive(Debug)]
pub(crate) struct Held(Arc<Attempts>);

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

/// Connections that are kept at a time to hear that their login has failed; those beyond are cut at
/// once. An attacker must not use up the sockets that others need.
const MOST_HELD: usize = 512;

/// Addresses that are remembered at most; an attacker may have very many.
const CAPACITY: usize = 10_000;

impl Attempts {
    /// Notes a login that succeeded.
    pub(crate) fn succeeded(&self, protocol: Protocol) {
        self.lock().tallies.entry(protocol).or_default().succeeded += 1;
    }

    /// Notes one that failed.
    pub(crate) fn failed(&self, protocol: Protocol, from: IpAddr, now: Moment) -> Failed {
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
        let delay = match suspect.failures.checked_sub(FORGIVEN + 1) {
            None => Duration::ZERO,
            Some(beyond) => FIRST_DELAY.saturating_mul(1 << beyond.min(16)).min(LONGEST_DELAY),
        };
        Failed { delay, is_logged: delay.is_zero() || suspect.failures.is_power_of_two() }
    }

    /// Keeps a connection whose login has failed, unless too many are kept.
    pub(crate) fn hold(self: &Arc<Self>) -> Option<Held> {
        let room = |held| (held < MOST_HELD).then_some(held + 1);
        let is_held = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        is_held.then(|| Held(Arc::clone(self)))
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
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
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
        let fail = |second| {
            let failed = attempts.failed(Protocol::Amqp, address(1), at(second));
            failed.delay.as_millis()
        };
        let delays: Vec<_> = (0..12).map(fail).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000]);
        let other = attempts.failed(Protocol::Amqp, address(2), at(12));
        assert_eq!(other, Failed { delay: Duration::ZERO, is_logged: true });
        assert_eq!(fail(12 + 60), 0, "a minute of peace is enough");
        attempts.succeeded(Protocol::Http);
        let amqp = Tally { succeeded: 0, failed: 14 };
        let http = Tally { succeeded: 1, failed: 0 };
        assert_eq!(attempts.tallies(), [(Protocol::Amqp, amqp), (Protocol::Http, http)]);
        attempts.clear();
        assert_eq!(attempts.tallies(), []);
    }

    #[test]
    fn the_log_has_ever_fewer_of_an_attack() {
        let attempts = Attempts::default();
        let is_logged = |second| attempts.failed(Protocol::Amqp, address(1), at(second)).is_logged;
        assert_eq!((0..5000).filter(|second| is_logged(second / 100)).count(), 5 + 10);
    }

    #[test]
    fn so_many_connections_are_kept_and_those_that_go_make_room() {
        let attempts = Arc::new(Attempts::default());
        let mut held: Vec<_> = (0..MOST_HELD).map(|_| attempts.hold().unwrap()).collect();
        assert!(attempts.hold().is_none());
        held.pop();
        assert!(attempts.hold().is_some());
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
