//! What all tasks of the connections share: who the others are, and what is open to them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    Class, Credentials, Handler, Introduction, Limits, Member, Pulse,
    frames::Kind,
    incoming::Seat,
    outgoing::Outgoing,
    refusal::{Complaints, Refusal},
};
use crate::{
    cluster::{
        NodeNumber,
        detector::{Detector, Heartbeat, Patience, Verdict, Why},
    },
    net::Clock,
};

/// Octets that a handler may add to a heartbeat.
const LONGEST_PULSE: usize = 64 * 1024;

/// What all tasks share.
pub(super) struct Hub {
    pub(super) me: Introduction,
    pub(super) credentials: Credentials,
    pub(super) limits: Limits,
    pub(super) patience: Patience,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) clock: Clock,
    pub(super) tasks: TaskTracker,
    /// Where tasks run, whoever asks for them.
    pub(super) runtime: Handle,
    pub(super) stop: CancellationToken,
    pub(super) complaints: Complaints,
    detector: Mutex<Detector>,
    /// There is a verdict to be told.
    judged: Notify,
    neighbours: RwLock<BTreeMap<NodeNumber, Arc<Neighbour>>>,
}

/// Another node, as long as it is a member.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) node: NodeNumber,
    member: Mutex<Member>,
    pub(super) removed: CancellationToken,
    outgoing: [Outgoing; 3],
    seats: [Seat; 3],
}

impl Neighbour {
    fn new(node: NodeNumber, member: Member, limits: &Limits) -> Self {
        let outgoing = |class| Outgoing::new(limits.frame(class), limits.queued);
        Self {
            node,
            member: Mutex::new(member),
            removed: CancellationToken::new(),
            outgoing: Class::ALL.map(outgoing),
            seats: Class::ALL.map(|_| Seat::new(limits.held)),
        }
    }

    pub(super) fn member(&self) -> Member {
        self.member.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn outgoing(&self, class: Class) -> &Outgoing {
        &self.outgoing[class as usize]
    }

    pub(super) fn seat(&self, class: Class) -> &Seat {
        &self.seats[class as usize]
    }

    fn set_member(&self, member: Member) {
        *self.member.lock().unwrap_or_else(PoisonError::into_inner) = member;
    }

    /// Ends what is open to incarnations below this.
    fn cut_below(&self, incarnation: u64) {
        self.outgoing.iter().for_each(|outgoing| outgoing.cut_below(incarnation));
        self.seats.iter().for_each(|seat| seat.cut_below(incarnation));
    }

    fn cut_outgoing(&self) {
        self.outgoing.iter().for_each(Outgoing::cut);
    }

    fn cut_incoming(&self) {
        self.seats.iter().for_each(Seat::cut);
    }
}

impl Hub {
    pub(super) fn new(
        (me, credentials): (Introduction, Credentials),
        (limits, patience): (Limits, Patience),
        handler: Arc<dyn Handler>,
    ) -> Self {
        let clock = Clock::start();
        Self {
            me,
            credentials,
            limits,
            patience,
            handler,
            clock,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            stop: CancellationToken::new(),
            complaints: Complaints::default(),
            detector: Mutex::new(Detector::new(patience, clock.now())),
            judged: Notify::new(),
            neighbours: RwLock::default(),
        }
    }

    /// Takes these members for those that there were, and returns who is new.
    pub(super) fn set_members(
        &self,
        mut members: BTreeMap<NodeNumber, Member>,
    ) -> Vec<Arc<Neighbour>> {
        members.remove(&self.me.node);
        let mut neighbours = self.neighbours.write().unwrap_or_else(PoisonError::into_inner);
        self.judge(|detector| detector.set_members(members.keys().copied()));
        let mut former = std::mem::take(&mut *neighbours);
        let mut new = Vec::new();
        for (node, member) in members {
            let neighbour = former.remove(&node).unwrap_or_else(|| {
                let neighbour = Arc::new(Neighbour::new(node, member.clone(), &self.limits));
                new.push(Arc::clone(&neighbour));
                neighbour
            });
            neighbour.set_member(member);
            neighbours.insert(node, neighbour);
        }
        for neighbour in former.into_values() {
            neighbour.removed.cancel();
            neighbour.cut_outgoing();
            neighbour.cut_incoming();
        }
        new
    }

    pub(super) fn neighbour(&self, node: NodeNumber) -> Option<Arc<Neighbour>> {
        self.neighbours().get(&node).cloned()
    }

    /// Does something with a neighbour without taking a reference to it.
    pub(super) fn with<T>(
        &self,
        node: NodeNumber,
        what: impl FnOnce(&Neighbour) -> T,
    ) -> Option<T> {
        self.neighbours().get(&node).map(|neighbour| what(neighbour))
    }

    /// Judges whom a neighbour has proven to be. Older incarnations end with the news of a newer.
    pub(super) fn introduce(
        &self,
        neighbour: &Neighbour,
        who: &Introduction,
    ) -> Result<(), Refusal> {
        let (theirs, ours) = (who.cluster, self.me.cluster);
        if theirs != ours {
            return Err(Refusal::OtherCluster { theirs, ours });
        }
        let (node, known) = (who.node, neighbour.member().name);
        if who.name != known {
            return Err(Refusal::OtherName { node, said: who.name.clone(), known });
        }
        if !self.judge(|detector| detector.introduced(node, who.incarnation)) {
            return Err(Refusal::Older(who.incarnation));
        }
        neighbour.cut_below(who.incarnation);
        Ok(())
    }

