//! A queue's behaviour, rule by rule, under a clock that the test moves.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::model::{
    ConnectionId, DELIVERY_OVERHEAD, DeadLetterOptions, ExchangeName, Overflow, Selection,
};

#[test]
fn messages_leave_in_the_order_of_their_arrival() {
    let mut bench = Bench::default();
    bench.enqueue(["a", "b", "c"]);
    bench.subscribe(1, 0);
    bench.enqueue(["d"]);
    assert_eq!(bench.delivered(), ["1:a", "1:b", "1:c", "1:d"]);
}

#[test]
fn consumers_take_turns_and_those_without_credit_are_skipped() {
    let mut bench = Bench::default();
    bench.subscribe(1, 1);
    bench.subscribe(2, 0);
    bench.subscribe(3, 0);
    bench.enqueue(["a", "b", "c", "d", "e"]);
    assert_eq!(bench.delivered(), ["1:a", "2:b", "3:c", "2:d", "3:e"]);
    bench.settle([0], Outcome::Acknowledge);
    bench.enqueue(["f", "g", "h"]);
    assert_eq!(bench.delivered(), ["2:f", "3:g", "1:h"]);
}

#[test]
fn random_selection_serves_every_consumer_alike() {
    let mut bench = Bench::new(QueueOptions { selection: Selection::Random, ..classic() });
    (1..=4).for_each(|serial| bench.subscribe(serial, 0));
    (0..4000).for_each(|_| bench.enqueue(["a"]));
    let delivered = bench.delivered();
    for serial in 1..=4 {
        let own = delivered.iter().filter(|it| **it == format!("{serial}:a")).count();
        assert!((900..1100).contains(&own), "{serial} has {own}");
    }
    let turns = delivered.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(turns > 800, "{turns} of 4,000 went to the same consumer again");
}

#[test]
fn the_least_loaded_consumer_is_the_one_that_holds_the_fewest_and_has_room() {
    let mut bench = Bench::new(QueueOptions { selection: Selection::LeastLoaded, ..classic() });
    bench.subscribe(1, 0);
    bench.subscribe(2, 2);
    bench.subscribe(3, 0);
    bench.enqueue(["a", "b", "c", "d", "e", "f", "g", "h"]);
    let expected = ["1:a", "2:b", "3:c", "1:d", "2:e", "3:f", "1:g", "3:h"];
    assert_eq!(bench.delivered(), expected, "one with a full prefetch is passed over");
    bench.settle([0, 3], Outcome::Acknowledge);
    bench.enqueue(["i", "j"]);
    assert_eq!(bench.delivered(), ["1:i", "1:j"], "it catches up before others get more");
}

#[test]
fn a_consumer_that_does_not_acknowledge_has_no_prefetch_limit() {
    let mut bench = Bench::default();
    bench.subscribe_as(Subscription { acknowledge: false, ..subscription(1, 1) });
    bench.enqueue(["a", "b"]);
    assert_eq!(bench.delivered(), ["1:a", "1:b"]);
    assert_eq!(bench.queue.unacked_count(), 0);
}

#[test]
fn consumers_of_higher_priority_are_served_first_while_they_have_credit() {
    let mut bench = Bench::default();
    bench.subscribe(1, 0);
    bench.subscribe_as(Subscription { priority: 5, ..subscription(2, 2) });
    bench.enqueue(["a", "b", "c"]);
    assert_eq!(bench.delivered(), ["2:a", "2:b", "1:c"]);
}

#[test]
fn the_credit_of_a_channel_is_shared_and_tried_again_when_it_has_room() {
    let mut bench = Bench::default();
    let credit = ChannelCredit::default();
    credit.limit_to(1);
    for serial in [1, 2] {
        bench.subscribe_as(Subscription { credit: credit.clone(), ..subscription(serial, 0) });
    }
    bench.enqueue(["a", "b"]);
    assert_eq!(bench.delivered(), ["1:a"]);
    bench.settle([0], Outcome::Acknowledge);
    assert!(bench.delivered().is_empty());
    credit.give_back(1);
    bench.apply(Command::Resume);
    assert_eq!(bench.delivered(), ["2:b"]);
}

