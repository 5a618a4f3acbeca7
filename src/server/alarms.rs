//! Alarms: who publishes is blocked while memory or disk is scarce.

mod gauges;
#[cfg(test)]
mod tests;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub(super) use self::gauges::{Gauges, Machine};
use crate::{
    config::{Config, Limit},
    net::Clients,
};

/// The disk is looked at as often as it takes to see it fill at this rate (RabbitMQ's), in octets
/// for a millisecond, but no more often and no less often than these.
const FAST_WRITING: u64 = 250_000;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The alarms of a node. An alarm blocks a client from its next message on, and until all alarms
/// are over.
#[derive(Debug)]
pub struct Alarms {
    clients: Arc<Clients>,
    limits: Mutex<Limits>,
    scarce: Mutex<Scarce>,
    pressing: Arc<AtomicBool>,
    /// Whether the alarm of the disk is on, for who can do something about it.
    disk: watch::Sender<bool>,
}

/// Where alarms begin, in octets; none where there is nothing to watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) memory: Option<u64>,
    pub(super) disk: Option<u64>,
    /// The share of the memory's limit beyond which messages leave memory.
    paging_ratio: f64,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scarce {
    memory: bool,
    /// Less room is left on the disk than there must be.
    room: bool,
    /// The store could not write.
    store: bool,
}

impl Scarce {
    /// The reason, in RabbitMQ's words.
    fn reason(self) -> Option<&'static str> {
        match (self.memory, self.room || self.store) {
            (false, false) => None,
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (true, true) => Some("low on disk & memory"),
        }
    }
}

impl Limits {
    fn new(config: &Config, gauges: &dyn Gauges) -> Self {
        let machine = gauges.memory_limit();
        let memory = match gauges.memory_used() {
            Some(_) => config.memory_watermark.octets(machine),
            None => None,
        };
        if memory.is_none() {
            warn!("this system does not tell how much memory is used: there is no memory alarm");
        }
        let paging_ratio = config.memory_paging_ratio;
        let disk = config.data_dir.as_ref().and_then(|_| config.disk_free_limit.octets(machine));
        Self { memory, disk, paging_ratio }
    }
}

impl Alarms {
    /// Alarms for these clients, of which those are on that should be from the start.
    pub(super) fn new(config: &Config, clients: Arc<Clients>, gauges: &dyn Gauges) -> Self {
        let limits = Mutex::new(Limits::new(config, gauges));
        let (scarce, pressing, disk) = (Mutex::default(), Arc::default(), watch::Sender::default());
        let alarms = Self { clients, limits, scarce, pressing, disk };
        alarms.look_at_memory(gauges);
        alarms.look_at_disk(gauges);
        alarms
    }

