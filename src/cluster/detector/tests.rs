//! Detectors that hear each other over links that a test cuts, while a test's clock runs.

use super::*;

const A: NodeNumber = NodeNumber(1);
const B: NodeNumber = NodeNumber(2);
const SECOND: Duration = Duration::from_secs(1);

/// One of two nodes.
struct Side {
    number: NodeNumber,
    incarnation: u64,
    detector: Detector,
    oldest_sync: Duration,
    /// Stopped by a signal: neither ticks nor sends, and reads later.
    is_stopped: bool,
    unread: Vec<(u64, Heartbeat)>,
    /// What its heartbeats meet: false loses them.
    is_heard: bool,
    verdicts: Vec<(u64, Verdict)>,
}

/// Two nodes, and the time in milliseconds.
struct Pair {
    a: Side,
    b: Side,
    now: u64,
}

fn at(milliseconds: u64) -> Moment {
    Moment::from_unix(Duration::from_millis(milliseconds))
}

impl Side {
    fn new(number: NodeNumber, other: NodeNumber, incarnation: u64, now: u64) -> Self {
        let mut detector = Detector::new(Patience::default(), at(now));
        detector.set_members([other]);
        Self {
            number,
            incarnation,
            detector,
            oldest_sync: Duration::ZERO,
            is_stopped: false,
            unread: Vec::new(),
            is_heard: true,
            verdicts: Vec::new(),
        }
    }

    fn send(&self, to: &mut Self, now: u64) {
        if self.is_heard && !self.is_stopped {
            let heartbeat = self.detector.heartbeat(to.number, self.oldest_sync, at(now));
            to.unread.push((self.incarnation, heartbeat));
        }
    }

    fn turn(&mut self, from: NodeNumber, now: u64) {
        if self.is_stopped {
            return;
        }
        // The worst order: the tick sees the silence before the reader has read.
        self.detector.tick(at(now));
        for (incarnation, heartbeat) in self.unread.drain(..) {
            self.detector.heard(from, incarnation, heartbeat, at(now));
        }
        while let Some(verdict) = self.detector.next_verdict() {
            self.verdicts.push((now, verdict));
        }
    }

    fn what(&mut self) -> Vec<Verdict> {
        self.verdicts.drain(..).map(|(_, verdict)| verdict).collect()
    }
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self { a: Side::new(A, B, 1, 0), b: Side::new(B, A, 1, 0), now: 0 };
        pair.introduce();
        pair
    }

    /// Two nodes that are up for each other.
    fn joined() -> Self {
        let mut pair = Self::new();
        pair.run(SECOND);
        assert_eq!(pair.a.what(), [up(B, 1)]);
        assert_eq!(pair.b.what(), [up(A, 1)]);
        pair
    }

    fn introduce(&mut self) {
        assert!(self.a.detector.introduced(B, self.b.incarnation));
        assert!(self.b.detector.introduced(A, self.a.incarnation));
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + u64::try_from(span.as_millis()).unwrap();
        while self.now < end {
            self.now += 250;
            self.a.send(&mut self.b, self.now);
            self.b.send(&mut self.a, self.now);
            self.a.turn(B, self.now);
            self.b.turn(A, self.now);
        }
    }
}

fn up(node: NodeNumber, incarnation: u64) -> Verdict {
    Verdict::Up { node, incarnation }
}

fn down(node: NodeNumber, why: Why) -> Verdict {
    Verdict::Down { node, why }
}

#[test]
fn nodes_that_hear_each_other_are_up_and_stay_up() {
    let mut pair = Pair::joined();
    pair.run(SECOND * 600);
    assert_eq!((pair.a.what(), pair.b.what()), (vec![], vec![]));
    assert_eq!(pair.a.detector.state(B, at(pair.now)), State::Up);
}

#[test]
fn a_silent_node_is_suspected_after_two_seconds_and_down_after_three() {
    let mut pair = Pair::joined();
    let cut = pair.now;
    (pair.a.is_heard, pair.b.is_heard) = (false, false);
    pair.run(SECOND + SECOND / 2);
    assert_eq!(pair.a.detector.state(B, at(pair.now)), State::Up);
    pair.run(SECOND);
    assert_eq!(pair.a.detector.state(B, at(pair.now)), State::Suspected);
    pair.run(SECOND);
    assert_eq!(pair.a.detector.state(B, at(pair.now)), State::Down);
    assert_eq!(pair.a.verdicts, [(cut + 3000, down(B, Why::Silent))]);
    assert_eq!(pair.b.verdicts, [(cut + 3000, down(A, Why::Silent))]);
    assert_eq!(pair.a.detector.next_verdict(), None);
}