#[test]
fn a_window_is_overdrawn_by_one_message_and_then_waits_for_the_socket() {
    let mut bench = Bench::default();
    bench.subscribe_as(Subscription { window: 1, ..subscription(1, 0) });
    bench.enqueue(["a", "b"]);
    assert_eq!(bench.delivered(), ["1:a"]);
    let octets = DELIVERY_OVERHEAD + message("a").size();
    bench.apply(Command::Replenish { consumer: consumer(1), octets: octets - 1 });
    assert!(bench.delivered().is_empty());
    bench.apply(Command::Replenish { consumer: consumer(1), octets: 1 });
    assert_eq!(bench.delivered(), ["1:b"]);
}

#[test]
fn a_requeued_message_goes_back_to_its_place_and_says_so() {
    let mut bench = Bench::default();
    bench.subscribe(1, 2);
    bench.enqueue(["a", "b", "c", "d"]);
    assert_eq!(bench.delivered(), ["1:a", "1:b"]);
    bench.settle([1, 0], Outcome::Requeue);
    assert_eq!(bench.delivered(), ["1:a again", "1:b again"]);
    bench.settle([0, 1], Outcome::Acknowledge);
    assert_eq!(bench.delivered(), ["1:c", "1:d"]);
}

#[test]
fn what_a_consumer_holds_stays_out_when_it_leaves() {
    let mut bench = Bench::default();
    bench.subscribe(1, 0);
    bench.enqueue(["a"]);
    bench.apply(Command::Unsubscribe { consumer: consumer(1) });
    bench.subscribe(2, 1);
    assert_eq!((bench.queue.unacked_count(), bench.delivered()), (1, vec!["1:a".to_owned()]));
    bench.settle([0], Outcome::Requeue);
    assert_eq!(bench.delivered(), ["2:a again"]);
}

#[test]
fn an_exclusive_consumer_has_the_queue_to_itself() {
    let mut bench = Bench::default();
    assert_eq!(bench.queue.may_subscribe(true), Ok(()));
    bench.subscribe(1, 0);
    assert_eq!(bench.queue.may_subscribe(true), Err(InExclusiveUse));
    bench.apply(Command::Unsubscribe { consumer: consumer(1) });
    bench.subscribe_as(Subscription { exclusive: true, ..subscription(2, 0) });
    assert_eq!(bench.queue.may_subscribe(false), Err(InExclusiveUse));

    let single = Bench::new(QueueOptions { single_active_consumer: true, ..classic() });
    assert_eq!(single.queue.may_subscribe(true), Err(InExclusiveUse));
    assert_eq!(Bench::new(quorum()).queue.may_subscribe(true), Ok(()));
}

#[test]
fn a_single_active_consumer_stays_until_it_leaves_and_is_succeeded_by_the_highest_priority() {
    let mut bench = Bench::new(QueueOptions { single_active_consumer: true, ..classic() });
    bench.subscribe(1, 0);
    bench.subscribe(2, 0);
    for serial in [3, 4] {
        bench.subscribe_as(Subscription { priority: 9, ..subscription(serial, 0) });
    }
    bench.enqueue(["a"]);
    bench.settle([0], Outcome::Acknowledge);
    bench.enqueue(["b"]);
    assert_eq!(bench.delivered(), ["1:a", "1:b"]);
    for leaving in [1, 3, 4] {
        bench.apply(Command::Unsubscribe { consumer: consumer(leaving) });
        bench.enqueue(["next"]);
    }
    assert_eq!(bench.delivered(), ["3:next", "4:next", "2:next"]);
}