    /// Tells the detector something; verdicts are passed on by [`Self::tell_verdicts`].
    pub(super) fn judge<T>(&self, tell: impl FnOnce(&mut Detector) -> T) -> T {
        let mut detector = self.detector();
        let said = tell(&mut detector);
        if detector.has_verdicts() {
            self.judged.notify_one();
        }
        said
    }

    /// Sends heartbeats and watches the time, until everything stops.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut interval = tokio::time::interval(self.patience.heartbeat);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => self.beat(),
                () = self.judged.notified() => {}
                () = self.stop.cancelled() => return,
            }
            self.tell_verdicts();
        }
    }

    /// Says to one neighbour that we are there.
    pub(super) fn beat_for(&self, neighbour: &Neighbour, pulse: &Pulse) {
        let now = self.clock.now();
        let detector = self.detector();
        let heartbeat = detector.heartbeat(neighbour.node, pulse.oldest_sync, now);
        drop(detector);
        let mut parts = [encode(&heartbeat), pulse.payload.clone()];
        if parts[1].len() > LONGEST_PULSE {
            // Who says too much is still there.
            parts[1].clear();
            self.complain("what is to be said with heartbeats is too long, and is left out");
        }
        let control = neighbour.outgoing(Class::Control);
        let _a_broken_connection_sends_nothing = control.send(Kind::Heartbeat, &parts);
    }

    /// Takes a heartbeat of this incarnation of a neighbour.
    pub(super) fn heard(&self, node: NodeNumber, incarnation: u64, mut payload: Bytes) {
        if let Some(heartbeat) = decode(&mut payload) {
            let now = self.clock.now();
            self.judge(|detector| detector.heard(node, incarnation, heartbeat, now));
            self.handler.heard(node, payload);
        }
    }

    /// Writes a line about somebody who is not talked to, unless it was written a short while ago
    /// or there are too many.
    pub(super) fn complain(&self, about: &str) {
        match self.complaints.may_say(about, self.clock.now()) {
            None => {}
            Some(0) => warn!("{about}"),
            Some(others) => warn!("{about} ({others} other complaints were not logged)"),
        }
    }

    pub(super) fn detector(&self) -> MutexGuard<'_, Detector> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let now = self.clock.now();
        self.judge(|detector| detector.tick(now));
        let pulse = self.handler.heartbeat();
        let neighbours: Vec<_> = self.neighbours().values().cloned().collect();
        for neighbour in neighbours {
            self.beat_for(&neighbour, &pulse);
        }
    }

    /// By one task alone, so that they are told in their order.
    fn tell_verdicts(&self) {
        loop {
            // The lock must not be held while the handler is told.
            let verdict = self.detector().next_verdict();
            let Some(verdict) = verdict else { return };
            match verdict {
                Verdict::Up { node, incarnation } => {
                    info!("node {node} is up");
                    self.handler.up(node, incarnation);
                }
                Verdict::Down { node, why } => {
                    warn!("node {node} is down: {why}");
                    self.handler.down(node, why);
                    self.with(node, |neighbour| cut_for(neighbour, why));
                }
            }
        }
    }

    fn neighbours(&self) -> RwLockReadGuard<'_, BTreeMap<NodeNumber, Arc<Neighbour>>> {
        self.neighbours.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("me", &self.me).finish_non_exhaustive()
    }
}

/// Ends the connections that a verdict has shown to be useless: a new one is heard sooner than one
/// on which the system tries again ever more seldom.
fn cut_for(neighbour: &Neighbour, why: Why) {
    match why {
        Why::Silent | Why::Died | Why::Removed => {
            neighbour.cut_outgoing();
            neighbour.cut_incoming();
        }
        Why::Deaf => neighbour.cut_outgoing(),
        // The old ones ended when the new incarnation introduced itself; a stuck one still talks.
        Why::Restarted | Why::Stuck => {}
    }
}

/// A heartbeat: whether the receiver is heard u8, given up u32, age of the oldest write in
/// milliseconds u32, and the handler's payload behind it.
fn encode(heartbeat: &Heartbeat) -> Bytes {
    let mut octets = BytesMut::with_capacity(9);
    octets.put_u8(u8::from(heartbeat.hears_you));
    octets.put_u32_le(heartbeat.given_up);
    octets.put_u32_le(u32::try_from(heartbeat.oldest_sync.as_millis()).unwrap_or(u32::MAX));
    octets.freeze()
}

fn decode(octets: &mut Bytes) -> Option<Heartbeat> {
    let hears_you = octets.try_get_u8().ok()? & 1 != 0;
    let given_up = octets.try_get_u32_le().ok()?;
    let oldest_sync = Duration::from_millis(octets.try_get_u32_le().ok()?.into());
    Some(Heartbeat { hears_you, given_up, oldest_sync })
}