#[test]
fn a_link_cut_in_one_direction_is_down_on_both_sides() {
    let mut pair = Pair::joined();
    pair.a.is_heard = false;
    pair.run(SECOND * 20);
    assert_eq!(pair.b.what(), [down(A, Why::Silent)]);
    assert_eq!(pair.a.what(), [down(B, Why::Deaf)]);
    pair.a.is_heard = true;
    pair.run(SECOND);
    assert_eq!(pair.b.what(), [up(A, 1)]);
    assert_eq!(pair.a.what(), [up(B, 1)]);
}

#[test]
fn a_link_that_flaps_gives_alternating_verdicts_that_both_sides_share() {
    let mut pair = Pair::joined();
    for round in 0..20 {
        (pair.a.is_heard, pair.b.is_heard) = (round % 2 == 0, round % 3 == 0);
        pair.run(SECOND * 4);
        (pair.a.is_heard, pair.b.is_heard) = (true, true);
        pair.run(SECOND * 2);
    }
    let (a, b) = (pair.a.what(), pair.b.what());
    for verdicts in [&a, &b] {
        let is_down = |verdict: &Verdict| matches!(verdict, Verdict::Down { .. });
        assert!(verdicts.iter().enumerate().all(|(at, verdict)| is_down(verdict) == (at % 2 == 0)));
    }
    assert_eq!(a.len(), b.len());
    assert!(a.len() > 20, "{a:?}");
}

#[test]
fn a_flap_shorter_than_the_patience_is_no_fall() {
    let mut pair = Pair::joined();
    for _ in 0..50 {
        (pair.a.is_heard, pair.b.is_heard) = (false, false);
        pair.run(SECOND * 2);
        (pair.a.is_heard, pair.b.is_heard) = (true, true);
        pair.run(SECOND / 2);
    }
    assert_eq!((pair.a.what(), pair.b.what()), (vec![], vec![]));
}

#[test]
fn who_was_stopped_himself_reads_before_he_judges() {
    let mut pair = Pair::joined();
    pair.a.is_stopped = true;
    pair.run(SECOND * 2);
    pair.a.is_stopped = false;
    pair.run(SECOND);
    assert_eq!((pair.a.what(), pair.b.what()), (vec![], vec![]));
}

#[test]
fn who_was_stopped_for_long_learns_that_he_was_given_up() {
    let mut pair = Pair::joined();
    pair.a.is_stopped = true;
    pair.run(SECOND * 10);
    assert_eq!(pair.b.what(), [down(A, Why::Silent)]);
    pair.a.is_stopped = false;
    pair.run(SECOND);
    assert_eq!(pair.a.what(), [down(B, Why::Deaf), up(B, 1)]);
    assert_eq!(pair.b.what(), [up(A, 1)]);
}

#[test]
fn a_fall_that_is_over_when_it_becomes_known_is_still_shared() {
    let mut pair = Pair::joined();
    // A's detector alone: it hears that it was given up, and is heard again already.
    let heartbeat = Heartbeat { hears_you: true, given_up: 1, oldest_sync: Duration::ZERO };
    pair.a.detector.heard(B, 1, heartbeat, at(pair.now));
    assert_eq!(pair.a.detector.next_verdict(), Some(down(B, Why::Deaf)));
    assert_eq!(pair.a.detector.next_verdict(), Some(up(B, 1)));
    let answer = pair.a.detector.heartbeat(B, Duration::ZERO, at(pair.now));
    assert_eq!(answer.given_up, 0, "or the two would give each other up for ever");
}

#[test]
fn the_silence_of_the_others_counts_after_a_pause_of_ours() {
    let mut pair = Pair::joined();
    pair.a.is_stopped = true;
    pair.run(SECOND * 10);
    (pair.a.is_stopped, pair.b.is_heard) = (false, false);
    pair.a.unread.clear();
    pair.run(SECOND * 2);
    assert_eq!(pair.a.what(), []);
    pair.run(SECOND * 2);
    assert_eq!(pair.a.what(), [down(B, Why::Silent)]);
}