#[test]
fn on_a_quorum_queue_a_higher_priority_relieves_the_active_consumer_once_it_holds_nothing() {
    let mut bench = Bench::new(QueueOptions { single_active_consumer: true, ..quorum() });
    bench.subscribe(1, 0);
    bench.enqueue(["a"]);
    bench.subscribe_as(Subscription { priority: 9, ..subscription(2, 0) });
    bench.enqueue(["b"]);
    assert_eq!(bench.delivered(), ["1:a"]);
    bench.settle([0], Outcome::Acknowledge);
    assert_eq!(bench.delivered(), ["2:b"]);
}

#[test]
fn get_answers_with_the_head_and_with_what_remains() {
    let mut bench = Bench::default();
    let credit = ChannelCredit::default();
    credit.limit_to(1);
    bench.enqueue(["a", "b"]);
    for acknowledge in [true, false, false] {
        bench.apply(Command::Get { acknowledge, credit: credit.clone() });
    }
    assert_eq!(bench.got(), ["a, 1 more", "b, 0 more", "nothing"]);
    assert!(!credit.is_open());
    bench.settle([0], Outcome::Requeue);
    assert_eq!(bench.queue.ready_count(), 1);
}

#[test]
fn a_message_expires_while_it_waits_and_not_once_delivered() {
    let mut bench = Bench::new(QueueOptions { message_ttl: Some(seconds(60)), ..mortal() });
    bench.enqueue(["kept"]);
    bench.subscribe(1, 1);
    bench.enqueue(["lost"]);
    assert_eq!(bench.wakes(), [seconds(60)]);
    bench.advance(60);
    assert_eq!(bench.delivered(), ["1:kept"]);
    assert_eq!(bench.dead(), ["lost expired"]);
}

#[test]
fn only_the_head_expires() {
    let mut bench = Bench::new(mortal());
    bench.enqueue(["alive"]);
    bench.enqueue_for("short", Some(seconds(1)));
    bench.advance(5);
    assert_eq!(bench.queue.ready_count(), 2);
    bench.apply(Command::Get { acknowledge: false, credit: ChannelCredit::default() });
    assert_eq!(
        (bench.got(), bench.dead()),
        (vec!["alive, 1 more".into()], vec!["short expired".into()])
    );
}

#[test]
fn a_requeued_message_keeps_its_deadline() {
    let mut bench = Bench::new(mortal());
    bench.subscribe(1, 1);
    bench.enqueue_for("a", Some(seconds(1)));
    bench.advance(2);
    bench.settle([0], Outcome::Requeue);
    assert_eq!(bench.dead(), ["a expired"]);
    assert_eq!(bench.delivered(), ["1:a"]);
}

#[test]
fn without_time_to_live_a_message_is_for_a_consumer_that_waits_now() {
    let mut bench = Bench::new(mortal());
    bench.enqueue_for("early", Some(Duration::ZERO));
    bench.subscribe(1, 0);
    bench.enqueue_for("in time", Some(Duration::ZERO));
    assert_eq!(
        (bench.dead(), bench.delivered()),
        (vec!["early expired".into()], vec!["1:in time".into()])
    );

    let mut bench = Bench::new(QueueOptions { kind: QueueKind::Quorum, ..mortal() });
    bench.subscribe(1, 0);
    bench.enqueue_for("a", Some(Duration::ZERO));
    assert_eq!(bench.dead(), ["a expired"]);
}

#[test]
fn a_wake_is_asked_for_once_and_again_when_an_earlier_one_is_due() {
    let mut bench = Bench::new(mortal());
    bench.enqueue_for("a", Some(seconds(60)));
    bench.enqueue_for("b", Some(seconds(5)));
    assert_eq!(bench.wakes(), [seconds(60)]);
    bench.apply(Command::Get { acknowledge: false, credit: ChannelCredit::default() });
    assert_eq!(bench.wakes(), [seconds(5)]);
    bench.enqueue_for("c", Some(seconds(70)));
    bench.advance(5);
    assert_eq!(bench.wakes(), [seconds(70)]);
}