    /// Why clients are blocked, in RabbitMQ's words. None: no alarm is on.
    pub fn reason(&self) -> Option<&'static str> {
        self.scarce().reason()
    }

    /// Raises the alarm of the disk, or ends it, whatever room the system says that there is: the
    /// store could not write, or can again.
    pub fn disk_full(&self, is_full: bool) {
        if self.change(|scarce| scarce.store = is_full) {
            match is_full {
                true => warn!("disk alarm set: the disk does not take more"),
                false => info!("disk alarm cleared: the disk takes more again"),
            }
        }
    }

    /// Sets another limit of memory, unless nobody knows how much is used.
    pub(super) fn set_memory_watermark(&self, watermark: Limit, gauges: &dyn Gauges) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.memory.is_some() {
            limits.memory = watermark.octets(gauges.memory_limit());
        }
        drop(limits);
        self.look_at_memory(gauges);
    }

    /// Sets another limit of the disk, unless there is none to watch.
    pub(super) fn set_disk_free_limit(&self, limit: Limit, gauges: &dyn Gauges) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.disk.is_some() {
            limits.disk = limit.octets(gauges.memory_limit());
        }
        drop(limits);
        self.look_at_disk(gauges);
    }

    /// Where alarms begin.
    pub(super) fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the alarm of the memory is on, and that of the disk.
    pub(super) fn are_on(&self) -> (bool, bool) {
        let scarce = *self.scarce();
        (scarce.memory, scarce.room || scarce.store)
    }

    /// Whether the alarm of the disk is on, and whenever that changes.
    pub(super) fn disk(&self) -> watch::Receiver<bool> {
        self.disk.subscribe()
    }

    /// Whether messages should leave memory for the disk.
    pub fn is_pressing(&self) -> bool {
        self.pressing.load(Ordering::Relaxed)
    }

    /// What [`Self::is_pressing`] says, for those who ask often and know no alarms.
    pub fn pressure(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.pressing)
    }

    /// Looks at the memory again and again until `stop`.
    async fn watch_memory(&self, gauges: &dyn Gauges, pause: Duration, stop: CancellationToken) {
        if self.limits().memory.is_none() {
            return;
        }
        while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
            self.look_at_memory(gauges);
        }
    }

    /// Looks at the disk again and again until `stop`, more often the nearer its limit is.
    async fn watch_disk(&self, gauges: &dyn Gauges, stop: CancellationToken) {
        let mut pause = SHORTEST_PAUSE;
        while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
            let Some(limit) = self.limits().disk else { return };
            pause = pause_for(self.look_at_disk(gauges), limit);
        }
    }

    fn look_at_memory(&self, gauges: &dyn Gauges) {
        let limits = self.limits();
        let (Some(limit), Some(used)) = (limits.memory, gauges.memory_used()) else { return };
        let paging = (limit as f64 * limits.paging_ratio) as u64;
        self.pressing.store(used > paging, Ordering::Relaxed);
        let is_scarce = used > limit;
        if self.change(|scarce| scarce.memory = is_scarce) {
            match is_scarce {
                true => warn!("memory alarm set: {used} octets used, {limit} allowed"),
                false => info!("memory alarm cleared: {used} octets used, {limit} allowed"),
            }
        }
    }

    /// Gives the room that is left, if it is known. If not, the alarm stays as it is.
    fn look_at_disk(&self, gauges: &dyn Gauges) -> Option<u64> {
        let (limit, free) = (self.limits().disk?, gauges.disk_free()?);
        let is_scarce = free < limit;
        if self.change(|scarce| scarce.room = is_scarce) {
            match is_scarce {
                true => warn!("disk alarm set: {free} octets free, the limit is {limit}"),
                false => info!("disk alarm cleared: {free} octets free, the limit is {limit}"),
            }
        }
        Some(free)
    }

    /// Makes a change and tells the clients what follows; whether it was one.
    fn change(&self, change: impl FnOnce(&mut Scarce)) -> bool {
        let mut scarce = self.scarce();
        let before = *scarce;
        change(&mut scarce);
        if scarce.reason() != before.reason() {
            // Still under the lock: clients hear of changes in their order.
            self.clients.set_alarm(scarce.reason());
        }
        self.disk.send_if_modified(|is_on| {
            let was_on = mem::replace(is_on, scarce.room || scarce.store);
            was_on != *is_on
        });
        *scarce != before
    }

    fn scarce(&self) -> MutexGuard<'_, Scarce> {
        self.scarce.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches memory and disk until `stop`.
pub(super) fn watch(
    alarms: &Arc<Alarms>,
    config: &Config,
    gauges: &Arc<dyn Gauges>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) {
    let pause = Duration::from_millis(config.memory_monitor_interval_ms);
    let (watched, dials, told) = (Arc::clone(alarms), Arc::clone(gauges), stop.clone());
    tasks.spawn(async move { watched.watch_memory(&*dials, pause, told).await });
    let (watched, dials, told) = (Arc::clone(alarms), Arc::clone(gauges), stop.clone());
    tasks.spawn(async move { watched.watch_disk(&*dials, told).await });
}

/// How long the disk need not be looked at: half of the time in which its limit could be crossed.
fn pause_for(free: Option<u64>, limit: u64) -> Duration {
    let Some(free) = free else { return LONGEST_PAUSE };
    let pause = Duration::from_millis(free.abs_diff(limit) / (2 * FAST_WRITING));
    pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
