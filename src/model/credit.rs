//! The limit that the consumers of one channel share, across all the queues they consume from.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// What a channel may hold unacknowledged in all, as `basic.qos` with `global` sets it.
///
/// Cloning shares the count. A queue takes one when it delivers to a consumer that acknowledges;
/// the channel gives back when the client settles. Without a limit it only counts.
#[derive(Clone, Debug, Default)]
pub struct ChannelCredit(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// 0 stands for no limit, as on the wire.
    limit: AtomicU32,
    taken: AtomicU32,
}

impl ChannelCredit {
    /// Whether one more message may be delivered.
    pub fn is_open(&self) -> bool {
        let limit = self.0.limit.load(Ordering::Relaxed);
        limit == 0 || self.0.taken.load(Ordering::Relaxed) < limit
    }

    /// Counts one delivery, if the limit allows it.
    ///
    /// The count never exceeds the limit on the way: a queue that is refused waits until credit is
    /// given back, so it must not be refused because another one is just being refused.
    pub fn take(&self) -> bool {
        let limit = self.0.limit.load(Ordering::Relaxed);
        if limit == 0 {
            self.take_regardless();
            return true;
        }
        let one_more = |taken| (taken < limit).then_some(taken + 1);
        let relaxed = Ordering::Relaxed;
        self.0.taken.fetch_update(relaxed, relaxed, one_more).is_ok()
    }

    /// Counts one delivery whatever the limit: `basic.get` is not held back, but counts.
    pub fn take_regardless(&self) {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives back `settled` deliveries.
    pub fn give_back(&self, settled: u32) {
        self.0.taken.fetch_sub(settled, Ordering::Relaxed);
    }

    /// Sets the limit; 0 removes it.
    pub fn limit_to(&self, limit: u16) {
        self.0.limit.store(limit.into(), Ordering::Relaxed);
    }

    /// Whether a limit is set.
    pub fn is_limited(&self) -> bool {
        self.0.limit.load(Ordering::Relaxed) != 0
    }
}

/// The same channel's credit, whatever it amounts to.
impl PartialEq for ChannelCredit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_shared_and_runs_out() {
        let credit = ChannelCredit::default();
        credit.limit_to(2);
        let other = credit.clone();
        assert!(credit.take() && other.take());
        assert!(!credit.take() && !other.is_open());
        other.give_back(1);
        assert!(credit.take());
    }

    #[test]
    fn without_a_limit_credit_only_counts() {
        let credit = ChannelCredit::default();
        assert!(credit.take() && credit.take());
        credit.limit_to(2);
        assert!(!credit.is_open());
        credit.limit_to(0);
        assert!(credit.is_open());
    }
}