#[test]
fn a_changed_time_to_live_holds_for_new_messages_only() {
    let mut bench = Bench::new(mortal());
    bench.enqueue(["old"]);
    bench.configure(QueueOptions { message_ttl: Some(seconds(1)), ..mortal() });
    bench.advance(5);
    assert_eq!(bench.queue.ready_count(), 1);
    bench.apply(Command::Purge);
    bench.enqueue(["new"]);
    bench.advance(1);
    assert_eq!(bench.dead(), ["new expired"]);
}

#[test]
fn a_queue_that_nobody_uses_is_deleted_when_its_lease_ends() {
    let mut bench = Bench::new(QueueOptions { expires: Some(seconds(10)), ..classic() });
    bench.apply(Command::Touch);
    assert_eq!(bench.wakes(), [seconds(10)]);
    bench.subscribe(1, 0);
    bench.advance(15);
    assert_eq!(bench.deletions(), 0);
    bench.apply(Command::Unsubscribe { consumer: consumer(1) });
    assert_eq!(bench.wakes(), [seconds(25)]);
    bench.pass(5);
    bench.apply(Command::Touch);
    bench.advance(5);
    assert_eq!((bench.deletions(), bench.wakes()), (0, vec![seconds(30)]));
    bench.advance(5);
    assert_eq!(bench.deletions(), 1);
}