#[test]
fn a_process_that_died_is_down_at_once() {
    let mut pair = Pair::joined();
    pair.a.detector.refused(B);
    assert_eq!(pair.a.detector.next_verdict(), None, "it still talks");
    pair.a.detector.broken(B);
    assert_eq!(pair.a.detector.next_verdict(), None, "it may listen");
    pair.a.detector.refused(B);
    assert_eq!(pair.a.detector.next_verdict(), Some(down(B, Why::Died)));
    pair.a.detector.refused(B);
    assert_eq!(pair.a.detector.next_verdict(), None);
    let heartbeat = pair.a.detector.heartbeat(B, Duration::ZERO, at(pair.now));
    assert!(!heartbeat.hears_you);
}

#[test]
fn a_connection_that_came_back_is_no_death() {
    let mut pair = Pair::joined();
    pair.a.detector.broken(B);
    pair.run(SECOND);
    pair.a.detector.refused(B);
    pair.run(SECOND);
    assert_eq!((pair.a.what(), pair.b.what()), (vec![], vec![]));
}

#[test]
fn a_new_incarnation_is_down_and_then_up() {
    let mut pair = Pair::joined();
    pair.b = Side::new(B, A, 2, pair.now);
    pair.introduce();
    pair.run(SECOND);
    assert_eq!(pair.a.what(), [down(B, Why::Restarted), up(B, 2)]);
    assert_eq!(pair.b.what(), [up(A, 1)]);
}

#[test]
fn what_an_old_incarnation_says_does_not_count() {
    let mut pair = Pair::joined();
    assert!(pair.a.detector.introduced(B, 5));
    assert!(!pair.a.detector.introduced(B, 4));
    assert_eq!(pair.a.detector.next_verdict(), Some(down(B, Why::Restarted)));
    pair.run(SECOND);
    assert_eq!(pair.a.what(), []);
    assert!(!pair.a.detector.introduced(NodeNumber(9), 1), "nobody knows it");
}

#[test]
fn a_node_whose_disk_is_stuck_is_down_on_both_sides_until_it_recovers() {
    let mut pair = Pair::joined();
    pair.b.oldest_sync = SECOND * 5;
    pair.run(SECOND);
    assert_eq!((pair.a.what(), pair.b.what()), (vec![], vec![]));
    pair.b.oldest_sync = SECOND * 6;
    pair.run(SECOND * 10);
    assert_eq!(pair.a.what(), [down(B, Why::Stuck)]);
    assert_eq!(pair.b.what(), [down(A, Why::Deaf)]);
    pair.b.oldest_sync = SECOND * 2;
    pair.run(SECOND);
    assert_eq!(pair.a.what(), [], "slower than it should be");
    pair.b.oldest_sync = Duration::ZERO;
    pair.run(SECOND);
    assert_eq!(pair.a.what(), [up(B, 1)]);
    assert_eq!(pair.b.what(), [up(A, 1)]);
}

#[test]
fn who_is_no_member_any_more_is_down_and_not_heard() {
    let mut pair = Pair::joined();
    pair.a.detector.set_members([NodeNumber(3)]);
    pair.run(SECOND);
    assert_eq!(pair.a.what(), [down(B, Why::Removed)]);
    assert_eq!(pair.b.what(), [down(A, Why::Deaf)]);
    assert_eq!(pair.a.detector.state(B, at(pair.now)), State::Down);
}

#[test]
fn members_that_stay_members_are_not_disturbed() {
    let mut pair = Pair::joined();
    pair.a.detector.set_members([B, NodeNumber(3)]);
    pair.run(SECOND);
    assert_eq!(pair.a.what(), []);
}

#[test]
fn patience_keeps_its_proportions() {
    let check = |down_after: u64, heartbeat, suspect_after| {
        let patience = Patience::of(Duration::from_millis(down_after));
        assert_eq!(patience.heartbeat, Duration::from_millis(heartbeat));
        assert_eq!(patience.suspect_after, Duration::from_millis(suspect_after));
    };
    check(3000, 250, 2000);
    check(60_000, 250, 2000);
    check(600, 150, 400);
    assert_eq!(Patience::of(Duration::ZERO).down_after, Duration::from_millis(500));
}