#[test]
fn declaring_a_quorum_queue_again_does_not_renew_its_lease() {
    let mut bench = Bench::new(QueueOptions { expires: Some(seconds(10)), ..quorum() });
    bench.pass(5);
    bench.apply(Command::Touch);
    bench.advance(5);
    assert_eq!(bench.deletions(), 1);
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_and_not_before_the_first() {
    let mut bench = Bench::default();
    bench.queue.auto_delete = true;
    bench.apply(Command::Unsubscribe { consumer: consumer(1) });
    bench.subscribe(1, 0);
    bench.subscribe(2, 0);
    bench.apply(Command::Unsubscribe { consumer: consumer(1) });
    assert_eq!(bench.deletions(), 0);
    bench.apply(Command::Unsubscribe { consumer: consumer(2) });
    assert_eq!(bench.deletions(), 1);
}

#[test]
fn the_oldest_messages_make_room_for_a_new_one() {
    let mut bench = Bench::new(QueueOptions { max_length: Some(2), ..mortal() });
    bench.enqueue(["a", "b", "c"]);
    assert_eq!(bench.dead(), ["a maxlen"]);

    let mut bench = Bench::new(QueueOptions { max_length_bytes: Some(4), ..mortal() });
    bench.enqueue(["ab", "cd", "too large"]);
    assert_eq!(bench.dead(), ["ab maxlen", "cd maxlen", "too large maxlen"]);
}

#[test]
fn a_queue_of_length_nothing_still_serves_a_consumer_that_waits() {
    let mut bench = Bench::new(QueueOptions { max_length: Some(0), ..mortal() });
    bench.subscribe(1, 1);
    bench.enqueue(["a", "b"]);
    assert_eq!((bench.delivered(), bench.dead()), (vec!["1:a".into()], vec!["b maxlen".into()]));
}

#[test]
fn a_message_without_room_is_refused_and_dead_lettered_only_if_asked() {
    for (overflow, dead) in [
        (Overflow::RejectPublish, vec![]),
        (Overflow::RejectPublishDeadLetter, vec!["b maxlen".to_owned()]),
    ] {
        let mut bench = Bench::new(QueueOptions { max_length: Some(1), overflow, ..mortal() });
        bench.enqueue(["a", "b"]);
        assert_eq!((bench.refusals(), bench.dead(), bench.queue.ready_count()), (1, dead, 1));
    }
}

#[test]
fn a_quorum_queue_refuses_one_message_late() {
    let overflow = Overflow::RejectPublish;
    let mut bench = Bench::new(QueueOptions { max_length: Some(2), overflow, ..quorum() });
    bench.enqueue(["a", "b", "c"]);
    assert_eq!(bench.refusals(), 0);
    bench.enqueue(["d"]);
    assert_eq!(bench.refusals(), 1);
}

#[test]
fn what_comes_back_over_the_limit_and_a_lower_limit_trim_the_queue() {
    let mut bench = Bench::new(QueueOptions { max_length: Some(2), ..mortal() });
    bench.subscribe(1, 1);
    bench.enqueue(["a", "b", "c"]);
    bench.apply(Command::Unsubscribe { consumer: consumer(1) });
    bench.settle([0], Outcome::Requeue);
    assert_eq!(bench.dead(), ["a maxlen"]);
    bench.configure(QueueOptions { max_length: Some(1), ..mortal() });
    assert_eq!(bench.dead(), ["b maxlen"]);
}

#[test]
fn priorities_are_capped_and_the_head_that_is_dropped_has_the_highest() {
    let options = QueueOptions { max_priority: Some(5), max_length: Some(3), ..mortal() };
    let mut bench = Bench::new(options);
    for (body, priority) in [("a", 1), ("b", 5), ("c", 1), ("d", 9), ("e", 1)] {
        bench.enqueue_as(body, priority, None);
    }
    assert_eq!(bench.dead(), ["b maxlen", "d maxlen"]);
}

#[test]
fn without_levels_a_priority_is_ignored() {
    let mut bench = Bench::default();
    bench.enqueue_as("a", 0, None);
    bench.enqueue_as("b", 9, None);
    bench.subscribe(1, 0);
    assert_eq!(bench.delivered(), ["1:a", "1:b"]);
}

#[test]
fn a_quorum_queue_counts_deliveries_and_gives_up_after_the_limit() {
    let options = QueueOptions { kind: QueueKind::Quorum, delivery_limit: Some(2), ..mortal() };
    let mut bench = Bench::new(options);
    bench.subscribe(1, 1);
    bench.enqueue(["a"]);
    for _ in 0..3 {
        bench.settle([0], Outcome::Requeue);
    }
    assert_eq!(bench.delivered(), ["1:a", "1:a again", "1:a again"]);
    assert_eq!(bench.dead(), ["a delivery_limit"]);
}

#[test]
fn a_rejected_message_dies_only_where_there_is_a_dead_letter_exchange() {
    for (options, dead) in [(mortal(), vec!["a rejected".to_owned()]), (classic(), vec![])] {
        let mut bench = Bench::new(options);
        bench.subscribe(1, 0);
        bench.enqueue(["a"]);
        bench.settle([0, 7], Outcome::Reject);
        assert_eq!((bench.dead(), bench.queue.unacked_count()), (dead, 0));
    }
}

#[test]
fn a_purge_drops_what_is_ready_and_leaves_what_is_out() {
    let mut bench = Bench::default();
    bench.subscribe(1, 1);
    bench.enqueue(["a", "b", "c"]);
    bench.apply(Command::Purge);
    assert!(bench.effects.contains(&Effect::Purged(2)));
    assert_eq!((bench.queue.ready_count(), bench.queue.unacked_count()), (0, 1));
}

fn classic() -> QueueOptions {
    QueueOptions::default()
}

fn quorum() -> QueueOptions {
    QueueOptions { kind: QueueKind::Quorum, ..QueueOptions::default() }
}

/// A classic queue with a dead-letter exchange.
fn mortal() -> QueueOptions {
    let exchange = ExchangeName::default();
    let dead_letter = DeadLetterOptions { exchange, routing_key: None, at_least_once: false };
    QueueOptions { dead_letter: Some(dead_letter), ..QueueOptions::default() }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn message(body: &'static str) -> Message {
    Message::new(b"", b"q", &[0, 0], Bytes::from_static(body.as_bytes()))
}

fn consumer(serial: u64) -> ConsumerId {
    ConsumerId { connection: ConnectionId(1), serial }
}

fn subscription(serial: u64, prefetch: u16) -> Subscription {
    Subscription {
        consumer: consumer(serial),
        prefetch,
        acknowledge: true,
        priority: 0,
        exclusive: false,
        window: 1 << 20,
        credit: ChannelCredit::default(),
    }
}

/// A queue, the clock it is told of, and what it asked for since that was last looked at.
struct Bench {
    queue: Queue,
    now: Moment,
    effects: Vec<Effect>,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new(classic())
    }
}

impl Bench {
    fn new(options: QueueOptions) -> Self {
        let now = Moment::default();
        Self { queue: Queue::new(options, false, now), now, effects: Vec::new() }
    }

    fn apply(&mut self, command: Command) {
        self.queue.apply(command, self.now, &mut self.effects);
    }

    fn enqueue<const COUNT: usize>(&mut self, bodies: [&'static str; COUNT]) {
        bodies.into_iter().for_each(|body| self.enqueue_for(body, None));
    }

    fn enqueue_for(&mut self, body: &'static str, time_to_live: Option<Duration>) {
        self.enqueue_as(body, 0, time_to_live);
    }

    fn enqueue_as(&mut self, body: &'static str, priority: u8, time_to_live: Option<Duration>) {
        let message = message(body);
        let arrival = Arrival { message, priority, time_to_live, persistent: false };
        self.apply(Command::Enqueue(arrival));
    }

    fn subscribe(&mut self, serial: u64, prefetch: u16) {
        self.subscribe_as(subscription(serial, prefetch));
    }

    fn subscribe_as(&mut self, subscription: Subscription) {
        self.apply(Command::Subscribe(subscription));
    }

    fn settle<const COUNT: usize>(&mut self, positions: [u64; COUNT], outcome: Outcome) {
        self.apply(Command::Settle { positions: positions.map(Position).to_vec(), outcome });
    }

    fn configure(&mut self, options: QueueOptions) {
        self.apply(Command::Configure(Box::new(options)));
    }

    /// Lets time pass without a word to the queue.
    fn pass(&mut self, count: u64) {
        self.now = self.now + seconds(count);
    }

    /// Lets time pass, and wakes the queue.
    fn advance(&mut self, count: u64) {
        self.pass(count);
        self.apply(Command::Tick);
    }

    fn delivered(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::Deliver { consumer, message, redelivered, .. } => {
                let again = if *redelivered { " again" } else { "" };
                Some(format!("{}:{}{again}", consumer.serial, text(message)))
            }
            _ => None,
        })
    }

    fn got(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::Got { message, remaining, .. } => {
                Some(format!("{}, {remaining} more", text(message)))
            }
            Effect::GotNothing => Some("nothing".to_owned()),
            _ => None,
        })
    }

    fn dead(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::DeadLetter { message, reason, .. } => {
                Some(format!("{} {}", text(message), reason.as_str()))
            }
            _ => None,
        })
    }

    fn wakes(&mut self) -> Vec<Duration> {
        self.take(|effect| match effect {
            Effect::WakeAt(moment) => Some(moment.since_epoch()),
            _ => None,
        })
    }

    fn deletions(&mut self) -> usize {
        self.take(|effect| (*effect == Effect::Delete).then_some(())).len()
    }

    fn refusals(&mut self) -> usize {
        self.take(|effect| (*effect == Effect::Refused).then_some(())).len()
    }

    /// What `choose` makes of the effects it is for, which are then forgotten.
    fn take<T>(&mut self, choose: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        let chosen = self.effects.iter().filter_map(&choose).collect();
        self.effects.retain(|effect| choose(effect).is_none());
        chosen
    }
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(message.body()).unwrap()
}
